# SPDX-License-Identifier: Apache-2.0
"""What a model takes for a clip: a file, its bytes, or samples."""

import os
from pathlib import Path

import numpy as np
from torch import Tensor

from .backbones import prepare_samples, read_audio

Audio = str | os.PathLike[str] | bytes | np.ndarray | Tensor


def read_source(source: Audio, sample_rate: int | None) -> Tensor:
    """Turn one accepted input into ``[S]`` float32 at 16 kHz.

    Raises:
        ValueError: Samples without a rate, or a file with one.
        AudioError: The audio cannot be used.
    """
    if isinstance(source, str | os.PathLike | bytes):
        if sample_rate is not None:
            raise ValueError("sample_rate: goes with samples only; a file says its own rate")
        return read_audio(source if isinstance(source, bytes) else Path(source))
    if sample_rate is None:
        raise ValueError("sample_rate: missing; give the rate of the samples in Hz")
    return prepare_samples(source, sample_rate)
