# SPDX-License-Identifier: Apache-2.0
"""Losses against written-out references."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.loss import LabelLoss, ValueLoss, concordance
from voxadapt.recipes.finetuning.mixup import Mixture
from voxadapt.recipes.finetuning.options import FinetuneOptimizerOptions
from voxadapt.recipes.scoring.regression_metrics import concordance as reference_concordance

Make = Callable[..., Any]
ROWS = [0, 1, 2, 3, 4]
PLAIN = FinetuneOptimizerOptions(label_smoothing=0.0)


def cross_entropy(logits: torch.Tensor, classes: list[int]) -> torch.Tensor:
    picked = [-row.log_softmax(dim=0)[number] for row, number in zip(logits, classes, strict=True)]
    return torch.stack(picked)


def test_balanced_weights_are_scikit_learn_s(data: LabelledFrames, make_options: Make) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    trained = data.targets[data.splits.train, 0]  # 0, 1, 2, 0, 1
    expected = compute_class_weight("balanced", classes=np.arange(3), y=trained)
    np.testing.assert_allclose(data.class_weights[0], expected)
    assert np.mean(expected[trained]) == pytest.approx(1.0)

    logits = torch.randn(5, 3)
    options = make_options(class_weights="balanced", optimizer=PLAIN)
    found = LabelLoss(data, options, ROWS).per_clip(logits, ROWS, None)
    weights = torch.tensor(expected[trained], dtype=torch.float32)
    torch.testing.assert_close(found, weights * cross_entropy(logits, trained.tolist()))


def test_mixed_clips_have_both_labels(data: LabelledFrames, make_options: Make) -> None:
    logits, shares = torch.randn(2, 3), torch.tensor([0.9, 0.6])
    loss = LabelLoss(data, make_options(optimizer=PLAIN), ROWS)
    found = loss.per_clip(logits, [0, 1], Mixture([2, 1], shares))
    expected = shares * cross_entropy(logits, [0, 1]) + (1 - shares) * cross_entropy(logits, [2, 1])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("weights", [[], [3.0, 1.0]])
def test_columns_are_averaged_each_over_the_clips_whose_label_is_known(
    weights: list[float], make_data: Make, make_options: Make
) -> None:
    outputs = LabelOutputs({"emotion": ["a", "b"], "speaker": ["x", "y", "z"]})
    emotions, speakers = [0, 1, 0, 1, 1, 0, 0, 0], [2, -1, 0, -1, 1, 0, 0, 0]
    data = make_data(outputs, np.stack([emotions, speakers], axis=1))
    options = make_options(label="emotion,speaker", label_weights=weights, optimizer=PLAIN)
    logits = torch.randn(5, 5)
    loss = LabelLoss(data, options, ROWS)
    # In two parts, as two processes have them.
    found = sum(loss.per_clip(logits[part], part, None).sum() for part in ([0, 2, 4], [1, 3])) / 5
    first = cross_entropy(logits[:, :2], emotions[:5]).mean()
    second = cross_entropy(logits[[0, 2, 4], 2:], [2, 0, 1]).mean()
    share = 0.75 if weights else 0.5
    torch.testing.assert_close(found, share * first + (1 - share) * second)


def test_a_step_without_any_known_label_of_a_column_is_finite(
    make_data: Make, make_options: Make
) -> None:
    outputs = LabelOutputs({"emotion": ["a", "b"], "speaker": ["x", "y"]})
    targets = np.stack([[0, 1] * 4, [-1] * 8], axis=1)
    options = make_options(label="emotion,speaker", class_weights="balanced")
    data = make_data(outputs, targets)
    data.class_weights = [np.ones(2), np.ones(2)]
    logits = torch.randn(5, 4, requires_grad=True)
    LabelLoss(data, options, ROWS).per_clip(logits, ROWS, None).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[:, 2:] == 0).all()


def test_concordance_is_the_metric_with_a_gradient() -> None:
    outputs, targets = torch.randn(9, 2).double().requires_grad_(), torch.randn(9, 2).double()
    found = concordance(outputs, targets)
    expected = reference_concordance(targets.numpy(), outputs.detach().numpy())
    np.testing.assert_allclose(found.detach().numpy(), expected)
    assert torch.autograd.gradcheck(lambda given: concordance(given, targets), outputs)


@pytest.mark.parametrize("clips", [1, 2])
def test_a_step_of_one_value_teaches_nothing_and_is_finite(clips: int) -> None:
    outputs = torch.randn(clips, 1).double().requires_grad_()
    loss = (1 - concordance(outputs, torch.full((clips, 1), 0.5).double())).sum()
    (slopes,) = torch.autograd.grad(loss, outputs)
    assert loss.item() == 1.0
    assert (slopes == 0).all()
    same = torch.zeros(clips, 1).double().requires_grad_()
    (slopes,) = torch.autograd.grad(concordance(same, same.detach()).sum(), same)
    assert slopes.isfinite().all()


def test_values_are_standardised_and_weighted_and_mixed(
    make_data: Make, make_options: Make
) -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal((8, 2)) * [2.0, 0.5] + [3.0, -1.0]
    data = make_data(ValueOutputs(["a", "v"], [3.0, -1.0], [2.0, 0.5]), values)
    options = make_options(task="regression", label="a,v", label_weights=[1.0, 3.0])
    loss = ValueLoss(data, options)
    standard = (values - [3.0, -1.0]) / [2.0, 0.5]
    targets = loss.targets([1, 4], None)
    np.testing.assert_allclose(targets.numpy(), standard[[1, 4]])
    mixed = loss.targets([1, 4], Mixture([0, 2], torch.tensor([0.75, 0.5])))
    np.testing.assert_allclose(mixed[0].numpy(), 0.75 * standard[1] + 0.25 * standard[0])

    outputs, targets = torch.randn(5, 2).double(), loss.targets(ROWS, None)
    found, slopes = loss.with_slopes(outputs, targets)
    ccc = reference_concordance(targets.numpy(), outputs.numpy())
    assert found == pytest.approx((1 * (1 - ccc[0]) + 3 * (1 - ccc[1])) / 4)
    nudged = outputs.clone()
    nudged[2, 1] += 1e-6
    assert (loss.with_slopes(nudged, targets)[0] - found) / 1e-6 == pytest.approx(
        float(slopes[2, 1]), rel=1e-3
    )
