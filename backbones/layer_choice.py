# SPDX-License-Identifier: Apache-2.0
"""Which layers' outputs a transformer encoder gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor

from .base import BackboneError

Layer = int | Literal["last", "mean", "weighted"]

_NAMES: tuple[Literal["last", "mean", "weighted"], ...] = ("last", "mean", "weighted")


def choose_layer(layer: int | str, layers: int, name: str) -> Layer:
    """Check a layer against the encoder's depth.

    Args:
        layer: 0 (the input of the first layer) to `layers`, as a number or its digits; or `last`;
            or `mean` or `weighted`, which read all of them, the input of the first included.
        layers: Layers that the encoder has.
        name: What the error message calls the encoder.

    Returns:
        The number, or the word.

    Raises:
        BackboneError: There is no such layer.
    """
    for known in _NAMES:
        if layer == known:
            return known
    text = str(layer)
    if text.isdecimal() and int(text) <= layers:
        return int(text)
    raise BackboneError(
        f"layer is {layer!r}, but {name} has {layers} layers: give 0 (the input of the first) to "
        f"{layers}, 'last', 'mean' (of all) or 'weighted' (a learnt sum over all)."
    )


def layers_run(layer: Layer, layers: int) -> int:
    """How many of an encoder's layers must be run, and kept in memory, for a choice."""
    return layer if isinstance(layer, int) else layers


def layer_outputs(layer: Layer, layers: int) -> int:
    """How many layers' outputs a frame holds side by side: 1, or all of them for `weighted`."""
    return layers + 1 if layer == "weighted" else 1


def combine(states: Iterable[Tensor], layer: Layer, final: Callable[[Tensor], Tensor]) -> Tensor:
    """Read a choice of layers from an encoder's states.

    Args:
        states: `hidden_states[0]` up to the last layer that was kept, each `[N, T, D]`.
        layer: What to read.
        final: Turns the last layer's state into `last_hidden_state`.

    Returns:
        `[N, T, D]`; for `weighted` all states side by side, `[N, T, (L + 1) * D]`.
    """
    if layer == "weighted":
        return torch.cat(list(states), dim=-1)
    iterator = iter(states)
    state = next(iterator)
    if layer == "mean":
        total, count = state.float(), 1
        for state in iterator:
            total, count = total + state.float(), count + 1
        return (total / count).to(state.dtype)
    for state in iterator:  # noqa: B007 - the last one is wanted, and the others are let go
        pass
    return final(state) if layer == "last" else state
