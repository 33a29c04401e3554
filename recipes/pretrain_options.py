# SPDX-License-Identifier: Apache-2.0
"""Options of ``pretrain_adapter``."""

from dataclasses import dataclass, field
from typing import Literal

from voxadapt.adapters import CollapseThresholds, ObjectivesConfig
from voxadapt.recipes.options import PRETRAIN_OUT, CorpusOptions


@dataclass
class AdapterSize:
    """Size of the adapter.

    Args:
        width: Features inside the adapter and of its output.
        layers: Transformer layers; the paper has 3.
        heads: Attention heads.
        feedforward: Inner size of the feed-forward blocks.
        dropout: Dropout while pretraining.
        position_kernel: Frames that the convolutional position embedding sees.
        position_groups: Groups of that convolution.
    """

    width: int = 192
    layers: int = 3
    heads: int = 4
    feedforward: int = 768
    dropout: float = 0.1
    position_kernel: int = 15
    position_groups: int = 16


@dataclass
class MaskingOptions:
    """What the student does not see.

    Args:
        ratio: Share of a clip's frames that is hidden.
        span_length: Frames of one hidden span.
    """

    ratio: float = 0.5
    span_length: int = 8


@dataclass
class CodebookOptions:
    """When and on what the codebook of local attributes is fitted.

    Args:
        refit_at: Shares of the run at which the codebook is fitted. The first fit clusters the
            input frames, the others the teacher's.
        sample_frames: Frames of the seeded sample that a fit reads.
        iterations: k-means iterations of a fit.
    """

    refit_at: list[float] = field(default_factory=lambda: [0.0, 0.34, 0.67])
    sample_frames: int = 200_000
    iterations: int = 20


@dataclass
class OptimizerOptions:
    """How the weights are trained.

    Args:
        learning_rate: Peak of the one-cycle schedule.
        warmup: Share of the run spent rising to the peak.
        weight_decay: AdamW's weight decay, on matrices only.
        clip_norm: Largest norm of the gradient.
        ema_start: The teacher's decay at the start; it rises on a cosine.
        ema_end: The teacher's decay at the end.
    """

    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_start: float = 0.996
    ema_end: float = 1.0


@dataclass
class PretrainOptions(CorpusOptions):
    """Pretrain a WAP-Transformer adapter on unlabelled speech.

    The frozen backbone's frames are computed once and cached. A student that sees them with spans
    hidden learns from its own moving average, the teacher, which sees them whole: by predicting the
    teacher's frames, its distribution over prototypes, and k-means ids of its frames.

    Args:
        out: The run's folder; the adapter is saved in its sub-folder `adapter`.
        seed: Seed of everything random.
        epochs: Passes over the corpus.
        batch_seconds: Seconds of audio, padding included, that one optimiser step sees, over all
            processes.
        accumulate: Forward passes that a step's batch is dealt out over, to save memory; does not
            change the result.
        precision: `bf16` computes in half precision where the machine has it.
        resume: Go on with the run in --out from its last checkpoint.
        export: Which branch becomes the adapter, the averaged `teacher` or the `student`.
        checkpoint_steps: Optimiser steps between checkpoints; one is also written at every epoch's
            end.
        log_steps: Optimiser steps between entries of the log.
        licence: Licence to state in the adapter's model card.
        max_steps: Stop training after this many steps, as if it had been interrupted.
    """

    out: str = PRETRAIN_OUT
    seed: int = 0
    epochs: int = 16
    batch_seconds: float = 60.0
    accumulate: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    resume: bool = False
    export: Literal["teacher", "student"] = "teacher"
    checkpoint_steps: int = 200
    log_steps: int = 10
    licence: str = "unknown"
    max_steps: int | None = None
    adapter: AdapterSize = field(default_factory=AdapterSize)
    masking: MaskingOptions = field(default_factory=MaskingOptions)
    objectives: ObjectivesConfig = field(default_factory=ObjectivesConfig)
    codebook: CodebookOptions = field(default_factory=CodebookOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    collapse: CollapseThresholds = field(default_factory=CollapseThresholds)

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "checkpoint_steps", "log_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}: found {getattr(self, name)}, must be at least 1")
        if self.batch_seconds <= 0:
            raise ValueError(f"--batch-seconds: found {self.batch_seconds}, must be above 0")
        if not self.codebook.refit_at or self.codebook.refit_at[0] != 0.0:
            raise ValueError(
                f"--codebook.refit_at: found {self.codebook.refit_at}, must begin with 0.0"
            )
