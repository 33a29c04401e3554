# SPDX-License-Identifier: Apache-2.0
import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.name_pattern import NamePattern


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        (
            "{speaker}_{label}_{n}.wav",
            "s1_happy_07.wav",
            {"speaker": "s1", "label": "happy", "n": "07"},
        ),
        ("{speaker}_{label}_{n}.wav", "any/where/s1_happy_07.wav", {"speaker": "s1"}),
        ("{speaker}_{label}_{n}.wav", "s1_happy_07.WAV", {"n": "07"}),
        ("{speaker}/{label}-*.wav", "c/s1/angry-a-b.wav", {"speaker": "s1", "label": "angry"}),
        ("{label}/**/{speaker}", "sad/x/y/bob.flac", {"label": "sad", "speaker": "bob"}),
        ("{label}/**/{speaker}", "sad/bob.mp3", {"label": "sad", "speaker": "bob"}),
        ("{label:[A-Z]}{n:\\d+}", "A07.ogg", {"label": "A", "n": "07"}),
        ("{id:(?P<session>s\\d)-\\d{3}}.wav", "s2-001.wav", {"id": "s2-001", "session": "s2"}),
        ("{label}.{n}.wav", "x.3.wav", {"label": "x", "n": "3"}),
        ("{label:[a-z.]+}{n:\\d}.wav", "x.y3.wav", {"label": "x.y", "n": "3"}),
        ("{_}_{label}_{_}.wav", "a_b_c.wav", {"label": "b"}),
        ("{label}/{speaker}_{_}.wav", "sad/s1_f10_a2.wav", {"label": "sad", "speaker": "s1"}),
        ("{speaker}/{speaker}_{label}.wav", "s1/s1_sad.wav", {"speaker": "s1", "label": "sad"}),
        ("{label} ({speaker}).wav", "a03 (3).wav", {"label": "a03", "speaker": "3"}),
        ("{label}-émotion.wav", "gai-émotion.wav", {"label": "gai"}),
    ],
)
def test_matches(pattern: str, path: str, fields: dict[str, str]) -> None:
    found = NamePattern(pattern).match(path)
    assert found is not None
    assert fields.items() <= found.items()
    assert "_" not in found


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{speaker}_{label}_{n}.wav", "s1_very_happy_07.wav"),  # which part is the label?
        ("{label}.{n}.wav", "x.y.3.wav"),
        ("{speaker}_{label}_{n}.wav", "s1_happy_07.flac"),
        ("{speaker}_{label}_{n}.wav", "xs1_happy.wav"),
        ("{speaker}/{label}-*.wav", "angry-1.wav"),
        ("{speaker}/{speaker}_{label}.wav", "s1/s2_sad.wav"),
        ("{label}", "notes.txt"),
        ("{label:[A-Z]}.wav", "ab.wav"),
        ("{label}.wav", "a/b.wav.txt"),
    ],
)
def test_what_does_not_fit_is_not_taken(pattern: str, path: str) -> None:
    assert NamePattern(pattern).match(path) is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{speaker", "opens a brace"),
        ("speaker}_{label}", "closes a brace"),
        ("{speaker}{label}.wav", "nothing between {speaker} and the next field"),
        ("{a b}_{label}.wav", "names a field 'a b'"),
        ("{label:[}.wav", "cannot be read"),
        ("*.wav", "names no field"),
    ],
)
def test_patterns_that_make_no_sense(pattern: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        NamePattern(pattern)
    assert message in str(raised.value)


def test_fields_in_order() -> None:
    assert NamePattern("{b}/{_}-{a:(?P<c>x)+}.wav").fields == ["b", "a", "c"]
