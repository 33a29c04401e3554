# SPDX-License-Identifier: Apache-2.0
"""Where the linear layer starts: at a probe of the frozen rest (Kumar et al. 2022).

"Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution" (arXiv
2202.10054): a linear layer that starts at random sends gradients of its own mistakes into what lies
below, and so spoils pretrained features before it has learnt to use them. Fitted first, on features
that stand still, it has hardly any mistakes of that kind to send.
"""

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from voxadapt.frame_classifier import FrameClassifier
from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.corpora.batching import padded_budget
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.finetuning.labelled_frames import UNKNOWN, LabelledFrames
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.reporting.clip_inspection import pool_clips

logger = logging.getLogger(__name__)

# Frames of the clips that a probe learns from, so that its time stays bounded: half an hour of
# audio at 50 frames a second, and less where layers of the encoder have to be run for them.
PROBE_FRAMES = 100_000
TUNED_PROBE_FRAMES = 20_000
ITERATIONS = 500


def start_linear(
    model: FrameClassifier, data: LabelledFrames, options: FinetuneOptions, seed: int
) -> None:
    """Standardise the pooled vectors, and start the linear layer at a probe on them.

    The probe is fitted to clips of the training part: a logistic regression for each label column,
    or a ridge regression of the standardised values.

    Args:
        model: A classifier freshly made, on its device; its standardizer and linear layer change.
        data: Clips, frames, targets and splits.
        options: The run's options; ``head.probe`` is the inverse strength of the L2 penalty, and
            at 0 nothing is done.
        seed: The run's seed.
    """
    if not options.head.probe:
        return
    max_frames = PROBE_FRAMES if model.tuned_layers is None else TUNED_PROBE_FRAMES
    clips = sample_clips(
        data.store.lengths,
        data.splits.train,
        stable_seed(seed, "probe"),
        max_frames,
        data.targets if isinstance(data.outputs, LabelOutputs) else None,
    )
    budget = padded_budget(options.batch_seconds, data.frame_rate)
    vectors = torch.zeros(len(clips), model.pooler.output_size)
    for row, vector, _ in pool_clips(model, data.store, clips, range(len(clips)), budget=budget):
        vectors[row] = vector
    of_how_many = "" if len(clips) == len(data.splits.train) else f" of {len(data.splits.train)}"
    logger.info("the linear layer starts at a probe on %d%s clips", len(clips), of_how_many)
    model.standardize_vectors(vectors)
    assert model.vector_standardizer is not None
    device = model.linear.weight.device
    features = model.vector_standardizer(vectors.to(device)).cpu().double().numpy()
    targets = data.targets[clips]
    if isinstance(data.outputs, ValueOutputs):
        values = data.outputs.standardize(torch.from_numpy(targets)).numpy()
        weight, bias = probe_values(features, values, options.head.probe)
    else:
        # Weights balance the classes of every column, sampling those of the first one only.
        balanced = [
            options.class_weights == "balanced" or (options.sampling == "balanced" and column == 0)
            for column in range(targets.shape[1])
        ]
        # A column whose loss has no weight is not learnt here either.
        for column, label_weight in enumerate(options.label_weights):
            targets[:, column] = targets[:, column] if label_weight else UNKNOWN
        weight, bias = probe_labels(
            features, targets, data.outputs, options.head.probe, balanced=balanced
        )
    with torch.no_grad():
        model.linear.weight.copy_(torch.from_numpy(weight))
        model.linear.bias.copy_(torch.from_numpy(bias))


def sample_clips(
    lengths: np.ndarray,
    clips: Sequence[int],
    seed: int,
    max_frames: int,
    classes: np.ndarray | None = None,
) -> list[int]:
    """Draw clips until they have this many frames; all where they have fewer.

    Args:
        lengths: Frames of all clips of the corpus.
        clips: The clips to draw from, by their rows in `lengths`.
        seed: Which draw.
        max_frames: The clip that passes this is the last one.
        classes: ``[clips, columns]`` of all clips of the corpus. One clip of each class of each
            column is drawn before any other, so that a class is only missing where so many frames
            do not hold them all.

    Returns:
        Rows in `lengths`, ascending.
    """
    drawn = np.random.default_rng(seed).permutation(np.asarray(clips))
    if classes is not None:
        firsts = [np.unique(column, return_index=True)[1] for column in classes[drawn].T]
        later = np.ones(len(drawn), dtype=bool)
        later[np.concatenate(firsts)] = False
        drawn = drawn[np.argsort(later, kind="stable")]
    frames = lengths[drawn]
    return sorted(drawn[np.cumsum(frames) - frames < max_frames].tolist())


def probe_labels(
    features: np.ndarray,
    targets: np.ndarray,
    outputs: LabelOutputs,
    inverse_strength: float,
    *,
    balanced: Sequence[bool],
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression for each label column.

    A class that no clip has here, which can be where the clips are a sample, gets weights of 0 and
    the lowest bias of the others; a column with fewer than two classes all zeros.

    Args:
        features: ``[N, D]`` float64, standardised.
        targets: ``[N, columns]`` int64, `UNKNOWN` where a label does not count.
        outputs: The columns and their classes.
        inverse_strength: scikit-learn's ``C``.
        balanced: Of each column, whether all its classes count alike.

    Returns:
        ``[O, D]`` weights and ``[O]`` biases of all columns' classes, side by side.
    """
    weights, biases = [], []
    for column, labels in enumerate(outputs.columns.values()):
        classes = targets[:, column]
        weight, bias = np.zeros((len(labels), features.shape[1])), np.zeros(len(labels))
        known = classes != UNKNOWN
        found = np.unique(classes[known])
        if len(found) > 1:
            probe = LogisticRegression(
                C=inverse_strength,
                max_iter=ITERATIONS,
                class_weight="balanced" if balanced[column] else None,
            )
            with warnings.catch_warnings():  # training goes on from wherever it has come to
                warnings.simplefilter("ignore", ConvergenceWarning)
                probe.fit(features[known], classes[known])
            coefficients, intercepts = probe.coef_, probe.intercept_
            if len(found) == 2:  # it has one row then, the second class over the first
                coefficients = np.concatenate([-coefficients, coefficients]) / 2
                intercepts = np.concatenate([-intercepts, intercepts]) / 2
            bias[:] = intercepts.min()
            weight[found], bias[found] = coefficients, intercepts
        weights.append(weight)
        biases.append(bias)
    return np.concatenate(weights), np.concatenate(biases)


def probe_values(
    features: np.ndarray, values: np.ndarray, inverse_strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression of each dimension.

    Args:
        features: ``[N, D]`` float64, standardised.
        values: ``[N, O]`` float64, standardised.
        inverse_strength: ``C`` of ``C Σ (error)² + |w|² / 2``, as in the logistic regression.

    Returns:
        ``[O, D]`` weights and ``[O]`` biases.
    """
    probe = Ridge(alpha=1.0 / (2.0 * inverse_strength)).fit(features, values)
    return np.atleast_2d(probe.coef_), np.atleast_1d(probe.intercept_)
