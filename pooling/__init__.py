# SPDX-License-Identifier: Apache-2.0
"""Poolers: a clip's frames become one vector.

Every pooler takes `frames [B, T, D]` (float) and `padding_mask [B, T]` (bool, True = padding) and
gives one vector a clip, `[B, D']`. What stands in the padding, NaN included, changes neither the
vector nor a gradient. `with_weights` also gives the weights `[B, H, T]` behind the vector.
"""

import difflib
import inspect
from typing import Any, TypeAlias

from .attentive import AttentiveAveragePooling
from .layers import LayerWeightedSum
from .mean import MeanPooling
from .qkv import QKVPooling
from .statistical import StatisticalAttentivePooling

__all__ = [
    "POOLERS",
    "AttentiveAveragePooling",
    "LayerWeightedSum",
    "MeanPooling",
    "Pooler",
    "QKVPooling",
    "StatisticalAttentivePooling",
    "build_pooler",
]

Pooler: TypeAlias = MeanPooling | StatisticalAttentivePooling | AttentiveAveragePooling | QKVPooling

POOLERS: dict[str, type[Pooler]] = {
    "mean": MeanPooling,
    "sap": StatisticalAttentivePooling,
    "attentive": AttentiveAveragePooling,
    "qkv": QKVPooling,
}


def build_pooler(name: str, input_size: int, **options: Any) -> Pooler:
    """Build a pooler by its name.

    Args:
        name: a key of `POOLERS`.
        input_size: features of a frame, `D`.
        **options: the pooler's own options. `build_pooler(name, **pooler.config())` builds a
            pooler like `pooler`.

    Raises:
        ValueError: no pooler has that name, the pooler has no such option, or an option's value
            is out of range.

    Example:
        >>> build_pooler("sap", 768, attention_size=64).output_size
        1536
    """
    if name not in POOLERS:
        raise ValueError(f"There is no pooler {name!r}; {_offer(name, list(POOLERS))}")
    pooler = POOLERS[name]
    allowed = [option for option in inspect.signature(pooler).parameters if option != "input_size"]
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"The pooler {name!r} has no option {option!r}; {_offer(option, allowed)}"
            )
    return pooler(input_size, **options)


def _offer(found: str, allowed: list[str]) -> str:
    if not allowed:
        return "it takes none."
    closest = difflib.get_close_matches(str(found), allowed, n=1)
    hint = f"; did you mean {closest[0]!r}?" if closest else "."
    return f"choose from {', '.join(allowed)}{hint}"
