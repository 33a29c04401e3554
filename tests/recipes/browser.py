# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window: open a page, ask it things, take its picture.

    python tests/recipes/browser.py PAGE.html --out PICTURE.png --width 390 --dark

It speaks the DevTools protocol through a pair of pipes, so that it needs nothing but Chromium.
"""

import argparse
import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT = 60.0  # seconds for one answer


def find_chromium() -> str | None:
    """The program, or None where none is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab.

    Attributes:
        troubles: What the page complained of: errors on its console, exceptions, refused loads.
        requests: Addresses that it asked for, without those inside the page.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._left = b""
        self._number = 0
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        self.troubles: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        ends = time.monotonic() + TIMEOUT
        while b"\0" not in self._left:
            if not select.select([self._from], [], [], max(0.0, ends - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium said nothing for {TIMEOUT:g} s")
            data = os.read(self._from, 1 << 16)
            if not data:
                raise RuntimeError("Chromium has ended")
            self._left += data
        message, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        told, found = event.get("method"), event.get("params", {})
        if told == "Runtime.exceptionThrown":
            self.troubles.append(json.dumps(found["exceptionDetails"]))
        elif told == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.troubles.append(json.dumps(found["args"]))
        elif told == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.troubles.append(found["entry"]["text"])
        elif told == "Network.requestWillBeSent":
            address = found["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.requests.append(address)

    def open(
        self, page: Path | str, *, width: int = 1200, height: int = 900, dark: bool = False
    ) -> None:
        """Load a file, or an address, in a window of this size (CSS pixels), light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self._events.clear()
        address = page if isinstance(page, str) else page.resolve().as_uri()
        self.call("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._note(self._read())

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def move(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the pointer to a place of the window, and click there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def photograph(self, out: Path, *, whole: bool = True) -> None:
        """Write a PNG of the whole page, or of what the window shows."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        out.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browse(*more: str) -> Iterator[Page]:
    """Start Chromium with one tab, and end it.

    Args:
        *more: Further flags for it.

    Raises:
        RuntimeError: There is none.
    """
    program = find_chromium()
    if program is None:
        raise RuntimeError(f"none of {', '.join(NAMES)} is installed")
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # Chromium reads commands from descriptor 3 and answers on 4, whatever ours are called.
    shell = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    flags += ["--remote-debugging-pipe", "--hide-scrollbars", "--mute-audio", "--no-first-run"]
    flags += ["--autoplay-policy=no-user-gesture-required", *more]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", shell, program, *flags, f"--user-data-dir={profile}"],
            pass_fds=(to_read, from_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        try:
            yield Page(to_write, from_read)
        finally:
            os.close(to_write)
            os.close(from_read)
            try:
                process.wait(timeout=10)  # it ends with its pipe
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main() -> None:
    """Take a picture of a page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--window", action="store_true", help="only what the window shows")
    parser.add_argument("--only", nargs="+", metavar="ID", help="sections to keep")
    parser.add_argument("--script", help="JavaScript to run before")
    parser.add_argument("--colours", type=int, help="save with so many, in a smaller file")
    options = parser.parse_args()
    with browse() as page:
        page.open(options.page, width=options.width, height=options.height, dark=options.dark)
        if options.only:
            kept = ", ".join(f"#{name}" for name in options.only)
            others = f"section:not({kept}), header"
            page.ask(f"document.querySelectorAll('{others}').forEach(part => part.remove())")
        if options.script:
            page.ask(options.script)
        page.photograph(options.out, whole=not options.window)
        for trouble in page.troubles:
            print(trouble)  # noqa: T201
    if options.colours:
        from PIL import Image

        Image.open(options.out).quantize(options.colours).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
