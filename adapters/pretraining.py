# SPDX-License-Identifier: Apache-2.0
"""Student, teacher and their objectives in one module (arXiv 2509.23795, section 2.2)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attributes import Codebook
from .dense import dense
from .ema import make_teacher, update_teacher
from .losses import (
    local_attribute_loss,
    mask_prediction_loss,
    reconstruction_loss,
    self_distillation_loss,
    teacher_distribution,
)
from .objectives import ObjectivesConfig
from .prosody import PROSODY_SIZE, prosody
from .prototypes import Branch
from .wap_transformer import WAPTransformer


class PretrainingSums(NamedTuple):
    """What one forward pass gives: sums, never means, so that they add up over processes.

    Attributes:
        losses: Sum of each objective over its frames (clips at utterance level), unweighted.
        frame_logits: ``[K]`` sum of the teacher's frame logits, for the center; zeros when the
            objective is off, as are the other sums over prototypes.
        utterance_logits: ``[K]`` sum of the teacher's utterance logits.
        student_frames: ``[N, D]`` the student's real frames, detached, for monitors.
        teacher_frames: ``[N, D]`` the teacher's real frames.
        attribute_ids: ``[N]`` attributes of the real frames; empty when the objective is off.
        frame_targets: ``[K]`` sum of the teacher's distributions over prototypes.
        utterance_targets: ``[K]`` the same at utterance level, summed over clips.
        target_entropy: Sum over frames of the entropy of the distributions at frame level.
    """

    losses: dict[str, Tensor]
    frame_logits: Tensor
    utterance_logits: Tensor
    student_frames: Tensor
    teacher_frames: Tensor
    attribute_ids: Tensor
    frame_targets: Tensor
    utterance_targets: Tensor
    target_entropy: Tensor


class DistillationSums(NamedTuple):
    """What self-distillation at one level gives, summed over its frames or clips.

    Attributes:
        loss: The objective, unweighted.
        logits: ``[K]`` the teacher's logits.
        targets: ``[K]`` the teacher's distributions.
        entropy: The entropy of those distributions.
    """

    loss: Tensor
    logits: Tensor
    targets: Tensor
    entropy: Tensor


def no_distillation(center: Tensor) -> DistillationSums:
    """Sums of a level that is switched off: zeros, for prototypes like those of ``center``."""
    zeros = torch.zeros_like(center)
    return DistillationSums(loss=zeros[0], logits=zeros, targets=zeros, entropy=zeros[0])


class AdapterPretrainer(nn.Module):
    """An adapter, its EMA teacher, and the objectives between them.

    The student sees frames with spans hidden, the teacher the whole utterance. The module computes
    sums of losses; the recipe divides them by global counts, adds them up by weight, and calls
    `update_teacher` and `update_centers` after the optimiser's step.

    Args:
        adapter: The adapter to pretrain, with its input statistics already set.
        objectives: Weights and settings.
        bands: Frequency bands of the frames, which repeat where a frame is several windows side by
            side; None where features are no bands, and then there is no objective of prosody.

    Raises:
        ValueError: No objective is left.
    """

    frame_center: Tensor
    utterance_center: Tensor
    attributes_from_teacher: Tensor

    def __init__(
        self, adapter: WAPTransformer, objectives: ObjectivesConfig, bands: int | None = None
    ) -> None:
        super().__init__()
        objectives = objectives.for_bands(bands)
        self.objectives = objectives
        self.bands = bands
        width = adapter.output_size
        self.student = Branch(adapter, objectives.prototypes)
        self.teacher = make_teacher(self.student)
        self.predictor = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.attribute_classifier = nn.Linear(width, objectives.attributes)
        self.reconstructor = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, adapter.input_size)
        )
        self.prosodist = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, PROSODY_SIZE)
        )
        # The first codebook clusters the standardised input, later ones the teacher's output.
        self.input_codebook = Codebook(objectives.attributes, adapter.input_size)
        self.teacher_codebook = Codebook(objectives.attributes, width)
        self.register_buffer("attributes_from_teacher", torch.tensor(False))
        self.register_buffer("frame_center", torch.zeros(objectives.prototypes))
        self.register_buffer("utterance_center", torch.zeros(objectives.prototypes))
        # Without a gradient, a head that no active objective uses would stop
        # DistributedDataParallel.
        if not objectives.mask_prediction:
            self.predictor.requires_grad_(False)
        if not objectives.local_attributes:
            self.attribute_classifier.requires_grad_(False)
        if not objectives.reconstruction and not objectives.denoising:
            self.reconstructor.requires_grad_(False)
        if not objectives.prosody and not objectives.hidden_prosody:
            self.prosodist.requires_grad_(False)
        if not objectives.frame_distillation:
            self.student.frame_prototypes.requires_grad_(False)
        if not objectives.utterance_distillation:
            self.student.utterance_prototypes.requires_grad_(False)

    def train(self, mode: bool = True) -> "AdapterPretrainer":
        """Set the mode of the student; the teacher stays in eval mode whatever is asked."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self,
        frames: Tensor,
        padding_mask: Tensor,
        span_mask: Tensor,
        clip_weights: Tensor,
        feature_mask: Tensor | None = None,
        student_frames: Tensor | None = None,
        teacher_temperature: float | None = None,
    ) -> PretrainingSums:
        """Compute the sums of all active objectives.

        Args:
            frames: ``[B, T, D]`` float, frames of the frozen backbone.
            padding_mask: ``[B, T]`` bool, True = padding.
            span_mask: ``[B, T]`` bool, True = hidden from the student; never on padding.
            clip_weights: ``[B]`` float, 1 for a clip that counts, 0 for a filler.
            feature_mask: ``[B, D]`` bool, True = this feature is hidden from the student in the
                whole clip: it stands at the corpus mean. None hides none.
            student_frames: ``[B, T, D]`` float, what the student sees in place of ``frames``: the
                same clips augmented, as frames or as audio, frame by frame. None: the same frames.
            teacher_temperature: That of this step; None takes that of the objectives.

        Returns:
            The sums, from which fillers are left out.

        Raises:
            ValueError: The shapes or the masks' types do not fit, or there is an objective of
                prosody and the bands do not divide the frames' features.
        """
        student_input = frames if student_frames is None else student_frames
        if student_input.shape != frames.shape:
            raise ValueError(
                f"student_frames: found shape {list(student_input.shape)}, must be that of frames, "
                f"{list(frames.shape)}, so that the student's frames lie beside the teacher's"
            )
        with torch.no_grad():
            teacher_grid = self.teacher.adapter(frames, padding_mask)
        if feature_mask is not None:
            mean = self.student.adapter.standardize.mean.to(frames.dtype)
            student_input = torch.where(feature_mask.unsqueeze(1), mean, student_input)
        student_grid = self.student.adapter(student_input, padding_mask, span_mask)

        real = ~padding_mask
        teacher_output = teacher_grid[real]  # [N, D]
        student_output = student_grid[real]
        hidden = span_mask[real]  # [N]
        weights = clip_weights[:, None].expand(real.shape)[real]  # [N]

        losses: dict[str, Tensor] = {}
        hidden_frames = student_output[hidden]
        if self.objectives.mask_prediction:
            predictions = perceptron(self.predictor, hidden_frames)
            loss = mask_prediction_loss(predictions, teacher_output[hidden])
            losses["mask_prediction"] = (loss * weights[hidden]).sum()
        if self.objectives.reconstruction or self.objectives.denoising:
            clean = self.teacher.adapter.standardize(frames, padding_mask)[real]  # [N, D]
            for name, rows in (("reconstruction", hidden), ("denoising", ~hidden)):
                if getattr(self.objectives, name):
                    predictions = perceptron(self.reconstructor, student_output[rows])
                    loss = reconstruction_loss(predictions, clean[rows])
                    losses[name] = (loss * weights[rows]).sum()
        if self.bands and (self.objectives.prosody or self.objectives.hidden_prosody):
            contour = prosody(frames, padding_mask, self.bands)[real]  # [N, PROSODY_SIZE]
            for name, rows in (("prosody", ~hidden), ("hidden_prosody", hidden)):
                if getattr(self.objectives, name):
                    predictions = perceptron(self.prosodist, student_output[rows])
                    loss = reconstruction_loss(predictions, contour[rows])
                    losses[name] = (loss * weights[rows]).sum()
        attribute_ids = teacher_output.new_empty(0, dtype=torch.int64)
        if self.objectives.local_attributes:
            attribute_ids = self.attributes(frames, padding_mask, teacher_output)
            logits = dense(self.attribute_classifier, hidden_frames)
            loss = local_attribute_loss(logits, attribute_ids[hidden])
            losses["local_attributes"] = (loss * weights[hidden]).sum()

        temperature = teacher_temperature or self.objectives.teacher_temperature
        frame_sums = utterance_sums = no_distillation(self.frame_center)
        if self.objectives.frame_distillation:
            frame_sums = self._distil(
                self.student.frame_prototypes(student_output),
                self.teacher.frame_prototypes(teacher_output),
                self.frame_center,
                temperature,
                weights,
            )
            losses["frame_distillation"] = frame_sums.loss
        if self.objectives.utterance_distillation:
            utterance_sums = self._distil(
                self.student.utterance_prototypes(mean_over_time(student_grid, real)),
                self.teacher.utterance_prototypes(mean_over_time(teacher_grid, real)),
                self.utterance_center,
                temperature,
                clip_weights,
            )
            losses["utterance_distillation"] = utterance_sums.loss

        counted = weights > 0
        return PretrainingSums(
            losses=losses,
            frame_logits=frame_sums.logits,
            utterance_logits=utterance_sums.logits,
            student_frames=student_output.detach()[counted],
            teacher_frames=teacher_output[counted],
            attribute_ids=attribute_ids[counted] if len(attribute_ids) else attribute_ids,
            frame_targets=frame_sums.targets,
            utterance_targets=utterance_sums.targets,
            target_entropy=frame_sums.entropy,
        )

    def _distil(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        center: Tensor,
        teacher_temperature: float,
        weights: Tensor,
    ) -> DistillationSums:
        """Sums of one level over its frames or clips, from logits ``[N, K]``, by weight ``[N]``."""
        teacher_logits = teacher_logits.float()
        targets = teacher_distribution(teacher_logits, center, teacher_temperature)
        loss = self_distillation_loss(student_logits, targets, self.objectives.student_temperature)
        return DistillationSums(
            loss=(loss * weights).sum(),
            logits=(teacher_logits * weights[:, None]).sum(dim=0),
            targets=(targets * weights[:, None]).sum(dim=0),
            entropy=(torch.special.entr(targets).sum(dim=-1) * weights).sum(),
        )

    @torch.no_grad()
    def attributes(self, frames: Tensor, padding_mask: Tensor, teacher_frames: Tensor) -> Tensor:
        """Local attributes ``[N]`` of the real frames of a batch.

        Args:
            frames: ``[B, T, D]`` float, frames of the backbone.
            padding_mask: ``[B, T]`` bool, True = padding.
            teacher_frames: ``[N, D]`` float, the teacher's real frames.
        """
        if bool(self.attributes_from_teacher):
            return self.teacher_codebook(clusterable(teacher_frames))
        standardized = self.teacher.adapter.standardize(frames, padding_mask)
        return self.input_codebook(standardized[~padding_mask])

    def update_teacher(self, decay: float) -> None:
        """Move the teacher after the optimiser's step; ``decay`` is the share of it that stays."""
        update_teacher(self.teacher, self.student, decay)

    @torch.no_grad()
    def update_centers(self, frame_mean: Tensor, utterance_mean: Tensor) -> None:
        """Move the centers towards the step's mean teacher logits ``[K]``, over all processes."""
        share = 1.0 - self.objectives.center_momentum
        self.frame_center.lerp_(frame_mean.to(self.frame_center), share)
        self.utterance_center.lerp_(utterance_mean.to(self.utterance_center), share)


def perceptron(head: nn.Sequential, frames: Tensor) -> Tensor:
    """Apply linear layer, activation and linear layer to ``[N, D]``, by the fastest kernel."""
    first, activation, last = head
    return dense(last, activation(dense(first, frames)))


def clusterable(teacher_frames: Tensor) -> Tensor:
    """Teacher frames as they are clustered: layer-normalised without affine, ``[N, D]`` float32."""
    return F.layer_norm(teacher_frames.float(), teacher_frames.shape[-1:])


def mean_over_time(frames: Tensor, real: Tensor) -> Tensor:
    """Mean of the real frames of each clip.

    Args:
        frames: ``[B, T, D]`` float, zero on padding.
        real: ``[B, T]`` bool, True = real.

    Returns:
        ``[B, D]`` float.
    """
    return frames.sum(dim=1) / real.sum(dim=1, keepdim=True).clamp(min=1)
