# SPDX-License-Identifier: Apache-2.0
"""Which layer's output a transformer encoder gives."""

from __future__ import annotations

from typing import Literal

from .base import BackboneError

Layer = int | Literal["last"]


def choose_layer(layer: int | str, layers: int, name: str) -> Layer:
    """Check a layer against the encoder's depth.

    Args:
        layer: 0 (the input of the first layer) to `layers`, as a number or its digits, or `last`.
        layers: Layers that the encoder has.
        name: What the error message calls the encoder.

    Returns:
        The number, or `last`.

    Raises:
        BackboneError: There is no such layer.
    """
    if layer == "last":
        return "last"
    text = str(layer)
    if text.isdecimal() and int(text) <= layers:
        return int(text)
    raise BackboneError(
        f"layer is {layer!r}, but {name} has {layers} layers: give 0 (the input of the first) to "
        f"{layers}, or 'last'."
    )
