# SPDX-License-Identifier: Apache-2.0
"""A report in a real browser: what it shows and does, on phone and desktop, light and dark."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes import finetune
from voxadapt.recipes.sweeping.options import SweepOptions, plan_cells
from voxadapt.recipes.sweeping.report import build_sweep_report
from voxadapt.recipes.sweeping.table import read_cell

_SPEC = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
browser = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(browser)

pytestmark = pytest.mark.skipif(
    browser.find_chromium() is None, reason="no Chromium here: a browser has to open the report"
)

SECTIONS = {
    *("confusion", "recall", "embeddings", "training", "speakers", "calibration", "durations"),
    *("clips", "settings"),
}
SIZES = {"phone": (390, 844), "desktop": (1200, 900)}


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    with browser.browse() as page:
        yield page


@pytest.fixture(scope="module")
def report(finetuned: Path) -> Path:
    return finetuned / "report.html"


@pytest.fixture(scope="module")
def joined(finetune_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two folds with two seeds."""
    out = tmp_path_factory.mktemp("joined") / "a long name of a run that has no space to break at"
    options = [*finetune_options, "--epochs=1", "--adapter=none", "--fold=all", "--seeds=2"]
    finetune.main([*options, "--report-clips=0", "--no-report-map", "--out", str(out)])
    return out / "report.html"


@pytest.fixture(scope="module")
def swept(joined: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a sweep over three layers and two poolers."""
    out = tmp_path_factory.mktemp("swept")
    metrics = json.loads(joined.with_name("metrics.json").read_text(encoding="utf-8"))
    cells = plan_cells(SweepOptions(backbone="some/encoder", weighted=True), [0, 1, 12], out)
    for number, cell in enumerate(cells):
        cell.folder.mkdir(parents=True)
        weights = {"layer_weights": [0.2, 0.5, 0.3]} if cell.layer == "weighted" else {}
        found = {**metrics, "ua": 0.3 + 0.04 * number, **weights}
        (cell.folder / "metrics.json").write_text(json.dumps(found), encoding="utf-8")
    results = [result for result in map(read_cell, cells) if result is not None]
    page = out / "report.html"
    page.write_text(build_sweep_report(results, SweepOptions(backbone="any"), out), "utf-8")
    return page


@pytest.mark.parametrize("width", [320, 390, 768, 1200])
@pytest.mark.parametrize("kind", ["joined", "swept"])
def test_pages_of_several_runs_fit_too(
    tab: Any, kind: str, width: int, request: pytest.FixtureRequest
) -> None:
    tab.troubles.clear()
    tab.open(request.getfixturevalue(kind), width=width)
    assert tab.troubles == []
    assert tab.ask("document.documentElement.scrollWidth") <= width
    heights = tab.ask("[...document.querySelectorAll('section')].map(part => part.offsetHeight)")
    assert len(heights) >= 4
    assert min(heights) > 30


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_it_loads_without_complaint_and_fits(tab: Any, report: Path, size: str, dark: bool) -> None:
    width, height = SIZES[size]
    tab.troubles.clear()
    tab.requests.clear()
    tab.open(report, width=width, height=height, dark=dark)
    assert tab.troubles == []
    assert tab.requests == [report.resolve().as_uri()]
    assert tab.ask("document.documentElement.scrollWidth") <= width
    sections = "[...document.querySelectorAll('section')]"
    shown = f"{sections}.filter(part => part.offsetHeight > 30).map(part => part.id)"
    assert set(tab.ask(shown)) >= SECTIONS
    # Nothing sticks out of the page but what scrolls in a box of its own.
    outside = (
        f"[...document.querySelectorAll('main *')].filter(part => !part.closest('.scroll, svg')"
        f" && part.getBoundingClientRect().right > {width} + 1).map(part => part.outerHTML)"
    )
    assert tab.ask(outside) == []
    page, ink = tab.ask(
        "['backgroundColor', 'color'].map(name =>"
        " getComputedStyle(document.body)[name].match(/\\d+/g).map(Number)[1])"
    )
    assert (page < 60 and ink > 180) if dark else (page > 200 and ink < 80)


def test_figures_have_size_and_words(tab: Any, report: Path) -> None:
    tab.open(report)
    figures = tab.ask(
        "[...document.querySelectorAll('svg[role=img]')].map(svg => {"
        " const box = svg.getBoundingClientRect();"
        " return [box.width, box.height, svg.querySelector('title').textContent]; })"
    )
    assert len(figures) >= 2 + 2 + 1 + 6  # curves, maps, calibration, clips
    for width, height, words in figures:
        assert width > 100
        assert height > 50
        assert len(words) > 10
    pictures = tab.ask(
        "Promise.all([...document.querySelectorAll('image')].map(async image => {"
        " const picture = new Image(); picture.src = image.getAttribute('href');"
        " await picture.decode(); return [picture.naturalWidth, picture.naturalHeight]; }))"
    )
    assert len(pictures) == 6  # all of the test clips
    assert all(width > 20 and height == 64 for width, height in pictures)


def test_players_have_the_recordings(tab: Any, report: Path) -> None:
    tab.open(report)
    lengths = tab.ask(
        "Promise.all([...document.querySelectorAll('audio')].map(player =>"
        " new Promise((done, failed) => {"
        "  const tell = () => done([player.duration,"
        "   Number(player.closest('.clip-card').querySelector('.spectrogram').dataset.seconds)]);"
        "  player.onerror = () => failed(player.error.message);"
        "  player.readyState ? tell() : player.onloadedmetadata = tell; player.load(); })))"
    )
    assert len(lengths) == 6
    for heard, drawn in lengths:
        assert 0.3 <= heard <= 0.6
        assert drawn == pytest.approx(heard, abs=0.001)


def test_touching_a_spectrogram_plays_from_there(tab: Any, report: Path) -> None:
    tab.open(report)
    x, y, width = tab.ask(
        "(() => { const picture = document.querySelector('.spectrogram');"
        " picture.scrollIntoView({block: 'center'});"
        " const box = picture.getBoundingClientRect(); return [box.x, box.y, box.width]; })()"
    )
    tab.ask(
        "window.seeked = new Promise(done => {"
        " document.querySelector('audio').onseeked = event => done(event.target.currentTime); }); 0"
    )
    tab.move(x + width / 2, y + 5, click=True)
    seconds = tab.ask("document.querySelector('.spectrogram').dataset.seconds")
    assert tab.ask("seeked") == pytest.approx(float(seconds) / 2, abs=0.02)
    (place,) = tab.ask(
        "[...document.querySelectorAll('.playhead.playing')].map(line => line.x1.baseVal.value)"
    )
    assert place >= 450


def test_pointing_at_a_clip_of_the_map_tells_it_and_finds_its_twin(tab: Any, report: Path) -> None:
    tab.open(report)
    x, y, number = tab.ask(
        "(() => { const dot = document.querySelector('.map .dot');"
        " dot.scrollIntoView({block: 'center'}); const box = dot.getBoundingClientRect();"
        " return [box.x + box.width / 2, box.y + box.height / 2, dot.dataset.n]; })()"
    )
    tab.move(x, y)
    (told,) = tab.ask(
        "[...document.querySelectorAll('.tip:not([hidden])')].map(tip => tip.textContent)"
    )
    assert told.split("_")[0] in ("hum", "noise", "tone")
    assert "speaker s3" in told
    same = tab.ask("[...document.querySelectorAll('.dot.same')].map(dot => dot.dataset.n)")
    assert same == [number, number]  # in the map by label and in that by speaker
    assert tab.ask("document.querySelectorAll('.dot.dim').length") == 4  # of the other two labels


def test_a_key_of_the_legend_shows_its_group_alone(tab: Any, report: Path) -> None:
    tab.open(report)
    key = "document.querySelector('.legend button')"
    tab.ask(f"{key}.focus(); {key}.click()")
    assert tab.ask(f"{key}.getAttribute('aria-pressed')") == "true"
    assert tab.ask("document.querySelectorAll('.dot.dim').length") == 4
    tab.ask(f"{key}.click()")
    assert tab.ask("document.querySelectorAll('.dot.dim').length") == 0


def test_without_recordings_there_is_no_player(
    tab: Any, finetuned: Path, tmp_path: Path, run_cli: Callable[..., Any]
) -> None:
    ran = run_cli("report", finetuned, "--clips=0", "--out", tmp_path / "shared.html")
    assert ran.code == 0, ran.err
    tab.troubles.clear()
    tab.open(tmp_path / "shared.html")
    assert tab.troubles == []
    assert tab.ask("document.querySelectorAll('audio, image').length") == 0
    assert tab.ask("document.querySelectorAll('.map').length") == 2
