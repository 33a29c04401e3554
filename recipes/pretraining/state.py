# SPDX-License-Identifier: Apache-2.0
"""What the parts of a pretraining run share, and what its checkpoint holds."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from voxadapt.adapters import AdapterPretrainer
from voxadapt.backbones import Backbone
from voxadapt.recipes.corpora.batching import padded_budget, plan_mixed_batches
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.pretraining.corpus_scales import CorpusScales
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.running.checkpoints import load_checkpoint, save_checkpoint
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.frame_batches import FrameBatch
from voxadapt.recipes.running.prepare import PreparedCorpus
from voxadapt.recipes.running.prepare_online import OnlineCorpus


class NotFiniteError(UsageError):
    """A loss, a gradient or a weight is not finite; the message says where, and the way out."""


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
        corpus: Clips and their frames, or what encodes them.
        pretrainer: Student, teacher and objectives.
        model: The same, wrapped for several processes.
        optimizer: AdamW, wrapped by Accelerate.
        progress: Where the run stands.
        scales: What brings several corpora to one scale; None for one corpus.
        saved_step: The step that the checkpoint on disk is of; None where there is none.
    """

    options: PretrainOptions
    out: Path
    accelerator: Accelerator
    backbone: Backbone
    corpus: PreparedCorpus | OnlineCorpus
    pretrainer: AdapterPretrainer
    model: torch.nn.Module
    optimizer: Any
    progress: Progress
    scales: CorpusScales | None = None
    saved_step: int | None = None

    @property
    def budget(self) -> int:
        """Frames that one optimiser step sees, over all processes."""
        return padded_budget(self.options.batch_seconds, self.backbone.spec.frame_rate)

    def plan_epoch(self, epoch: int) -> list[list[int]]:
        """The batches of clips of an epoch, from 0, each what one optimiser step sees."""
        seed = stable_seed(self.options.seed, "batches")
        return plan_mixed_batches(self.corpus.store.lengths, self.budget, seed=seed, epoch=epoch)

    @property
    def planned_steps(self) -> int:
        """Optimiser steps of the whole run; a few more or less, as epochs can differ by a batch."""
        return self.options.epochs * len(self.plan_epoch(0))

    def on_common_scale(self, batch: FrameBatch) -> FrameBatch:
        """The batch as the adapter sees it."""
        return batch if self.scales is None else self.scales(batch)

    def save(self) -> None:
        """Write the checkpoint; the order of clips, masks and dropout follow from the seed.

        Raises:
            NotFiniteError: A weight is not finite; the last checkpoint stays as it was.
            UsageError: The disk refuses.
        """
        if self.accelerator.is_main_process:
            self._check_weights()
            state = {
                "corpus": self.corpus_fingerprint,
                "pretrainer": self.pretrainer.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": dataclasses.asdict(self.progress),
            }
            save_checkpoint(self.out, state)
        self.saved_step = self.progress.step
        self.accelerator.wait_for_everyone()

    def restore(self) -> bool:
        """Go back to the last checkpoint; False where there is none.

        Raises:
            UsageError: It is damaged, or of a run on other frames.
        """
        state = load_checkpoint(self.out)
        if state is None:
            return False
        if state.get("corpus") != self.corpus_fingerprint:
            raise UsageError(
                f"{self.out}: --resume found a run on other clips, clips of other lengths or "
                "corpora, or another backbone: the data or the model has changed since. Put it "
                "back as it was, or give another --out"
            )
        self.pretrainer.load_state_dict(state["pretrainer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self.saved_step = self.progress.step
        return True

    @cached_property
    def corpus_fingerprint(self) -> str:
        """A hash of the clips' ids, lengths and corpora, and of what made their frames."""
        found = hashlib.sha256(self.backbone.fingerprint().encode())
        for clip in self.corpus.clips:
            found.update(f"\n{clip.id}".encode())
        found.update(np.asarray(self.corpus.store.lengths, dtype="<i8").tobytes())
        if self.scales is not None:
            found.update(self.scales.corpus_of_clip.numpy().astype("<i8").tobytes())
        return found.hexdigest()

    def name_clips(self, indices: Sequence[int]) -> str:
        """Name clips for the message of a run that stops: those at fault, or else all.

        Args:
            indices: The clips on which a value was not finite.
        """
        clips, frames = self.corpus.clips, self.corpus.store.frames
        bad = [clips[index].id for index in indices if not np.isfinite(frames(index)).all()]
        ids = bad or [clips[index].id for index in indices]
        told = f"clips {ids}"
        return f"{told}, whose own frames are not finite: mend or leave them out" if bad else told

    def way_back(self) -> str:
        """Say where the last good checkpoint is, for the message of a run that stops."""
        if self.saved_step is None:
            return "No checkpoint has been written yet"
        return f"The last good checkpoint, of step {self.saved_step}, is in {self.out}"

    def _check_weights(self) -> None:
        for name, tensor in self.pretrainer.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise NotFiniteError(
                    f"after step {self.progress.step}, {name} is not finite, and was not saved. "
                    f"{self.way_back()}; start again with a lower --optimizer.learning_rate"
                )
