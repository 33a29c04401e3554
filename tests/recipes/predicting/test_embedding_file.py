# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import torch

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.prediction import describe_clip
from voxadapt.recipes.predicting.embedding_file import write_embeddings

LABELS = LabelOutputs({"label": ["angry", "sad"]})
PATHS = [Path("a.wav"), Path("ü.wav")]
VECTORS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def test_rows_are_in_order_and_nothing_needs_pickle(tmp_path: Path) -> None:
    found = [describe_clip(LABELS, torch.eye(2)[row], 1.0, VECTORS[row]) for row in range(2)]
    write_embeddings(tmp_path / "e.npy", PATHS, found)
    array = np.load(tmp_path / "e.npy", allow_pickle=False)
    assert array.dtype == np.float32
    assert array.tolist() == VECTORS.tolist()
    write_embeddings(tmp_path / "e.npz", PATHS, found)
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert arrays["embeddings"].tolist() == VECTORS.tolist()
        assert arrays["paths"].tolist() == ["a.wav", "ü.wav"]
        assert arrays["predicted"].tolist() == ["angry", "sad"]


def test_a_model_of_values_has_no_labels_and_no_clip_is_no_row(tmp_path: Path) -> None:
    outputs = ValueOutputs(["arousal"], [0.0], [1.0])
    found = [describe_clip(outputs, torch.zeros(1), 1.0, VECTORS[0])]
    write_embeddings(tmp_path / "e.npz", PATHS[:1], found)
    with np.load(tmp_path / "e.npz") as arrays:
        assert set(arrays) == {"embeddings", "paths"}
    write_embeddings(tmp_path / "none.npy", [], [])
    assert len(np.load(tmp_path / "none.npy")) == 0
