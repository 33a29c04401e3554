# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT017 (whether reading raises is what is asked)
"""Each file of the zoo gives the tone that is in it, or an error of ours that names the file."""

import os
from typing import Any

import pytest

from voxadapt.backbones.audio import AudioError, audio_seconds, read_audio

# What a library's callback raises ends up there: on a terminal it is a traceback.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


def outcome(animal: Any, zoo: Any, source: Any) -> str:
    try:
        samples = read_audio(source)
    except AudioError as error:
        name = "<bytes>" if isinstance(source, bytes) else str(animal.path)
        assert error.path == name
        assert name in str(error)
        return error.reason
    zoo.check_tone(samples.numpy(), animal)
    return ""


def test_every_file_gives_the_tone_or_the_reason(
    animals: dict[str, Any], zoo: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {}
    for name, animal in animals.items():
        found = outcome(animal, zoo, animal.path)
        if found not in (animal.reasons or ("",)):
            wrong[name] = (found, animal.reasons)
    assert not wrong
    assert "Traceback" not in capfd.readouterr().err


def test_contents_in_memory_give_what_files_give(
    animals: dict[str, Any], zoo: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {}
    for name, animal in animals.items():
        if animal.path.is_file():
            found = outcome(animal, zoo, animal.path.read_bytes())
            if found not in (animal.reasons or ("",)):
                wrong[name] = (found, animal.reasons)
    assert not wrong
    assert "Traceback" not in capfd.readouterr().err


def test_lengths_without_decoding(animals: dict[str, Any], zoo: Any) -> None:
    for animal in animals.values():
        if not animal.reasons:
            assert audio_seconds(animal.path) == pytest.approx(zoo.SECONDS, abs=0.15)


def test_a_part_of_each_good_file(animals: dict[str, Any], zoo: Any) -> None:
    for name, animal in animals.items():
        if not animal.reasons and not animal.late:
            part = read_audio(animal.path, start=0.125, end=0.375).numpy()
            expected = zoo.tone(16_000)[2_000:6_000]
            assert len(part) == pytest.approx(4_000, abs=2), name
            assert abs(part[200:3_800] - expected[200:3_800]).max() < max(0.02, animal.tolerance), (
                name
            )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(animals: dict[str, Any], tmp_path: Any) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(animals["wav PCM_16"].path.read_bytes())
    path.chmod(0)
    with pytest.raises(AudioError, match="cannot be opened"):
        read_audio(path)
