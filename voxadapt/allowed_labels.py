# SPDX-License-Identifier: Apache-2.0
"""Labels that a caller allows, where a model knows more than can come up."""

import difflib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from .outputs import LabelOutputs, Outputs

AllowedLabels = Iterable[str] | Mapping[str, Iterable[str]]
"""Names of labels of the first column, or those of several columns by the column's name."""


def allowed_mask(outputs: Outputs, allowed: AllowedLabels | None) -> Tensor | None:
    """Say which outputs may come up.

    Args:
        outputs: What the model's outputs mean.
        allowed: The labels that may; columns that are not named keep all of theirs. None allows
            all.

    Returns:
        ``[O]`` bool, True = allowed; None where all are.

    Raises:
        ValueError: A label or column that the model does not know, no label at all, or a model
            without labels.
    """
    if allowed is None:
        return None
    if not isinstance(outputs, LabelOutputs):
        raise ValueError(
            f"allowed_labels: this model gives values ({', '.join(outputs.names)}) and knows no "
            "labels; leave it out"
        )
    first = next(iter(outputs.columns))
    by_column = allowed if isinstance(allowed, Mapping) else {first: allowed}
    _refuse_unknown(by_column, outputs.columns, "column")
    flags: list[bool] = []
    for name, labels in outputs.columns.items():
        given = by_column.get(name, labels)
        if isinstance(given, str):
            raise ValueError(f"allowed_labels: found {given!r}, give a list of labels: [{given!r}]")
        chosen = set(given)
        if not chosen:
            raise ValueError(f"allowed_labels of {name!r}: found none, give at least one label")
        _refuse_unknown(chosen, labels, "label")
        flags += [label in chosen for label in labels]
    return torch.tensor(flags)


def _refuse_unknown(found: Iterable[str], known: Iterable[str], what: str) -> None:
    known = list(known)
    for name in found:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"allowed_labels: found {what} {name!r}, the model knows {', '.join(known)}.{hint}"
            )
