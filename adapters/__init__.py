# SPDX-License-Identifier: Apache-2.0
"""Adapters over frozen frames and their pretraining. Needs torch and einops; faiss only to fit."""

from .attributes import Codebook, CodebookFit, fit_codebook
from .bottleneck import BottleneckAdapter, BottleneckAdapterConfig
from .ema import make_teacher, update_teacher
from .frame_augment import FrameAugmentation, augment_frames
from .masking import draw_feature_mask, draw_span_mask
from .monitors import CollapseError, CollapseThresholds
from .objectives import ObjectivesConfig
from .pretraining import AdapterPretrainer
from .saving import AdapterFolderError
from .standardize import FeatureStandardizer
from .wap_transformer import WAPTransformer, WAPTransformerConfig

__all__ = [
    "AdapterFolderError",
    "AdapterPretrainer",
    "BottleneckAdapter",
    "BottleneckAdapterConfig",
    "Codebook",
    "CodebookFit",
    "CollapseError",
    "CollapseThresholds",
    "FeatureStandardizer",
    "FrameAugmentation",
    "ObjectivesConfig",
    "WAPTransformer",
    "WAPTransformerConfig",
    "augment_frames",
    "draw_feature_mask",
    "draw_span_mask",
    "fit_codebook",
    "make_teacher",
    "update_teacher",
]
