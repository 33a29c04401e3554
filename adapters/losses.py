# SPDX-License-Identifier: Apache-2.0
"""The objectives of adapter pretraining (arXiv 2509.23795, section 2.2), one value for each frame.

All take packed frames ``[N, ...]``: real frames of any number of clips, laid end to end, without
padding. None averages: the caller sums over its frames and divides by the number of frames of the
whole batch, over all processes, so that neither padding nor the number of processes can change a
loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_prediction_loss(predictions: Tensor, teacher_frames: Tensor, beta: float = 1.0) -> Tensor:
    """Distance from the student's predictions to the teacher's normalised frames.

    The target is the teacher's frame, layer-normalised without affine, as in data2vec
    (arXiv 2202.03555, section 3.3); the distance is smooth L1, averaged over features.

    Args:
        predictions: ``[N, D]`` float, what the predictor made of hidden frames.
        teacher_frames: ``[N, D]`` float, the teacher's output at the same frames.
        beta: Where smooth L1 goes from square to straight.

    Returns:
        ``[N]`` float.
    """
    targets = F.layer_norm(teacher_frames.float(), teacher_frames.shape[-1:]).detach()
    loss = F.smooth_l1_loss(predictions.float(), targets, reduction="none", beta=beta)
    return loss.mean(dim=-1)


def reconstruction_loss(predictions: Tensor, frames: Tensor, beta: float = 1.0) -> Tensor:
    """Distance from the student's reconstructions to the frames as they were.

    Regressing hidden frames from what is around them is masked acoustic modelling (Mockingjay,
    arXiv 1910.12638, section 2; TERA, arXiv 2007.06028). It is not in the adapter's paper: it ties
    the representation to the audio, which targets that a network sets itself can forget.

    Args:
        predictions: ``[N, D]`` float, what the reconstructor made of the student's output at hidden
            frames (`reconstruction`) or at the others (`denoising`).
        frames: ``[N, D]`` float, the clean frames, standardised.
        beta: Where smooth L1 goes from square to straight.

    Returns:
        ``[N]`` float.
    """
    targets = frames.detach().float()
    loss = F.smooth_l1_loss(predictions.float(), targets, reduction="none", beta=beta)
    return loss.mean(dim=-1)


def self_distillation_loss(
    student_logits: Tensor, teacher_targets: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy from the teacher's to the student's distribution over prototypes.

    Args:
        student_logits: ``[N, K]`` float.
        teacher_targets: ``[N, K]`` float, the teacher's distributions: `teacher_distribution`.
        temperature: The student's; above 0.

    Returns:
        ``[N]`` float.
    """
    log_probabilities = F.log_softmax(student_logits.float() / temperature, dim=-1)
    return -(teacher_targets * log_probabilities).sum(dim=-1)


def teacher_distribution(teacher_logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """Center and sharpen the teacher's logits as in DINO (arXiv 2104.14294, section 3.1).

    Args:
        teacher_logits: ``[N, K]`` float.
        center: ``[K]`` float, running mean of teacher logits.
        temperature: The teacher's; above 0, and below the student's, to sharpen.

    Returns:
        ``[N, K]`` float32, each row a distribution; no gradient reaches the teacher.
    """
    centered = (teacher_logits.float() - center).detach()
    return torch.softmax(centered / temperature, dim=-1)


def local_attribute_loss(attribute_logits: Tensor, attribute_ids: Tensor) -> Tensor:
    """Cross-entropy of the student's attribute classifier at hidden frames.

    Args:
        attribute_logits: ``[N, K]`` float.
        attribute_ids: ``[N]`` int64, ids from the codebook.

    Returns:
        ``[N]`` float.
    """
    return F.cross_entropy(attribute_logits.float(), attribute_ids, reduction="none")
