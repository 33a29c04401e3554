# SPDX-License-Identifier: Apache-2.0
"""Shows the API reference the packages by the names that they are imported by.

The folders at the top level are imported as ``voxadapt.adapters`` and so on. The reference is read
from the sources without importing them, so it needs a folder of that shape: one of links.
"""

import shutil
from pathlib import Path
from typing import Any

FOLDERS = ("voxadapt", "adapters", "backbones", "pooling", "recipes")


def on_startup(**_: Any) -> None:
    """Lay the links before mkdocstrings looks for the packages, which it does on configuration."""
    root = Path(__file__).resolve().parents[2]
    lay_links(root, root / "build" / "api")


def lay_links(root: Path, out: Path) -> None:
    """Fill ``out/voxadapt`` with folders of links: folders that are links are not searched."""
    shutil.rmtree(out, ignore_errors=True)
    for folder in FOLDERS:
        package = out / "voxadapt" if folder == "voxadapt" else out / "voxadapt" / folder
        for source in sorted((root / folder).rglob("*.py")):
            link = package / source.relative_to(root / folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
