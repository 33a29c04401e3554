# SPDX-License-Identifier: Apache-2.0
"""How far features in bf16 are from those in fp32, and what a head makes of either."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from extraction_measuring import draw, make_ours, relative_error
from extraction_peers import make_peer
from extraction_rows import PRECISIONS, ROWS, Row
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from voxadapt.backbones import read_audio
from voxadapt.recipes.corpora.clip import Clip

CLIPS = 8


def measure_accuracy(
    model_name: str, model: Any, rows: Sequence[str], clips: Sequence[Tensor], device: torch.device
) -> list[dict[str, Any]]:
    """Compare the last hidden states of a few clips, each alone.

    Args:
        model_name: One of `extraction_models.MODELS`.
        model: The transformers model.
        rows: Keys of `ROWS`, whose contexts are compared.
        clips: To draw from, each `[S]`.
        device: Where everything runs.

    Returns:
        One dictionary a context: relative errors of bf16 against fp32, and of fp32 against
        transformers, which has no features of a Whisper that sees the clip only.
    """
    clips = draw(clips, CLIPS, seed=0)
    results = []
    for context in dict.fromkeys(ROWS[row].context for row in rows):
        row = Row("", (model_name,), (), (0, 0), context=context)
        frames = {
            precision: _encode_alone(make_ours(model, row, precision, device), clips)
            for precision in PRECISIONS
        }
        result = {"model": model_name, "context": context, "fp32_error": None}
        result["bf16_error"] = relative_error(frames["bf16"], frames["fp32"])
        if context == "window" or not model_name.startswith("whisper"):
            with tempfile.TemporaryDirectory() as folder:
                encode = make_peer("HF one by one", model, Path(folder), device)
            theirs = _encode_alone(encode, clips)
            # Whisper's frames of the silence up to 30 s are no frames of the clip.
            theirs = [a[:, : b.shape[1]] for a, b in zip(theirs, frames["fp32"], strict=True)]
            result["fp32_error"] = relative_error(frames["fp32"], theirs)
        results.append(result)
    return results


def measure_scores(
    model_name: str, model: Any, rows: Sequence[str], clips: Sequence[Clip], device: torch.device
) -> list[dict[str, Any]]:
    """Train a head on features in fp32 and in bf16, and score both.

    The head is a logistic regression on mean and standard deviation over a clip's frames: nothing
    in it is random, so that what changes comes from the features.

    Args:
        model_name: One of `extraction_models.MODELS`.
        model: The transformers model.
        rows: Keys of `ROWS`, of whose contexts the cheapest is taken.
        clips: With labels and the split that they are trained and tested by.
        device: Where the encoder runs.

    Returns:
        One dictionary: the test part's unweighted accuracy (0..1) by precision.
    """
    contexts = sorted(ROWS[row].context for row in rows)  # "clip" comes before "window"
    row = Row("", (model_name,), (), (0, 0), context=contexts[0])
    waveforms = [read_audio(clip.path, start=clip.start, end=clip.end) for clip in clips]
    labels = np.array([clip.label for clip in clips])
    tested = np.array([clip.split == "test" for clip in clips])
    result: dict[str, Any] = {"model": model_name, "context": row.context}
    for precision in PRECISIONS:
        vectors = _pool(_encode_alone(make_ours(model, row, precision, device), waveforms))
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=5_000))
        head.fit(vectors[~tested], labels[~tested])
        predicted = head.predict(vectors[tested])
        result[precision] = float(recall_score(labels[tested], predicted, average="macro"))
        result[f"{precision}_predicted"] = predicted.tolist()
    pairs = zip(result.pop("fp32_predicted"), result.pop("bf16_predicted"), strict=True)
    result["changed"] = sum(a != b for a, b in pairs)
    result["tested"] = int(tested.sum())
    return [result]


def _pool(frames: Sequence[Tensor]) -> np.ndarray:
    """Mean and standard deviation over time, `[clips, 2 D]`, of frames `[1, T, D]` each."""
    vectors = [torch.cat([clip[0].mean(0), clip[0].std(0, correction=0)]) for clip in frames]
    return torch.stack(vectors).float().cpu().numpy()


def _encode_alone(encode: Any, clips: Sequence[Tensor]) -> list[Tensor]:
    with torch.inference_mode():
        return [encode([clip])[0] for clip in clips]
