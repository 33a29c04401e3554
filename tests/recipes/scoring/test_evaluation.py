# SPDX-License-Identifier: Apache-2.0
"""Probabilities in the order that was asked for, and what is written of them."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from voxadapt.adapters import FeatureStandardizer
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.pooling import build_pooler
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.scoring import evaluation
from voxadapt.recipes.scoring.evaluation import classify_clips, write_predictions


@pytest.fixture
def model() -> FrameClassifier:
    torch.manual_seed(0)
    pooler = build_pooler("sap", 6)
    return FrameClassifier(FeatureStandardizer(6), pooler, classes=3, dropout=0.9)


def one_by_one(model: FrameClassifier, store: Any, indices: list[int]) -> np.ndarray:
    rows = []
    for index in indices:
        frames = torch.from_numpy(store.frames(index).astype(np.float32))[None]
        logits = model.eval()(frames, torch.zeros(frames.shape[:2], dtype=torch.bool))
        rows.append(logits.detach().double().softmax(dim=-1)[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("budget", [1, 20, 10_000])
def test_rows_are_in_the_order_of_the_indices_whatever_the_batches(
    budget: int, model: FrameClassifier, accelerator: Accelerator, make_store: Callable[..., Any]
) -> None:
    store = make_store([3, 12, 7, 5, 9])
    indices = [4, 0, 3, 1]
    probabilities = classify_clips(model, store, indices, accelerator, budget=budget)
    assert probabilities.shape == (4, 3)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities, one_by_one(model, store, indices), atol=1e-5)


def test_the_mode_comes_back_and_no_gradient_is_kept(
    model: FrameClassifier, accelerator: Accelerator, make_store: Callable[..., Any]
) -> None:
    for training in (True, False):
        model.train(training)
        classify_clips(model, make_store([3, 4]), [0, 1], accelerator, budget=100)
        assert model.training is training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("indices", [[4, 0, 3], [2], [6, 5, 4, 3, 2, 1, 0], [1, 5, 3, 0, 2]])
@pytest.mark.parametrize("budget", [1, 12, 1_000])
def test_processes_share_the_clips_and_none_is_counted_twice(
    world: int,
    indices: list[int],
    budget: int,
    model: FrameClassifier,
    make_store: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = make_store([3, 12, 7, 5, 9, 30, 4])

    class Process:
        num_processes = world
        device = torch.device("cpu")

        def __init__(self, process_index: int) -> None:
            self.process_index = process_index

    found: list[list[Any]] = []

    def gather(mine: list[Any]) -> list[Any]:
        found.append(list(mine))
        return [pair for share in found for pair in share]

    monkeypatch.setattr(evaluation, "gather_object", gather)
    for rank in range(world - 1):
        processes: Any = Process(rank)
        with contextlib.suppress(KeyError):  # not all rows yet: the others must be gathered
            classify_clips(model, store, indices, processes, budget=budget)
    last: Any = Process(world - 1)
    probabilities = classify_clips(model, store, indices, last, budget=budget)
    rows = [row for share in found for row, _ in share]
    assert sorted(rows) == list(range(len(indices)))  # each clip once, whoever has it
    np.testing.assert_allclose(probabilities, one_by_one(model, store, indices), atol=1e-5)


def test_predictions_are_one_line_a_clip(tmp_path: Path) -> None:
    clips = [
        Clip("a", Path("a.wav"), label="Wut", speaker="s1"),
        Clip("b", Path("b.wav"), label="Glück"),
    ]
    probabilities = np.array([[0.25, 0.75], [1 / 3, 2 / 3]])
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, clips, probabilities, ["Glück", "Wut"], [1.25, 0.5])
    assert "Glück" in path.read_text(encoding="utf-8")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert records[0] == {
        "id": "a",
        "label": "Wut",
        "predicted": "Wut",
        "probabilities": {"Glück": 0.25, "Wut": 0.75},
        "speaker": "s1",
        "seconds": 1.25,
    }
    assert (records[1]["speaker"], records[1]["seconds"]) == (None, 0.5)
    assert records[1]["predicted"] == "Wut"
    assert records[1]["probabilities"]["Glück"] == pytest.approx(1 / 3, abs=1e-6)


def test_predictions_that_break_off_leave_the_file_as_it_was(tmp_path: Path) -> None:
    clips, path = [Clip("a", Path("a.wav")), Clip("b", Path("b.wav"))], tmp_path / "predictions"
    write_predictions(path, clips, np.full((2, 2), 0.5), ["no", "yes"], [1.0, 1.0])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="zip"):
        write_predictions(path, clips, np.full((1, 2), 0.5), ["no", "yes"], [1.0, 1.0])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
