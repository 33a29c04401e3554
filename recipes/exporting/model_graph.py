# SPDX-License-Identifier: Apache-2.0
"""A whole model as one graph: waveforms in, probabilities out."""

import torch
from torch import Tensor, nn

from voxadapt.backbones import Backbone, EncoderBackbone, FilterbankBackbone, Lora, TunedLayers
from voxadapt.backbones.base import padding_mask_from_lengths
from voxadapt.backbones.encoder_cut import twin
from voxadapt.backbones.layer_choice import combine
from voxadapt.backbones.ssl_encoder import SSLEncoder
from voxadapt.backbones.wav2vec2_bert import Wav2Vec2BertEncoder
from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.exporting.attention_graph import graph_layer
from voxadapt.recipes.exporting.filterbank_graph import FilterbankGraph, pad_to
from voxadapt.recipes.exporting.ssl_graph import SSLGraph, ssl_states
from voxadapt.recipes.exporting.wav2vec2_bert_graph import Wav2Vec2BertGraph, conformer_states
from voxadapt.recipes.exporting.whisper_graph import WhisperGraph, whisper_states
from voxadapt.recipes.running.command_line import UsageError


class ModelGraph(nn.Module):
    """What a `SpeechClassifier` computes, as a graph for any batch size, length and padding.

    torch's code skips what a batch does not need: it looks at the lengths and takes another way. A
    graph cannot look, so here the shapes follow from the shape of the waveforms alone, and the
    lengths only enter masks. Everything after the front end is the model's own modules.

    Args:
        model: In eval mode. LoRA is folded into a copy of the layers.

    Raises:
        UsageError: The backbone is of a kind that has no graph.
    """

    def __init__(self, model: SpeechClassifier) -> None:
        super().__init__()
        tuned_layers = model.frame_classifier.tuned_layers
        if tuned_layers is not None and isinstance(tuned_layers.tuning, Lora):
            model = model.merge()
        self.backbone = backbone_graph(model.backbone)
        self.minimum_samples = model.backbone.spec.minimum_samples
        # A copy that has the parts of the original, in which one can be replaced.
        self.frame_classifier = twin(model.frame_classifier)
        if model.frame_classifier.tuned_layers is not None:
            tuned = TunedGraph(model.frame_classifier.tuned_layers)
            self.frame_classifier._modules["tuned_layers"] = tuned
        self.outputs = model.outputs
        self.eval()

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify clips.

        Args:
            waveforms: ``[B, S]`` float32, 16 kHz mono; the padding may hold anything.
            lengths: Real samples of each clip ``[B]`` int64. What is below 1 is taken as 1, what is
                above ``S`` as ``S``: a graph cannot refuse.

        Returns:
            Probabilities (or values) ``[B, C]``, logits ``[B, C]`` and pooled vectors ``[B, D']``.
        """
        size = waveforms.shape[1]
        lengths = lengths.clamp(min=1, max=size)
        waveforms = waveforms.masked_fill(padding_mask_from_lengths(lengths, size), 0.0)
        waveforms = pad_to(waveforms, self.minimum_samples)
        frames, frame_lengths = self.backbone(waveforms, lengths)
        padding_mask = padding_mask_from_lengths(frame_lengths, frames.shape[1])
        frames = frames.masked_fill(padding_mask[..., None], 0.0)
        logits, pooled, _ = self.frame_classifier.with_weights(frames, padding_mask)
        return self.outputs.activate(logits), logits, pooled


def backbone_graph(backbone: Backbone) -> nn.Module:
    """The backbone as a graph.

    Raises:
        UsageError: It is of a kind that has none, or in bfloat16.
    """
    if isinstance(backbone, FilterbankBackbone):
        return FilterbankGraph(backbone)
    if isinstance(backbone, EncoderBackbone) and backbone.precision == "fp32":
        encoder = backbone.encoder
        if isinstance(encoder, SSLEncoder):
            return SSLGraph(encoder)
        if isinstance(encoder, Wav2Vec2BertEncoder):
            return Wav2Vec2BertGraph(encoder)
        return WhisperGraph(encoder)
    raise UsageError(
        f"{backbone.spec.name}: a {type(backbone).__name__} in {backbone.precision} cannot be "
        "exported; the filterbank and the encoders can, in fp32"
    )


class TunedGraph(nn.Module):
    """What `TunedLayers` computes, with nothing that depends on the values of lengths.

    Args:
        tuned: The opened layers, without LoRA.
    """

    def __init__(self, tuned: TunedLayers) -> None:
        super().__init__()
        self.encoder = twin(tuned.encoder)
        if isinstance(self.encoder, SSLEncoder):
            self.encoder.run_layer = graph_layer
        self.window_frames = tuned.window_frames

    def forward(self, frames: Tensor, padding_mask: Tensor) -> Tensor:
        """Run the layers over ``[B, T, D]``, zero on padding, giving ``[B, T, D']`` likewise."""
        lengths = (~padding_mask).sum(dim=1)  # [B]
        if self.window_frames is None:
            tuned = self._run(frames, lengths)
        else:
            tuned = self._run_windows(frames, lengths, self.window_frames)
        return tuned.masked_fill(padding_mask[..., None], 0.0)

    def _run(self, frames: Tensor, lengths: Tensor) -> Tensor:
        encoder = self.encoder
        if isinstance(encoder, SSLEncoder):
            states = ssl_states(encoder, frames, lengths)
        elif isinstance(encoder, Wav2Vec2BertEncoder):
            states = conformer_states(encoder, frames, lengths)
        else:
            states = whisper_states(encoder, frames, lengths)
        return combine(states, encoder.layer, encoder.final)

    def _run_windows(self, frames: Tensor, lengths: Tensor, most: int) -> Tensor:
        """Cut ``[B, T, D]`` into windows of at most ``most`` frames, and join them again."""
        clips, total, width = frames.shape
        size = torch.sym_min(total, most)
        count = (total + size - 1) // size
        padded = nn.functional.pad(frames, (0, 0, 0, count * size - total))
        # A clip that ended in an earlier window attends to one frame of zeros.
        left = lengths[:, None] - torch.arange(count) * size  # [B, windows]
        left = left.clamp(min=1).clamp(max=size).flatten()
        windows = self._run(padded.reshape(clips * count, size, width), left)
        return windows.reshape(clips, count * size, windows.shape[-1])[:, :total]
