# SPDX-License-Identifier: Apache-2.0
"""The site in a real browser: phone and desktop, light and dark, and its search."""

import functools
import http.server
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import docs_pages as pages
import pytest

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[docs]'")
_PATH = pages.ROOT / "tests" / "recipes" / "browser.py"
_SPEC = importlib.util.spec_from_file_location("browser", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
browser = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(browser)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find_chromium() is None, reason="no Chromium here"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site, built and served."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=pages.ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
        capture_output=True,
    )
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Address:
    """A page of a server, where the browser's own pages are files."""

    def __init__(self, address: str) -> None:
        self.address = address

    def resolve(self) -> "Address":
        return self

    def as_uri(self) -> str:
        return self.address


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("width", "dark"), [(390, False), (390, True), (1200, False), (1200, True)]
)
def test_pages_fit_and_load_nothing_from_elsewhere(address: str, width: int, dark: bool) -> None:
    wide, blind = [], []
    with browser.browse() as page:
        for path in sorted((pages.ROOT / "docs").rglob("*.md")):
            name = path.relative_to(pages.ROOT / "docs").with_suffix(".html").as_posix()
            page.open(Address(f"{address}/{name}"), width=width, dark=dark)
            if page.ask("document.documentElement.scrollWidth") > width:
                wide.append(name)
            broken = (
                "[...document.images].filter(p => !p.complete || !p.naturalWidth).map(p => p.src)"
            )
            blind += page.ask(broken)
            scheme = page.ask("document.body.getAttribute('data-md-color-scheme')")
            assert scheme == ("slate" if dark else "default"), name
        assert not wide, f"these pages scroll sideways: {wide}"
        assert not blind, f"these pictures are not there: {blind}"
        assert page.troubles == []
        assert {url for url in page.requests if not url.startswith(address)} == set()


def test_the_search_finds(address: str) -> None:
    with browser.browse() as page:
        page.open(Address(f"{address}/index.html"), width=1200)
        page.ask(
            "new Promise(done => { const box = document.querySelector('.md-search__input');"
            "document.querySelector('[for=__search]').click(); box.focus(); box.value = 'codebook';"
            "box.dispatchEvent(new Event('keyup')); setTimeout(done, 4000) })"
        )
        found = page.ask(
            "[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
        )
        assert any("pretraining" in link for link in found), found
