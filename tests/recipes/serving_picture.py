# SPDX-License-Identifier: Apache-2.0
"""Take the picture of the page that `serve` shows: on a desktop, and dark on a phone.

    python tests/recipes/serving_picture.py RUN CLIP.wav [CLIP.wav …] --out PICTURE.png

Several clips, of one rate, are joined to one recording.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from browser import browse
from PIL import Image

WINDOWS = {"desktop": (1100, 900, False), "phone": (400, 800, True)}
INPUT = "#recording input[type=file]"


def main() -> None:
    """Start the server, give it the recording, and take both pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--colours", type=int, default=160)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, start_server(options.run) as address:
        recording = join_clips(options.clips, Path(folder) / "recording.wav")
        pictures = []
        with browse() as tab:
            for name, (width, height, dark) in WINDOWS.items():
                tab.open(address, width=width, height=height, dark=dark)
                give(tab, recording)
                time.sleep(1)  # the player draws its waveform
                tab.photograph(Path(folder) / f"{name}.png")
                pictures.append(Image.open(Path(folder) / f"{name}.png").convert("RGB"))
        side_by_side(pictures).quantize(options.colours).save(options.out, optimize=True)


@contextmanager
def start_server(run: Path) -> Iterator[str]:
    """``voxadapt serve`` on a free port, ended afterwards; gives its address."""
    command = [sys.executable, "-m", "voxadapt.cli", "serve", str(run), "--port=0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        told = ""
        while "Ctrl-C" not in told:
            assert process.stderr is not None
            line = process.stderr.readline()
            if not line:
                sys.exit(told)
            told += line
        found = re.search(r"page +(http://[\d.:]+)/", told)
        assert found is not None
        yield found[1] + "/"
    finally:
        process.terminate()
        process.wait(timeout=30)


def join_clips(paths: list[Path], out: Path) -> Path:
    """Write several clips as one recording."""
    read = [soundfile.read(path) for path in paths]
    soundfile.write(out, np.concatenate([samples for samples, _ in read]), read[0][1])
    return out


def give(tab: Any, recording: Path) -> None:
    """Give the page a recording, and wait until all is shown."""
    wait_for(tab, f"!!document.querySelector('{INPUT}')")
    root = tab.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
    node = tab.call("DOM.querySelector", nodeId=root, selector=INPUT)["nodeId"]
    tab.call("DOM.setFileInputFiles", files=[str(recording)], nodeId=node)
    wait_for(tab, "!!document.querySelector('#result .timeline')")


def wait_for(tab: Any, expression: str) -> None:
    """Wait until an expression is true."""
    ends = time.monotonic() + 60
    while not tab.ask(expression):
        if time.monotonic() > ends:
            sys.exit(f"the page did not get there: {expression}")
        time.sleep(0.1)


def side_by_side(pictures: list[Image.Image], gap: int = 24) -> Image.Image:
    """Pictures in a row, on grey."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) + 1)
    height = max(picture.height for picture in pictures) + 2 * gap
    row, left = Image.new("RGB", (width, height), "#c8ccd0"), gap
    for picture in pictures:
        row.paste(picture, (left, gap))
        left += picture.width + gap
    return row


if __name__ == "__main__":
    main()
