# SPDX-License-Identifier: Apache-2.0
"""Copies are found and told, with the one that should go."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora.audio_quality import measure_clip
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.duplicates import (
    candidate_pairs,
    duplicate_findings,
    exact_groups,
    group_correlations,
)
from voxadapt.recipes.corpora.finding import Finding
from voxadapt.recipes.corpora.measured_clip import MeasuredClip


def sound(seed: int, seconds: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    steps = np.arange(round(16_000 * seconds)) / 16_000
    swell = 1 + np.sin(2 * np.pi * random.uniform(1, 6) * steps + random.uniform(0, 6))
    return 0.05 * swell * random.standard_normal(len(steps))


def build(folder: Path, takes: list[tuple[np.ndarray, dict[str, Any]]]) -> list[MeasuredClip]:
    clips = []
    for row, (samples, known) in enumerate(takes):
        path = folder / f"{row}.wav"
        soundfile.write(path, samples, 16_000)
        clip = Clip(path.name, path, **known)
        clips.append(MeasuredClip(row, row + 2, {}, clip, measure_clip(clip)))
    return clips


def find(clips: list[MeasuredClip]) -> list[Finding]:
    return list(
        duplicate_findings(
            clips, lambda pairs: [group_correlations((one, [other]))[0] for one, other in pairs]
        )
    )


def test_different_clips_are_no_copies(tmp_path: Path) -> None:
    clips = build(tmp_path, [(sound(seed), {}) for seed in range(8)])
    assert exact_groups(clips) == []
    assert find(clips) == []


def test_an_exact_copy_and_a_quieter_one(tmp_path: Path) -> None:
    clips = build(tmp_path, [(sound(0), {}), (sound(1), {}), (sound(0), {}), (0.3 * sound(1), {})])
    first, second = sorted(find(clips), key=lambda finding: finding.row or 0)
    assert (first.severity, first.kind, first.clip, first.line) == (
        "warning",
        "duplicate",
        "2.wav",
        4,
    )
    assert first.message == "has the same samples as '0.wav' (line 2)"
    assert (second.kind, second.clip) == ("near-duplicate", "3.wav")
    assert "'1.wav' (line 3): they correlate by 1.000" in second.message
    assert first.leave_out
    assert second.leave_out


@pytest.mark.parametrize("gain", [1.0, 0.5])
@pytest.mark.parametrize(
    ("one", "other", "left_out"),
    [
        ({"split": "train"}, {"split": "test"}, ["0.wav"]),
        ({"split": "test"}, {"split": "train"}, ["1.wav"]),
        ({"split": "valid"}, {"split": "train"}, ["1.wav"]),
        ({"fold": "1"}, {"fold": "2"}, ["1.wav"]),
        ({"speaker": "a"}, {"speaker": "b"}, ["1.wav"]),
        ({"label": "a"}, {"label": "b"}, ["0.wav", "1.wav"]),
    ],
)
def test_copies_that_leak_or_contradict_are_errors(
    one: dict[str, str],
    other: dict[str, str],
    left_out: list[str],
    gain: float,
    tmp_path: Path,
) -> None:
    found = find(build(tmp_path, [(sound(0), one), (gain * sound(0), other)]))
    assert sorted(str(finding.clip) for finding in found) == left_out
    for finding in found:
        assert finding.severity == "error"
        assert finding.leave_out
        (name,) = one
        assert f", with {name} " in finding.message


def test_of_many_copies_one_stays(tmp_path: Path) -> None:
    clips = build(tmp_path, [(sound(0), {})] * 4 + [(gain * sound(0), {}) for gain in (0.9, 0.4)])
    assert sorted(str(finding.clip) for finding in find(clips)) == [f"{n}.wav" for n in range(1, 6)]
    assert len(candidate_pairs(clips)) == 3  # of three different contents


def test_lengths_must_be_about_the_same(tmp_path: Path) -> None:
    (clip, other) = build(tmp_path, [(sound(0), {}), (0.5 * sound(0), {})])
    longer = replace(other, quality=replace(other.quality, seconds=1.3))
    assert len(candidate_pairs([clip, other])) == 1
    assert candidate_pairs([clip, longer]) == []


def test_pairs_across_blocks_and_in_the_order_of_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = [(sound(seed, 1 + seed / 50), {}) for seed in range(9)]
    takes += [(0.5 * samples, {}) for samples, _ in takes]
    clips = build(tmp_path, takes)
    whole = candidate_pairs(clips)
    monkeypatch.setattr("voxadapt.recipes.corpora.duplicates._AT_ONCE", 4)
    assert candidate_pairs(clips) == whole
    assert {(row, row + 9) for row in range(9)} <= set(whole)


def test_files_that_vanish_meanwhile(tmp_path: Path) -> None:
    clips = build(tmp_path, [(sound(0), {}), (0.5 * sound(0), {})])
    clips[0].clip.path.unlink()
    assert find(clips) == []
