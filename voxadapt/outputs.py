# SPDX-License-Identifier: Apache-2.0
"""What a model's outputs mean: labels of one or several columns, or values of dimensions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

LABEL = "label"
"""Name of the only label column where none is given."""


@dataclass(frozen=True)
class LabelOutputs:
    """Classes, of one column of labels or of several.

    The outputs of the columns stand side by side. Each column has as many as it has labels, which
    is one linear layer a column over the same pooled vector.

    Attributes:
        columns: The labels by the name of their column, in the order of the outputs.
        temperatures: What the logits of a column are divided by before they become probabilities,
            so that these are right as often as they say; 1 where a column is not named.

    Raises:
        ValueError: There is no column, or one has no labels, or one of them twice; or a temperature
            is of no column, or not above 0.
    """

    columns: Mapping[str, Sequence[str]]
    temperatures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("columns: found none, give at least one column of labels")
        for name, labels in self.columns.items():
            if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
                raise ValueError(f"labels of {name!r}: found {labels!r}, give a list of names")
            if not labels or len(set(labels)) != len(labels):
                raise ValueError(
                    f"labels of {name!r}: found {list(labels)}, give at least one, each once"
                )
        for name, temperature in self.temperatures.items():
            if name not in self.columns:
                raise ValueError(
                    f"temperatures: found {name!r}, the columns are {', '.join(self.columns)}"
                )
            if not (math.isfinite(temperature) and temperature > 0):
                raise ValueError(f"temperature of {name!r}: found {temperature}, must be above 0")

    @property
    def labels(self) -> list[str]:
        """The labels of the first column."""
        return list(next(iter(self.columns.values())))

    @property
    def size(self) -> int:
        """Outputs of all columns together."""
        return sum(len(labels) for labels in self.columns.values())

    def split(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Cut ``[..., O]`` into one tensor ``[..., C]`` for each column."""
        return outputs.split([len(labels) for labels in self.columns.values()], dim=-1)

    def scale(self, outputs: Tensor) -> Tensor:
        """Divide logits ``[..., O]`` by the temperature of their column."""
        if not self.temperatures:
            return outputs
        divisors = [
            self.temperatures.get(name, 1.0)
            for name, labels in self.columns.items()
            for _ in labels
        ]
        return outputs / outputs.new_tensor(divisors)

    def activate(self, outputs: Tensor) -> Tensor:
        """Turn logits ``[..., O]`` into probabilities that add up to 1 in each column."""
        parts = [part.softmax(dim=-1) for part in self.split(self.scale(outputs))]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def config(self) -> dict[str, Any]:
        """What a saved model's ``config.json`` holds; `outputs_from_config` reads it."""
        only = len(self.columns) == 1
        # The name of an only column is not kept: it becomes the general one.
        temperatures = {LABEL if only else name: value for name, value in self.temperatures.items()}
        described: dict[str, Any] = {"temperatures": temperatures} if temperatures else {}
        if only:
            return {"labels": self.labels, **described}
        columns = {name: list(labels) for name, labels in self.columns.items()}
        return {"columns": columns, **described}


@dataclass(frozen=True)
class ValueOutputs:
    """Values of dimensions, such as arousal and valence.

    A model computes them standardised, as the training part's values are: ``value = output * std +
    mean``.

    Attributes:
        names: The dimensions, in the order of the outputs.
        mean: Mean of each over the training part.
        std: Its standard deviation, above 0.

    Raises:
        ValueError: The lists differ in length, are empty, or hold a number that cannot be.
    """

    names: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        if not self.names or not len(self.names) == len(self.mean) == len(self.std):
            raise ValueError(
                f"names, mean and std: found {len(self.names)}, {len(self.mean)} and "
                f"{len(self.std)}, give one of each for every dimension"
            )
        if not all(math.isfinite(mean) for mean in self.mean):
            raise ValueError(f"mean: found {list(self.mean)}, must be finite")
        if not all(math.isfinite(std) and std > 0 for std in self.std):
            raise ValueError(f"std: found {list(self.std)}, must be above 0 and finite")

    @property
    def labels(self) -> list[str]:
        """None: there are no classes."""
        return []

    @property
    def size(self) -> int:
        """Outputs: one a dimension."""
        return len(self.names)

    def scale(self, outputs: Tensor) -> Tensor:
        """Give outputs ``[..., O]`` back as they are: values have no temperature."""
        return outputs

    def activate(self, outputs: Tensor) -> Tensor:
        """Turn outputs ``[..., O]`` into values ``[..., O]`` in the units of the labels."""
        return outputs * outputs.new_tensor(self.std) + outputs.new_tensor(self.mean)

    def standardize(self, values: Tensor) -> Tensor:
        """Turn values ``[..., O]`` into what the model is to compute; the inverse of `activate`."""
        return (values - values.new_tensor(self.mean)) / values.new_tensor(self.std)

    def config(self) -> dict[str, Any]:
        """What a saved model's ``config.json`` holds; `outputs_from_config` reads it."""
        return {
            "dimensions": {
                name: {"mean": float(mean), "std": float(std)}
                for name, mean, std in zip(self.names, self.mean, self.std, strict=True)
            }
        }


Outputs: TypeAlias = LabelOutputs | ValueOutputs


def as_outputs(given: Outputs | Sequence[str]) -> Outputs:
    """Take outputs as they are, and names of classes for the labels of one column."""
    if isinstance(given, LabelOutputs | ValueOutputs):
        return given
    return LabelOutputs({LABEL: list(given)})


def outputs_from_config(config: Mapping[str, Any]) -> Outputs:
    """Read what `LabelOutputs.config` or `ValueOutputs.config` gave.

    Raises:
        KeyError: There is none of it.
        ValueError: It does not fit.
    """
    if "dimensions" in config:
        dimensions = config["dimensions"]
        return ValueOutputs(
            names=list(dimensions),
            mean=[dimension["mean"] for dimension in dimensions.values()],
            std=[dimension["std"] for dimension in dimensions.values()],
        )
    columns = config["columns"] if "columns" in config else {LABEL: list(config["labels"])}
    return LabelOutputs(columns, config.get("temperatures", {}))
