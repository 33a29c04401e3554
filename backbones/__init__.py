# SPDX-License-Identifier: Apache-2.0
"""Frozen encoders: from 16 kHz waveforms `[B, S]` to frames `[B, T, D]`.

Importing this package imports neither transformers nor torchaudio; both wait until a backbone that
needs them is built.
"""

from .audio import SAMPLE_RATE, AudioError, prepare_samples, read_audio
from .base import Backbone, BackboneError, BackboneSpec, freeze, pad_waveforms
from .filterbank import FilterbankBackbone, FilterbankConfig
from .loading import backbone_from_config, load_backbone
from .ssl_encoder import SSLEncoderBackbone
from .whisper_encoder import WhisperEncoderBackbone

__all__ = [
    "SAMPLE_RATE",
    "AudioError",
    "Backbone",
    "BackboneError",
    "BackboneSpec",
    "FilterbankBackbone",
    "FilterbankConfig",
    "SSLEncoderBackbone",
    "WhisperEncoderBackbone",
    "backbone_from_config",
    "freeze",
    "load_backbone",
    "pad_waveforms",
    "prepare_samples",
    "read_audio",
]
