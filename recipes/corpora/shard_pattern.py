# SPDX-License-Identifier: Apache-2.0
"""Which tar shards a pattern means: `wds:FOLDER/NAME-{000000..000099}.tar`."""

import os
from pathlib import Path

from voxadapt.extras import install_command
from voxadapt.recipes.corpora.errors import DataError, some_of

WDS_PREFIX = "wds:"


def expand_shards(text: str) -> list[Path]:
    """Return the tar files that a pattern means, in its order; those of a `*` by their names.

    Raises:
        DataError: The library is not installed, or one of them is not there.
    """
    try:
        from webdataset.shardlists import expand_urls
    except ImportError as error:
        raise DataError(
            f"{text!r} needs the webdataset library: {install_command('webdataset')}"
        ) from error
    pattern = text.removeprefix(WDS_PREFIX)
    if not pattern or "://" in pattern or pattern.startswith("pipe:"):
        raise DataError(
            f"{text!r}: shards are files here, since a training reads them in any order; copy "
            "them, or mount where they lie, and write wds:FOLDER/NAME-{000000..000099}.tar"
        )
    found: list[Path] = []
    missing: list[str] = []
    try:
        names = expand_urls(pattern)
    except ValueError as error:
        raise DataError(f"{text!r} is no pattern of files: {error}") from error
    for name in names:
        place = Path(os.path.abspath(name))
        matches = [place] if place.is_file() else sorted(place.parent.glob(place.name))
        found += [path for path in matches if path.is_file()]
        if not matches:
            missing.append(name)
    if missing:
        raise DataError(
            f"{text!r}: these shards are not there: {some_of(missing)}; write "
            "wds:FOLDER/NAME-{000000..000099}.tar with the first and the last number"
        )
    return list(dict.fromkeys(found))
