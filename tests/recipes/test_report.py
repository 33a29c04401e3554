# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.report import write_report
from voxadapt.recipes.reporting import sounds as report_sounds
from voxadapt.recipes.reporting.clip_pictures import encode_wav
from voxadapt.recipes.reporting.figures import round_ticks
from voxadapt.recipes.reporting.head import describe_protocol, describe_seconds
from voxadapt.recipes.reporting.script import SCRIPT
from voxadapt.recipes.reporting.sections import SHOWN_MISTAKES
from voxadapt.recipes.running.command_line import UsageError, parse
from voxadapt.recipes.running.run_folder import versions
from voxadapt.recipes.scoring.metrics import (
    bootstrap_interval,
    classification_metrics,
    expected_calibration_error,
)

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
            "by_speaker": {
                name: classification_metrics(labels, true[number::6], predicted[number::6])
                for number, name in enumerate(sorted(set(speakers)))
            },
            "by_duration": [
                {"from": 0, "to": 2, **classification_metrics(labels, true[:5], predicted[:5])},
                {"from": 16, "to": None, **classification_metrics(labels, true[5:], predicted[5:])},
            ],
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
                "speaker": speakers[clip],
                "seconds": 1.0 + 0.1 * clip,
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
    assert names == [
        *("confusion", "recall", "training", "speakers", "durations", "calibration"),
        *("mistakes", "settings"),
    ]
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
    assert rows[-1][-1] == "0 of 0"
    found = np.array(metrics["confusion"])
    precision = dict(zip(metrics["labels"], np.diag(found) / found.sum(axis=0), strict=True))
    assert [plain(row[3]) for row in rows[:4]] == [as_percent(precision[label]) for label in order]
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


def add_inspection(out: Path, count: int = 4, **changes: Any) -> list[str]:
    """Write the map and clips of a run as `finetune` does; the recordings are noise."""
    lines = (out / "predictions.jsonl").read_text(encoding="utf-8").split("\n")[:count]
    ids = [json.loads(line)["id"] for line in lines]
    random = np.random.default_rng(0)
    (out / "clips").mkdir()
    for number in range(count):
        noise = encode_wav(torch.from_numpy(random.uniform(-0.5, 0.5, 16_000)).float())
        (out / "clips" / f"{number:02d}.wav").write_bytes(noise)
    clips = [
        {
            "id": name,
            "kind": ("best", "worst")[number % 2],
            "sound": f"clips/{number:02d}.wav",
            "missing": "",
            "speaker": "s1",
            "seconds": 0.98,
            "weights": [[0.5, 1.5] * 20, [1.0, 1.0] * 20],
            **changes,
        }
        for number, name in enumerate(ids)
    ]
    points = [{"id": name, "x": 0.5, "y": 0.25} for name in ids]
    drawn = {"method": "t-SNE", "seed": 0, "clips": 80, "points": points}
    dump(out / "inspection.json", {"map": drawn, "clips": clips})
    return ids


def test_names_of_clips_on_maps_and_cards_cannot_become_markup(make_run: MakeRun) -> None:
    out = make_run([HOSTILE, "b", "c"], clip_id=HOSTILE + " {}")
    add_inspection(out, kind=HOSTILE, speaker=HOSTILE)
    page = Page(write_report(out))
    elements = page.root.find()
    (script,) = page.root.find("script")
    assert script.text == SCRIPT
    assert not [e for e in elements for name in e.attributes if name.startswith("on")]
    assert page.section("clips").find("p", kind="id")[0].told().startswith(HOSTILE)
    titles = page.section("embeddings").find("title")
    assert any(title.text.startswith(HOSTILE) for title in titles)
    sources = [
        e.attributes[name] for e in elements for name in ("src", "href") if name in e.attributes
    ]
    assert len(sources) == 8
    assert all(source.startswith("data:") for source in sources)


def test_fewer_clips_can_be_shown_and_none(make_run: MakeRun) -> None:
    out = make_run()
    ids = add_inspection(out)
    cards = [len(Page(write_report(out, clips=count)).root.find("audio")) for count in (9, 3, 0)]
    assert cards == [4, 3, 0]
    shown = Page(write_report(out, clips=2)).section("clips").find("p", kind="id")
    assert [name.told() for name in shown] == ids[:2]  # the best and the worst
    assert b"<audio" not in write_report(out, clips=0, page=out / "other.html").read_bytes()


def test_a_page_takes_no_more_sound_than_it_can_hold(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_run()
    add_inspection(out)
    monkeypatch.setattr(report_sounds, "MOST_AUDIO_BYTES", 70_000)  # a clip has 32,044
    section = Page(write_report(out)).section("clips")
    assert len(section.find("audio")) == 2
    assert len(section.find("image")) == 4
    assert section.told().count("Without sound") == 2


def test_only_recordings_of_the_run_are_read(make_run: MakeRun, tmp_path: Path) -> None:
    out = make_run()
    add_inspection(out)
    secret = tmp_path / "secret.wav"
    (out / "clips" / "00.wav").rename(secret)
    (out / "clips" / "01.wav").write_bytes(b"RIFF and no more")
    found = json.loads((out / "inspection.json").read_text(encoding="utf-8"))
    found["clips"][0]["sound"] = str(secret)
    found["clips"][2]["sound"] = "../secret.wav"
    dump(out / "inspection.json", found)
    section = Page(write_report(out)).section("clips")
    assert len(section.find("audio")) == 1
    assert section.told().count("folder is gone") == 2
    assert section.told().count("folder is damaged") == 1


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


def test_other_corpora_and_label_columns_have_their_own_bars(make_run: MakeRun) -> None:
    plain_run = Page(write_report(make_run()))
    assert not plain_run.root.find("section", id="corpora")
    assert not plain_run.root.find("section", id="columns")
    scores = {"n": 7, "ua": 0.4, "wa": 0.5, "macro_f1": 0.3}
    other = {"name": HOSTILE, "labels": ["a", "b"], "confusion": [[3, 1], [2, 1]], **scores}
    columns = {"emotion": scores, "speaker": {**other, "ua": 0.9}, "dialect": None}
    page = Page(write_report(make_run(name="more", cross_corpus=[other], by_column=columns)))
    assert page.table("corpora")[0][0] == HOSTILE
    assert [plain(cell) for cell in page.table("corpora")[0][2:5]] == ["40.0 %", "50.0 %", "30.0 %"]
    assert [row[0] for row in page.table("columns")] == ["emotion", "speaker", "dialect"]
    assert page.table("columns")[2][1:] == ["not scored", "–", "–", "–", "0"]
    assert plain(page.table("columns")[1][2]) == "90.0 %"
    matrices = page.section("corpora").find("table", kind="matrix")
    assert matrices[0].find("tbody")[0].children[0].told().startswith("a 3")


def test_weights_of_layers_are_bars_relative_to_the_highest(make_run: MakeRun) -> None:
    page = Page(write_report(make_run(layer_weights=[0.1, 0.6, 0.3])))
    rows = page.table("layers")
    assert [plain(row[2]) for row in rows] == ["10.0 %", "60.0 %", "30.0 %"]
    bars = page.section("layers").find("rect", kind="blue")
    assert [float(bar.attributes["width"][:-1]) for bar in bars] == pytest.approx(
        [100 / 6, 100, 50], abs=0.01
    )


def test_speakers_stand_worst_first(make_run: MakeRun) -> None:
    out = make_run()
    by_speaker = load(out)["by_speaker"]
    rows = Page(write_report(out)).table("speakers")
    assert sorted(row[0] for row in rows) == sorted(by_speaker)
    shares = [by_speaker[row[0]]["wa"] for row in rows]
    assert shares == sorted(shares)
    assert [plain(row[2]) for row in rows] == [as_percent(share) for share in shares]


def test_lengths_have_no_upper_end_where_there_is_none(make_run: MakeRun) -> None:
    rows = Page(write_report(make_run())).table("durations")
    assert [row[0] for row in rows] == ["0 to 2 s", "from 16 s"]


def test_unknown_speakers_and_lengths_leave_no_empty_section(make_run: MakeRun) -> None:
    page = Page(write_report(make_run(by_speaker={}, by_duration=[])))
    names = [section.attributes["id"] for section in page.root.find("section")]
    assert names == ["confusion", "recall", "training", "calibration", "mistakes", "settings"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clips": 20}, "Few test clips: angry (5), happy (5)"),
        ({"right": 0.0}, "do not show that the model has learnt anything"),
        ({"tested": 3}, "No test clip, so no part in UA: sad."),
        ({"left_out": 3}, "3 clips were left out because of their audio"),
    ],
)
def test_what_a_reader_must_know_comes_before_the_scores(
    changes: dict[str, Any], words: str, make_run: MakeRun
) -> None:
    page = Page(write_report(make_run(**changes)))
    (notice,) = page.root.find(kind="notice")
    assert words in plain(notice.told())
    assert "warning" in notice.attributes["class"].split()
    assert page.source.index('class="notice') < page.source.index('class="scores"')


def test_a_test_part_of_one_clip(make_run: MakeRun) -> None:
    page = Page(write_report(make_run(clips=6, tested=1, right=2.0)))
    assert plain(page.root.find(kind="value")[0].told()) == "100.0 %"


def test_commands_bring_the_run_back(make_run: MakeRun) -> None:
    config = dataclasses.asdict(FinetuneOptions(data=["my corpus.csv"], pool="qkv", epochs=7))
    config["head"]["dropout"] = 0.5
    run = make_run(config=config, protocol="split-column")
    commands = Page(write_report(run)).root.find("pre", kind="command")
    words = shlex.split(commands[0].text)
    assert words[:2] == ["voxadapt", "finetune"]
    again = parse(FinetuneOptions, words[2:], prog="finetune.py")
    assert dataclasses.asdict(again) == config
    assert commands[1].text == "voxadapt score runs/finetune --data 'my corpus.csv' --split test"
    assert commands[2].text == "voxadapt predict runs/finetune CLIP.wav"


@pytest.mark.parametrize(
    ("protocol", "stands"), [("split-column", True), ("speaker-disjoint-random", False)]
)
def test_the_command_that_scores_again_is_one_that_runs(
    protocol: str, stands: bool, make_run: MakeRun
) -> None:
    config = dataclasses.asdict(
        FinetuneOptions(data=["c.csv"], label="emotion", allow_outside=True, out="a run")
    )
    page = Page(write_report(make_run(config=config, protocol=protocol)))
    told = [command.text for command in page.root.find("pre", kind="command")]
    score = "voxadapt score 'a run' --data c.csv --split test --label emotion --allow-outside"
    assert (score in told) == stands
    # Else no column says which clips are tested.
    assert any(" score " in command for command in told) == stands
