# SPDX-License-Identifier: Apache-2.0
"""Options of ``finetune``."""

from dataclasses import dataclass, field
from typing import Literal

from voxadapt.recipes.options import FINETUNE_OUT, CorpusOptions, require
from voxadapt.recipes.pretrain_options import AdapterSize


@dataclass
class HeadOptions:
    """The pooler and what follows it; a size left out keeps the pooler's own default.

    Args:
        heads: Attention heads of the `attentive` and `qkv` poolers.
        output_size: Features that they project to.
        attention_size: Inner size of the `sap` pooler's scorer.
        dropout: Dropout on the pooled vector.
    """

    heads: int | None = None
    output_size: int | None = None
    attention_size: int | None = None
    dropout: float = 0.3

    def __post_init__(self) -> None:
        for name in ("heads", "output_size", "attention_size"):
            size = getattr(self, name)
            require(size is None or size >= 1, name, size, "at least 1")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")


@dataclass
class SpecAugmentOptions:
    """Hiding stretches of time and of features while training (SpecAugment, arXiv 1904.08779).

    Args:
        time_masks: Stretches of time hidden in a clip.
        time_share: Longest stretch, as a share of the clip.
        feature_masks: Bands of features hidden in a clip. None by default: a pretrained adapter
            takes a hidden band for something heard, and generalises worse.
        feature_share: Widest band, as a share of the features.
    """

    time_masks: int = 2
    time_share: float = 0.15
    feature_masks: int = 0
    feature_share: float = 0.15

    def __post_init__(self) -> None:
        for name in ("time_masks", "feature_masks"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("time_share", "feature_share"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")


@dataclass
class FinetuneOptimizerOptions:
    """How the weights are trained.

    Args:
        learning_rate: Peak of the one-cycle schedule, for pooler and linear layer.
        adapter_factor: The adapter's learning rate as a share of it.
        warmup: Share of the run spent rising to the peak.
        weight_decay: AdamW's weight decay, on matrices only.
        clip_norm: Largest norm of the gradient.
        label_smoothing: Share of the target spread over all classes.
        averaging: Decay, for each step, of the running average of weights that is validated and
            saved; 0 keeps the last weights themselves.
    """

    learning_rate: float = 1e-3
    adapter_factor: float = 0.5
    warmup: float = 0.2
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    averaging: float = 0.98

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip_norm"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in ("adapter_factor", "weight_decay"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("warmup", "label_smoothing", "averaging"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")


@dataclass
class FinetuneOptions(CorpusOptions):
    """Fine-tune an adapter, a pooler and a linear layer on labelled speech.

    The backbone stays frozen and its frames are cached. The epoch is chosen on the validation part
    (speaker-disjoint where speakers are known), the model saved and loaded back, and only then the
    test part is scored, once.

    Args:
        pool: How frames become one vector: statistical attentive pooling (`sap`), `mean`,
            multi-head `attentive` average pooling, or multi-head `qkv` pooling.
        adapter: A pretraining run's folder (or a hub id), `random` for an adapter that was not
            pretrained, or `none`. Left out, the adapter of runs/pretrain is taken where there is
            one that fits the backbone, else `random`.
        out: The run's folder: model/, metrics.json, predictions.jsonl, report.html.
        label: Column to learn.
        seed: Seed of everything random.
        seeds: Number of runs, with seeds counted up from --seed; the results are their mean.
        fold: Fold to test on, of the manifest's `fold` column; `all` runs every fold.
        epochs: Passes over the training part.
        batch_seconds: Seconds of audio, padding included, that one optimiser step sees, over all
            processes.
        passes: Forward passes that a step's clips are dealt out over, to save memory; does not
            change the result.
        precision: `bf16` computes in half precision where the machine has it.
        resume: Go on with the run in --out.
        allow_speaker_overlap: Accept speakers that stand in more than one part; the results say so.
        adapter_dropout: Dropout inside the adapter while fine-tuning.
        max_epochs: Stop after this many epochs, as if interrupted; --resume goes on.
    """

    pool: Literal["sap", "mean", "attentive", "qkv"] = "sap"
    adapter: str | None = None
    out: str = FINETUNE_OUT
    label: str = "label"
    seed: int = 0
    seeds: int = 1
    fold: str | None = None
    epochs: int = 30
    batch_seconds: float = 40.0
    passes: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    resume: bool = False
    allow_speaker_overlap: bool = False
    adapter_dropout: float = 0.1
    max_epochs: int | None = None
    head: HeadOptions = field(default_factory=HeadOptions)
    spec_augment: SpecAugmentOptions = field(default_factory=SpecAugmentOptions)
    optimizer: FinetuneOptimizerOptions = field(default_factory=FinetuneOptimizerOptions)
    size: AdapterSize = field(default_factory=AdapterSize)

    def __post_init__(self) -> None:
        for name in ("epochs", "seeds", "passes"):
            require(getattr(self, name) >= 1, f"--{name}", getattr(self, name), "at least 1")
        require(self.batch_seconds > 0, "--batch-seconds", self.batch_seconds, "above 0")
        dropout = self.adapter_dropout
        require(0 <= dropout < 1, "--adapter-dropout", dropout, "at least 0 and below 1")
        if len(self.data) > 1:
            raise ValueError(
                f"--data: found {len(self.data)} manifests; finetune takes one. Join them into one "
                "file with a split or fold column"
            )
