# SPDX-License-Identifier: Apache-2.0
"""How much of each objective a pretraining has, and their settings."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ObjectivesConfig:
    """Weights and settings of the objectives; a weight of 0 leaves the objective out.

    Args:
        mask_prediction: Weight of regressing the teacher's frames at hidden frames.
        frame_distillation: Weight of self-distillation at frame level.
        utterance_distillation: Weight of self-distillation at utterance level.
        local_attributes: Weight of classifying the attribute of hidden frames.
        reconstruction: Weight of regressing the hidden frames themselves.
        denoising: Weight of regressing the other frames as they were before they were augmented and
            a band of them was hidden.
        prosody: Weight of regressing how loudness moves around each frame of the clean clip
            (`voxadapt.adapters.prosody`), at the frames that are not hidden. For frames whose
            features are frequency bands, as those of the filterbank; without effect on others.
        hidden_prosody: Weight of the same at hidden frames.
        prototypes: Prototypes of self-distillation.
        student_temperature: Temperature of the student's distribution.
        teacher_temperature: Temperature of the teacher's; lower is sharper.
        teacher_temperature_start: Temperature of the teacher's at the first step, from which it
            goes to `teacher_temperature` on a line, as in DINO (arXiv 2104.14294, appendix), which
            starts sharper. Left out, it is `teacher_temperature` throughout.
        temperature_warmup: Share of the run that this takes.
        center_momentum: Share of the running center that stays at each step; 1 turns centering off.
        attributes: Size ``K`` of the codebook.

    Raises:
        ValueError: A value is out of range, or every weight is 0.
    """

    mask_prediction: float = 0.05
    frame_distillation: float = 0.002
    utterance_distillation: float = 0.002
    local_attributes: float = 0.005
    reconstruction: float = 1.0
    denoising: float = 1.0
    prosody: float = 0.0
    hidden_prosody: float = 0.0
    prototypes: int = 128
    student_temperature: float = 0.1
    teacher_temperature: float = 0.05
    teacher_temperature_start: float | None = None
    temperature_warmup: float = 0.3
    center_momentum: float = 0.9
    attributes: int = 128

    def __post_init__(self) -> None:
        weights = self.weights()
        for name, weight in weights.items():
            if not 0.0 <= weight < math.inf:
                raise ValueError(f"{name}: found {weight}, must be a finite number of 0 or more")
        if not any(weights.values()):
            raise ValueError(f"objectives: found weights {weights}; at least one must be above 0")
        for name in ("student_temperature", "teacher_temperature", "teacher_temperature_start"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{name}: found {value}, must be a finite number above 0")
        for name in ("prototypes", "attributes"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}: found {getattr(self, name)}, must be at least 2")
        for name in ("center_momentum", "temperature_warmup"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: found {getattr(self, name)}, must be between 0 and 1")

    def weights(self) -> dict[str, float]:
        """Weights by objective."""
        return {
            "mask_prediction": self.mask_prediction,
            "frame_distillation": self.frame_distillation,
            "utterance_distillation": self.utterance_distillation,
            "local_attributes": self.local_attributes,
            "reconstruction": self.reconstruction,
            "denoising": self.denoising,
            "prosody": self.prosody,
            "hidden_prosody": self.hidden_prosody,
        }

    def for_bands(self, bands: int | None) -> "ObjectivesConfig":
        """What is left of them for frames of so many bands; None: features are no bands.

        Raises:
            ValueError: Nothing is left.
        """
        return self if bands else replace(self, prosody=0.0, hidden_prosody=0.0)
