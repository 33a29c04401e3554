# SPDX-License-Identifier: Apache-2.0
"""Probabilities in the order that was asked for, and what is written of them."""

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
from voxadapt.recipes import evaluation
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.evaluation import classify_clips, write_predictions


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


def test_two_processes_share_the_clips_and_none_is_counted_twice(
    model: FrameClassifier, make_store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, indices = make_store([3, 12, 7, 5, 9]), [4, 0, 3]

    class Process:
        num_processes = 2
        device = torch.device("cpu")

        def __init__(self, process_index: int) -> None:
            self.process_index = process_index

    found: list[Any] = []
    for rank in (0, 1):
        others = list(found)
        monkeypatch.setattr(
            evaluation, "gather_object", lambda mine, others=others: found.extend(mine) or found
        )
        processes: Any = Process(rank)
        if rank == 0:
            # Alone, the first process has not all rows: the others must be gathered.
            with pytest.raises(KeyError):
                classify_clips(model, store, indices, processes, budget=30)
        else:
            probabilities = classify_clips(model, store, indices, processes, budget=30)
    assert len(found) == 3
    np.testing.assert_allclose(probabilities, one_by_one(model, store, indices), atol=1e-5)


def test_predictions_are_one_line_a_clip(tmp_path: Path) -> None:
    clips = [Clip("a", Path("a.wav"), label="Wut"), Clip("b", Path("b.wav"), label="Glück")]
    probabilities = np.array([[0.25, 0.75], [1 / 3, 2 / 3]])
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, clips, probabilities, ["Glück", "Wut"])
    assert "Glück" in path.read_text(encoding="utf-8")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert records[0] == {
        "id": "a",
        "label": "Wut",
        "predicted": "Wut",
        "probabilities": {"Glück": 0.25, "Wut": 0.75},
    }
    assert records[1]["predicted"] == "Wut"
    assert records[1]["probabilities"]["Glück"] == pytest.approx(1 / 3, abs=1e-6)
