# SPDX-License-Identifier: Apache-2.0
"""Half precision, where the machine computes in it."""

import logging
import platform

import torch

from voxadapt.backbones import Precision

logger = logging.getLogger(__name__)


def usable_precision(precision: Precision, kind: str | None = None) -> Precision:
    """Return the precision asked for, or float32, with a word on it, where the machine lacks it.

    Args:
        precision: ``fp32`` or ``bf16``.
        kind: Type of the torch device that computes; None is the accelerator, where there is one.
    """
    if kind is None:
        is_there = torch.accelerator.is_available()
        device = torch.accelerator.current_accelerator() if is_there else None
        kind = "cpu" if device is None else device.type
    if precision == "fp32" or has_bf16(kind):
        return precision
    logger.warning(
        "--precision bf16: the %s of this machine does not compute in it, so fp32 is used; an "
        "encoder's features are kept and found as those of fp32",
        kind,
    )
    return "fp32"


def has_bf16(kind: str) -> bool:
    """Whether a kind of device multiplies bfloat16 matrices in hardware.

    Elsewhere torch computes them by float32: nothing is gained, and digits are lost.

    Args:
        kind: ``cpu``, ``cuda`` or another type of torch device.
    """
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        # Imported here: it takes half a second, and `predict` needs nothing else of it.
        from accelerate.utils import is_bf16_available

        return bool(is_bf16_available())
    if not torch.backends.mkldnn.is_available():
        return False
    if platform.machine().lower() in ("x86_64", "amd64"):
        # oneDNN's own answer is yes for any AVX-512, and most of those emulate it.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
