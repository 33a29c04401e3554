# SPDX-License-Identifier: Apache-2.0
"""Probabilities for clips, gathered by clip over processes, and what is written of them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from voxadapt.recipes.corpora.batching import plan_batches, share_batch
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.frame_batches import load_batch


@torch.inference_mode()
def classify_clips(
    model: nn.Module,
    store: FeatureStore,
    indices: Sequence[int],
    accelerator: Accelerator,
    *,
    budget: int,
) -> np.ndarray:
    """Probabilities of clips, the same for any number of processes.

    Args:
        model: The classifier, on the accelerator's device.
        store: The frames.
        indices: The clips to classify.
        accelerator: The process group.
        budget: Padded frames in one forward pass.

    Returns:
        ``[len(indices), C]`` float64, rows in the order of ``indices``, on every process.
    """
    was_training = model.training
    model.eval()
    found: list[tuple[int, list[float]]] = []
    for batch in plan_batches(store.lengths[list(indices)], budget, seed=None):
        rows, is_filler = share_batch(batch, accelerator.process_index, accelerator.num_processes)
        if is_filler:
            continue
        loaded = load_batch(store, [indices[row] for row in rows], device=accelerator.device)
        logits = model(loaded.frames, loaded.padding_mask)
        found += zip(rows, logits.double().softmax(dim=-1).tolist(), strict=True)
    model.train(was_training)
    by_row = dict(gather_object(found))
    return np.array([by_row[row] for row in range(len(indices))])


def write_predictions(
    path: Path, clips: Sequence[Clip], probabilities: np.ndarray, labels: Sequence[str]
) -> None:
    """Write one JSON line for each clip: id, label, predicted, probabilities by label."""
    with open(path, "w", encoding="utf-8") as file:
        for clip, row in zip(clips, probabilities, strict=True):
            record = {
                "id": clip.id,
                "label": clip.label,
                "predicted": labels[int(row.argmax())],
                "probabilities": {
                    label: round(float(value), 6) for label, value in zip(labels, row, strict=True)
                },
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
