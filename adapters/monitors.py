# SPDX-License-Identifier: Apache-2.0
"""Is the run healthy? Statistics that make collapse visible while the loss looks fine."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor


class CollapseError(RuntimeError):
    """The representation has collapsed; the message says which sign and what to change."""


@dataclass(frozen=True)
class CollapseThresholds:
    """Below these values a run counts as collapsed.

    Args:
        std: Mean over features of the standard deviation over frames. The adapter ends in a layer
            norm, so a healthy one stays between about 0.3 and 1.
        effective_rank: exp(entropy) of the covariance's eigenvalues (Roy and Vetterli 2007).
        perplexity: exp(entropy) of the use of prototypes or attributes.
        sharpness: 1 - entropy / ln K of the teacher's distributions over K prototypes; 0 where each
            is flat, which teaches nothing.

    Raises:
        ValueError: A value is not finite.
    """

    std: float = 0.05
    effective_rank: float = 2.0
    perplexity: float = 2.0
    sharpness: float = 0.01

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value):
                raise ValueError(
                    f"collapse.{field.name}: found {value}, must be a finite number; below 0 it "
                    "stops no run"
                )

    def limit(self, name: str) -> float | None:
        """The lowest healthy value of a monitor; None for a value that shows no collapse.

        Args:
            name: As it is logged: ``_std``, ``_effective_rank``, ``_perplexity`` and ``_sharpness``
                at its end say which threshold is its own.
        """
        for field in fields(self):
            if name.endswith(f"_{field.name}"):
                return float(getattr(self, field.name))
        return None


_ADVICE = {
    "prototype_perplexity": "raise the teacher's temperature, for few prototypes are in use",
    "utterance_perplexity": "raise the teacher's temperature, for few prototypes are in use",
    "target_sharpness": "lower the teacher's temperature, for its targets are flat",
    "attribute_perplexity": "refit the codebook more often (codebook.refit_at)",
}
"""What else helps against a sign."""


def second_moments(frames: Tensor) -> Tensor:
    """Sums from which `spread` is computed, so that they can be added over processes.

    Args:
        frames: ``[N, D]`` float.

    Returns:
        ``[D + 1, D + 1]`` float32: frames with a column of ones, times themselves. In float64 it
        would cost as much as a layer of the adapter, and not every accelerator has float64.
    """
    extended = torch.cat([frames.float(), frames.new_ones(len(frames), 1).float()], dim=1)
    return extended.T @ extended


def spread(moments: Tensor) -> tuple[float, float]:
    """Return the mean per-feature standard deviation and the effective rank.

    Args:
        moments: ``[D + 1, D + 1]`` from `second_moments`, added over processes.

    Returns:
        Both; NaN where a frame was not finite.
    """
    moments = moments.cpu().double()
    if not bool(torch.isfinite(moments).all()):
        return float("nan"), float("nan")  # eigvalsh would raise
    count = moments[-1, -1].clamp(min=1)
    mean = moments[-1, :-1] / count
    covariance = moments[:-1, :-1] / count - torch.outer(mean, mean)
    std = covariance.diagonal().clamp(min=0).sqrt().mean()
    eigenvalues = torch.linalg.eigvalsh(covariance).clamp(min=0)
    shares = eigenvalues / eigenvalues.sum().clamp(min=1e-12)
    return float(std), float(torch.special.entr(shares).sum().exp())


def check_collapse(monitors: dict[str, float], thresholds: CollapseThresholds) -> None:
    """Raise when a monitored value has fallen below its threshold.

    Args:
        monitors: Values by name; those are looked at for which there is a `limit`.
        thresholds: The lowest healthy values.

    Raises:
        CollapseError: Naming every sign and what to change.
    """
    signs = [
        f"{name} is {value:.3g} (healthy: above {limit:g})"
        for name, value in monitors.items()
        if (limit := thresholds.limit(name)) is not None and not value >= limit
    ]
    if signs:
        told = " ".join(signs)
        advice = dict.fromkeys(text for name, text in _ADVICE.items() if name in told)
        raise CollapseError(
            f"the adapter has collapsed: {'; '.join(signs)}. Lower the learning rate, bring the "
            "teacher's decay closer to 1, keep centering on or hide more frames; "
            + "".join(f"{text}; " for text in advice)
            + "with very little audio, use fewer prototypes and attributes. Then start again: a "
            "checkpoint of this run may be ill already."
        )
