# SPDX-License-Identifier: Apache-2.0
"""Loads a dataset through the datasets library, which downloads it where it is not here yet."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxadapt.extras import install_command
from voxadapt.recipes.corpora.errors import DataError, did_you_mean, some_of
from voxadapt.recipes.corpora.hf_name import HFName

_SAVED = ("dataset_dict.json", "state.json")
"""Files that `save_to_disk` leaves in a folder of several splits, and of one."""


def load_splits(name: HFName) -> dict[str, Any]:
    """Return the `datasets.Dataset` of each split, by the split's name, undecoded.

    Args:
        name: Which dataset, and what of it.

    Raises:
        DataError: The library is not installed; the dataset, configuration or split is not there,
            cannot be reached or cannot be built.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"'hf:{name.dataset}' needs the datasets library: {install_command('hf')}"
        ) from error
    try:
        if _is_saved(Path(name.dataset)):
            found = datasets.load_from_disk(name.dataset)
        else:
            found = datasets.load_dataset(name.dataset, name.config, revision=name.revision)
    # The library raises what its parts raise: of the hub, of the network, of a file's format.
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError) as error:
        raise DataError(_why_not_loaded(name, error)) from error
    except datasets.exceptions.DatasetsError as error:
        raise DataError(_why_not_loaded(name, error)) from error
    if not isinstance(found, Mapping):
        found = {str(found.split or "all"): found}
    return dict(found) if name.split is None else _choose(name, dict(found))


def _is_saved(folder: Path) -> bool:
    return any((folder / file).is_file() for file in _SAVED)


def _choose(name: HFName, found: dict[str, Any]) -> dict[str, Any]:
    """One split, or a slice of one, as the library writes them: train, train[:500], train[10%:]."""
    wanted = str(name.split)
    base, bracket, _ = wanted.partition("[")
    if base not in found:
        raise DataError(
            f"'hf:{name.dataset}' has no split {base!r}; its splits are {some_of(list(found), 20)}"
            f"{did_you_mean(base, found)}"
        )
    if not bracket:
        return {wanted: found[base]}
    from datasets import ReadInstruction

    try:
        instruction = ReadInstruction.from_spec(wanted)
        (part,) = instruction.to_absolute({base: len(found[base])})
    except (AssertionError, ValueError, TypeError) as error:
        raise DataError(
            f"'hf:{name.dataset}': {wanted!r} is no slice of a split ({error}); write one such as "
            "train[:500] or train[10%:20%]"
        ) from error
    rows = range(part.from_ or 0, len(found[base]) if part.to is None else part.to)
    return {base: found[base].select(rows)}


def _why_not_loaded(name: HFName, error: Exception) -> str:
    causes = _chain(error)
    # The library says at the top that something went wrong, and at the root what it was.
    reasons = dict.fromkeys(" ".join(str(cause).split()) for cause in (error, causes[-1]))
    said = ": ".join(filter(None, reasons)) or type(error).__name__
    if any("torchcodec" in str(cause) for cause in causes):
        return (
            f"'hf:{name.dataset}' holds audio files, of which the datasets library makes a table "
            "only where torchcodec is installed (pip install torchcodec). Without it: give the "
            "folder itself (--data FOLDER) or a manifest of it, or the dataset as Parquet"
        )
    if os.path.isdir(name.dataset):
        return (
            f"the folder {name.dataset!r} cannot be read as a dataset ({said}); it must be one of "
            "save_to_disk, or hold Parquet files. A folder of audio files is given without hf:"
        )
    if any(isinstance(cause, ConnectionError) for cause in causes):
        return (
            f"'hf:{name.dataset}' is not in this machine's cache, and the hub cannot be reached "
            f"({said}); connect, unset HF_HUB_OFFLINE and HF_DATASETS_OFFLINE, or copy it here and "
            "give its folder"
        )
    return (
        f"'hf:{name.dataset}' cannot be loaded ({said}); see the name, configuration and revision "
        "(hf:NAME@REVISION:CONFIG:SPLIT), and log in (hf auth login) if it is private or gated"
    )


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what caused it."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain
