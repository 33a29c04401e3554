# SPDX-License-Identifier: Apache-2.0
"""What the parts of a pretraining run share, and what its checkpoint holds."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from voxadapt.adapters import AdapterPretrainer
from voxadapt.backbones import Backbone
from voxadapt.recipes.checkpoints import load_checkpoint, save_checkpoint
from voxadapt.recipes.prepare import PreparedCorpus
from voxadapt.recipes.pretrain_options import PretrainOptions


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        epoch: Epochs finished.
        batch: Batches of the current epoch finished.
        step: Optimiser steps done.
        fits: Fits of the codebook done.
        log: Logged values, an entry for each logged step.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    fits: int = 0
    log: list[dict[str, float]] = field(default_factory=list)


@dataclass
class PretrainingRun:
    """A pretraining run.

    Attributes:
        options: What the user asked for.
        out: The run's folder.
        accelerator: The process group and its device.
        backbone: The frozen encoder; here only for its description.
        corpus: Clips and their frames.
        pretrainer: Student, teacher and objectives.
        model: The same, wrapped for several processes.
        optimizer: AdamW, wrapped by Accelerate.
        progress: Where the run stands.
    """

    options: PretrainOptions
    out: Path
    accelerator: Accelerator
    backbone: Backbone
    corpus: PreparedCorpus
    pretrainer: AdapterPretrainer
    model: torch.nn.Module
    optimizer: Any
    progress: Progress

    @property
    def budget(self) -> int:
        """Frames that one optimiser step sees, over all processes."""
        return max(1, round(self.options.batch_seconds * self.backbone.spec.frame_rate))

    def save(self) -> None:
        """Write the checkpoint; the order of clips, masks and dropout follow from the seed."""
        if self.accelerator.is_main_process:
            state = {
                "pretrainer": self.pretrainer.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": dataclasses.asdict(self.progress),
            }
            save_checkpoint(self.out, state)
        self.accelerator.wait_for_everyone()

    def restore(self) -> bool:
        """Go back to the last checkpoint; False where there is none."""
        state = load_checkpoint(self.out)
        if state is None:
            return False
        self.pretrainer.load_state_dict(state["pretrainer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        return True
