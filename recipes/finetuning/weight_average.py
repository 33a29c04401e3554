# SPDX-License-Identifier: Apache-2.0
"""The running average of a classifier's weights, which is what gets validated and saved."""

import copy

import torch

from voxadapt.frame_classifier import FrameClassifier


def make_average(model: FrameClassifier) -> FrameClassifier:
    """Copy a classifier, without gradient and in eval mode.

    The encoder's frozen weights are shared and not copied: there can be a gigabyte of them.
    """
    shared = {id(tensor): tensor for tensor in model.frozen_tensors().values()}
    averaged = copy.deepcopy(model, shared)
    averaged.requires_grad_(False)
    return averaged.eval()


@torch.no_grad()
def update_average(averaged: FrameClassifier, model: FrameClassifier, decay: float) -> None:
    """Move the average to ``decay · average + (1 - decay) · model``, where the model trains."""
    own = dict(averaged.named_parameters())
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    torch._foreach_lerp_([own[name] for name in trained], list(trained.values()), 1.0 - decay)


def average_decay(step: int, averaging: float) -> float:
    """Decay of the running average of weights; short at first, so that the start is forgotten."""
    return min(averaging, step / (step + 9))
