# SPDX-License-Identifier: Apache-2.0
"""The teacher: an exponential moving average of the student (arXiv 2509.23795, section 2.2)."""

import copy
from typing import TypeVar

import torch
from torch import nn

Student = TypeVar("Student", bound=nn.Module)


def make_teacher(student: Student) -> Student:
    """Copy a student exactly, parameters and buffers, into a teacher without gradient.

    Only adapter modules are meant to be copied: the frozen backbone is shared by both.
    """
    teacher = copy.deepcopy(student)
    teacher.requires_grad_(False)
    return teacher.eval()


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Move the teacher to ``decay · teacher + (1 - decay) · student``; buffers are copied.

    Args:
        teacher: Made by `make_teacher` from this student.
        student: The module that trains.
        decay: Share of the teacher that stays, 0 to 1.

    Raises:
        ValueError: ``decay`` is out of range, or the two do not have the same parameters.
    """
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"decay: found {decay}, must be between 0 and 1")
    teacher_parameters = dict(teacher.named_parameters())
    student_parameters = dict(student.named_parameters())
    if teacher_parameters.keys() != student_parameters.keys():
        different = sorted(teacher_parameters.keys() ^ student_parameters.keys())
        raise ValueError(f"teacher and student differ in their parameters: {different[:5]}")
    torch._foreach_lerp_(
        list(teacher_parameters.values()),
        [student_parameters[name] for name in teacher_parameters],
        1.0 - decay,
    )
    teacher_buffers = dict(teacher.named_buffers())
    for name, buffer in student.named_buffers():
        teacher_buffers[name].copy_(buffer)
