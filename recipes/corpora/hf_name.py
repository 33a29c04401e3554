# SPDX-License-Identifier: Apache-2.0
"""How a dataset of the Hugging Face hub, or a local one, is named."""

import os
import re
from dataclasses import dataclass

from voxadapt.recipes.corpora.errors import DataError

HF_PREFIX = "hf:"


@dataclass(frozen=True)
class HFName:
    """Which dataset, and what of it.

    Attributes:
        dataset: Id on the hub, such as `user/corpus`, or a local folder.
        config: The dataset's configuration; None takes its only or default one.
        split: One of the dataset's splits, or a slice of one, as `train[:500]`; None takes all.
        revision: Branch, tag or commit on the hub.
    """

    dataset: str
    config: str | None = None
    split: str | None = None
    revision: str | None = None


def parse_hf_name(text: str) -> HFName:
    """Read `hf:NAME`, `hf:NAME:SPLIT` or `hf:NAME:CONFIG:SPLIT`, each with or without @REVISION.

    `hf:NAME:CONFIG:` is a configuration with all its splits. The name of a folder that is there is
    taken whole, whatever signs it has.

    Raises:
        DataError: It is none of these.
    """
    rest = text.removeprefix(HF_PREFIX)
    if os.path.isdir(rest):
        return HFName(rest)
    # Colons inside of brackets belong to a slice: train[10:20].
    name, *parts = re.split(r":(?![^\[\]]*\])", rest)
    revision = None
    if not os.path.isdir(name):
        name, _, revision = name.partition("@")
    if not name or len(parts) > 2:
        raise DataError(
            f"{text!r} names no dataset; write hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT, "
            "where NAME is an id on the hub (user/corpus, or user/corpus@REVISION) or a folder"
        )
    config = parts[0] if len(parts) == 2 else ""
    split = parts[-1] if parts else ""
    return HFName(name, config or None, split or None, revision or None)
