# SPDX-License-Identifier: Apache-2.0
"""What the page shows, of every kind of model."""

import base64
import dataclasses
import io
import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.frame_weights import FrameWeights
from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.prediction import Prediction, describe_clip
from voxadapt.recipes.serving.page_parts import as_value, clip_result, embedding_files
from voxadapt.recipes.serving.page_timeline import (
    clock,
    timeline_files,
    timeline_headline,
    timeline_result,
)

HEADS = torch.softmax(torch.randn(2, 50, generator=torch.Generator().manual_seed(0)), dim=-1)
WAVEFORM = torch.sin(torch.arange(16_000) * 0.1)


def describe(outputs: Any, logits: list[float], weights: torch.Tensor = HEADS) -> Prediction:
    heard = FrameWeights(weights, 50.0)
    return describe_clip(outputs, torch.tensor(logits), 1.0, torch.arange(3.0), frame_weights=heard)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_labels_come_with_bars_the_likeliest_first() -> None:
    outputs = LabelOutputs({"label": ["no", "yes", "<b>&"]})
    html = clip_result(describe(outputs, [0.0, 2.0, 1.0]), WAVEFORM, "clip.wav")
    told = words(html)
    assert told.startswith("yes 66.5 % 1.0 s yes 66.5 % &lt;b&gt;&amp; 24.5 % no 9.0 %")
    widths = [float(width) for width in re.findall(r'style="width: ([\d.]+)%"', html)]
    assert widths == [66.5, 24.5, 9.0]
    assert "<h3>label</h3>" not in html


def test_of_many_labels_the_rest_is_a_click_away() -> None:
    outputs = LabelOutputs({"label": [f"word {number}" for number in range(30)]})
    html = clip_result(describe(outputs, [float(-number) for number in range(30)]), WAVEFORM, "x")
    shown, _, rest = html.partition("<details>")
    assert "word 7<" in shown
    assert "word 8<" not in shown
    assert "22 more" in rest
    assert "word 29<" in rest


def test_several_columns_have_headings() -> None:
    outputs = LabelOutputs({"emotion": ["calm", "angry"], "speaker": ["a", "b"]})
    html = clip_result(describe(outputs, [0.0, 1.0, 0.0, 1.0]), WAVEFORM, "x.wav")
    assert html.index("<h3>emotion</h3>") < html.index(">calm<") < html.index("<h3>speaker</h3>")


def test_values_are_numbers_without_a_label() -> None:
    outputs = ValueOutputs(["arousal"], [3.0], [1.0])
    html = clip_result(describe(outputs, [0.5]), WAVEFORM, "x.wav")
    assert 'class="label"' not in html
    assert "arousal 3.50" in words(html)


def test_attention_is_drawn_for_each_head_and_their_mean() -> None:
    outputs = LabelOutputs({"label": ["no", "yes"]})
    html = clip_result(describe(outputs, [0.0, 1.0]), WAVEFORM, "x.wav")
    assert len(re.findall('class="head"', html)) == 2
    assert len(re.findall('class="mean"', html)) == 1
    uniform = torch.full((1, 50), 0.02)
    html = clip_result(describe(outputs, [0.0, 1.0], uniform), WAVEFORM, "x.wav")
    assert 'class="mean"' not in html
    assert "weighs all moments alike" in html
    assert "<image" in html


def test_files_hold_the_embedding_and_what_was_said() -> None:
    files = embedding_files(describe(LabelOutputs({"label": ["no", "yes"]}), [0.0, 1.0]))
    assert np.load(io.BytesIO(files["embedding.npy"][1])).tolist() == [0, 1, 2]
    said = json.loads(files["result.json"][1])
    assert said["label"] == "yes"
    assert said["embedding"] == [0, 1, 2]


def test_names_of_files_stay_names() -> None:
    outputs = LabelOutputs({"label": ["{{x}}", "${y}"]})
    html = as_value(clip_result(describe(outputs, [0.0, 1.0]), WAVEFORM, '"><script>.tar.wav'))
    assert "<script>" not in html
    assert 'download="&quot;&gt;&lt;script&gt;.tar.embedding.npy"' in html
    assert not set("{}$`") & set(html)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0:00"), (9.6, "0:10"), (75, "1:15"), (3_725, "1:02:05")]
)
def test_times_are_those_of_a_clock(seconds: float, told: str) -> None:
    assert clock(seconds) == told


@pytest.fixture(scope="module")
def timeline(served_model: Any, zoo: Any) -> Any:
    return served_model.timeline(zoo.wave_bytes(zoo.tone(16_000, 8.0)), window=1.0, hop=0.5)


def test_a_timeline_has_a_curve_for_each_label(timeline: Any) -> None:
    html = timeline_result(timeline, "meeting.wav")
    lines = re.findall(r'stroke: var\(--c(\d)\)" d="M([^"]+)"', html)
    assert [number for number, _ in lines] == ["0", "1", "2"]
    for column, (_, path) in enumerate(lines):
        points = [tuple(map(float, point.split())) for point in path.split("L")]
        assert len(points) == len(timeline)
        heights = [1 - y / 200 for _, y in points]
        assert heights == pytest.approx(timeline.smoothed[:, column].tolist(), abs=1e-3)
        assert points[0][0] > 0
        assert points[-1][0] < 1_000
    assert words(timeline_headline(timeline)).startswith(timeline.overall().label)


def test_a_curve_breaks_where_nothing_was_heard(timeline: Any) -> None:
    raw, smoothed = timeline.raw.copy(), timeline.smoothed.copy()
    raw[5:8] = smoothed[5:8] = np.nan
    html = timeline_result(dataclasses.replace(timeline, raw=raw, smoothed=smoothed), "x.wav")
    assert "nan" not in html
    (path, *_) = re.findall(r'd="(M[^"]+)"', html)
    assert path.count("M") == 2
    raw[:] = smoothed[:] = np.nan
    silent = dataclasses.replace(timeline, raw=raw, smoothed=smoothed)
    assert "nan" not in timeline_result(silent, "x.wav")
    assert "There is nothing to hear." in timeline_headline(silent)


def test_values_have_their_own_scale(timeline: Any) -> None:
    outputs = np.linspace([2.0], [5.0], len(timeline)).astype(np.float32)
    of_values = dataclasses.replace(
        timeline, columns={}, dimensions=["arousal"], raw=outputs, smoothed=outputs
    )
    html = timeline_result(of_values, "x.wav")
    assert "<span>5.00</span><span>2.00</span>" in html
    assert 'class="strip"' not in html
    assert set(timeline_files(of_values)) == {"windows.csv", "timeline.json"}
    assert "arousal 3.50" in words(timeline_headline(of_values))


def test_the_files_of_a_timeline_are_those_of_the_command(timeline: Any) -> None:
    files = timeline_files(timeline)
    assert set(files) == {"windows.csv", "segments.csv", "audacity.txt", "timeline.json"}
    assert len(files["windows.csv"][1].splitlines()) == 1 + len(timeline)
    assert json.loads(files["timeline.json"][1])["seconds"] == 8
    html = timeline_result(timeline, "meeting.wav")
    sent = re.search(r'download="meeting.windows.csv" href="data:text/csv;base64,([^"]+)"', html)
    assert sent is not None
    assert base64.b64decode(sent[1]) == files["windows.csv"][1]
