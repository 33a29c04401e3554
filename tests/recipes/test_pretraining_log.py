# SPDX-License-Identifier: Apache-2.0
"""What a pretraining says of its student's frames before it starts."""

import dataclasses
import logging
import re
from typing import Any

import pytest

from voxadapt.adapters import FrameAugmentation, ObjectivesConfig
from voxadapt.recipes.corpora.waveform_augment import WaveformAugmentation
from voxadapt.recipes.pretrain_adapter import (
    check_objectives,
    say_what_is_augmented,
    say_what_is_watched,
)
from voxadapt.recipes.pretraining.options import MaskingOptions, PretrainOptions
from voxadapt.recipes.running.command_line import UsageError

OFF = FrameAugmentation(level=0, channel=0, warp=0, noise=0)
UNMASKED = MaskingOptions(feature_masks=0)
PROSODY = ObjectivesConfig(prosody=4.0, hidden_prosody=4.0)
NO_PROSODY = "--objectives.prosody, hidden_prosody: features of fbank are .* they are left out"


@pytest.mark.parametrize(
    ("bands", "changes", "said"),
    [
        (80, {}, []),
        (None, {}, ["they get noise alone"]),
        (None, {"objectives": PROSODY}, ["they get noise alone", NO_PROSODY]),
        (80, {"objectives": PROSODY}, []),
        (
            None,
            {"frame_augment": FrameAugmentation(noise=0)},
            ["level, channel and warp$"],
        ),
        (80, {"frame_augment": OFF}, []),  # a hidden band is there to be restored
        (80, {"frame_augment": OFF, "masking": UNMASKED}, ["all it learns there is to copy"]),
        (
            None,
            {"frame_augment": FrameAugmentation(noise=0), "masking": UNMASKED},
            ["level, channel and warp$", "all it learns there is to copy"],
        ),
        (
            80,
            {
                "frame_augment": OFF,
                "masking": UNMASKED,
                "features": "online",
                "augment": WaveformAugmentation(noise_snr_db=[5, 20]),
            },
            [],
        ),
        (
            80,
            {
                "frame_augment": OFF,
                "masking": UNMASKED,
                "objectives": ObjectivesConfig(denoising=0.0),
            },
            [],
        ),
    ],
)
def test_frames_that_are_no_bands_and_denoising_without_a_disturbance(
    bands: int | None, changes: dict[str, Any], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    options = PretrainOptions(data=["corpus.csv"], **changes)
    with caplog.at_level(logging.INFO):
        say_what_is_augmented(options, bands)
    assert len(caplog.messages) == len(said)
    for message, pattern in zip(caplog.messages, said, strict=True):
        assert re.search(pattern, message), message


@pytest.mark.parametrize(
    ("clip_seconds", "weight", "said"), [(2.5, 0.002, 0), (10.0, 0.002, 1), (10.0, 0.0, 0)]
)
def test_steps_of_few_clips_are_said_not_to_tell_of_utterance_prototypes(
    clip_seconds: float, weight: float, said: int, caplog: pytest.LogCaptureFixture
) -> None:
    objectives = ObjectivesConfig(utterance_distillation=weight)
    options = PretrainOptions(data=["corpus.csv"], objectives=objectives)
    with caplog.at_level(logging.INFO):
        say_what_is_watched(options, clip_seconds)
    assert len(caplog.messages) == said
    if said:
        assert "steps of 16 clips or more, and a step of 60 s has about 6 here" in caplog.text
        assert "--batch-seconds 192 would" in caplog.text


def test_prosody_alone_is_refused_where_features_are_no_bands() -> None:
    rest = dict.fromkeys(set(ObjectivesConfig().weights()) - {"prosody", "hidden_prosody"}, 0.0)
    options = PretrainOptions(data=["corpus.csv"], objectives=dataclasses.replace(PROSODY, **rest))
    check_objectives(options, 80)
    check_objectives(PretrainOptions(data=["corpus.csv"]), None)
    with pytest.raises(
        UsageError, match="found 0 for all but prosody and hidden_prosody, but features"
    ):
        check_objectives(options, None)
