# SPDX-License-Identifier: Apache-2.0
"""Does an exported file give what torch gives?"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from voxadapt.backbones import SAMPLE_RATE, pad_waveforms
from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.exporting.onnx_file import output_names
from voxadapt.recipes.exporting.onnx_session import OnnxModel

LIMIT = 1e-4
SECONDS = (0.01, 0.31, 1.0, 2.5, 8.0)
BATCH_SIZES = (1, 2, 4)
# Shares of a batch's longest clip, and levels, of the clips in it.
_SHARES = (1.0, 0.37, 0.81, 0.12)
_LEVELS = (0.1, 0.02, 0.4, 0.005)


@dataclass(frozen=True)
class ParityRow:
    """The largest differences in one batch.

    Attributes:
        seconds: Length of the longest clip.
        batch: Number of clips.
        differences: By the name of the output, over its largest value where that is above 1;
            infinite where something is not a number.
    """

    seconds: float
    batch: int
    differences: Mapping[str, float]

    @property
    def worst(self) -> float:
        """The largest difference."""
        return max(self.differences.values())


def check_parity(
    model: SpeechClassifier,
    exported: OnnxModel,
    *,
    seconds: Sequence[float] | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    progress: bool = True,
) -> list[ParityRow]:
    """Compare a file with torch, at several lengths and batch sizes.

    Torch gets each clip alone; the file gets it among longer ones, with NaN in the padding. So what
    is compared is the padding as well as the arithmetic.

    Args:
        model: In eval mode, on the CPU.
        exported: The file.
        seconds: Lengths of the longest clips; None for `lengths_for` the model.
        batch_sizes: How many clips go together, at most 4.
        progress: Whether to show a bar.
    """
    names = output_names(model)
    rows = []
    chosen = list(lengths_for(model) if seconds is None else seconds)
    with tqdm(total=len(chosen) * len(batch_sizes), desc="parity", disable=not progress) as bar:
        for number, length in enumerate(chosen):
            clips = list(draw_clips(length, max(batch_sizes), seed=number))
            expected = [run_alone(model, clip) for clip in clips]
            for size in batch_sizes:
                found = exported.run(clips[:size], filler=math.nan)
                differences = {
                    name: max(
                        _difference(found[name][row], expected[row][name]) for row in range(size)
                    )
                    for name in names
                }
                rows.append(ParityRow(length, size, differences))
                bar.update()
    return rows


def lengths_for(model: SpeechClassifier) -> tuple[float, ...]:
    """Seconds to compare at; for Whisper one of them is longer than its window."""
    windows = getattr(getattr(model.backbone, "encoder", None), "window_frames", None)
    if windows is None:
        return SECONDS
    return (*SECONDS[:-1], 1.1 * windows / model.backbone.spec.frame_rate)


def draw_clips(seconds: float, count: int, seed: int) -> Iterator[Tensor]:
    """Made-up clips ``[S]`` of several levels, the first ``seconds`` long and the others shorter.

    Tones that come and go over noise, with an offset, as recordings have.
    """
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        share, level = _SHARES[number], _LEVELS[number]
        samples = max(1, round(share * seconds * SAMPLE_RATE))
        time = torch.arange(samples) / SAMPLE_RATE
        pitch = 110.0 * (1 + number)
        voice = sum(torch.sin(2 * math.pi * pitch * k * time) / k for k in range(1, 12))
        swell = 0.5 + 0.5 * torch.sin(2 * math.pi * 3.0 * time + number)
        noise = torch.randn(samples, generator=generator)
        yield level * (0.4 * voice * swell + 0.1 * noise + 0.02)


@torch.inference_mode()
def run_alone(model: SpeechClassifier, clip: Tensor) -> dict[str, np.ndarray]:
    """Torch's outputs for one clip ``[S]``, ``[...]`` float32 by the name of the output."""
    frames, padding_mask = model.backbone(*pad_waveforms([clip]))
    logits, pooled, _ = model.frame_classifier.with_weights(frames, padding_mask)
    tensors = (model.outputs.activate(logits), logits, pooled)
    return {
        name: tensor[0].numpy() for name, tensor in zip(output_names(model), tensors, strict=True)
    }


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the scale; infinite where one of them is not a number."""
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(found - expected).max()) / scale
    return math.inf if math.isnan(difference) else difference


def parity_table(rows: Sequence[ParityRow]) -> str:
    """The rows as text."""
    names = list(rows[0].differences)
    lines = [
        f"Parity with torch: the largest difference (limit {LIMIT:.0e}), each clip alone in torch "
        "and padded with NaN in the file",
        "  seconds  batch" + "".join(f"  {name:>{max(8, len(name))}}" for name in names),
    ]
    for row in rows:
        cells = (f"  {row.differences[name]:>{max(8, len(name))}.1e}" for name in names)
        mark = "  too large" if row.worst > LIMIT else ""
        lines.append(f"  {row.seconds:7.2f}  {row.batch:5d}{''.join(cells)}{mark}")
    return "\n".join(lines)
