# SPDX-License-Identifier: Apache-2.0
"""The loudness contour of speech: targets that a student tells of each frame, seen or hidden.

Regressing prosody is one of the tasks of PASE (Pascual et al. 2019, arXiv 1904.03416, section 2).
The features of loudness here follow those of eGeMAPS (Eyben et al.
2016, "The Geneva Minimalistic Acoustic Parameter Set", section 3): its level, its slopes and its
spread. They are computed from log-Mel frames, so that no audio is needed. It is not in the
adapter's paper, whose local attributes are clusters of frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Loudness grows as the 0.3rd power of intensity (Stevens 1955).
LOUDNESS_EXPONENT = 0.3
# Frames to either side: at 50 frames a second, slopes over 40, 120 and 320 ms, and spreads within
# 0.2, 0.6 and 1.6 s.
SLOPES = (1, 3, 8)
SPREADS = (5, 15, 40)
# Mean and standard deviation of each target, in nepers, in 1.5 hours of speech of three corpora: so
# scaled, all count alike.
CENTERS = (0.0, 0.0, 1.0, 0.0, 2.2, 0.0, 3.5, 1.3, 2.2, 2.9)
SCALES = (3.3, 1.6, 1.2, 3.0, 2.1, 4.7, 3.0, 0.93, 1.2, 1.2)
PROSODY_SIZE = len(SCALES)


@torch.no_grad()
def prosody(frames: Tensor, padding_mask: Tensor, bands: int) -> Tensor:
    """The loudness contour of each clip.

    Its values say nothing of how loud a clip is as a whole: a gain leaves them as they are.

    Args:
        frames: ``[B, T, D]`` float, natural logarithms of Mel energies; ``D`` is a multiple of
            ``bands`` where a frame holds several windows.
        padding_mask: ``[B, T]`` bool, True = padding.
        bands: Mel bands of a window.

    Returns:
        ``[B, T, PROSODY_SIZE]`` float32, each of about zero mean and unit variance: the level
        over the clip's mean; its slopes (`SLOPES`), each with its size; its spread around the frame
        (`SPREADS`). Zeros on padding.

    Raises:
        ValueError: ``bands`` does not divide ``D``.
    """
    if frames.shape[-1] % bands:
        raise ValueError(
            f"bands: found {bands}, must divide the {frames.shape[-1]} features of a frame"
        )
    real = (~padding_mask).float()
    lengths = real.sum(dim=1, keepdim=True).clamp(min=1.0)
    spectra = frames.float().unflatten(-1, (-1, bands)).mean(dim=2)  # [B, T, bands]
    loudness = (LOUDNESS_EXPONENT * spectra).exp().mean(dim=-1).log() / LOUDNESS_EXPONENT
    loudness = loudness.masked_fill(padding_mask, 0.0)
    level = (loudness - loudness.sum(dim=1, keepdim=True) / lengths) * real
    targets = [level]
    for reach in SLOPES:
        rise = slope(level, lengths, reach)
        targets += [rise, rise.abs()]
    targets += [spread_around(level, real, reach) for reach in SPREADS]
    values = torch.stack(targets, dim=-1)
    values = (values - values.new_tensor(CENTERS)) / values.new_tensor(SCALES)
    return values.masked_fill(padding_mask.unsqueeze(-1), 0.0)


def slope(level: Tensor, lengths: Tensor, reach: int) -> Tensor:
    """How much the level rises between ``reach`` frames before and after each frame.

    Args:
        level: ``[B, T]`` float.
        lengths: ``[B, 1]`` float, real frames of each clip; what lies outside is its first or last.
        reach: Frames.

    Returns:
        ``[B, T]`` float; on padding anything.
    """
    places = torch.arange(level.shape[1], device=level.device).expand(level.shape)
    after = torch.minimum(places + reach, lengths.long() - 1).clamp(min=0)
    return level.gather(1, after) - level.gather(1, (places - reach).clamp(min=0))


def spread_around(level: Tensor, real: Tensor, reach: int) -> Tensor:
    """Standard deviation of the level within ``reach`` frames of each frame, padding left out.

    Args:
        level: ``[B, T]`` float, zero on padding.
        real: ``[B, T]`` float, 1 for real frames, 0 for padding.
        reach: Frames.

    Returns:
        ``[B, T]`` float; on padding anything.
    """

    def mean_around(values: Tensor) -> Tensor:
        return F.avg_pool1d(values.unsqueeze(1), 2 * reach + 1, 1, padding=reach).squeeze(1)

    share = mean_around(real).clamp(min=1e-6)
    mean = mean_around(level) / share
    return (mean_around(level.square()) / share - mean.square()).clamp(min=0.0).sqrt()
