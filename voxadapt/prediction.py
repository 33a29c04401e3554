# SPDX-License-Identifier: Apache-2.0
"""What a model says of one clip."""

from dataclasses import dataclass, field

from torch import Tensor

from .outputs import LabelOutputs, Outputs


@dataclass(frozen=True)
class Prediction:
    """What the model says of one clip.

    Attributes:
        label: The most probable label; of the first column, where the model knows several; None
            where it predicts values.
        probabilities: Probability by label of that column, adding up to 1.
        seconds: Length of the clip.
        embedding: ``[D']`` float32, the pooled vector.
        columns: Probabilities by label, for each column of labels.
        values: Value of each dimension, in the units of the training labels, where the model was
            trained on values.
    """

    label: str | None
    probabilities: dict[str, float]
    seconds: float
    embedding: Tensor = field(repr=False)
    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)


def describe_clip(
    outputs: Outputs, activated: Tensor, seconds: float, embedding: Tensor
) -> Prediction:
    """Put names to the numbers of one clip.

    Args:
        outputs: What they mean.
        activated: ``[O]`` float, from `outputs.activate`.
        seconds: Length of the clip.
        embedding: ``[D']`` float, its pooled vector.
    """
    if not isinstance(outputs, LabelOutputs):
        values = dict(zip(outputs.names, activated.tolist(), strict=True))
        return Prediction(None, {}, seconds, embedding, values=values)
    columns = {
        name: dict(zip(labels, part.tolist(), strict=True))
        for (name, labels), part in zip(
            outputs.columns.items(), outputs.split(activated), strict=True
        )
    }
    first = next(iter(columns.values()))
    label = max(first, key=lambda name: first[name])
    return Prediction(label, first, seconds, embedding, columns)
