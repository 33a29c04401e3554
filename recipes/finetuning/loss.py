# SPDX-License-Identifier: Apache-2.0
"""What fine-tuning minimises: cross-entropy of labels, or the concordance of values."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.finetuning.labelled_frames import UNKNOWN, LabelledFrames
from voxadapt.recipes.finetuning.mixup import Mixture
from voxadapt.recipes.finetuning.options import FinetuneOptions

# Under it a batch's spread of a dimension, in training standard deviations squared, is rounding.
LEAST_SPREAD = 1e-8


class LabelLoss:
    """Cross-entropy of each clip with smoothed labels, averaged over label columns.

    Args:
        data: What the run learns from, with labels.
        options: The run's options.
        rows: The clips of the optimiser step, over all processes.
    """

    def __init__(self, data: LabelledFrames, options: FinetuneOptions, rows: list[int]) -> None:
        if not isinstance(data.outputs, LabelOutputs):
            raise ValueError(f"data: outputs are {data.outputs}, a LabelLoss needs labels")
        self.outputs = data.outputs
        self.targets = data.targets
        self.smoothing = options.optimizer.label_smoothing
        balanced = options.class_weights == "balanced"
        self.class_weights = data.class_weights if balanced else None
        known = (data.targets[rows] != UNKNOWN).sum(axis=0)  # [columns]
        weights = np.array(options.label_weights or [1.0] * len(known))
        # A column's loss is a mean over the clips whose label is known, whichever process has them.
        self.column_weights = weights / weights.sum() * len(rows) / np.maximum(known, 1)

    def per_clip(self, logits: Tensor, indices: list[int], mixture: Mixture | None) -> Tensor:
        """Losses ``[B]``, whose sum over the step's clips divided by their number is the loss.

        Args:
            logits: ``[B, O]`` float.
            indices: The clips.
            mixture: What they were mixed with.
        """
        own = self._cross_entropy(logits, self.targets[indices])
        if mixture is None:
            return own
        other = self._cross_entropy(logits, self.targets[mixture.partners])
        return mixture.shares * own + (1.0 - mixture.shares) * other

    def _cross_entropy(self, logits: Tensor, targets: np.ndarray) -> Tensor:
        parts = []
        for column, part in enumerate(self.outputs.split(logits.float())):
            classes = torch.from_numpy(targets[:, column]).to(logits.device)
            losses = F.cross_entropy(
                part,
                classes,
                reduction="none",
                label_smoothing=self.smoothing,
                ignore_index=UNKNOWN,
            )
            if self.class_weights is not None:
                weights = losses.new_tensor(self.class_weights[column])
                losses = losses * weights[classes.clamp(min=0)]
            parts.append(losses)
        if len(parts) == 1:
            return parts[0]
        weights = logits.new_tensor(self.column_weights, dtype=torch.float32)
        return torch.stack(parts, dim=-1) @ weights


class ValueLoss:
    """1 - CCC over the clips of an optimiser step, averaged over dimensions.

    A CCC is of a set of clips, and no mean over them. So that the number of processes and of
    forward passes does not change it, a step first gathers what the model says of all its clips;
    the loss and its slopes are computed from that, and then each process passes its clips' slopes
    back. A step whose clips all have one value of a dimension, as a single clip, teaches nothing
    of it.

    Args:
        data: What the run learns from, with values.
        options: The run's options.
    """

    def __init__(self, data: LabelledFrames, options: FinetuneOptions) -> None:
        if not isinstance(data.outputs, ValueOutputs):
            raise ValueError(f"data: outputs are {data.outputs}, a ValueLoss needs values")
        self.values = data.outputs.standardize(torch.from_numpy(data.targets))  # [clips, O]
        self.weights = options.label_weights or [1.0] * data.outputs.size

    def targets(self, indices: list[int], mixture: Mixture | None) -> Tensor:
        """What the outputs of clips should be, ``[B, O]`` float64."""
        own = self.values[indices]
        if mixture is None:
            return own
        shares = mixture.shares.cpu().double().unsqueeze(-1)
        return shares * own + (1.0 - shares) * self.values[mixture.partners]

    def with_slopes(self, outputs: Tensor, targets: Tensor) -> tuple[float, Tensor]:
        """The loss of a step, and its slopes.

        Args:
            outputs: ``[N, O]`` float64, of all clips of the step.
            targets: ``[N, O]`` float64.

        Returns:
            The loss, and its derivative ``[N, O]`` by each output.
        """
        outputs = outputs.detach().requires_grad_()
        weights = outputs.new_tensor(self.weights)
        loss = (weights * (1.0 - concordance(outputs, targets))).sum() / weights.sum()
        (slopes,) = torch.autograd.grad(loss, outputs)
        return loss.item(), slopes


def concordance(outputs: Tensor, targets: Tensor) -> Tensor:
    """Concordance correlation coefficient (Lin 1989) of each dimension, with a gradient.

    Args:
        outputs: ``[N, O]`` float.
        targets: ``[N, O]`` float.

    Returns:
        ``[O]``: ``2 s_xy / (s_x² + s_y² + (μ_x - μ_y)²)``, variances over N; 0 where there is no
        spread.
    """
    output_mean, target_mean = outputs.mean(dim=0), targets.mean(dim=0)
    output_off, target_off = outputs - output_mean, targets - target_mean
    joint = (output_off * target_off).mean(dim=0)
    apart = (output_off.square() + target_off.square()).mean(dim=0)
    apart = apart + (output_mean - target_mean).square()
    return 2.0 * joint / apart.clamp(min=LEAST_SPREAD)
