# SPDX-License-Identifier: Apache-2.0
"""The site builds without a warning, and loads nothing from elsewhere."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import docs_pages as pages
import pytest

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Warnings are errors: dead links, pages outside of the menu, docstrings."""
    folder = tmp_path_factory.mktemp("site")
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=pages.ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in sorted((pages.ROOT / "docs").rglob("*.md")):
        built = site / page.relative_to(pages.ROOT / "docs").with_suffix(".html")
        assert built.is_file(), built


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Links may lead out; scripts, styles, fonts and pictures may not."""
    loads = re.compile(r"<(?:script|img|iframe|source|video)[^>]*\ssrc=[\"']?(https?:)?//")
    sheets = re.compile(
        r"<link[^>]*rel=[\"']?(?:stylesheet|preconnect|icon)[^>]*href=[\"']?https?:"
    )
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not loads.search(text), page
        assert not sheets.search(text), page
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import [\"']http", text), sheet


def test_the_reference_holds_what_the_packages_export(site: Path) -> None:
    import voxadapt
    from voxadapt import adapters, backbones, pooling

    for module in (voxadapt, adapters, backbones, pooling):
        name = module.__name__
        text = (site / "api" / f"{name.rpartition('.')[2]}.html").read_text(encoding="utf-8")
        for exported in module.__all__:
            # Constants and names of types say nothing that their users do not say better.
            if inspect.isclass(value := getattr(module, exported)) or inspect.isfunction(value):
                assert re.search(rf'id="{re.escape(name)}\.{exported}"', text), (name, exported)
