# SPDX-License-Identifier: Apache-2.0
"""Changes to the student's frames that a channel, a room or another vocal tract would make.

In log-Mel frames a gain and a channel are offsets, and a longer vocal tract is a stretch of the
frequency axis. A student that sees such frames and has to give what the clean frames were learns to
take those differences away: denoising (Vincent et al. 2008, "Extracting and Composing Robust
Features with Denoising Autoencoders") with the changes that speech recognition trains on (vocal
tract length perturbation, Jaitly and Hinton 2013). It is not in the adapter's paper.
"""

import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrameAugmentation:
    """Changes to the student's frames, drawn for each clip; the teacher and the targets stay clean.

    `level`, `channel` and `warp` are for frames whose features are frequency bands, as those of the
    filterbank, and leave other encoders' frames alone.

    Args:
        level: Gain of a clip: standard deviation of an offset to all of its features, in standard
            deviations of a feature.
        channel: Channel of a clip: the same of each of three smooth offsets over the bands, a slope
            and one wave each of cosine and sine.
        warp: Vocal tract length: largest stretch of the axis of bands of a clip, as a share. In
            Jaitly and Hinton's perturbation it is the axis in Hz that is stretched.
        noise: Noise: largest standard deviation of what is added to each feature of each frame.

    Raises:
        ValueError: A value is out of range.
    """

    level: float = 0.45
    channel: float = 0.4
    warp: float = 0.12
    noise: float = 0.6

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"frame_augment.{name}: found {value}, must be a finite number, 0 (off) or more"
                )
        if self.warp >= 1:
            raise ValueError(
                f"frame_augment.warp: found {self.warp}, must be below 1, a share of the bands"
            )

    @property
    def is_on(self) -> bool:
        """Whether any frame can come out changed."""
        return any(asdict(self).values())

    def for_bands(self, bands: int | None) -> "FrameAugmentation":
        """What is left of it for frames of so many bands; None: features are no bands."""
        return self if bands else replace(self, level=0.0, channel=0.0, warp=0.0)


def augment_frames(
    frames: Tensor,
    settings: FrameAugmentation,
    *,
    generator: torch.Generator,
    bands: int | None,
) -> Tensor:
    """Change the frames of one clip.

    The same numbers are drawn whatever is on, so that one change does not move another.

    Args:
        frames: ``[T, D]`` float32, standardised.
        settings: How much of each.
        generator: Source of randomness, seeded per clip; on the CPU.
        bands: Frequency bands that a frame holds, which repeat where it is several log-Mel frames
            side by side; None where features are no bands.

    Returns:
        ``[T, D]``.

    Raises:
        ValueError: ``bands`` does not divide ``D``.
    """
    length, size = frames.shape
    level, *shapes = torch.randn(4, generator=generator).tolist()
    warp, noise = torch.rand(2, generator=generator).tolist()
    if bands is not None:
        if size % bands:
            raise ValueError(f"bands: found {bands}, must divide the {size} features of a frame")
        if settings.warp:
            frames = stretch_bands(frames, 1.0 + settings.warp * (2.0 * warp - 1.0), bands)
        place = torch.linspace(-1.0, 1.0, bands)
        curves = (place, torch.cos(math.pi * place), torch.sin(math.pi * place))
        offset = torch.full((bands,), settings.level * level)
        for shape, curve in zip(shapes, curves, strict=True):
            offset = offset + settings.channel * shape * curve
        frames = frames + offset.repeat(size // bands).to(frames)
    if settings.noise:
        drawn = torch.randn(length, size, generator=generator)
        frames = frames + settings.noise * noise * drawn.to(frames)
    return frames


def stretch_bands(frames: Tensor, factor: float, bands: int) -> Tensor:
    """Read each band from ``factor`` times its place, between its neighbours in a straight line.

    Args:
        frames: ``[T, D]``, bands that repeat ``D / bands`` times.
        factor: Above 1 moves what is in the frames towards lower bands.
        bands: Bands.

    Returns:
        ``[T, D]``; places beyond the last band read the last.
    """
    place = (torch.arange(bands, dtype=torch.float32) * factor).clamp(max=bands - 1)
    below = place.floor().long()
    share = (place - below).to(frames)
    below = below.to(frames.device)
    above = (below + 1).clamp(max=bands - 1)
    spectra = frames.unflatten(-1, (-1, bands))  # [T, D / bands, bands]
    return torch.lerp(spectra[..., below], spectra[..., above], share).flatten(-2)
