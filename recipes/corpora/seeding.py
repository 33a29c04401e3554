# SPDX-License-Identifier: Apache-2.0
"""The one source of seeds for what is random per epoch or per clip."""

import operator
from hashlib import blake2b


def stable_seed(*parts: int | str) -> int:
    """Return a seed that depends on `parts` alone: on no process, no order, no global state.

    A clip's masks and augmentation are drawn from `stable_seed(run_seed, epoch, clip.id)`. They are
    therefore the same with one process or two, and after a resume.

    Args:
        *parts: Integers (of numpy too) and strings. Their order and their boundaries count, and
            `1` is not `"1"`.

    Returns:
        An integer of 63 bits, from 0 up: `torch.Generator.manual_seed` and
        `numpy.random.default_rng` both take it.

    Raises:
        TypeError: If a part is neither an integer nor a string; a float's text is no stable name.

    Example:
        >>> stable_seed(17, 3, "clip-0001") == stable_seed(17, 3, "clip-0001")
        True
    """
    digest = blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, str):
            tag, text = b"s", part.encode("utf-8", "surrogatepass")
        else:
            tag, text = b"i", str(operator.index(part)).encode()
        # The length stands before the text, so that ("ab", "c") and ("a", "bc") differ.
        digest.update(tag + len(text).to_bytes(8, "little") + text)
    return int.from_bytes(digest.digest(), "little") >> 1
