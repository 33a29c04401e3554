# SPDX-License-Identifier: Apache-2.0
"""The page of ``serve`` in a real browser: a recording goes in, the label is read from the page."""

import importlib.util
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs pip install -e '.[serve]'")

_SPEC = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
browser = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(browser)

pytestmark = pytest.mark.skipif(
    browser.find_chromium() is None, reason="no Chromium here: a browser has to open the page"
)

SIZES = {"phone": (390, 844), "desktop": (1200, 900)}
LABELS = ("hum", "noise", "tone")
# Gradio's own, in every page of its 6.31.
KNOWN_TROUBLE = "Method not implemented."


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def address(finetuned: Path, temporary: Path) -> Iterator[str]:
    """Where ``voxadapt serve`` answers, started as a user does."""
    import os
    import subprocess
    import sys

    command = [sys.executable, "-m", "voxadapt.cli", "serve", str(finetuned), "--port=0"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    told = ""
    while not (found := re.search(r"page +(http://[\d.:]+)/", told)):
        line = process.stderr.readline()
        assert line, told
        told += line
    yield found[1] + "/"
    process.terminate()
    process.communicate(timeout=60)
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def tab(address: str) -> Iterator[Any]:
    microphone = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with browser.browse(*microphone) as page:
        for _ in range(200):  # it is told of before it answers
            page.open(address)
            if page.ask("!!document.querySelector('gradio-app, #root, body > *')"):
                break
        yield page


def wait_for(tab: Any, expression: str) -> Any:
    """The value of an expression once it is true."""
    ends = time.monotonic() + 60
    while not (found := tab.ask(expression)):
        assert time.monotonic() < ends, (expression, tab.ask("document.body.innerText"))
        time.sleep(0.05)
    return found


def visit(tab: Any, address: str, path: Path, **window: Any) -> None:
    """Open the page and give it a file."""
    tab.troubles.clear()
    tab.requests.clear()
    tab.open(address, **window)
    wait_for(tab, "!!document.querySelector('#recording input[type=file]')")
    root = tab.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
    selector = "#recording input[type=file]"
    node = tab.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
    tab.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)


def check_health(tab: Any, address: str) -> None:
    """Nothing was complained of, nothing was asked of other machines."""
    assert [told for told in tab.troubles if KNOWN_TROUBLE not in told] == []
    assert [asked for asked in tab.requests if not asked.startswith(address)] == []
    assert len(tab.requests) > 5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_a_recording_goes_in_and_its_label_comes_out(
    tab: Any, address: str, finetuned: Path, corpus: Path, size: str, dark: bool
) -> None:
    from voxadapt import SpeechClassifier

    width, height = SIZES[size]
    path = corpus.with_name("noise_3_0.wav")
    visit(tab, address, path, width=width, height=height, dark=dark)
    expected = SpeechClassifier.from_pretrained(finetuned).predict(path)
    assert wait_for(tab, "document.querySelector('#result .label')?.textContent") == expected.label
    shown = tab.ask("[...document.querySelectorAll('#result .shares > *')].map(e => e.innerText)")
    ordered = sorted(expected.probabilities.items(), key=lambda pair: -pair[1])
    assert [text for text in shown if text] == [
        word for label, share in ordered for word in (label, f"{100 * share:.1f}\u202f%")
    ]
    bars = tab.ask("[...document.querySelectorAll('#result .bar')].map(e => e.offsetWidth)")
    assert bars == sorted(bars, reverse=True)
    assert bars[0] > 30
    check_health(tab, address)
    assert tab.ask("document.documentElement.scrollWidth") <= width
    page, ink = tab.ask(
        "[[document.body, 'backgroundColor'], [document.querySelector('#result .label'), 'color']]"
        ".map(([part, name]) => getComputedStyle(part)[name].match(/\\d+/g).map(Number)[1])"
    )
    assert (page < 60 and ink > 180) if dark else (page > 200 and ink < 80)


def test_the_spectrogram_is_drawn_with_the_attention_over_it(
    tab: Any, address: str, corpus: Path
) -> None:
    visit(tab, address, corpus.with_name("hum_3_0.wav"))
    wait_for(tab, "!!document.querySelector('#result .spectrogram path.mean')")
    box = tab.ask(
        "(() => { const box = document.querySelector('#result .spectrogram')"
        ".getBoundingClientRect(); return [box.width, box.height]; })()"
    )
    assert box[0] > 300
    assert box[1] > 100
    line = tab.ask("document.querySelector('#result path.mean').getTotalLength()")
    assert line > 900  # it goes over the whole width
    picture = tab.ask(
        "(async () => { const picture = new Image(); picture.src ="
        " document.querySelector('#result image').getAttribute('href'); await picture.decode();"
        " return [picture.naturalWidth, picture.naturalHeight]; })()"
    )
    assert picture[0] > 20
    assert picture[1] == 64


def test_the_embedding_can_be_taken_away(
    tab: Any, address: str, finetuned: Path, corpus: Path
) -> None:
    from voxadapt import SpeechClassifier

    path = corpus.with_name("hum_3_0.wav")
    visit(tab, address, path)
    wait_for(tab, "document.querySelectorAll('#result a.download').length == 2")
    names, sizes, content = tab.ask(
        "(async () => { const links = [...document.querySelectorAll('#result a.download')];"
        " const read = async link => (await fetch(link.href)).text();"
        " const files = await Promise.all(links.map(read));"
        " return [links.map(link => link.download), files.map(file => file.length), files[1]]; })()"
    )
    assert names == ["hum_3_0.embedding.npy", "hum_3_0.result.json"]
    assert min(sizes) > 100
    expected = SpeechClassifier.from_pretrained(finetuned).predict(path)
    assert json.loads(content)["embedding"] == pytest.approx(expected.embedding.tolist(), abs=1e-4)


def test_it_can_be_played_after_the_server_has_deleted_it(
    tab: Any, address: str, temporary: Path, zoo: Any, tmp_path: Path
) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(zoo.wave_bytes(zoo.tone(16_000, 5.0)))
    visit(tab, address, path)
    wait_for(tab, "!!document.querySelector('#result .label')")
    wait_for(tab, "document.querySelector('#recording').innerText.includes('0:05')")
    while list(temporary.glob("voxadapt-serve-*/*/clip.wav")):
        time.sleep(0.1)
    asked = len(tab.requests)
    tab.ask("document.querySelector('#recording button[aria-label=Play]').click()")
    wait_for(tab, "document.querySelector('#recording').innerText.includes('0:01')")
    assert [name for name in tab.requests[asked:] if "favicon" not in name] == []


def test_the_microphone_records(tab: Any, address: str, temporary: Path) -> None:
    tab.open(address)
    wait_for(tab, "!!document.querySelector('#recording button[aria-label=\"Record audio\"]')")
    tab.ask("document.querySelector('#recording button[aria-label=\"Record audio\"]').click()")
    wait_for(tab, "!!document.querySelector('#recording .record-button')")
    tab.ask("document.querySelector('#recording .record-button').click()")
    wait_for(tab, "document.querySelector('#recording').innerText.includes('0:01')")
    tab.ask("document.querySelector('#recording .stop-button').click()")
    assert wait_for(tab, "document.querySelector('#result .label')?.textContent") in LABELS
    seconds = tab.ask("document.querySelector('#result .seconds').textContent")
    assert float(seconds.removesuffix(" s")) >= 0.9
    ends = time.monotonic() + 60
    while [path for path in temporary.rglob("*") if path.is_file()]:  # it goes within seconds
        assert time.monotonic() < ends
        time.sleep(0.1)


@pytest.mark.parametrize("width", [390, 1200])
def test_a_longer_recording_has_a_timeline(
    tab: Any, address: str, zoo: Any, tmp_path: Path, width: int
) -> None:
    path = tmp_path / "a {long} <i>one.wav"
    path.write_bytes(zoo.wave_bytes(zoo.tone(16_000, 9.0)))
    visit(tab, address, path, width=width)
    wait_for(tab, "!!document.querySelector('#result .timeline')")
    paths = "document.querySelectorAll('#result .timeline path').length"
    assert tab.ask(paths) == 3
    keys = tab.ask("[...document.querySelectorAll('#result .legend bdi')].map(e => e.textContent)")
    assert keys == ["hum", "noise", "tone"]
    colours = tab.ask(
        "[...document.querySelectorAll('#result .timeline path')]"
        ".map(line => getComputedStyle(line).stroke)"
    )
    assert len(set(colours)) == 3
    assert tab.ask("document.querySelector('#result .strip').getBoundingClientRect().width") > 250
    links = tab.ask("[...document.querySelectorAll('#result .download')].map(e => e.download)")
    assert any(name.endswith("one.segments.csv") for name in links)
    assert tab.ask("document.querySelectorAll('#result i').length") == 0
    assert tab.ask("document.documentElement.scrollWidth") <= width
    check_health(tab, address)


def test_no_audio_is_told_and_the_next_recording_is_answered(
    tab: Any, address: str, corpus: Path, tmp_path: Path, zoo: Any
) -> None:
    path = tmp_path / "nan.wav"
    import soundfile

    soundfile.write(path, np.full(8_000, np.nan), 16_000, subtype="FLOAT")
    visit(tab, address, path)
    told = wait_for(tab, "document.querySelector('#result .notice')?.textContent")
    assert "not finite" in told or "NaN" in told or "finite" in told
    visit(tab, address, corpus.with_name("hum_3_0.wav"))
    assert wait_for(tab, "document.querySelector('#result .label')?.textContent")
    assert tab.ask("!document.querySelector('#result .notice')")


def test_the_documentation_of_the_endpoint_loads_nothing(tab: Any, address: str) -> None:
    tab.troubles.clear()
    tab.requests.clear()
    tab.open(address + "docs", width=390)
    assert tab.troubles == []
    assert {asked.removeprefix(address) for asked in tab.requests} <= {"docs", "favicon.ico"}
    assert tab.ask("document.documentElement.scrollWidth") <= 390
    assert "POST /predict" in tab.ask("document.body.innerText")
