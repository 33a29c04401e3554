# SPDX-License-Identifier: Apache-2.0
"""What a model says of one clip."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .frame_weights import FrameWeights
from .outputs import LabelOutputs, Outputs


@dataclass(frozen=True)
class Prediction:
    """What the model says of one clip.

    Attributes:
        label: The most probable label; of the first column, where the model knows several; None
            where it predicts values.
        probabilities: Probability by label of that column, adding up to 1: of the allowed labels,
            where some were asked for.
        seconds: Length of the clip.
        embedding: ``[D']`` float32, the pooled vector.
        logits: ``[O]`` float32, the outputs as they come from the linear layer: of all labels,
            before any temperature; or values, standardised.
        columns: Probabilities by label, for each column of labels.
        values: Value of each dimension, in the units of the training labels, where the model was
            trained on values.
        frame_weights: Where in the clip the pooler listened, where that was asked for.
    """

    label: str | None
    probabilities: dict[str, float]
    seconds: float
    embedding: Tensor = field(repr=False)
    logits: Tensor = field(repr=False)
    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    frame_weights: FrameWeights | None = field(default=None, repr=False)

    @property
    def confidence(self) -> float | None:
        """The probability of the label; None where the model predicts values."""
        return None if self.label is None else self.probabilities[self.label]


def describe_clip(
    outputs: Outputs,
    logits: Tensor,
    seconds: float,
    embedding: Tensor,
    *,
    allowed: Tensor | None = None,
    frame_weights: FrameWeights | None = None,
) -> Prediction:
    """Put names to the numbers of one clip.

    Args:
        outputs: What they mean.
        logits: ``[O]`` float, from the linear layer.
        seconds: Length of the clip.
        embedding: ``[D']`` float, its pooled vector.
        allowed: ``[O]`` bool, True = label that may come up, at least one in each column; None
            allows all.
        frame_weights: The pooler's, to be kept with it.

    Raises:
        ValueError: There are more or fewer logits than outputs.
    """
    if len(logits) != outputs.size:
        raise ValueError(f"logits: found {len(logits)} for {outputs.size} outputs")
    if not isinstance(outputs, LabelOutputs):
        found = outputs.activate(logits.double()).tolist()
        values = dict(zip(outputs.names, found, strict=True))
        return Prediction(
            None, {}, seconds, embedding, logits, values=values, frame_weights=frame_weights
        )
    # In float64, so that what stands in a table adds up to 1.
    scores = logits.double()
    allowed = torch.ones_like(scores, dtype=torch.bool) if allowed is None else allowed
    probabilities = outputs.activate(scores.masked_fill(~allowed, float("-inf")))
    columns = {
        name: {
            label: share
            for label, share, kept in zip(labels, shares.tolist(), flags.tolist(), strict=True)
            if kept
        }
        for (name, labels), shares, flags in zip(
            outputs.columns.items(),
            outputs.split(probabilities),
            outputs.split(allowed),
            strict=True,
        )
    }
    first = next(iter(columns.values()))
    label = max(first, key=lambda name: first[name])
    return Prediction(
        label, first, seconds, embedding, logits, columns, frame_weights=frame_weights
    )
