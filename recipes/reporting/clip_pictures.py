# SPDX-License-Identifier: Apache-2.0
"""A clip as a picture and as sound, small enough to stand in a page."""

import functools
import io

import numpy as np
import torch
from torch import Tensor

from voxadapt.backbones import AudioError, FilterbankBackbone
from voxadapt.backbones.audio import SAMPLE_RATE, read_audio
from voxadapt.backbones.filterbank import FilterbankConfig
from voxadapt.recipes.corpora.clip import Clip

# Of a longer clip, the page holds and shows the beginning.
LONGEST_SECONDS = 30.0
_LONGEST_SAMPLES = round(LONGEST_SECONDS * SAMPLE_RATE)
_MOST_COLUMNS = 600  # of a picture: a card is no wider on any screen
_RANGE = 10.0  # of the logarithm of the power, from black to white: 43 dB


def read_beginning(clip: Clip) -> Tensor:
    """The clip's first `LONGEST_SECONDS` as ``[S]`` float32 at 16 kHz.

    Raises:
        AudioError: It cannot be read any more.
    """
    latest = (clip.start or 0.0) + LONGEST_SECONDS
    end = latest if clip.end is None else min(clip.end, latest)
    try:
        return read_audio(clip.audio, start=clip.start, end=end)
    except AudioError:  # as where the file ends before that, and says so
        return read_audio(clip.audio, start=clip.start, end=clip.end)[:_LONGEST_SAMPLES]


def encode_wav(waveform: Tensor) -> bytes:
    """16-bit mono WAV: every browser plays it, and jumps in it (Chromium fails to in short FLAC).

    Args:
        waveform: ``[S]`` float at 16 kHz.
    """
    import soundfile

    stream = io.BytesIO()
    samples = waveform.clamp(-1, 1).numpy()
    soundfile.write(stream, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def decode_wav(content: bytes) -> Tensor:
    """What `encode_wav` was given, to 16 bits."""
    import soundfile

    samples, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    return torch.from_numpy(samples)


@functools.cache
def _filterbank() -> FilterbankBackbone:
    return FilterbankBackbone(FilterbankConfig(num_mels=64, stack=1))


def draw_spectrogram(waveform: Tensor) -> bytes:
    """A log-Mel spectrogram as PNG: low frequencies at the bottom, 10 ms a column where it fits.

    Args:
        waveform: ``[S]`` float at 16 kHz.
    """
    from matplotlib import colormaps
    from PIL import Image

    padding_mask = torch.zeros(1, len(waveform), dtype=torch.bool)
    frames = _filterbank()(waveform[None], padding_mask)[0][0].numpy()  # [T, Mels]
    if len(frames) > _MOST_COLUMNS:
        edges = np.linspace(0, len(frames), _MOST_COLUMNS + 1).astype(int)[:-1]
        counts = np.diff([*edges, len(frames)])[:, None]
        frames = np.add.reduceat(frames, edges, axis=0) / counts
    top = np.percentile(frames, 99.8)
    shares = np.clip(1 + (frames - top) / _RANGE, 0, 1)
    indices = np.round(255 * shares).astype(np.uint8).T[::-1]
    picture = Image.fromarray(np.ascontiguousarray(indices))
    colours = (255 * colormaps["inferno"](np.arange(256))[:, :3]).astype(np.uint8)  # [256, RGB]
    picture.putpalette(colours.tobytes())
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
