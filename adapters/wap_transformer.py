# SPDX-License-Identifier: Apache-2.0
"""The WAP-Transformer adapter (arXiv 2509.23795, section 2.1)."""

import os
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .adapter_folder import load_adapter, save_adapter
from .attention import attention
from .checks import check_dropout, check_sizes, check_span_mask
from .dense import dense
from .dropout import dropout
from .saving import Extras
from .standardize import FeatureStandardizer
from .uploading import push_folder


@dataclass(frozen=True)
class WAPTransformerConfig:
    """Size of a WAP-Transformer.

    Args:
        input_size: Features ``D`` of the frozen frames.
        width: Features inside the adapter and of its output.
        layers: Transformer layers ``L``; the paper has 3.
        heads: Attention heads ``H``; must divide ``width``.
        feedforward: Inner size of the feed-forward blocks.
        dropout: Dropout on the residual branches. There is none on attention weights, which would
            rule out the fused attention kernels.
        position_kernel: Frames that the convolutional position embedding sees; odd.
        position_groups: Groups of that convolution; must divide ``width``.

    Raises:
        ValueError: A value is out of range.
    """

    input_size: int = 160
    width: int = 192
    layers: int = 3
    heads: int = 4
    feedforward: int = 768
    dropout: float = 0.1
    position_kernel: int = 15
    position_groups: int = 16

    def __post_init__(self) -> None:
        check_sizes(**{name: size for name, size in asdict(self).items() if name != "dropout"})
        check_dropout(self.dropout)
        if self.position_kernel % 2 == 0:
            raise ValueError(
                f"position_kernel: found {self.position_kernel}, must be odd so that a frame "
                "stands in the middle of what it sees"
            )
        for name in ("heads", "position_groups"):
            if self.width % getattr(self, name):
                raise ValueError(
                    f"{name}: found {getattr(self, name)}, must divide width ({self.width})"
                )


class WAPTransformer(nn.Module):
    """Weighted-average-pooling Transformer over frozen frames.

    With ``X_0`` the input projection plus a convolutional position embedding (so that any length
    works) and ``X_l = TransformerLayer_l(X_{l-1})``, the output is ``Z = Σ_l softmax(w)_l X_l``
    over the adapter's own layers 1 to L (arXiv 2509.23795, section 2.1). The paper leaves the kind
    of layer open: here it is pre-norm, and ``Z`` gets a final layer norm. The frames are first
    standardised by the statistics of the pretraining corpus, which are part of the adapter.

    Args:
        config: The adapter's size.

    Example:
        >>> adapter = WAPTransformer(WAPTransformerConfig(input_size=768))
        >>> frames = torch.randn(2, 50, 768)
        >>> padding_mask = torch.zeros(2, 50, dtype=torch.bool)
        >>> adapter(frames, padding_mask).shape
        torch.Size([2, 50, 192])
    """

    def __init__(self, config: WAPTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.input_size = config.input_size
        self.output_size = config.width
        self.extras: Extras = {}
        self.standardize = FeatureStandardizer(config.input_size)
        self.input_projection = nn.Linear(config.input_size, config.width)
        # Stands in for a masked frame after the input projection; the scale is wav2vec 2.0's.
        self.mask_embedding = nn.Parameter(torch.empty(config.width).uniform_())
        self.position = ConvolutionalPosition(
            config.width, config.position_kernel, config.position_groups
        )
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.layers))
        self.layer_weights = nn.Parameter(torch.zeros(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self, frames: Tensor, padding_mask: Tensor, span_mask: Tensor | None = None
    ) -> Tensor:
        """Enrich frames with their context.

        Args:
            frames: ``[B, T, D]`` float, as the backbone gives them.
            padding_mask: ``[B, T]`` bool, True = padding.
            span_mask: ``[B, T]`` bool, True = hidden from the adapter (pretraining's student); None
                hides nothing.

        Returns:
            ``[B, T, width]`` float; padding is zeros.

        Raises:
            ValueError: The shapes or the masks' types do not fit.
        """
        hidden_states = dense(self.input_projection, self.standardize(frames, padding_mask))
        if span_mask is not None:
            check_span_mask(span_mask, padding_mask)
            mask_embedding = self.mask_embedding.to(hidden_states.dtype)
            hidden_states = torch.where(span_mask.unsqueeze(-1), mask_embedding, hidden_states)
        hidden_states = hidden_states.masked_fill(padding_mask.unsqueeze(-1), 0.0)
        hidden_states = hidden_states + self.position(hidden_states)

        # [B, 1, 1, T], True = may be attended to. A clip without any real frame attends to
        # everything instead of nothing, of which some attention kernels make NaN.
        attendable = ~padding_mask | padding_mask.all(dim=1, keepdim=True)
        attention_mask = attendable[:, None, None, :]
        pooled = torch.zeros_like(hidden_states)
        for weight, layer in zip(self.layer_weights.softmax(dim=0), self.layers, strict=True):
            hidden_states = layer(hidden_states, attention_mask)
            pooled = pooled + weight * hidden_states
        return self.norm(pooled).masked_fill(padding_mask.unsqueeze(-1), 0.0)

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout everywhere, for instance from pretraining's to fine-tuning's.

        Raises:
            ValueError: ``dropout`` is not at least 0 and below 1.
        """
        self.config = replace(self.config, dropout=dropout)
        for module in self.modules():
            if isinstance(module, TransformerLayer):
                module.dropout = dropout

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors`` into ``folder``, which is made.

        Whatever stands in ``extras`` (a JSON-able dict: the backbone's fingerprint, say) is kept in
        ``config.json`` and comes back with `from_pretrained`.
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
    ) -> "WAPTransformer":
        """Load an adapter from a folder or a hub id, strictly; it comes in eval mode.

        Args:
            name_or_path: A folder that `save_pretrained` wrote, or a Hugging Face hub id.
            revision: Branch, tag or commit on the hub.
            token: Access token for a private repository.
            dropout: Dropout to train with from here on; None keeps the saved one.

        Returns:
            The adapter with its ``extras``, in eval mode: call ``.train()`` to train it.

        Raises:
            AdapterFolderError: The folder is not there, is of another class, is damaged, or its
                tensors are not exactly this model's.
        """
        return load_adapter(
            cls, WAPTransformerConfig, name_or_path, revision=revision, token=token, dropout=dropout
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


class ConvolutionalPosition(nn.Module):
    """Relative position from a grouped convolution over time, as in wav2vec 2.0 (arXiv 2006.11477).

    Args:
        width: Features of a frame.
        kernel: Frames seen, odd.
        groups: Groups of the convolution.
    """

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map ``[B, T, D]``, zero on padding, to its position embedding of the same shape."""
        position = self.convolution(rearrange(hidden_states, "B T D -> B D T"))
        return F.gelu(rearrange(position, "B D T -> B T D"))


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and feed-forward block.

    Args:
        config: The adapter's size.
    """

    def __init__(self, config: WAPTransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.attention_output = nn.Linear(config.width, config.width)
        self.feedforward_norm = nn.LayerNorm(config.width)
        self.feedforward_input = nn.Linear(config.width, config.feedforward)
        self.feedforward_output = nn.Linear(config.feedforward, config.width)
        # Glorot's uniform for projections, as in the original Transformer's implementations.
        for linear in (self.query_key_value, self.attention_output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            hidden_states: ``[B, T, D]`` float.
            attention_mask: ``[B, 1, 1, T]`` bool, True = may be attended to.

        Returns:
            ``[B, T, D]`` float.
        """
        hidden_states = hidden_states + self._attend(
            self.attention_norm(hidden_states), attention_mask
        )
        inner = F.gelu(dense(self.feedforward_input, self.feedforward_norm(hidden_states)))
        output = dense(self.feedforward_output, inner)
        return hidden_states + dropout(output, self.dropout, self.training)

    def _attend(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        query, key, value = rearrange(
            dense(self.query_key_value, hidden_states),
            "B T (n H D) -> n B H T D",
            n=3,
            H=self.heads,
        )
        attended = attention(query, key, value, attention_mask)
        output = dense(self.attention_output, rearrange(attended, "B H T D -> B T (H D)"))
        return dropout(output, self.dropout, self.training)
