# SPDX-License-Identifier: Apache-2.0
"""The text of ``--lora``: ``r=8,alpha=16,dropout=0.05``."""

import difflib

from voxadapt.backbones import BackboneError, Lora

_TYPES: dict[str, type[int] | type[float]] = {"r": int, "alpha": float, "dropout": float}


def parse_lora(text: str) -> Lora:
    """Read the option.

    Args:
        text: ``name=value`` pairs with commas between: ``r``, and where wanted ``alpha``, which is
            twice ``r`` otherwise, and ``dropout``, which is 0 otherwise.

    Raises:
        ValueError: A pair, a name or a value is not what it must be; the message names the closest.
    """
    values: dict[str, float] = {}
    for pair in text.split(","):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if name not in _TYPES:
            raise ValueError(_unknown(name, text))
        if not equals or name in values:
            raise ValueError(f"--lora {text}: {name} needs one value, as in r=8,alpha=16")
        try:
            values[name] = _TYPES[name](value)
        except ValueError:
            kind = "a whole number" if _TYPES[name] is int else "a number"
            raise ValueError(f"--lora {text}: {name} is {value!r}, must be {kind}") from None
    if "r" not in values:
        raise ValueError(f"--lora {text}: r, the rank, is missing, as in r=8")
    try:
        return Lora(
            int(values["r"]), values.get("alpha", 2.0 * values["r"]), values.get("dropout", 0.0)
        )
    except BackboneError as error:
        raise ValueError(f"--lora {text}: {error}") from None


def _unknown(name: str, text: str) -> str:
    close = difflib.get_close_matches(name, _TYPES, n=1, cutoff=0.3)
    hint = f". Did you mean {close[0]!r}?" if close else ""
    return f"--lora {text}: there is no {name!r} in it; it takes {', '.join(_TYPES)}{hint}"
