# SPDX-License-Identifier: Apache-2.0
"""What every backbone is: frozen, from waveforms to frames, untouched by padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


class BackboneError(ValueError):
    """A backbone that cannot be loaded or built; the message says what to do about it."""


@dataclass(frozen=True)
class BackboneSpec:
    """What the rest of the toolkit needs to know of a backbone.

    Attributes:
        name: The name, hub id or folder that it was loaded by.
        feature_size: `D`, the size of one frame.
        frame_rate: Frames per second (Hz).
        minimum_samples: Samples from which a clip fills its first frame by itself. A shorter clip
            is zero-padded up to this length and gives one real frame.
        layers: Transformer layers that are run; 0 for the filterbank.
        parameters: Number of parameters held in memory.
        layer_outputs: Layers whose outputs stand side by side in a frame, `D / layer_outputs`
            features each; 1 unless all layers were asked for (`weighted`).
        receptive_field: Samples that a frame is computed from before the layers mix frames.
        normalization: What is done to a waveform, or its spectrogram, in words.
        licence: As the model card names it; None where it does not, or there is none.
        sample_rate: Samples per second (Hz) of the waveforms that are expected.
    """

    name: str
    feature_size: int
    frame_rate: float
    minimum_samples: int
    layers: int
    parameters: int
    layer_outputs: int = 1
    receptive_field: int = 0
    normalization: str = "none"
    licence: str | None = None
    sample_rate: int = 16_000


class Backbone(Protocol):
    """A frozen encoder of waveforms. `FilterbankBackbone` and `EncoderBackbone` are such.

    Whatever the padding holds, and whatever else is in the batch, a clip's real frames are the same
    to float tolerance.
    """

    @property
    def spec(self) -> BackboneSpec:
        """Size, rate and cost of this backbone."""
        ...

    @property
    def precision(self) -> str:
        """What it is computed in, `fp32` or `bf16`."""
        ...

    def __call__(self, waveforms: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Run `forward`."""
        ...

    def forward(self, waveforms: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a right-padded batch.

        Args:
            waveforms: `[B, S]` float, mono at `spec.sample_rate`, in about -1..1.
            padding_mask: `[B, S]` bool, True = padding.

        Returns:
            Frames `[B, T, D]` float, zero on padding, and their padding mask `[B, T]` bool. Each
            clip has at least one real frame.
        """
        ...

    def to(self, device: torch.device | str) -> Any:
        """Move it; like every backbone, it is an `nn.Module`."""
        ...

    def config(self) -> dict[str, Any]:
        """JSON-able; `backbone_from_config` builds the same backbone from it."""
        ...

    def fingerprint(self) -> str:
        """64 hexadecimal digits that are the same exactly when the features are the same."""
        ...

    def cache_key(self) -> str:
        """64 hexadecimal digits; other ones where the features were rounded in another way."""
        ...

    @property
    def preferred_batch_seconds(self) -> float:
        """Seconds of padded audio to a batch that are fast where the backbone is."""
        ...


def freeze(module: nn.Module) -> None:
    """Put `module` in eval mode and switch off every gradient in it.

    `eval()` alone does not last: a parent's `.train()` undoes it. The backbones therefore override
    `train()` as well.
    """
    module.eval()
    module.requires_grad_(False)


def pad_waveforms(waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack clips of several lengths, padded with zeros on the right.

    Args:
        waveforms: Clips, each `[S]` float with at least one sample.

    Returns:
        Waveforms `[B, S]` and padding mask `[B, S]` bool, True = padding.

    Raises:
        ValueError: No clip, or one that is not of shape `[S]` with at least one sample.
    """
    if not waveforms:
        raise ValueError("waveforms is empty: give at least one clip of shape [S].")
    for index, waveform in enumerate(waveforms):
        if waveform.ndim != 1 or waveform.numel() == 0:
            raise ValueError(
                f"waveforms[{index}] has shape {list(waveform.shape)}, but [S] with S >= 1 is "
                "needed: read_audio gives such clips."
            )
    lengths = torch.tensor([len(waveform) for waveform in waveforms], device=waveforms[0].device)
    padded = pad_sequence(list(waveforms), batch_first=True)  # [B, S]
    return padded, padding_mask_from_lengths(lengths, padded.shape[1])


def padding_mask_from_lengths(lengths: Tensor, size: int) -> Tensor:
    """Turn lengths `[B]` into a padding mask `[B, size]` bool, True = padding."""
    return torch.arange(size, device=lengths.device) >= lengths[:, None]


def prepare_waveforms(
    waveforms: Tensor, padding_mask: Tensor, minimum_samples: int
) -> tuple[Tensor, Tensor]:
    """Check a batch, put zeros on its padding, and make it at least `minimum_samples` long.

    Args:
        waveforms: `[B, S]` float; the padding may hold anything, NaN included.
        padding_mask: `[B, S]` bool, True = padding, on the right only.
        minimum_samples: The batch is zero-padded on the right up to this many samples.

    Returns:
        Waveforms `[B, S']` float32 with `S' >= minimum_samples`, and real samples per clip `[B]`.

    Raises:
        ValueError: Wrong shapes or types, no clip, padding that is not on the right, a clip of
            padding only.
    """
    if waveforms.ndim != 2 or not waveforms.is_floating_point():
        raise ValueError(
            f"waveforms has shape {list(waveforms.shape)} and type {waveforms.dtype}, but [B, S] "
            "float is needed: pad_waveforms makes it from a list of clips."
        )
    if not len(waveforms):
        raise ValueError("waveforms holds no clip: give at least one.")
    if padding_mask.shape != waveforms.shape or padding_mask.dtype != torch.bool:
        raise ValueError(
            f"padding_mask has shape {list(padding_mask.shape)} and type {padding_mask.dtype}, but "
            f"{list(waveforms.shape)} bool (True = padding) is needed, as waveforms has: "
            "pad_waveforms makes it."
        )
    lengths = (~padding_mask).sum(dim=1)  # [B]
    if not bool((lengths > 0).all()):
        empty = (lengths == 0).nonzero().flatten().tolist()
        raise ValueError(
            f"Clips {empty} of the batch have no real sample, but each clip needs at least one: "
            "leave them out of the batch, or turn the mask round (True = padding)."
        )
    if not torch.equal(padding_mask, padding_mask_from_lengths(lengths, padding_mask.shape[1])):
        raise ValueError(
            "padding_mask marks padding before real samples, but padding is allowed on the right "
            "only: move the samples to the left, as pad_waveforms does."
        )
    # masked_fill and not a product: NaN * 0 is NaN.
    waveforms = waveforms.float().masked_fill(padding_mask, 0.0)
    return F.pad(waveforms, (0, max(0, minimum_samples - waveforms.shape[1]))), lengths
