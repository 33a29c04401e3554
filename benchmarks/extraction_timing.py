# SPDX-License-Identifier: Apache-2.0
"""Timed passes over clips, and how fast matrices are multiplied, for `extraction.py`."""

import statistics
import time
from collections.abc import Sequence

import torch
from extraction_peers import Encode
from extraction_rows import PRECISIONS
from torch import Tensor, nn

from voxadapt.backbones.dense import dense


def time_pass(encode: Encode, clips: Sequence[Tensor], device: torch.device, least: float) -> float:
    """Seconds of one pass over the clips: the mean of as many as fill `least` seconds."""
    passes = 0
    with torch.inference_mode():
        _synchronize(device)
        start = time.perf_counter()
        while True:
            encode(clips)
            _synchronize(device)
            passes += 1
            elapsed = time.perf_counter() - start
            if elapsed >= least:
                return elapsed / passes


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rates(device: torch.device, size: int | None = None) -> dict[str, dict[str, float]]:
    """Floating-point operations per second of square matrix products.

    Args:
        device: Where to multiply.
        size: Rows and columns; None is 2048, or 8192 on a GPU.

    Returns:
        By precision, then by way: torch's own product, and the linear layer of the backbones.
    """
    size = size or (8192 if device.type == "cuda" else 2048)
    linear = "nn.Linear" if device.type == "cuda" else "oneDNN linear"
    rates = {}
    for precision, dtype in zip(PRECISIONS, (torch.float32, torch.bfloat16), strict=True):
        matrix = torch.randn(size, size, device=device, dtype=dtype)
        layer = nn.Linear(size, size, device=device, dtype=dtype)
        seconds = {
            "torch.matmul": _seconds(lambda clips: [clips[0] @ clips[0]], matrix),
            linear: _seconds(lambda clips, layer=layer: [dense(layer, clips[0])], matrix),
        }
        rates[precision] = {way: 2 * size**3 / seconds[way] for way in seconds}
    return rates


def _seconds(multiply: Encode, matrix: Tensor) -> float:
    times = [time_pass(multiply, [matrix], matrix.device, least=0.0) for _ in range(6)]
    return statistics.median(times[1:])
