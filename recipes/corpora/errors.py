# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the user's data, said once and in full."""

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar

SHOWN_PROBLEMS = 20
"""Problems that the message of a `DataError` lists before it says how many more there are."""

Found = TypeVar("Found")


class DataError(ValueError):
    """The data cannot be used as it is: every problem that was found, in one error.

    A user who fixes one line only to be told of the next loses a run for each, so checks go through
    all of the data first and raise once.

    Args:
        headline: One sentence: which data, and what it means for the run.
        problems: One sentence each: where, what was found, what is allowed, what to do.

    Attributes:
        headline: As given.
        problems: All problems, also those that the message leaves out for length.
    """

    def __init__(self, headline: str, problems: Sequence[str] = ()) -> None:
        super().__init__(headline, list(problems))
        self.headline = headline
        self.problems = list(problems)

    def __str__(self) -> str:
        lines = [self.headline, *(f"  - {problem}" for problem in self.problems[:SHOWN_PROBLEMS])]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"  and {len(self.problems) - SHOWN_PROBLEMS:,} more")
        return "\n".join(lines)


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest allowed word, or nothing where none is close.

    Args:
        found: The word that came.
        allowed: The words that would have been right. Case is ignored in the comparison.
    """
    by_folded = {word.casefold(): word for word in allowed}
    closest = difflib.get_close_matches(found.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f"; did you mean {by_folded[closest[0]]!r}?" if closest else ""


def some_of(found: Sequence[Found], shown: int = 5) -> str:
    """Name the first few of `found`, and how many there are beyond them.

    Args:
        found: What to name, in the order to name it.
        shown: How many are named at most.
    """
    named = ", ".join(repr(one) for one in found[:shown])
    return named if len(found) <= shown else f"{named} and {len(found) - shown:,} more"
