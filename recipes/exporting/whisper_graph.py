# SPDX-License-Identifier: Apache-2.0
"""Whisper's encoder as a graph, its windows of 30 s included."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxadapt.backbones import whisper_encoder, whisper_log_mel
from voxadapt.backbones.base import padding_mask_from_lengths
from voxadapt.backbones.encoder_cut import twin
from voxadapt.backbones.layer_choice import combine
from voxadapt.backbones.whisper_encoder import WhisperEncoder
from voxadapt.backbones.whisper_log_mel import MEL_HOP_SAMPLES, WhisperLogMel
from voxadapt.recipes.exporting.mel_power import MelPower

_FRAME_SAMPLES = whisper_encoder._FRAME_SAMPLES
_MELS_PER_FRAME = whisper_encoder._MELS_PER_FRAME


class WhisperGraph(nn.Module):
    """What `WhisperEncoder` computes, with nothing that depends on the values of lengths.

    How many windows there are follows from the longest clip of the batch. A clip that has fewer is
    given its last one again in place of those that it lacks; nothing is read from them.

    Args:
        encoder: The encoder, whose modules are used where they are.
    """

    def __init__(self, encoder: WhisperEncoder) -> None:
        super().__init__()
        self.encoder = twin(encoder)
        self.log_mel = LogMelGraph(encoder.log_mel)
        self.whole = encoder.context == "window"
        self.minimum_samples = encoder.minimum_samples

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clips.

        Args:
            waveforms: ``[B, S]`` float32, zero on padding, ``S`` at least `minimum_samples`.
            lengths: Real samples of each clip ``[B]``.

        Returns:
            Frames ``[B, T, D]``, whose padding may hold anything, and frames of each clip ``[B]``.
        """
        frame_lengths = (lengths // _FRAME_SAMPLES).clamp(min=1)  # [B]
        most = waveforms.shape[1] // _FRAME_SAMPLES  # T
        size = torch.sym_min(most, self.encoder.window_frames)  # frames of a clip in a window
        count = (most + size - 1) // size  # windows of a clip
        # The last window of a clip reaches back to be as long as the others.
        latest = (frame_lengths - size).clamp(min=0)[:, None]
        starts = torch.minimum((torch.arange(count) * size)[None], latest)  # [B, windows]
        encoded = self._encode(waveforms, frame_lengths, starts, size)  # [B * windows, size, D]

        encoded = encoded.reshape(waveforms.shape[0], count * size, encoded.shape[-1])
        frames = torch.arange(most)
        window = frames // size
        inside = (frames[None] - starts[:, window]).clamp(max=size - 1)  # [B, T]
        places = window[None] * size + inside
        index = places[..., None].expand(-1, -1, encoded.shape[-1])
        return encoded.gather(1, index), frame_lengths

    def _encode(
        self, waveforms: Tensor, frame_lengths: Tensor, starts: Tensor, size: int
    ) -> Tensor:
        """Frames ``[B * windows, size, D]`` of the windows that begin at frames ``starts``."""
        frames = self.encoder.window_frames if self.whole else size
        # A clip on its own gets one more frame, so that silence follows it in any batch.
        samples = (frames if self.whole else frames + 1) * _FRAME_SAMPLES
        padded = F.pad(waveforms, (0, samples))
        places = starts[..., None] * _FRAME_SAMPLES + torch.arange(samples)  # [B, windows, S']
        cuts = padded.gather(1, places.flatten(start_dim=1)).reshape(-1, samples)
        if self.whole:
            mels = self.log_mel(cuts, None)
            states = _states(self.encoder, self.encoder._embed(mels), None, size)
            return combine(
                (state[:, :size] for state in states), self.encoder.layer, self.encoder.final
            )
        lengths = frame_lengths[:, None].clamp(max=size).expand_as(starts).flatten()
        mels = self.log_mel(cuts, lengths * _MELS_PER_FRAME)[..., : frames * _MELS_PER_FRAME]
        states = _states(self.encoder, self.encoder._embed(mels), lengths, None)
        return combine(states, self.encoder.layer, self.encoder.final)


def whisper_states(
    encoder: WhisperEncoder, hidden_states: Tensor, lengths: Tensor
) -> Iterator[Tensor]:
    """Yield ``hidden_states`` ``[N, T, D]``, then each layer's, as `WhisperEncoder.states` does.

    Args:
        encoder: The encoder, or the upper part of its `cut`.
        hidden_states: The first layer's input.
        lengths: Real frames of each clip ``[N]``, at least 1.
    """
    return _states(encoder, hidden_states, lengths, None)


def _states(
    encoder: WhisperEncoder, hidden_states: Tensor, lengths: Tensor | None, wanted: int | None
) -> Iterator[Tensor]:
    yield hidden_states
    for number, layer in enumerate(encoder.layers, start=1):
        last = number == encoder.depth
        hidden_states = encoder.run_layer(
            layer,
            whisper_encoder._NAMES,
            hidden_states,
            lengths,
            heads=encoder.heads,
            pre_norm=True,
            frames=wanted if last else None,
        )
        yield encoder.layer_norm(hidden_states) if last else hidden_states


class LogMelGraph(nn.Module):
    """What `WhisperLogMel` computes.

    Args:
        log_mel: The spectrogram.
    """

    def __init__(self, log_mel: WhisperLogMel) -> None:
        super().__init__()
        window = log_mel.window.double()
        self.mel_power = MelPower(
            lambda windows: torch.fft.rfft(windows * window),
            len(window),
            MEL_HOP_SAMPLES,
            log_mel.mel_filters,
        )

    def forward(self, waveforms: Tensor, mel_lengths: Tensor | None) -> Tensor:
        """Compute the spectrogram.

        Args:
            waveforms: ``[N, S]`` float32, ``S`` a multiple of 160.
            mel_lengths: Mel frames of each ``[N]``, over which the maximum is taken, and beyond
                which there are zeros; None where all are.

        Returns:
            ``[N, num_mels, S / 160]`` float32.
        """
        frames = waveforms.shape[1] // MEL_HOP_SAMPLES
        half = self.mel_power.window_samples // 2
        power = self.mel_power(F.pad(waveforms, (half, half), mode="reflect"))[:, :frames]
        # log10 of float64 is not in every runtime.
        log_power = power.clamp(min=whisper_log_mel._POWER_FLOOR).float().log10()
        if mel_lengths is None:
            loudest = log_power.amax(dim=(1, 2), keepdim=True)
        else:
            padding = padding_mask_from_lengths(mel_lengths, frames)[..., None]
            loudest = log_power.masked_fill(padding, -torch.inf).amax(dim=(1, 2), keepdim=True)
        log_power = torch.maximum(log_power, loudest - whisper_log_mel._DYNAMIC_RANGE)
        mels = (log_power + 4.0) / 4.0
        if mel_lengths is not None:
            mels = mels.masked_fill(padding, 0.0)
        return mels.transpose(1, 2)
