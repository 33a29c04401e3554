# SPDX-License-Identifier: Apache-2.0
"""``pretrain_adapter`` that also keeps every step's gradients; for several processes, by its path.

    torchrun --nproc_per_node 2 recorded_pretraining.py GRADIENTS OPTIONS...

Each process leaves its gradients in GRADIENTS.RANK, a list of tensors for each step.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

from voxadapt.recipes.pretrain_adapter import main
from voxadapt.recipes.running.command_line import leave, run_command


@contextmanager
def recorded() -> Iterator[list[list[torch.Tensor]]]:
    """Give a list that gets each step's gradients, before they are clipped."""
    steps: list[list[torch.Tensor]] = []
    clip = Accelerator.clip_grad_norm_

    def keep_and_clip(self: Accelerator, parameters: Any, *arguments: Any) -> Any:
        parameters = list(parameters)
        steps.append([p.grad.clone() for p in parameters if p.grad is not None])
        return clip(self, parameters, *arguments)

    Accelerator.clip_grad_norm_ = keep_and_clip  # type: ignore[method-assign]
    try:
        yield steps
    finally:
        Accelerator.clip_grad_norm_ = clip  # type: ignore[method-assign]


if __name__ == "__main__":
    file, *options = sys.argv[1:]
    with recorded() as gradients:
        code = run_command(main, options)
    torch.save(gradients, f"{file}.{os.environ.get('RANK', '0')}")
    leave(code)
