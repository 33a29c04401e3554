# SPDX-License-Identifier: Apache-2.0
"""Uploaded files become samples, or a refusal that says why."""

from typing import Any

import numpy as np
import pytest

from voxadapt.recipes.serving.clip_reading import UploadedAudio, check_length, read_clip
from voxadapt.recipes.serving.refusal import RefusedError


def test_a_file_becomes_samples(zoo: Any, animals: dict[str, Any]) -> None:
    for what in ("44100 Hz", "8 channels", "mp3 44100", "FLAC PCM_24"):
        animal = animals[what]
        samples = read_clip(UploadedAudio("any", animal.path.read_bytes()), longest=1.0)
        zoo.check_tone(samples.numpy(), animal)


def test_messages_call_it_what_its_sender_does(animals: dict[str, Any]) -> None:
    content = animals["text.wav"].path.read_bytes()
    with pytest.raises(RefusedError, match=r"^my clip\.wav cannot be decoded") as refused:
        read_clip(UploadedAudio("my clip.wav", content), longest=1.0)
    assert (refused.value.status, refused.value.code) == (422, "unreadable")


def test_a_long_file_is_refused_without_being_decoded(
    zoo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxadapt.recipes.serving import clip_reading

    monkeypatch.setattr(clip_reading, "read_audio", None)
    source = UploadedAudio("x.wav", zoo.wave_bytes(zoo.tone(16_000, 2.0)))
    with pytest.raises(RefusedError, match=r"x\.wav: found 2\.0 s, allowed are 1\.5 s") as refused:
        read_clip(source, longest=1.5)
    assert refused.value.code == "too_long"
    assert check_length(source, 2.0, "--x") == 2


def test_a_file_that_claims_to_be_endless_is_refused(zoo: Any) -> None:
    content = zoo.wave_bytes(np.zeros(0), data=0xFFFF_FFFF, riff=0xFFFF_FFFF)
    with pytest.raises(RefusedError):
        read_clip(UploadedAudio("x.wav", content), longest=1.0)
