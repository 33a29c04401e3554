# SPDX-License-Identifier: Apache-2.0
"""What student and teacher are made of: an adapter, and prototypes for self-distillation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dense import dense, linear
from .wap_transformer import WAPTransformer


class Branch(nn.Module):
    """What student and teacher have in common: the adapter and the two prototype layers.

    Args:
        adapter: The adapter that is pretrained.
        prototypes: Prototypes ``K``.
    """

    def __init__(self, adapter: WAPTransformer, prototypes: int) -> None:
        super().__init__()
        self.adapter = adapter
        self.frame_prototypes = Prototypes(adapter.output_size, prototypes)
        self.utterance_prototypes = Prototypes(adapter.output_size, prototypes)


class Prototypes(nn.Module):
    """Cosine similarity to K prototypes, as in DINO's last layer (arXiv 2104.14294, appendix C).

    Args:
        input_size: Features ``D``.
        prototypes: Prototypes ``K``.
    """

    def __init__(self, input_size: int, prototypes: int) -> None:
        super().__init__()
        self.projection = nn.Linear(input_size, input_size)
        self.prototypes = nn.Parameter(torch.randn(prototypes, input_size))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map ``[N, D]`` to similarities ``[N, K]`` in -1..1."""
        # In float32 under autocast too: the similarities are divided by temperatures far below 1,
        # which would blow bfloat16's rounding up.
        with torch.autocast(vectors.device.type, enabled=False):
            return linear(
                F.normalize(dense(self.projection, vectors.float()), dim=-1),
                F.normalize(self.prototypes, dim=-1),
            )
