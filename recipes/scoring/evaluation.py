# SPDX-License-Identifier: Apache-2.0
"""Probabilities for clips, gathered by clip over processes, and what is written of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from voxadapt.adapters.written_aside import write_aside
from voxadapt.outputs import Outputs, as_outputs
from voxadapt.recipes.corpora.batching import plan_batches, share_batch
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.running.frame_batches import load_batch
from voxadapt.recipes.scoring.target_scores import prediction_record


def softmax(logits: Tensor) -> Tensor:
    """Probabilities ``[..., C]`` of the classes of one label column."""
    return logits.softmax(dim=-1)


@torch.inference_mode()
def classify_clips(
    model: nn.Module,
    store: FeatureStore,
    indices: Sequence[int],
    accelerator: Accelerator,
    *,
    budget: int,
    activation: Callable[[Tensor], Tensor] = softmax,
) -> np.ndarray:
    """Probabilities (or values) of clips, the same for any number of processes.

    Args:
        model: The classifier, on the accelerator's device.
        store: The frames.
        indices: The clips to classify.
        accelerator: The process group.
        budget: Padded frames in one forward pass.
        activation: What makes probabilities or values ``[B, C]`` of the model's outputs.

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
        found += zip(rows, activation(logits.double()).tolist(), strict=True)
    model.train(was_training)
    by_row = dict(gather_object(found))
    return np.array([by_row[row] for row in range(len(indices))])


def write_predictions(
    path: Path,
    clips: Sequence[Clip],
    activated: np.ndarray,
    outputs: Outputs | Sequence[str],
    seconds: Sequence[float],
) -> None:
    """Write one JSON line for each clip, as `prediction_record` makes it, and speaker and seconds.

    The file is there whole or, where the run is killed, as it was.

    Args:
        path: The file.
        clips: ``N`` clips.
        activated: ``[N, C]`` float, probabilities or values.
        outputs: What they mean; names of classes, where there is one label column.
        seconds: Length of each clip.
    """
    meaning = as_outputs(outputs)

    def write(file: BinaryIO) -> None:
        for clip, row, length in zip(clips, activated, seconds, strict=True):
            record = prediction_record(meaning, clip, row)
            record |= {"speaker": clip.speaker, "seconds": length}
            file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())

    write_aside(path, write)
