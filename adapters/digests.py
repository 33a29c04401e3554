# SPDX-License-Identifier: Apache-2.0
"""SHA-256 digests of a saved model's files, by which a later change is seen."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIGESTS = "sha256"
"""Field of ``config.json`` with a digest of each file, and one of the config under ``CONFIG``."""
CONFIG = "config.json"
# What says nothing of how the model computes: notes may be added later.
_NOT_DIGESTED = (DIGESTS, "extras")


def digest(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def config_digest(config: Mapping[str, Any]) -> str:
    """SHA-256 of what a config says of the model: of all but ``extras`` and the digests."""
    described = {name: value for name, value in config.items() if name not in _NOT_DIGESTED}
    return digest(json.dumps(described, sort_keys=True).encode())


def find_change(folder: Path, config: Mapping[str, Any]) -> str:
    """Say which file of a saved folder is not what was saved.

    Args:
        folder: The folder.
        config: What its ``config.json`` holds.

    Returns:
        An error message; empty where nothing was changed, or where the folder has no digests, as
        those of older versions have none.
    """
    digests = config.get(DIGESTS)
    if digests is None:
        return ""
    if not isinstance(digests, dict):
        return f"{folder / CONFIG}: {DIGESTS!r} is {digests!r} instead of digests by file."
    for name, expected in digests.items():
        path = folder / name
        if not path.is_file():
            return (
                f"{path}: not there, but {CONFIG} tells of it; the folder is incomplete. Save the "
                "model again, or fetch it again."
            )
        if (config_digest(config) if name == CONFIG else _file_digest(path)) != expected:
            return (
                f"{path}: was changed after it was saved: its SHA-256 is not the one that {CONFIG} "
                f"holds. Fetch it again; or, if the change was meant, take {DIGESTS!r} out of "
                f"{CONFIG}."
            )
    return ""


def _file_digest(path: Path) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
