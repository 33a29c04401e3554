# SPDX-License-Identifier: Apache-2.0
"""Every clip is decoded once, and what was found is remembered for the same clips only."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora import audio_check
from voxadapt.recipes.corpora.audio_check import (
    check_bad_again,
    decode_clips,
    join_shares,
    read_check,
    write_check,
)
from voxadapt.recipes.corpora.clip import Clip


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Seven clips: of 16 kHz, of 8 kHz, a part of a file, and three that are bad."""
    sound = 0.3 * np.sin(np.arange(8_000) / 9)
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    soundfile.write(tmp_path / "b.wav", sound, 8_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8_000), 16_000)
    (tmp_path / "empty.wav").write_bytes(b"")
    names = ["a", "silent", "b", "missing", "empty"]
    found = [Clip(id=name, path=tmp_path / f"{name}.wav") for name in names]
    part = Clip(id="part", path=tmp_path / "a.wav", start=0.1, end=0.3)
    return [*found, part, Clip(id="late", path=tmp_path / "a.wav", start=9.0, end=9.5)]


SAMPLES = [8_000, 0, 16_000, 0, 0, 3_200, 0]


def test_lengths_and_reasons_in_the_order_of_the_clips(clips: list[Clip]) -> None:
    found = decode_clips(clips)
    assert [decoded.samples for decoded in found] == SAMPLES
    reasons = [None if decoded.bad is None else decoded.bad.reason for decoded in found]
    assert reasons == [None, "silent", None, "missing", "empty", None, "out of range"]
    bad = found[3].bad
    assert bad is not None
    assert (bad.id, bad.path) == ("missing", str(clips[3].path))
    assert "does not exist" in bad.message


@pytest.mark.parametrize("world", [1, 2, 3, 7, 9])
def test_shares_of_any_number_of_processes_make_the_whole(world: int, clips: list[Clip]) -> None:
    whole = decode_clips(clips)
    check = join_shares([whole[rank::world] for rank in range(world)])
    assert check.samples == SAMPLES
    assert [bad.id for bad in check.bad] == ["silent", "missing", "empty", "late"]


def test_what_was_found_is_remembered_for_the_same_clips_only(
    clips: list[Clip], tmp_path: Path
) -> None:
    path = tmp_path / "audio_check.json"
    assert read_check(path, clips) is None
    check = join_shares([decode_clips(clips)])
    write_check(path, clips, check)
    assert read_check(path, clips) == check

    assert read_check(path, clips[:-1]) is None
    assert read_check(path, clips[::-1]) is None
    assert read_check(path, [*clips[:-1], dataclasses.replace(clips[-1], end=10.0)]) is None
    assert read_check(path, [*clips[:-1], dataclasses.replace(clips[-1], id="other")]) is None
    size = clips[0].path.stat().st_size
    os.truncate(clips[0].path, size - 2)
    assert read_check(path, clips) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_a_damaged_memory_is_said_and_not_used(
    content: bytes, clips: list[Clip], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audio_check.json"
    path.write_bytes(content)
    assert read_check(path, clips) is None
    assert f"{path} is not used, and the audio is checked again" in caplog.text


def test_bad_clips_are_looked_at_again_without_the_others(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = join_shares([decode_clips(clips)])
    soundfile.write(clips[1].path, 0.3 * np.sin(np.arange(8_000) / 9), 16_000)
    asked: list[str] = []
    decode = audio_check._decode
    monkeypatch.setattr(
        audio_check, "_decode", lambda clip: (asked.append(clip.id), decode(clip))[1]
    )
    again = check_bad_again(check, clips)
    assert sorted(asked) == ["empty", "late", "missing", "silent"]
    assert again.samples == [8_000, 8_000, *SAMPLES[2:]]
    assert [bad.id for bad in again.bad] == ["missing", "empty", "late"]
