# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.recipes.command_line import UsageError
from voxadapt.recipes.finetune_options import FinetuneOptions
from voxadapt.recipes.metrics import (
    bootstrap_interval,
    classification_metrics,
    expected_calibration_error,
)
from voxadapt.recipes.report import SHOWN_MISTAKES, write_report
from voxadapt.recipes.report_figures import round_ticks
from voxadapt.recipes.report_head import describe_protocol, describe_seconds
from voxadapt.recipes.run_folder import versions

LABELS = ["angry", "happy", "neutral", "sad"]
VOID = {"meta"}
MakeRun = Callable[..., Path]


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: "Element | None" = None
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def find(self, tag: str = "", **attributes: str) -> list["Element"]:
        """All elements below, of this tag and with these attributes (`kind` for class)."""
        wanted = {{"kind": "class"}.get(name, name): value for name, value in attributes.items()}
        found = []
        for child in self.children:
            matches = all(
                value in child.attributes.get(name, "").split() for name, value in wanted.items()
            )
            if matches and tag in ("", child.tag):
                found.append(child)
            found += child.find(tag, **attributes)
        return found

    def told(self) -> str:
        return " ".join(" ".join([self.text, *(child.told() for child in self.children)]).split())


class Page(HTMLParser):
    """A strict reader: every element is closed, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.root = self.current = Element("", {})
        self.feed(self.source)
        self.close()
        assert self.current is self.root, f"<{self.current.tag}> is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        child = Element(tag, {name: value or "" for name, value in attrs}, self.current)
        assert len(child.attributes) == len(attrs), f"<{tag}> names an attribute twice"
        self.current.children.append(child)
        if tag not in VOID:
            self.current = child

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.current.tag, f"</{tag}> closes <{self.current.tag}>"
        assert self.current.parent is not None
        self.current = self.current.parent

    def handle_data(self, data: str) -> None:
        self.current.text += data

    def section(self, name: str) -> Element:
        (found,) = self.root.find("section", id=name)
        return found

    def table(self, kind: str) -> list[list[str]]:
        (table,) = self.root.find("table", kind=kind)
        return [
            [cell.told() for cell in row.children]
            for row in table.find("tbody")[0].children
            if row.tag == "tr"
        ]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run folder as `finetune` leaves it; options change what it says."""

    def make(
        labels: Sequence[str] = LABELS,
        *,
        epochs: int = 5,
        clips: int = 80,
        right: float = 0.7,
        tested: int | None = None,
        name: str = "run",
        clip_id: str = "clip {}.wav",
        **changes: Any,
    ) -> Path:
        rng = np.random.default_rng(0)
        true = np.arange(clips) % (tested or len(labels))
        probabilities = rng.dirichlet(np.ones(len(labels)), clips)
        swap = np.arange(clips)[rng.random(clips) < right]
        top = probabilities[swap].argmax(axis=1)
        probabilities[swap, top], probabilities[swap, true[swap]] = (
            probabilities[swap, true[swap]].copy(),
            probabilities[swap, top].copy(),
        )
        probabilities = probabilities.round(6)
        predicted = probabilities.argmax(axis=1)
        speakers = [f"s{clip % 6}" for clip in range(clips)]
        history = [
            {
                "epoch": float(epoch),
                "train_loss": 1.4 / (epoch + 1),
                "valid_loss": 1.5 / (epoch + 1),
                "valid_ua": 0.4 + 0.3 * np.sin(epoch),
                "valid_wa": 0.5,
                "valid_macro_f1": 0.45,
                "learning_rate": 1e-3,
            }
            for epoch in range(epochs)
        ]
        metrics = {
            "labels": list(labels),
            **classification_metrics(labels, true, predicted),
            "protocol": "speaker-disjoint-random",
            "by_fold": [],
            "ci95": bootstrap_interval(labels, true, predicted, speakers=speakers, samples=50),
            "ece": expected_calibration_error(probabilities, true),
            "seed": 7,
            "best_epoch": int(np.argmax([entry["valid_ua"] for entry in history])) + 1,
            "valid": {"ua": 0.7, "wa": 0.5, "macro_f1": 0.45, "loss": 0.5},
            "split_sizes": {"train": 1234, "valid": 56, "test": clips},
            "split_fingerprint": "0123456789abcdef" * 4,
            "speaker_overlap": False,
            "notes": [],
            "config": dataclasses.asdict(FinetuneOptions()),
            "versions": versions(),
            "fold": None,
            "adapter": "random",
            "parameters_trained": 1432580,
            "seconds": 83.4,
        }
        out = tmp_path / name
        out.mkdir()
        dump(out / "metrics.json", metrics | changes)
        dump(out / "history.json", history)
        records = [
            {
                "id": clip_id.format(clip),
                "label": labels[true[clip]],
                "predicted": labels[predicted[clip]],
                "probabilities": dict(zip(labels, probabilities[clip].tolist(), strict=True)),
            }
            for clip in range(clips)
        ]
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
        (out / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
        return out

    return make


def dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def load(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "metrics.json").read_text(encoding="utf-8")))


def as_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def plain(told: str) -> str:
    return told.replace("\u202f", " ")


def test_every_section_stands_in_order(make_run: MakeRun) -> None:
    path = write_report(make_run())
    page = Page(path)
    assert path.name == "report.html"
    assert page.root.find("h1")[0].told() == "80 test clips in 4 classes"
    names = [section.attributes["id"] for section in page.root.find("section")]
    assert names == ["confusion", "recall", "training", "mistakes", "settings"]
    assert page.root.find("title")[0].told().startswith("run: UA")


def test_scores_and_intervals_are_those_of_the_metrics(make_run: MakeRun) -> None:
    out = make_run()
    metrics, page = load(out), Page(write_report(out))
    for name, value in zip(("ua", "wa", "macro_f1"), page.root.find(kind="value"), strict=True):
        assert plain(value.told()) == as_percent(metrics[name])
        assert value.parent is not None
        low, high = (f"{100 * end:.1f}" for end in metrics["ci95"][name])
        assert f"{low} to {high}" in value.parent.told()
        (dot,) = value.parent.find("circle")
        assert float(dot.attributes["cx"][:-1]) == pytest.approx(100 * metrics[name], abs=0.01)
    assert "resampling the test speakers" in page.root.told()
    assert "chance 25.0 %" in plain(page.root.find(kind="score")[0].told())


def test_facts_of_the_run(make_run: MakeRun) -> None:
    config = dataclasses.asdict(FinetuneOptions(backbone="some/hubert", layer=9, pool="qkv"))
    page = Page(write_report(make_run(config=config, adapter="runs/pretrain/adapter", ece=0.043)))
    names = [name.told() for name in page.root.find("dl", kind="facts")[0].find("dt")]
    values = [plain(value.told()) for value in page.root.find("dl", kind="facts")[0].find("dd")]
    assert dict(zip(names, values, strict=True)) == {
        "Clips to train, validate, test": "1,234 / 56 / 80",
        "Backbone, frozen": "some/hubert, layer 9",
        "Adapter": "pretrained, runs/pretrain/adapter",
        "Pooling": "multi-head query-key-value (qkv)",
        "Parameters trained": "1,432,580",
        "Epoch chosen on validation": "3 of 5",
        "Expected calibration error": "4.3 %",
        "Seed": "7",
        "Time": "1 min 23 s",
    }


@pytest.mark.parametrize("classes", [2, 4, 11, 50])
def test_confusion_matrix_has_counts_and_row_percentages(make_run: MakeRun, classes: int) -> None:
    labels = [f"class {number}" for number in range(classes)]
    out = make_run(labels, clips=4 * classes + 1)
    rows = Page(write_report(out)).table("matrix")
    for label, counts, row in zip(labels, load(out)["confusion"], rows, strict=True):
        total = sum(counts)
        cells = [f"{count} {100 * count / total:.0f} %" if count else "0" for count in counts]
        assert [plain(cell) for cell in row] == [label, *cells, str(total)]


def test_right_and_wrong_cells_are_told_apart(make_run: MakeRun) -> None:
    (matrix,) = Page(write_report(make_run())).root.find("table", kind="matrix")
    for number, row in enumerate(matrix.find("tbody")[0].children):
        kinds = [cell.attributes["class"].split()[0] for cell in row.find("td")]
        expected = ["wrong"] * 4
        expected[number] = "right"
        assert kinds == [*expected, "total"]


def test_recall_bars_are_sorted_and_as_long_as_the_recall(make_run: MakeRun) -> None:
    out = make_run([*LABELS, "contempt"], tested=4)
    metrics, page = load(out), Page(write_report(out))
    assert metrics["per_class_recall"]["contempt"] is None
    known = {label: metrics["per_class_recall"][label] for label in LABELS}
    order = sorted(LABELS, key=lambda label: -known[label])
    rows = page.table("recall")
    assert [row[0] for row in rows] == [*order, "contempt"]
    assert [plain(row[2]) for row in rows] == [*(as_percent(known[label]) for label in order), "–"]
    assert rows[-1][1] == "no clip"
    assert rows[-1][3] == "0 of 0"
    bars = [bar.attributes["width"] for bar in page.section("recall").find("rect", kind="blue")]
    assert bars == [f"{100 * known[label]:.2f}%" for label in order]
    marks = {mark.attributes["x1"] for mark in page.section("recall").find("line")}
    assert marks == {f"{100 * metrics['ua']:.2f}%"}


def test_curves_hold_every_epoch_and_mark_the_chosen_one(make_run: MakeRun) -> None:
    out = make_run(epochs=5)
    loss, accuracy = Page(write_report(out)).section("training").find("figure")
    history = json.loads((out / "history.json").read_text())
    assert [len(line.attributes["points"].split()) for line in loss.find("polyline")] == [5, 5]
    assert load(out)["best_epoch"] == 3
    told = [target.told() for target in loss.find("circle", kind="target")]
    assert told[:2] == ["training, epoch 1: 1.400", "training, epoch 2: 0.700"]
    assert told[5:7] == ["validation, epoch 1: 1.500", "validation, epoch 2: 0.750"]
    best = as_percent(history[2]["valid_ua"])
    assert f"chosen: epoch 3, {best}" in plain(accuracy.told())
    (ring,) = accuracy.find("circle", kind="ring")
    points = accuracy.find("polyline")[0].attributes["points"].split()
    assert f"{ring.attributes['cx']},{ring.attributes['cy']}" == points[2]
    heights = [float(point.split(",")[1]) for point in points]
    assert min(heights) == heights[2]  # the best score stands highest


@pytest.mark.parametrize("epochs", [1, 2, 61, 300])
def test_curves_stay_inside_the_picture(make_run: MakeRun, epochs: int) -> None:
    for figure in Page(write_report(make_run(epochs=epochs))).section("training").find("figure"):
        _, _, width, height = map(float, figure.find("svg")[0].attributes["viewbox"].split())
        for line in figure.find("polyline"):
            points = [tuple(map(float, at.split(","))) for at in line.attributes["points"].split()]
            assert len(points) == epochs
            assert all(50 <= x <= width and 0 <= y <= height - 40 for x, y in points)
        assert figure.find("circle", kind="ring")


def test_mistakes_are_wrong_and_the_surest_first(make_run: MakeRun) -> None:
    out = make_run(clips=200)
    lines = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    wrong = [row for row in map(json.loads, lines) if row["label"] != row["predicted"]]
    wrong.sort(key=lambda row: -max(row["probabilities"].values()))
    assert len(wrong) > SHOWN_MISTAKES
    expected = [
        [
            row["id"],
            row["label"],
            row["predicted"],
            as_percent(max(row["probabilities"].values())),
            as_percent(row["probabilities"][row["label"]]),
        ]
        for row in wrong[:SHOWN_MISTAKES]
    ]
    page = Page(write_report(out))
    assert [[plain(cell) for cell in row] for row in page.table("mistakes")] == expected
    assert f"{SHOWN_MISTAKES} of {len(wrong)} wrong predictions" in page.root.told()


def test_no_mistakes_are_said_in_words(make_run: MakeRun) -> None:
    section = Page(write_report(make_run(right=2.0))).section("mistakes")
    assert "No test clip was predicted wrongly." in section.told()
    assert not section.find("table")


def test_overlapping_speakers_are_a_warning(make_run: MakeRun) -> None:
    out = make_run(
        protocol="split-column+speaker-overlap",
        speaker_overlap=True,
        notes=["3 of the 8 speakers of test are also in train: 'a', 'b', 'c'"],
    )
    (notice,) = Page(write_report(out)).root.find(kind="notice")
    assert "warning" in notice.attributes["class"].split()
    assert "Parts share speakers." in notice.told()
    assert "3 of the 8 speakers of test are also in train: 'a', 'b', 'c'" in notice.told()


def test_notes_are_shown_and_their_absence_is_not(make_run: MakeRun) -> None:
    notes = ["valid was cut from train: speaker-disjoint", "test has no clip of 'sad'"]
    (notice,) = Page(write_report(make_run(notes=notes))).root.find(kind="notice")
    assert [item.told() for item in notice.find("li")] == notes
    assert "warning" not in notice.attributes["class"].split()
    assert not Page(write_report(make_run(name="silent"))).root.find(kind="notice")


def test_settings_are_folded_away_and_complete(make_run: MakeRun) -> None:
    section = Page(write_report(make_run())).section("settings")
    (details,) = section.find("details")
    assert "open" not in details.attributes
    names = [name.told() for name in details.find("dt")]
    values = [value.told() for value in details.find("dd")]
    settings = dict(zip(names, values, strict=True))
    assert settings["optimizer.learning_rate"] == "0.001"
    assert settings["adapter"] == "null"
    assert settings["torch"] == versions()["torch"]
    assert "0123456789abcdef" * 4 in details.told()


HOSTILE = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>&amp;"


def test_data_cannot_become_markup(make_run: MakeRun) -> None:
    config = dataclasses.asdict(FinetuneOptions(backbone=HOSTILE, label=HOSTILE, data=[HOSTILE]))
    out = make_run(
        [HOSTILE, "b", "c"],
        clip_id=HOSTILE + " {}",
        notes=[HOSTILE],
        protocol=f"fold-column:{HOSTILE}",
        config=config,
        adapter=HOSTILE,
        versions={HOSTILE: HOSTILE},
        split_fingerprint=HOSTILE,
        name='run "><b onclick=x>',
    )
    page = Page(write_report(out))
    elements = page.root.find()
    assert {element.tag for element in elements}.isdisjoint({"script", "img", "iframe"})
    attributes = {name for element in elements for name in element.attributes}
    assert not [name for name in attributes if name.startswith("on")]
    assert {row[0] for row in page.table("matrix")} == {HOSTILE, "b", "c"}
    assert page.table("mistakes")[0][0].startswith(HOSTILE)
    for kind in ("notice", "facts", "settings", "protocol"):
        assert HOSTILE in page.root.find(kind=kind)[0].told()
    titles = [cell.attributes.get("title", "") for cell in page.root.find("td")]
    assert any(title.startswith(f"{HOSTILE} predicted as") for title in titles)


def test_page_loads_nothing(make_run: MakeRun) -> None:
    page = Page(write_report(make_run()))
    elements = page.root.find()
    names = {name for element in elements for name in element.attributes}
    assert names.isdisjoint({"src", "href", "xlink:href", "srcset", "action", "data"})
    assert {element.tag for element in elements}.isdisjoint({"script", "link", "base", "img"})
    assert not re.search(r"https?://|url\(|@import", page.source)
    (policy,) = [e for e in elements if e.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"].startswith("default-src 'none'")


def test_every_colour_is_defined_for_light_and_for_dark(make_run: MakeRun) -> None:
    (style,) = Page(write_report(make_run())).root.find("style")
    used = set(re.findall(r"var\((--[\w-]+)\)", style.text)) - {"--tone", "--strength"}
    light, dark = re.findall(r":root \{(.*?)\}", style.text, flags=re.DOTALL)
    for scheme in (light, dark):
        assert set(re.findall(r"(--[\w-]+):", scheme)) == used


def test_labels_of_any_script_and_length_are_kept(make_run: MakeRun) -> None:
    labels = ["愤怒", "غضب", "печаль и тоска", "n" * 200, "\u2028"]
    out = make_run(labels)
    page = Page(write_report(out))
    assert [row[0] for row in page.table("matrix")][:4] == labels[:4]
    assert all(row.find("bdi") for row in page.root.find("table", kind="matrix")[0].find("tr"))


@pytest.mark.parametrize("name", ["metrics.json", "history.json", "predictions.jsonl"])
def test_missing_file_is_named(make_run: MakeRun, name: str) -> None:
    out = make_run()
    (out / name).unlink()
    with pytest.raises(UsageError, match=re.escape(str(out / name)) + ": is missing.*--resume"):
        write_report(out)
    assert not (out / "report.html").exists()


def test_only_the_named_files_are_read(make_run: MakeRun) -> None:
    out = make_run()
    files = {path.name for path in out.iterdir()}
    assert files == {"metrics.json", "history.json", "predictions.jsonl"}
    first = write_report(out).read_bytes()
    assert write_report(out).read_bytes() == first
    assert {path.name for path in out.iterdir()} == files | {"report.html"}


def test_damaged_line_is_named(make_run: MakeRun) -> None:
    out = make_run()
    path = out / "predictions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:10]]), encoding="utf-8")
    with pytest.raises(UsageError, match=r"predictions\.jsonl, line 3: is not JSON"):
        write_report(out)


def test_folder_of_several_runs_is_refused(make_run: MakeRun) -> None:
    out = make_run(runs=[{"folder": "fold-1/seed-0"}, {"folder": "fold-2/seed-0"}])
    with pytest.raises(UsageError, match=r"mean of 2 runs.*fold-1/seed-0"):
        write_report(out)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("split-column", "the corpus’s own split"),
        ("fold-column:{3}", "Tested on fold {3} of"),
        ("speaker-disjoint-random", "no speaker of the test clips was heard"),
        ("stratified-random+speaker-overlap", "drawn at random, clip by clip"),
        ("something {new}", "Parts made by something {new}."),
    ],
)
def test_protocol_in_words(protocol: str, words: str) -> None:
    assert words in describe_protocol(protocol)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.25, "4.2 s"), (59.96, "1 min 00 s"), (83.4, "1 min 23 s"), (7500, "2 h 05 min")],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert describe_seconds(seconds) == words


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1.4), (0, 0.003), (0.0, 0.0), (1, 30), (0, 1234.5), (-2, 3), (7, 7)]
)
def test_ticks_are_few_even_and_cover_the_values(low: float, high: float) -> None:
    ticks = round_ticks(low, high)
    steps = np.diff(ticks)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert steps.min() > 0
    assert np.allclose(steps, steps[0])
    assert ticks[0] + steps[0] > low - 1e-9
