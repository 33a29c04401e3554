# SPDX-License-Identifier: Apache-2.0
"""Options of ``finetune``."""

from dataclasses import dataclass, field
from typing import Literal

from voxadapt.backbones import OpenLayers, Tuning
from voxadapt.recipes.lora_option import parse_lora
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
        learning_rate: Peak of the one-cycle schedule, for the pooler.
        adapter_factor: The adapter's learning rate as a share of it. Low, so that a few dozen
            labelled clips do not undo what was pretrained.
        linear_factor: The linear layer's. It starts from nothing and has few weights: with few
            labels, and so few steps, it would otherwise still be half trained at the end.
        encoder_factor: That of the encoder's layers that train. Left out, 0.5 for LoRA, whose
            matrices are new, and 0.02 for opened layers, which a higher rate makes forget.
        layer_factor: That of the weights of `--layer weighted`. Above 1, because these few numbers
            pass through a softmax and hardly move at the rate of a matrix.
        warmup: Share of the run spent rising to the peak.
        weight_decay: AdamW's weight decay, on matrices only.
        clip_norm: Largest norm of the gradient.
        label_smoothing: Share of the target spread over all classes.
        averaging: Decay, for each step, of the running average of weights that is validated and
            saved; 0 keeps the last weights themselves.
    """

    learning_rate: float = 1e-3
    adapter_factor: float = 0.1
    linear_factor: float = 5.0
    encoder_factor: float | None = None
    layer_factor: float = 10.0
    warmup: float = 0.2
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    averaging: float = 0.98

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip_norm"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in ("adapter_factor", "linear_factor", "layer_factor", "weight_decay"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        factor = self.encoder_factor
        require(factor is None or factor >= 0, "encoder_factor", factor, "0 or more")
        for name in ("warmup", "label_smoothing", "averaging"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")


@dataclass
class FinetuneOptions(CorpusOptions):
    """Fine-tune an adapter, a pooler and a linear layer on labelled speech.

    The backbone stays frozen and its frames are cached; where layers of it are trained too
    (`--lora`, `--unfreeze-top`), the frames below those layers are. The epoch is chosen on the
    validation part (speaker-disjoint where speakers are known), the model saved and loaded back,
    and only then the test part is scored, once.

    Args:
        pool: How frames become one vector: statistical attentive pooling (`sap`), `mean`,
            multi-head `attentive` average pooling, or multi-head `qkv` pooling.
        adapter: A pretraining run's folder (or a hub id), `random` for an adapter that was not
            pretrained, or `none`. Left out, the adapter of runs/pretrain is taken where there is
            one that fits the backbone, else `random`.
        lora: Train low-rank updates of the encoder's attention (LoRA), in all layers that are run:
            `r=8` or `r=8,alpha=16,dropout=0.05`; alpha is twice r and dropout 0 where left out.
        unfreeze_top: Train this many of the encoder's top layers, counted down from `--layer`.
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
    lora: str | None = None
    unfreeze_top: int | None = None
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
        self._check_tuning()
        if len(self.data) > 1:
            raise ValueError(
                f"--data: found {len(self.data)} manifests; finetune takes one. Join them into one "
                "file with a split or fold column"
            )

    def _check_tuning(self) -> None:
        top = self.unfreeze_top
        require(top is None or top >= 1, "--unfreeze-top", top, "at least 1")
        if self.lora is not None and top is not None:
            raise ValueError(
                "--lora and --unfreeze-top: found both; the layers are either trained whole or by "
                "LoRA. Leave one out"
            )
        if tuning_of(self) is not None and self.backbone == "fbank":
            raise ValueError(
                f"{'--unfreeze-top' if self.lora is None else '--lora'}: the backbone is fbank, a "
                "filterbank, which has no layers to train; name an encoder with --backbone"
            )


def tuning_of(options: FinetuneOptions) -> Tuning | None:
    """What of the encoder trains; None where all of it is frozen.

    Raises:
        ValueError: The text of ``--lora`` cannot be read.
    """
    if options.lora is not None:
        return parse_lora(options.lora)
    return None if options.unfreeze_top is None else OpenLayers(options.unfreeze_top)
