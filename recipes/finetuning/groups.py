# SPDX-License-Identifier: Apache-2.0
"""Groups of options of ``finetune``: the head, the small adapter, augmentation, the optimiser."""

import math
from dataclasses import dataclass

from voxadapt.recipes.running.options import require


@dataclass
class HeadOptions:
    """The pooler and what follows it; a size left out keeps the pooler's own default.

    Args:
        heads: Attention heads of the `attentive` and `qkv` poolers; 4 where left out.
        output_size: Size of the embedding that the pooled vector is projected to, for every pooler.
            Left out, 256 for `attentive` and `qkv`, as in their paper; `sap` and `mean` give their
            vector as it is.
        attention_size: Inner size of the scorers of `sap` (128 where left out) and `attentive`
            (64).
        head_size: Features of a `qkv` head; 64 where left out.
        dropout: Dropout on the pooled vector.
        probe: Where the linear layer starts: at a logistic regression (of values, a ridge
            regression) on the pooled vectors of the training clips, whose features are put on one
            scale before, so that it does not spoil pretrained features while it is still guessing
            (arXiv 2202.10054). The number is scikit-learn's C; lower holds weights closer to 0.
            With 0 it starts at random.
    """

    heads: int | None = None
    output_size: int | None = None
    attention_size: int | None = None
    head_size: int | None = None
    dropout: float = 0.3
    probe: float = 0.03

    def __post_init__(self) -> None:
        for name in ("heads", "output_size", "attention_size", "head_size"):
            size = getattr(self, name)
            require(size is None or size >= 1, name, size, "at least 1")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")
        require(0 <= self.probe < math.inf, "probe", self.probe, "a finite number of 0 or more")


@dataclass
class BottleneckOptions:
    """Size of the adapter of `--adapter bottleneck`.

    Args:
        size: Features in its middle.
    """

    size: int = 64

    def __post_init__(self) -> None:
        require(self.size >= 1, "size", self.size, "at least 1")


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
        learning_rate: Peak of the one-cycle schedule; each part of the model takes a share of it.
        adapter_factor: The adapter's learning rate as a share of it. Low, so that labelled clips do
            not undo what was pretrained; with some dozens of them 0.1 does as well, with thousands
            it is too low.
        linear_factor: The linear layer's. Without `head.probe` it starts from nothing, and with few
            labels, and so few steps, is still half trained at the end: give it 5 then.
        encoder_factor: That of the encoder's layers that train. Left out, 0.5 for LoRA, whose
            matrices are new, and 0.02 for opened layers, which a higher rate makes forget.
        pooler_factor: The pooler's.
        layer_factor: That of the weights of `--layer weighted`. Above 1, because these few numbers
            pass through a softmax and hardly move at the rate of a matrix.
        warmup: Share of the run spent rising to the peak.
        weight_decay: AdamW's weight decay, on matrices only.
        clip_norm: Largest norm of the gradient.
        label_smoothing: Share of the target spread over all classes; of classification only.
        averaging: Decay, for each step, of the running average of weights that is validated and
            saved; 0 keeps the last weights themselves.
    """

    learning_rate: float = 1e-3
    adapter_factor: float = 0.3
    linear_factor: float = 1.0
    encoder_factor: float | None = None
    pooler_factor: float = 1.0
    layer_factor: float = 10.0
    warmup: float = 0.2
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    averaging: float = 0.98

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "a finite number above 0")
        finite = "a finite number of 0 or more"
        shares = ("adapter_factor", "pooler_factor", "linear_factor", "layer_factor")
        for name in (*shares, "weight_decay"):
            require(0 <= getattr(self, name) < math.inf, name, getattr(self, name), finite)
        factor = self.encoder_factor
        require(factor is None or 0 <= factor < math.inf, "encoder_factor", factor, finite)
        for name in ("warmup", "label_smoothing", "averaging"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
