# SPDX-License-Identifier: Apache-2.0
"""A residual bottleneck, the smallest adapter that there is (arXiv 1902.00751)."""

import os
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from .adapter_folder import load_adapter, save_adapter
from .checks import check_dropout, check_sizes
from .dense import dense
from .dropout import dropout
from .saving import Extras
from .standardize import FeatureStandardizer
from .uploading import push_folder


@dataclass(frozen=True)
class BottleneckAdapterConfig:
    """Size of a bottleneck adapter.

    Args:
        input_size: Features ``D`` of the frozen frames, and of what comes out.
        bottleneck: Features in the middle; Houlsby et al. use 8 to 256.
        dropout: Dropout on the residual branch.

    Raises:
        ValueError: A value is out of range.
    """

    input_size: int = 160
    bottleneck: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_sizes(input_size=self.input_size, bottleneck=self.bottleneck)
        check_dropout(self.dropout)


class BottleneckAdapter(nn.Module):
    """Residual bottleneck over frozen frames, frame by frame.

    With ``x`` a frame standardised by corpus statistics, the output is ``x + W_up GELU(W_down
    LayerNorm(x))``. ``W_up`` starts as zeros, so that an untrained adapter gives the standardised
    frames and fine-tuning starts where it would without an adapter (Houlsby et al. 2019, arXiv
    1902.00751, section 2.1, who start near the identity). They put two into each layer of a
    Transformer; here one stands on the encoder's frames, in the place of a `WAPTransformer`, of
    which it is the control: as few weights, no look at other frames, no pretraining.

    Args:
        config: The adapter's size.

    Example:
        >>> adapter = BottleneckAdapter(BottleneckAdapterConfig(input_size=768))
        >>> frames = torch.randn(2, 50, 768)
        >>> padding_mask = torch.zeros(2, 50, dtype=torch.bool)
        >>> adapter(frames, padding_mask).shape
        torch.Size([2, 50, 768])
    """

    def __init__(self, config: BottleneckAdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.input_size = config.input_size
        self.output_size = config.input_size
        self.extras: Extras = {}
        self.standardize = FeatureStandardizer(config.input_size)
        self.norm = nn.LayerNorm(config.input_size)
        self.down = nn.Linear(config.input_size, config.bottleneck)
        self.up = nn.Linear(config.bottleneck, config.input_size)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(
        self, frames: Tensor, padding_mask: Tensor, span_mask: Tensor | None = None
    ) -> Tensor:
        """Adapt frames.

        Args:
            frames: ``[B, T, D]`` float, as the backbone gives them.
            padding_mask: ``[B, T]`` bool, True = padding.
            span_mask: ``[B, T]`` bool, True = hidden from the adapter: such a frame stands at the
                corpus mean; None hides nothing.

        Returns:
            ``[B, T, D]`` float; padding is zeros.

        Raises:
            ValueError: The shapes or the masks' types do not fit.
        """
        standardized = self.standardize(frames, padding_mask, span_mask)
        inner = F.gelu(dense(self.down, self.norm(standardized)))
        residual = dropout(dense(self.up, inner), self.config.dropout, self.training)
        return (standardized + residual).masked_fill(padding_mask.unsqueeze(-1), 0.0)

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout.

        Raises:
            ValueError: ``dropout`` is not at least 0 and below 1.
        """
        self.config = replace(self.config, dropout=dropout)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors`` into ``folder``, which is made.

        What stands in ``extras`` (a JSON-able dict) is kept in ``config.json``.
        """
        save_adapter(self, folder)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | None = None,
        dropout: float | None = None,
    ) -> "BottleneckAdapter":
        """Load an adapter from a folder or a hub id, strictly; it comes in eval mode.

        Args:
            name_or_path: A folder that `save_pretrained` wrote, or a Hugging Face hub id.
            revision: Branch, tag or commit on the hub.
            token: Access token for a private repository.
            dropout: Dropout to train with from here on; None keeps the saved one.

        Raises:
            AdapterFolderError: The folder is not there, is of another class, is damaged, or its
                tensors are not exactly this model's.
        """
        return load_adapter(
            cls,
            BottleneckAdapterConfig,
            name_or_path,
            revision=revision,
            token=token,
            dropout=dropout,
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload the adapter to the Hugging Face hub and return the address of the commit.

        For the arguments, and for what it raises, see `voxadapt.adapters.uploading.push_folder`.
        ``voxadapt push`` uploads a pretraining's adapter with its codebook and its model card.
        """
        return push_folder(
            self.save_pretrained,
            repo_id,
            private=private,
            token=token,
            revision=revision,
            commit_message=commit_message,
        )
