# SPDX-License-Identifier: Apache-2.0
"""Differences between classifiers on the clips that both were tested on, and how sure they are.

Resampling both together takes away what the test clips have in common: a hard clip is hard for both
(paired bootstrap, Efron and Tibshirani 1993, chapter 16; Koehn 2004 for its use on a test set).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxadapt.recipes.scoring.metrics import SCORES, count_pairs, known_speakers, scores_of_counts
from voxadapt.recipes.scoring.resampled_interval import resampled_interval, units_of_scores


@dataclass(frozen=True)
class TestedClips:
    """A run's predictions by clip; one clip can have several, of several seeds.

    Attributes:
        labels: The true label of each clip.
        predicted: What each clip was taken for, once for each seed that tested it.
        speakers: The speaker of each clip, None where unknown.
    """

    labels: dict[str, str]
    predicted: dict[str, list[str]]
    speakers: dict[str, str | None]


def group_by_clip(records: Sequence[Mapping[str, Any]]) -> TestedClips:
    """Put a run's predictions together by clip.

    Args:
        records: What ``predictions.jsonl`` holds; of several seeds and folds, all of them.
    """
    labels, speakers = {}, {}
    predicted: dict[str, list[str]] = defaultdict(list)
    for record in records:
        labels[record["id"]] = record["label"]
        speakers[record["id"]] = record.get("speaker")
        predicted[record["id"]].append(record["predicted"])
    return TestedClips(labels, dict(predicted), speakers)


@dataclass(frozen=True)
class Resampled:
    """Scores of several runs on the same clips.

    Attributes:
        scores: Of each run, ``[runs]`` by name: `wa`, `ua`, `macro_f1`.
        resampled: Of each run in each resample, ``[samples, runs]`` by name.
        units: How many clips or speakers each score rests on, by name.
        unit: What was resampled, ``clip`` or ``speaker``.
        clips: How many clips.
    """

    scores: dict[str, np.ndarray]
    resampled: dict[str, np.ndarray]
    units: Mapping[str, int]
    unit: str
    clips: int

    def interval(self, name: str, run: int, level: float = 0.95) -> list[float]:
        """Interval of a run's score."""
        return resampled_interval(self.resampled[name][:, run], self.units[name], level)

    def difference(self, name: str, run: int, other: int, level: float = 0.95) -> dict[str, Any]:
        """How far a run's score is above another's.

        Returns:
            ``difference``; its percentile ``interval``; and ``p``, twice the share of resamples in
            which the difference has not the sign that it has (1 at most, and at least 1 over the
            number of resamples): the two-sided bootstrap p-value of no difference.
        """
        drawn = self.resampled[name][:, run] - self.resampled[name][:, other]
        found = float(self.scores[name][run] - self.scores[name][other])
        below = np.mean(drawn <= 0) if found > 0 else np.mean(drawn >= 0)
        p = min(1.0, max(2 * float(below), 1 / len(drawn)))
        edges = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)]).tolist()
        return {"difference": found, "interval": edges, "p": 1.0 if found == 0 else p}


def resample_runs(
    runs: Sequence[TestedClips], clips: Sequence[str], *, samples: int = 5000, seed: int = 0
) -> Resampled:
    """Score all runs on the same resamples of clips.

    Whole speakers are resampled where every clip has one and there are enough (see
    `known_speakers`), else clips. A clip that a run tested with several seeds counts once, each of
    its predictions by its share, so that seeds are never taken for more clips.

    Args:
        runs: The runs; all have tested all ``clips``, with the same labels.
        clips: Ids of the clips.
        samples: Number of resamples.
        seed: Of the resampling.

    Raises:
        ValueError: There is no clip.
    """
    if not clips:
        raise ValueError("clips is empty; runs can be compared on clips that all have tested.")
    names = sorted(
        {run.labels[clip] for run in runs for clip in clips}
        | {name for run in runs for clip in clips for name in run.predicted[clip]}
    )
    number = {name: row for row, name in enumerate(names)}
    speakers = known_speakers([_speaker(runs, clip) for clip in clips])
    unit = np.unique(clips if speakers is None else speakers, return_inverse=True)[1]
    units = int(unit.max()) + 1
    random = np.random.default_rng(seed)
    drawn = random.multinomial(units, np.full(units, 1 / units), samples).astype(float)

    shape = (units, len(names))
    true = np.array([number[runs[0].labels[clip]] for clip in clips])
    of_class = count_pairs(unit, true, shape)  # [units, C]
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    resampled: dict[str, list[np.ndarray]] = {name: [] for name in SCORES}
    for run in runs:
        right, predicted = _count_run(run, clips, unit, true, number, shape)
        whole = scores_of_counts(*(part.sum(axis=0)[None] for part in (right, of_class, predicted)))
        found = scores_of_counts(drawn @ right, drawn @ of_class, drawn @ predicted)
        for name in SCORES:
            scores[name].append(float(whole[name][0]))
            resampled[name].append(found[name])
    return Resampled(
        {name: np.array(values) for name, values in scores.items()},
        {name: np.stack(values, axis=1) for name, values in resampled.items()},
        units_of_scores(of_class, np.ones(units, dtype=np.int64)),
        "clip" if speakers is None else "speaker",
        len(clips),
    )


def _speaker(runs: Sequence[TestedClips], clip: str) -> str | None:
    """A clip's speaker; one of the runs may be older than the record of speakers."""
    return next((run.speakers[clip] for run in runs if run.speakers[clip] is not None), None)


def _count_run(
    run: TestedClips,
    clips: Sequence[str],
    unit: np.ndarray,
    true: np.ndarray,
    number: Mapping[str, int],
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Clips that are right, and that are taken for each class, by unit: each ``[units, C]``."""
    counts = [len(run.predicted[clip]) for clip in clips]
    row = np.repeat(np.arange(len(clips)), counts)
    weights = np.repeat(1 / np.array(counts), counts)
    predicted = np.array([number[name] for clip in clips for name in run.predicted[clip]])
    right = predicted == true[row]
    return (
        count_pairs(unit[row][right], predicted[right], shape, weights[right]),
        count_pairs(unit[row], predicted, shape, weights),
    )
