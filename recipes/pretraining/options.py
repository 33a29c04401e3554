# SPDX-License-Identifier: Apache-2.0
"""Options of ``pretrain_adapter``."""

import math
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Literal

from voxadapt.adapters import (
    CollapseThresholds,
    FrameAugmentation,
    ObjectivesConfig,
    WAPTransformerConfig,
)
from voxadapt.recipes.corpora.waveform_augment import WaveformAugmentation
from voxadapt.recipes.running.options import (
    ONLINE,
    PRETRAIN_OUT,
    CorpusOptions,
    check_batch_seconds,
    require,
)


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

    width: int = WAPTransformerConfig.width
    layers: int = WAPTransformerConfig.layers
    heads: int = WAPTransformerConfig.heads
    feedforward: int = WAPTransformerConfig.feedforward
    dropout: float = WAPTransformerConfig.dropout
    position_kernel: int = WAPTransformerConfig.position_kernel
    position_groups: int = WAPTransformerConfig.position_groups

    def __post_init__(self) -> None:
        WAPTransformerConfig(**asdict(self))  # has the checks


@dataclass
class MaskingOptions:
    """What the student does not see.

    Args:
        ratio: Least share of a clip's frames that is hidden. Spans are drawn until it is reached,
            and the last one passes it, in short clips by some points.
        span_length: Frames of one hidden span.
        feature_masks: Bands of features hidden in the whole clip, as SpecAugment does.
        feature_share: Widest band, as a share of the features.
    """

    ratio: float = 0.65
    span_length: int = 16
    feature_masks: int = 1
    feature_share: float = 0.35

    def __post_init__(self) -> None:
        require(0.0 < self.ratio < 1.0, "ratio", self.ratio, "above 0 and below 1")
        require(self.span_length >= 1, "span_length", self.span_length, "at least 1")
        require(self.feature_masks >= 0, "feature_masks", self.feature_masks, "at least 0")
        require(0.0 <= self.feature_share <= 1.0, "feature_share", self.feature_share, "0 to 1")


@dataclass
class CodebookOptions:
    """When and on what the codebook of local attributes is fitted.

    Args:
        refit_at: Shares of the run at which the codebook is fitted. The first fit clusters the
            input frames, the others the teacher's.
        sample_frames: Frames of the seeded sample that a fit reads.
        iterations: k-means iterations of a fit.
        backend: What runs k-means: `faiss`, on the CPU; `torch`, on the run's device; or `auto`,
            `torch` on a GPU, and on a CPU where torch has oneDNN, since it is faster there. The
            two agree to what two seeds differ by.
    """

    refit_at: list[float] = field(default_factory=lambda: [0.0, 0.34, 0.67])
    sample_frames: int = 200_000
    iterations: int = 20
    backend: Literal["faiss", "torch", "auto"] = "auto"

    def __post_init__(self) -> None:
        times = self.refit_at
        shares = all(0.0 <= time < 1.0 for time in times)
        rising = shares and times == sorted(times) and times[:1] == [0.0]
        require(rising, "refit_at", times, "0.0 and then rising shares of the run, below 1")
        require(self.sample_frames >= 1, "sample_frames", self.sample_frames, "at least 1")
        require(self.iterations >= 1, "iterations", self.iterations, "at least 1")


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

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "a finite number above 0")
        decay = self.weight_decay
        require(0 <= decay < math.inf, "weight_decay", decay, "a finite number of 0 or more")
        for name in ("warmup", "ema_start", "ema_end"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")


@dataclass
class PretrainOptions(CorpusOptions):
    """Pretrain a WAP-Transformer adapter on unlabelled speech.

    The frozen backbone's frames are computed once and cached, or at every step. A student that sees
    them with spans hidden learns from its own moving average, the teacher, which sees them whole:
    by rebuilding the hidden frames, and by predicting the teacher's frames, its distribution over
    prototypes, and k-means ids of its frames.

    Args:
        features: Folder of the feature cache; frames are computed once for each backbone and clip.
            `online` caches nothing and runs the backbone at every step: for `--augment`, and for
            corpora whose frames do not fit on the disk. All audio is decoded once before, to find
            bad clips; a resumed run does not do it again. A folder that is called online is given
            as ./online.
        out: The run's folder; the adapter is saved in its sub-folder `adapter`.
        seed: Seed of everything random.
        epochs: Passes over the corpus.
        batch_seconds: Seconds of audio that one optimiser step sees, over all processes.
        passes: Forward passes that a step's clips are dealt out over, alike lengths together; saves
            padding and memory, and changes nothing but what dropout draws.
        precision: `bf16` computes backbone and adapter in half precision where the machine has it.
        resume: Go on with the run in --out from its last checkpoint.
        export: Which branch becomes the adapter, the averaged `teacher` or the `student`.
        checkpoint_steps: Optimiser steps between checkpoints; one is also written at every epoch's
            end.
        log_steps: Optimiser steps between entries of the log, in which collapse is looked for; the
            last step has one too.
        licence: Licence to state in the adapter's model card.
        max_steps: Stop training after this many steps, as if it had been interrupted. 0 computes
            the frames and trains nothing.
    """

    may_be_online: ClassVar[bool] = True

    out: str = PRETRAIN_OUT
    seed: int = 0
    epochs: int = 10
    batch_seconds: float = 60.0
    passes: int = 3
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
    frame_augment: FrameAugmentation = field(default_factory=FrameAugmentation)
    augment: WaveformAugmentation = field(default_factory=WaveformAugmentation)

    def __post_init__(self) -> None:
        for name in ("epochs", "passes", "checkpoint_steps", "log_steps"):
            flag = "--" + name.replace("_", "-")
            require(getattr(self, name) >= 1, flag, getattr(self, name), "at least 1")
        require(self.log_steps <= 100, "--log-steps", self.log_steps, "at most 100")
        check_batch_seconds(self.batch_seconds)
        most = self.max_steps
        require(most is None or most >= 0, "--max-steps", most, "0 or more")
        self._check_reachable()
        none = asdict(WaveformAugmentation())
        for name, value in asdict(self.augment).items():
            if value != none[name] and self.features != ONLINE:
                raise ValueError(
                    f"--augment.{name}: found {value}, but frames come from the cache in "
                    f"{self.features}, where they were computed once from the audio as it is. Add "
                    f"--features online to compute them at every step, or leave {name} out"
                )

    def _check_reachable(self) -> None:
        """Refuse a threshold that no run can be above."""
        objectives, limit = self.objectives, self.collapse.perplexity
        distilled = objectives.frame_distillation or objectives.utterance_distillation
        sizes = {
            "prototypes": objectives.prototypes if distilled else math.inf,
            "attributes": objectives.attributes if objectives.local_attributes else math.inf,
        }
        for name, size in sizes.items():
            if size <= limit:
                raise ValueError(
                    f"--objectives.{name}: found {size}, but --collapse.perplexity {limit:g} stops "
                    f"every run in which no more than {limit:g} of them are in use; give more, or "
                    "a lower --collapse.perplexity"
                )
