# SPDX-License-Identifier: Apache-2.0
"""What of an encoder trains: LoRA on its layers, or its top layers whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .base import BackboneError


@dataclass(frozen=True)
class Lora:
    """Low-rank updates of the attention's query and value in every layer (arXiv 2106.09685).

    Attributes:
        r: Rank of the updates.
        alpha: They are scaled by `alpha / r`.
        dropout: Dropout on their input, while training.

    Raises:
        BackboneError: A value is out of range.
    """

    r: int
    alpha: float
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not _is_count(self.r):
            raise BackboneError(f"r is {self.r!r}, but a whole number of at least 1 is needed.")
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise BackboneError(f"alpha is {self.alpha!r}, but a number above 0 is needed.")
        if not 0 <= self.dropout < 1:
            raise BackboneError(
                f"dropout is {self.dropout!r}, but at least 0 and below 1 is needed."
            )


@dataclass(frozen=True)
class OpenLayers:
    """The top layers, trained whole.

    Attributes:
        top: How many, counted down from the highest that is run.

    Raises:
        BackboneError: It is not a whole number of at least 1.
    """

    top: int

    def __post_init__(self) -> None:
        if not _is_count(self.top):
            raise BackboneError(f"top is {self.top!r}, but a whole number of at least 1 is needed.")


Tuning = Lora | OpenLayers
_METHODS: dict[str, type[Lora] | type[OpenLayers]] = {"lora": Lora, "layers": OpenLayers}


def tuning_config(tuning: Tuning) -> dict[str, Any]:
    """JSON-able; `tuning_from_config` gives the same tuning from it."""
    method = next(name for name, kind in _METHODS.items() if type(tuning) is kind)
    return {"method": method, **asdict(tuning)}


def tuning_from_config(config: Mapping[str, Any]) -> Tuning:
    """Read what `tuning_config` gave.

    Raises:
        BackboneError: An unknown method or field, or a value that is out of range.
    """
    options = dict(config)
    method = options.pop("method", None)
    if method not in _METHODS:
        raise BackboneError(
            f"The tuning config has method {method!r}, but one of {', '.join(_METHODS)} is needed."
        )
    try:
        return _METHODS[method](**options)
    except TypeError as error:
        raise BackboneError(
            f"The tuning config does not fit the method {method!r} ({error}): save the model again."
        ) from None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
