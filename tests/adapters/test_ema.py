# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch import nn

from voxadapt.adapters import make_teacher, update_teacher


def make_student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def disturb(module: nn.Module) -> None:
    """Change parameters and buffers, whole-numbered ones included."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
    module.train()
    module(3 * torch.randn(8, 3) + 1)


def test_teacher_starts_as_an_exact_copy() -> None:
    student = make_student()
    disturb(student)
    teacher = make_teacher(student)
    assert teacher.state_dict().keys() == student.state_dict().keys()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    for name, value in student.state_dict().items():
        assert torch.equal(before[name], value)
    disturb(student)  # no memory is shared
    for name, value in teacher.state_dict().items():
        assert torch.equal(before[name], value)


def test_teacher_has_no_gradient_and_is_in_eval_mode() -> None:
    student = make_student().train()
    teacher = make_teacher(student)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_update_is_a_running_mean_and_copies_buffers() -> None:
    student = make_student()
    teacher = make_teacher(student)
    expected = {name: value.double().numpy() for name, value in teacher.named_parameters()}
    for decay in (0.9, 0.5, 0.996, 0.1):
        disturb(student)
        update_teacher(teacher, student, decay)
        for name, value in student.named_parameters():
            new = value.detach().double().numpy()
            expected[name] = decay * expected[name] + (1 - decay) * new
    for name, value in teacher.named_parameters():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-5, atol=1e-6)
        assert value.grad_fn is None
        assert not value.requires_grad
    buffers = dict(student.named_buffers())
    assert buffers["1.num_batches_tracked"] == 4
    for name, value in teacher.named_buffers():
        assert torch.equal(value, buffers[name])


def test_decay_of_one_keeps_and_of_zero_copies() -> None:
    student = make_student()
    teacher = make_teacher(student)
    before = [parameter.clone() for parameter in teacher.parameters()]
    disturb(student)
    after = list(student.parameters())
    update_teacher(teacher, student, 1.0)
    assert all(map(torch.equal, teacher.parameters(), before))
    update_teacher(teacher, student, 0.0)
    assert all(map(torch.equal, teacher.parameters(), after))


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_decay_out_of_range(decay: float) -> None:
    student = make_student()
    with pytest.raises(ValueError, match="decay: found"):
        update_teacher(make_teacher(student), student, decay)


def test_teacher_of_another_student() -> None:
    teacher = make_teacher(nn.Sequential(nn.Linear(3, 4)))
    with pytest.raises(ValueError, match=r"differ in their parameters: \['1.bias'"):
        update_teacher(teacher, make_student(), 0.5)
