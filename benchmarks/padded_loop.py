# SPDX-License-Identifier: Apache-2.0
"""A fine-tuning loop in the manner of emotion2vec's downstream script, for comparison.

Not copied: written anew from how such scripts work. All features lie in memory as float32; each
epoch shuffles the clips and takes batches of a fixed number of them, whatever their lengths; a
batch is padded to its longest clip; the model is of PyTorch's own layers, with a key padding mask;
AdamW is PyTorch's default; everything runs in float32; after each epoch, the validation part runs
through in the same way. The model has the same sizes as ours: adapter, statistical attentive
pooling, linear layer.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxadapt.adapters import WAPTransformerConfig


class PlainModel(nn.Module):
    """A WAP-Transformer, statistical attentive pooling and a linear layer, of PyTorch's layers.

    Args:
        config: Size of the adapter.
        classes: Classes.
        dropout: Dropout on the pooled vector.
    """

    def __init__(self, config: WAPTransformerConfig, classes: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(config.input_size, config.width)
        self.position = nn.Conv1d(
            config.width,
            config.width,
            config.position_kernel,
            padding=config.position_kernel // 2,
            groups=config.position_groups,
        )
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.heads,
                config.feedforward,
                config.dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.layers)
        )
        self.layer_weights = nn.Parameter(torch.zeros(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.scorer = nn.Sequential(nn.Linear(config.width, 128), nn.Tanh(), nn.Linear(128, 1))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * config.width, classes)

    def forward(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        """Map frames ``[B, T, D]`` and their padding mask ``[B, T]`` to logits ``[B, C]``."""
        hidden = self.project(frames).masked_fill(padding_mask.unsqueeze(-1), 0.0)
        hidden = hidden + F.gelu(self.position(hidden.transpose(1, 2)).transpose(1, 2))
        pooled: Tensor = torch.zeros_like(hidden)
        for weight, layer in zip(self.layer_weights.softmax(dim=0), self.layers, strict=True):
            hidden = layer(hidden, src_key_padding_mask=padding_mask)
            pooled = pooled + weight * hidden
        pooled = self.norm(pooled)
        scores = self.scorer(pooled).masked_fill(padding_mask.unsqueeze(-1), float("-inf"))
        weights = scores.softmax(dim=1)
        mean = (weights * pooled).sum(dim=1)
        variance = (weights * (pooled - mean.unsqueeze(1)).square()).sum(dim=1)
        vector = torch.cat([mean, (variance + 1e-6).sqrt()], dim=-1)
        return self.linear(self.dropout(vector))


class PaddedLoop:
    """The loop around it.

    Args:
        model: The model.
        clips: Frames ``[T, D]`` float32 of each clip.
        targets: Class of each clip.
        train: Clips that train.
        valid: Clips that validate.
        batch_clips: Clips of a batch.
        seed: Seed of the shuffle.
    """

    def __init__(
        self,
        model: nn.Module,
        clips: Sequence[np.ndarray],
        targets: np.ndarray,
        train: Sequence[int],
        valid: Sequence[int],
        *,
        batch_clips: int,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.clips = clips
        self.targets = targets
        self.train, self.valid = list(train), list(valid)
        self.batch_clips = batch_clips
        self.random = np.random.default_rng(seed)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def epoch(self) -> float:
        """Train on every clip once and validate; returns the accuracy on the validation part."""
        self.model.train()
        for batch in self._batches(self.random.permutation(self.train)):
            frames, padding_mask, targets = self._pad(batch)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(frames, padding_mask), targets, label_smoothing=0.1)
            loss.backward()
            self.optimizer.step()
            loss.item()  # for its running mean
        self.model.eval()
        right = 0
        with torch.no_grad():
            for batch in self._batches(np.array(self.valid)):
                frames, padding_mask, targets = self._pad(batch)
                right += int((self.model(frames, padding_mask).argmax(dim=-1) == targets).sum())
        return right / len(self.valid)

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        return np.split(order, range(self.batch_clips, len(order), self.batch_clips))

    def _pad(self, batch: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Frames ``[B, T, D]``, padding mask ``[B, T]`` and classes ``[B]`` of a batch."""
        clips = [self.clips[index] for index in batch]
        longest = max(len(clip) for clip in clips)
        frames = torch.zeros(len(clips), longest, clips[0].shape[1])
        padding_mask = torch.ones(len(clips), longest, dtype=torch.bool)
        for row, clip in enumerate(clips):
            frames[row, : len(clip)] = torch.from_numpy(clip)
            padding_mask[row, : len(clip)] = False
        return frames, padding_mask, torch.from_numpy(self.targets[batch])
