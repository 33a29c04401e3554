# SPDX-License-Identifier: Apache-2.0
"""What is reported of a scored part: scores, how sure they are, and for whom they hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from voxadapt.recipes.corpora.natural_order import natural_key
from voxadapt.recipes.running.frame_batches import Store
from voxadapt.recipes.scoring.metrics import (
    SCORES,
    bootstrap_interval,
    classification_metrics,
    count_pairs,
    expected_calibration_error,
    scores_of_counts,
)

DURATION_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Where buckets of clip length begin (seconds); the same for all corpora, to compare them by."""


def score_part(
    labels: Sequence[str],
    true: np.ndarray,
    probabilities: np.ndarray,
    speakers: Sequence[str | None],
    seconds: Sequence[float],
) -> dict[str, Any]:
    """Score a part of a corpus.

    Args:
        labels: Names of the classes ``C``.
        true: ``[N]`` int, class of each clip.
        probabilities: ``[N, C]`` float.
        speakers: Speaker of each clip, None where unknown.
        seconds: Length of each clip (seconds).

    Returns:
        ``labels``, what `classification_metrics` gives, ``ci95``, ``ece``, ``by_speaker`` and
        ``by_duration``.
    """
    predicted = probabilities.argmax(axis=1)
    return {
        "labels": list(labels),
        **classification_metrics(labels, true, predicted),
        "ci95": bootstrap_interval(labels, true, predicted, speakers=speakers),
        "ece": expected_calibration_error(probabilities, true),
        "by_speaker": scores_by_speaker(labels, true, predicted, speakers),
        "by_duration": scores_by_duration(labels, true, predicted, seconds),
    }


def scores_by_speaker(
    labels: Sequence[str],
    true: np.ndarray,
    predicted: np.ndarray,
    speakers: Sequence[str | None],
) -> dict[str, dict[str, Any]]:
    """Scores of each speaker's clips, in natural order; clips of unknown speakers are left out.

    Args:
        labels: Names of the classes.
        true: ``[N]`` int, class of each clip.
        predicted: ``[N]`` int.
        speakers: Speaker of each clip.

    Returns:
        ``n``, ``wa``, ``ua`` and ``macro_f1`` by speaker.
    """
    known = np.array([speaker is not None for speaker in speakers])
    if not known.any():
        return {}
    named = [str(speaker) for speaker in speakers if speaker is not None]
    names, group = np.unique(named, return_inverse=True)
    found = _score_groups(len(labels), true[known], predicted[known], group)
    by_name = dict(zip(names.tolist(), found, strict=True))
    return {name: by_name[name] for name in sorted(by_name, key=natural_key)}


def scores_by_duration(
    labels: Sequence[str], true: np.ndarray, predicted: np.ndarray, seconds: Sequence[float]
) -> list[dict[str, Any]]:
    """Scores of short and of long clips.

    Args:
        labels: Names of the classes.
        true: ``[N]`` int, class of each clip.
        predicted: ``[N]`` int.
        seconds: Length of each clip (seconds).

    Returns:
        For each bucket of `DURATION_EDGES` that holds clips: ``from`` and ``to`` (seconds, ``to``
        excluded and None at the open end), ``n``, ``wa``, ``ua`` and ``macro_f1``.
    """
    bucket = np.digitize(np.asarray(seconds, dtype=float), DURATION_EDGES) - 1
    numbers, group = np.unique(bucket, return_inverse=True)
    found = _score_groups(len(labels), true, predicted, group)
    ends = [*DURATION_EDGES[1:], None]
    return [
        {"from": DURATION_EDGES[number], "to": ends[number], **scores}
        for number, scores in zip(numbers.tolist(), found, strict=True)
    ]


def clip_seconds(store: Store, indices: Sequence[int], frame_rate: float) -> list[float]:
    """Length of clips as the encoder saw them.

    Args:
        store: The frames.
        indices: The clips.
        frame_rate: Frames a second.

    Returns:
        Seconds, to the precision of a frame.
    """
    return [round(float(length) / frame_rate, 3) for length in store.lengths[list(indices)]]


def _score_groups(
    classes: int, true: np.ndarray, predicted: np.ndarray, group: np.ndarray
) -> list[dict[str, Any]]:
    """``n`` and the scores of the clips of each group, 0..G-1, none of them empty."""
    right = true == predicted
    shape = (int(group.max()) + 1, classes)
    scores = scores_of_counts(
        right=count_pairs(group[right], true[right], shape),
        true=count_pairs(group, true, shape),
        predicted=count_pairs(group, predicted, shape),
    )
    clips = np.bincount(group)
    return [
        {"n": int(clips[row]), **{name: float(scores[name][row]) for name in SCORES}}
        for row in range(len(clips))
    ]
