# SPDX-License-Identifier: Apache-2.0
"""Which measurement becomes which finding, on both sides of each limit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.audio_findings import AudioLimits, audio_findings
from voxadapt.recipes.corpora.audio_quality import AudioQuality
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.finding import Finding
from voxadapt.recipes.corpora.measured_clip import MeasuredClip

SOUND: dict[str, Any] = {
    "seconds": 2.0,
    "rate": 16_000,
    "implied_rate": 16_000.0,
    "channels": 1,
    "container": "WAV",
    "peak": 0.5,
    "level": -20.0,
}


def clip(row: int = 0, values: dict[str, str] | None = None, **measured: Any) -> MeasuredClip:
    name = f"{row}.wav"
    quality = AudioQuality(**{**SOUND, **measured})
    values = {"path": name, **(values or {})}
    return MeasuredClip(row, row + 2, values, Clip(name, Path(name)), quality)


def kinds(*clips: MeasuredClip, **limits: float) -> list[tuple[str, str]]:
    found = audio_findings(clips, AudioLimits(**limits))
    return [(finding.severity, finding.kind) for finding in found]


@pytest.mark.parametrize(
    ("below", "above", "kind"),
    [
        ({"seconds": 0.1}, {"seconds": 0.09}, "short"),
        ({"seconds": 30.0}, {"seconds": 30.1}, "long"),
        ({"clipped": 0.001}, {"clipped": 0.0011}, "clipped"),
        ({"offset": 0.0099}, {"offset": -0.0101}, "offset"),
        ({"offset": 0.04, "level": -7.0}, {"offset": 0.04, "level": -9.0}, "offset"),
        ({"level": -54.0}, {"level": -56.0}, "quiet"),
        ({"peak": 1.1}, {"peak": 2.1}, "scale"),
        ({"implied_rate": 0.0}, {"implied_rate": 44_100.0}, "sample rate"),
    ],
)
def test_limits(below: dict[str, float], above: dict[str, float], kind: str) -> None:
    assert kinds(clip(**below)) == []
    assert kinds(clip(**above)) == [("warning", kind)]


def test_limits_can_be_set() -> None:
    assert kinds(clip(seconds=0.5), min_seconds=0.6) == [("warning", "short")]
    assert kinds(clip(seconds=8), max_seconds=7) == [("warning", "long")]
    assert kinds(clip(clipped=0.01), clipped=0.02) == []
    assert kinds(clip(offset=0.2), offset=0.3) == []


def test_what_cannot_be_used_is_an_error_with_place_and_advice() -> None:
    bad = clip(5, problem=("truncated", "ends early", "copy it again"))
    (found,) = audio_findings([bad], AudioLimits())
    assert found == Finding(
        "error", "truncated", "ends early", "copy it again", 5, "5.wav", 7, leave_out=True
    )


def test_an_odd_rate_among_many() -> None:
    usual = [clip(row) for row in range(19)]
    found = list(audio_findings([*usual, clip(19, rate=8_000, implied_rate=0)], AudioLimits()))
    assert [(one.severity, one.kind, one.row) for one in found] == [("warning", "sample rate", 19)]
    assert "8000 Hz, where 19 of 20 clips have 16000 Hz" in found[0].message
    mixed = [clip(row, rate=8_000, implied_rate=0) for row in range(19, 25)]
    assert kinds(*usual, *mixed) == []


def test_the_length_that_the_manifest_tells() -> None:
    assert kinds(clip(values={"seconds": "2.05"})) == []
    assert kinds(clip(values={"seconds": "what"})) == []
    (found,) = audio_findings([clip(values={"duration": "5.5125"})], AudioLimits())
    assert (found.severity, found.kind) == ("warning", "length")
    assert "2.76 times as long" in found.message


@pytest.mark.parametrize(
    ("path", "container", "expected"),
    [
        ("a.wav", "FLAC", [("note", "extension")]),
        ("a.WAV", "WAVEX", []),
        ("a.mp3", "WAV", [("note", "extension")]),
        ("a.sph", "NIST", []),
    ],
)
def test_names_that_say_something_else(
    path: str, container: str, expected: list[tuple[str, str]]
) -> None:
    assert kinds(clip(values={"path": path}, container=container)) == expected


def test_findings_say_what_to_do(zoo: Any, animals: dict[str, Any]) -> None:
    from voxadapt.recipes.corpora.audio_quality import measure_clip

    measure: Callable[[Clip], AudioQuality] = measure_clip
    clips = [
        MeasuredClip(row, None, {"path": str(animal.path)}, one, measure(one))
        for row, animal in enumerate(animals.values())
        for one in [Clip(animal.path.name, animal.path)]
    ]
    found = list(audio_findings(clips, AudioLimits()))
    bad = {row for row, animal in enumerate(animals.values()) if animal.reasons}
    assert {finding.row for finding in found if finding.severity == "error"} == bad
    assert all(finding.message and finding.advice for finding in found)
