# SPDX-License-Identifier: Apache-2.0
"""Frozen encoders: from 16 kHz waveforms `[B, S]` to frames `[B, T, D]`.

Importing this package imports neither transformers nor torchaudio; both wait until a backbone that
needs them is built.
"""

from .audio import SAMPLE_RATE, AudioError, prepare_samples, read_audio
from .backbone_split import split_backbone
from .base import Backbone, BackboneError, BackboneSpec, freeze, pad_waveforms
from .encoder import EncoderBackbone, Precision
from .families import FAMILIES
from .filterbank import FilterbankBackbone, FilterbankConfig
from .loading import backbone_from_config, load_backbone
from .tuned_layers import TunedLayers
from .tuning import Lora, OpenLayers, Tuning, tuning_config, tuning_from_config

__all__ = [
    "FAMILIES",
    "SAMPLE_RATE",
    "AudioError",
    "Backbone",
    "BackboneError",
    "BackboneSpec",
    "EncoderBackbone",
    "FilterbankBackbone",
    "FilterbankConfig",
    "Lora",
    "OpenLayers",
    "Precision",
    "TunedLayers",
    "Tuning",
    "backbone_from_config",
    "freeze",
    "load_backbone",
    "pad_waveforms",
    "prepare_samples",
    "read_audio",
    "split_backbone",
    "tuning_config",
    "tuning_from_config",
]
