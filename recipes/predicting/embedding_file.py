# SPDX-License-Identifier: Apache-2.0
"""Pooled vectors of many clips in one NumPy file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxadapt.adapters.written_aside import write_aside
from voxadapt.prediction import Prediction
from voxadapt.recipes.corpora.manifest_paths import printable

EMBEDDING_ENDINGS = (".npy", ".npz")


def write_embeddings(file: Path, paths: Sequence[Path], predictions: Sequence[Prediction]) -> None:
    """Write one row for each clip, in order.

    Args:
        file: ``.npy``, an array ``[N, D']`` float32; or ``.npz``, that as ``embeddings``, with
            ``paths`` and, of a model of labels, ``predicted``. Neither needs pickle to be read.
        paths: Of the clips.
        predictions: What the model says of them.
    """
    rows = [prediction.embedding.numpy() for prediction in predictions]
    embeddings = np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
    if file.suffix.lower() == ".npy":
        write_aside(file, lambda stream: np.save(stream, embeddings))
        return
    # savez has an option among its arrays' names, which mypy cannot tell from them.
    arrays: dict[str, Any] = {
        "embeddings": embeddings,
        "paths": np.array([printable(str(path)) for path in paths], dtype=np.str_),
    }
    labels = [prediction.label for prediction in predictions]
    if all(label is not None for label in labels):
        arrays["predicted"] = np.array(labels, dtype=np.str_)
    write_aside(file, lambda stream: np.savez(stream, **arrays))
