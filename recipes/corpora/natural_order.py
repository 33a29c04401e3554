# SPDX-License-Identifier: Apache-2.0
"""The order that people expect of names with numbers in them: `fold 10` after `fold 2`."""

import re


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Return what to sort names by.

    Args:
        name: A fold, session or speaker.

    Example:
        >>> sorted(["s10", "s2", "10", "2"], key=natural_key)
        ['2', '10', 's2', 's10']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    key = [
        (False, int(part), part) if part[0] in "0123456789" else (True, 0, part) for part in parts
    ]
    return key or [(False, -1, "")]
