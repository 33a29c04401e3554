# SPDX-License-Identifier: Apache-2.0
"""The most precise floating-point type of a device."""

import torch


def widest_type(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on Apple's GPUs (``mps``), which have no float64.

    Args:
        device: Where it is to be computed.
    """
    return torch.float32 if device.type == "mps" else torch.float64
