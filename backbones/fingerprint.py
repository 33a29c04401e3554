# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of a backbone: what its features depend on, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def fingerprint_of(description: Mapping[str, Any], module: nn.Module) -> str:
    """Hash whatever decides the features.

    Args:
        description: JSON-able settings that the weights do not show: strides, the layer, a version
            of the code. Names and paths do not belong here: a copy gives the same features.
        module: Its parameters and buffers are hashed with their names, types and shapes.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    digest = hashlib.sha256(json.dumps(dict(description), sort_keys=True).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        # As bytes, because numpy knows no bfloat16.
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy())
    return digest.hexdigest()
