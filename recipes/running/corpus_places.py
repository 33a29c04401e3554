# SPDX-License-Identifier: Apache-2.0
"""Where the corpora of a command are, each of them once."""

from collections.abc import Sequence
from pathlib import Path

from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.corpora.manifest import is_container
from voxadapt.recipes.running.command_line import UsageError


def corpus_places(sources: Sequence[str]) -> list[Path]:
    """The absolute paths of corpora, links followed; of a container, of what it is called.

    Args:
        sources: Manifests, folders and containers, as the user names them.

    Raises:
        UsageError: One is named twice, whose clips would count double.
    """
    places = [Path(source).resolve() for source in sources]
    twice = {
        source if is_container(source) else str(place)
        for source, place in zip(sources, places, strict=True)
        if places.count(place) > 1
    }
    if twice:
        raise UsageError(f"{some_of(sorted(twice))} is named twice; name each corpus once")
    return places
