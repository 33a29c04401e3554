# SPDX-License-Identifier: Apache-2.0
"""Every loss against NumPy, value and gradient, and where the gradient goes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from voxadapt.adapters.losses import (
    local_attribute_loss,
    mask_prediction_loss,
    reconstruction_loss,
    self_distillation_loss,
    teacher_distribution,
)

N, D, K = 7, 6, 5


def random(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(*shape, generator=generator)).requires_grad_()


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def doubles(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def check(loss: torch.Tensor, expected: np.ndarray, student: torch.Tensor, slope: np.ndarray):
    assert loss.dtype == torch.float32
    np.testing.assert_allclose(doubles(loss), expected, rtol=1e-4, atol=1e-5)
    loss.sum().backward()
    np.testing.assert_allclose(doubles(student.grad), slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("objective", [mask_prediction_loss, reconstruction_loss])
def test_regression(objective: Callable[..., torch.Tensor], beta: float) -> None:
    predictions, teacher = random(N, D, seed=0), random(N, D, seed=1)
    targets = doubles(teacher)
    if objective is mask_prediction_loss:
        variance = targets.var(axis=-1, keepdims=True)
        targets = (targets - targets.mean(axis=-1, keepdims=True)) / np.sqrt(variance + 1e-5)
    distance = doubles(predictions) - targets
    square, straight = 0.5 * distance**2 / beta, np.abs(distance) - 0.5 * beta
    near = np.abs(distance) < beta
    assert near.any()
    assert not near.all()
    expected = np.where(near, square, straight).mean(axis=-1)
    slope = np.where(near, distance / beta, np.sign(distance)) / D
    check(objective(predictions, teacher, beta), expected, predictions, slope)
    assert teacher.grad is None


def test_self_distillation() -> None:
    student, teacher, center = random(N, K, seed=0), random(N, K, seed=1), random(K, seed=2)
    targets = softmax((doubles(teacher) - doubles(center)) / 0.5)
    probabilities = softmax(doubles(student) / 0.8)
    loss = self_distillation_loss(student, teacher_distribution(teacher, center, 0.5), 0.8)
    expected = -(targets * np.log(probabilities)).sum(axis=-1)
    check(loss, expected, student, (probabilities - targets) / 0.8)
    assert teacher.grad is None
    assert center.grad is None


def test_teacher_distribution() -> None:
    teacher, center = random(N, K, seed=1), random(K, seed=2)
    distribution = teacher_distribution(teacher, center, 0.5)
    expected = softmax((doubles(teacher) - doubles(center)) / 0.5)
    np.testing.assert_allclose(doubles(distribution), expected, rtol=1e-4, atol=1e-6)
    assert not distribution.requires_grad
    sharper = teacher_distribution(teacher, center, 0.05)
    assert torch.special.entr(sharper).sum() < torch.special.entr(distribution).sum()


def test_local_attributes() -> None:
    logits = random(N, K, seed=0)
    ids = torch.tensor([0, 4, 2, 2, 1, 3, 0])
    probabilities = softmax(doubles(logits))
    expected = -np.log(probabilities[np.arange(N), ids.numpy()])
    slope = probabilities - np.eye(K)[ids.numpy()]
    check(local_attribute_loss(logits, ids), expected, logits, slope)


def test_half_precision_is_computed_in_single() -> None:
    student, teacher = random(N, K, seed=0).detach(), random(N, K, seed=1).detach()
    center, ids = torch.zeros(K), torch.arange(N) % K

    def losses(student: torch.Tensor, teacher: torch.Tensor) -> list[torch.Tensor]:
        return [
            mask_prediction_loss(student, teacher),
            reconstruction_loss(student, teacher),
            self_distillation_loss(student, teacher_distribution(teacher, center, 0.05), 0.1),
            local_attribute_loss(student, ids),
        ]

    halves = (student.bfloat16(), teacher.bfloat16())
    singles = (halves[0].float(), halves[1].float())
    for half, single in zip(losses(*halves), losses(*singles), strict=True):
        assert half.dtype == torch.float32
        assert torch.equal(half, single)


def test_no_frames_give_no_losses() -> None:
    frames, logits = torch.zeros(0, D), torch.zeros(0, K)
    assert mask_prediction_loss(frames, frames).shape == (0,)
    assert reconstruction_loss(frames, frames).shape == (0,)
    assert local_attribute_loss(logits, torch.zeros(0, dtype=torch.int64)).shape == (0,)
    loss = self_distillation_loss(logits, teacher_distribution(logits, torch.zeros(K), 0.05), 0.1)
    assert loss.sum() == 0
