# SPDX-License-Identifier: Apache-2.0
"""Whatever a manifest holds: clips that make sense, or one error of ours."""

import json
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import SPLITS, read_manifest
from voxadapt.recipes.corpora.manifest_columns import COLUMNS

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=150, deadline=None, database=None, derandomize=True)
MANY = settings(max_examples=2_500, deadline=None, database=None)

FILES = ("a.wav", "b c.wav", 'd,"e".wav', "sub/ä.wav")
NAMES = st.sampled_from([*COLUMNS, "Speaker", "word", "", " path ", "\ufeffpath", "\xa0"])
VALUES = st.one_of(
    st.sampled_from([*FILES, "sub", "../a.wav", ".", "/", "a.wav\0", "sub\\ä.wav", "x" * 300]),
    st.sampled_from([*SPLITS, "dev", "", " ", "0", "1.5", "-1", "nan", "inf", "1e999", "1_0"]),
    st.sampled_from(['"', '""', "\n", "\r", ",", "'", "\u2028", "\x85", "\x1c", "٣", "{", "null"]),
    st.text(max_size=12),
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)
LABELS = st.sampled_from(["label", "speaker", "word", "path", "split", "", "id"])
# What a column may hold, so that some manifests are right; unique where ids have to be.
PLAUSIBLE = {
    "path": st.sampled_from(FILES),
    "id": st.text(st.characters(codec="utf-8"), min_size=3, max_size=9),
    "start": st.floats(0, 1).map(str),
    "end": st.floats(1.5, 9).map(str),
    "split": st.sampled_from(SPLITS),
    "label": st.sampled_from(["x", "y", "ä"]),
    "speaker": st.sampled_from(["s1", "s2"]),
}
GOOD_ROWS = st.fixed_dictionaries({name: PLAUSIBLE[name] for name in ("path", "id", "label")})
# Where a few bytes are put in, and how many that stand there they replace.
CUTS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=4)), max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some audio files, by their names, and one sub-folder."""
    folder = tmp_path_factory.mktemp("fuzzed")
    (folder / "sub").mkdir()
    for name in FILES:
        (folder / name).touch()
    return folder


def cut(content: bytes, cuts: list[tuple[float, int, bytes]]) -> bytes:
    for place, length, inserted in cuts:
        start = round(place * len(content))
        content = content[:start] + inserted + content[start + length :]
    return content


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """A table, quoted or not, with several kinds of line ends, and perhaps some bytes changed."""
    right = st.lists(st.sampled_from(list(PLAUSIBLE)), unique=True)
    further = draw(st.one_of(right, st.lists(NAMES, max_size=4, unique=True)))
    columns = ["path", *(name for name in further if name != "path")]
    wrong = draw(st.booleans())
    cells = [PLAUSIBLE.get(name, st.just("z")) for name in columns]
    rows = [columns, *draw(st.lists(st.tuples(*cells).map(list), max_size=4))]
    if wrong:
        rows[-1][draw(st.integers(0, len(columns) - 1))] = draw(VALUES)
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    quoted = draw(st.sampled_from([True, True, False]))
    lines = [
        ",".join('"' + value.replace('"', '""') + '"' if quoted else value for value in values)
        for values in rows
    ]
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    content = end.join(lines).encode(encoding, "replace")
    return cut(content, draw(CUTS)) if wrong else content


@st.composite
def jsonl_files(draw: st.DrawFn) -> bytes:
    """Lines of JSON, objects mostly, and then some bytes of them changed."""
    values = draw(st.lists(GOOD_ROWS, max_size=4))
    if draw(st.booleans()):
        row = st.dictionaries(NAMES, JSON_VALUES, max_size=5)
        values.append(draw(st.one_of(row.map(lambda found: {"path": "a.wav", **found}), row)))
    if draw(st.integers(0, 9)) == 0:
        values.append(draw(JSON_VALUES))
    ascii_only = draw(st.booleans())
    text = "\n".join(json.dumps(value, ensure_ascii=ascii_only) for value in values)
    content = text.encode("utf-8", "surrogatepass")
    return cut(content, draw(CUTS)) if draw(st.booleans()) else content


def check(folder: Path, name: str, content: bytes, label: str, required: bool) -> None:
    """Read a manifest; what comes out must be clips that make sense, or a `DataError`."""
    path = folder / name
    path.write_bytes(content)
    refusal: DataError | None = None
    try:
        manifest = read_manifest(path, label=label, require_label=required)
    except DataError as error:
        refusal = error
    if refusal is not None:
        assert refusal.problems
        assert all(problem and len(problem) < 2_500 for problem in refusal.problems)
        assert len(str(refusal)) < 60_000
        return
    clips = manifest.clips
    assert clips
    assert len({clip.id for clip in clips}) == len(clips)
    for clip in clips:
        assert clip.path.is_file()
        assert clip.path.is_relative_to(folder)
        assert clip.split in (None, *SPLITS)
        assert clip.start is None or clip.start >= 0
        assert clip.end is None or clip.end > (clip.start or 0)
        assert clip.label or not required
        known = (clip.label, clip.speaker, clip.fold, *clip.columns, *clip.columns.values())
        for text in (clip.id, *filter(None, known)):
            assert text.encode().decode() == text
    assert sorted(manifest.labels) == manifest.labels
    assert manifest.folds is not None


@FEW
@given(st.binary(max_size=200), st.sampled_from(["m.csv", "m.jsonl"]), LABELS, st.booleans())
def test_any_bytes(folder: Path, content: bytes, name: str, label: str, required: bool) -> None:
    check(folder, name, content, label, required)


@FEW
@given(csv_files(), LABELS, st.booleans())
def test_csv(folder: Path, content: bytes, label: str, required: bool) -> None:
    check(folder, "m.csv", content, label, required)


@FEW
@given(jsonl_files(), LABELS, st.booleans())
def test_jsonl(folder: Path, content: bytes, label: str, required: bool) -> None:
    check(folder, "m.jsonl", content, label, required)


@pytest.mark.slow
@pytest.mark.timeout(900)
@MANY
@given(st.binary(max_size=200), st.sampled_from(["m.csv", "m.jsonl"]), LABELS, st.booleans())
def test_any_bytes_many(
    folder: Path, content: bytes, name: str, label: str, required: bool
) -> None:
    check(folder, name, content, label, required)


@pytest.mark.slow
@pytest.mark.timeout(900)
@MANY
@given(csv_files(), LABELS, st.booleans())
def test_csv_many(folder: Path, content: bytes, label: str, required: bool) -> None:
    check(folder, "m.csv", content, label, required)


@pytest.mark.slow
@pytest.mark.timeout(900)
@MANY
@given(jsonl_files(), LABELS, st.booleans())
def test_jsonl_many(folder: Path, content: bytes, label: str, required: bool) -> None:
    check(folder, "m.jsonl", content, label, required)


@pytest.mark.parametrize(("name", "files"), [("n.csv", csv_files()), ("n.jsonl", jsonl_files())])
def test_the_fuzz_reaches_clips_and_errors(
    folder: Path, name: str, files: st.SearchStrategy[bytes]
) -> None:
    """Manifests that are drawn are neither all good nor all bad."""
    reached = {True: 0, False: 0}

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(files)
    def count(content: bytes) -> None:
        (folder / name).write_bytes(content)
        try:
            read_manifest(folder / name)
            reached[True] += 1
        except DataError:
            reached[False] += 1

    count()
    assert min(reached.values()) >= 5, reached
