# SPDX-License-Identifier: Apache-2.0
"""Schedules as pure functions of the run's progress, 0 at the first step and 1 at the last."""

import math


def linear(progress: float, start: float, end: float) -> float:
    """Go from ``start`` to ``end`` on a line, as the teacher's temperature in DINO.

    Args:
        progress: 0 to 1; below and above, the ends.
        start: Value at 0.
        end: Value at 1, exactly.
    """
    progress = min(max(progress, 0.0), 1.0)
    return start * (1.0 - progress) + end * progress


def cosine(progress: float, start: float, end: float) -> float:
    """Go from ``start`` to ``end`` on half a cosine.

    As the teacher's decay in BYOL (arXiv 2006.07733, section 3.1) and DINO (arXiv 2104.14294).

    Args:
        progress: 0 to 1; below and above, the ends.
        start: Value at 0.
        end: Value at 1.
    """
    progress = min(max(progress, 0.0), 1.0)
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


def one_cycle(progress: float, *, warmup: float, final: float = 0.0) -> float:
    """Learning-rate factor: up on a cosine over ``warmup`` of the run, then down to ``final``.

    Args:
        progress: 0 to 1.
        warmup: Share of the run spent rising, 0 to 1.
        final: Factor at the end.

    Returns:
        A factor between ``final`` (or 0.04 at the start, 1/25 as in Smith and Topin's one-cycle
        policy, arXiv 1708.07120) and 1.
    """
    if progress < warmup:
        return cosine(progress / warmup, 0.04, 1.0)
    return cosine((progress - warmup) / max(1.0 - warmup, 1e-9), 1.0, final)
