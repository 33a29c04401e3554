# SPDX-License-Identifier: Apache-2.0
"""Frames in memory instead of on disk, and what a recipe's parts need around them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from voxadapt.adapters import AdapterPretrainer, WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import load_backbone
from voxadapt.classifier import SpeechClassifier
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.pooling import build_pooler
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.prepare import PreparedCorpus
from voxadapt.recipes.pretrain_adapter import build_optimizer
from voxadapt.recipes.pretrain_options import PretrainOptions
from voxadapt.recipes.pretraining_state import PretrainingRun, Progress
from voxadapt.recipes.process_group import join_processes

FEATURES = 6
SIZES = {"width": 8, "layers": 2, "heads": 2, "feedforward": 16, "position_groups": 2}


class ToyStore:
    """As a ``FeatureStore``: made-up frames of the lengths given, ``[T, 6]`` float16."""

    def __init__(self, lengths: Sequence[int], seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.feature_size = FEATURES
        self.lengths = np.array(lengths, dtype=np.int64)
        shift, scale = random.standard_normal(FEATURES), random.uniform(0.5, 2.0, FEATURES)
        self._frames = [
            (shift + scale * random.standard_normal((length, FEATURES))).astype(np.float16)
            for length in lengths
        ]

    def __len__(self) -> int:
        return len(self.lengths)

    def frames(self, index: int) -> np.ndarray:
        return self._frames[index]


@pytest.fixture
def make_store() -> Callable[..., Any]:
    return ToyStore


def make_clips(count: int) -> list[Clip]:
    return [Clip(id=f"clip-{number}", path=Path(f"{number}.wav")) for number in range(count)]


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    def forget() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    forget()
    yield join_processes()
    forget()


class ToyBackbone:
    """A backbone only by its description."""

    class spec:  # noqa: N801
        feature_size = FEATURES
        frame_rate = 50.0

    def config(self) -> dict[str, Any]:
        return {"type": "toy"}

    def fingerprint(self) -> str:
        return "f" * 64


@pytest.fixture
def make_run(accelerator: Accelerator, tmp_path: Path) -> Callable[..., PretrainingRun]:
    """Build a pretraining run over toy frames: ``make_run([9, 5], passes=2)``.

    Nested options have dotted names: ``make_run([9, 5], **{"masking.ratio": 0.3})``.
    """

    def make(lengths: Sequence[int] = (14, 9, 11, 5, 8), **changes: Any) -> PretrainingRun:
        options = PretrainOptions(log_steps=1)
        defaults: dict[str, Any] = {f"adapter.{name}": size for name, size in SIZES.items()}
        defaults |= {"adapter.dropout": 0.0, "objectives.prototypes": 5}
        defaults |= {"objectives.attributes": 4}
        # Few and untrained as these frames are, they show every sign of collapse.
        signs = ("std", "effective_rank", "perplexity", "sharpness")
        defaults |= {f"collapse.{name}": -1.0 for name in signs}
        for name, value in {**defaults, **changes}.items():
            *group, leaf = name.split(".")
            holder = getattr(options, group[0]) if group else options
            object.__setattr__(holder, leaf, value)
        torch.manual_seed(0)
        sizes = {name: getattr(options.adapter, name) for name in (*SIZES, "dropout")}
        adapter = WAPTransformer(WAPTransformerConfig(input_size=FEATURES, **sizes))
        pretrainer = AdapterPretrainer(adapter, options.objectives)
        model, optimizer = accelerator.prepare(
            pretrainer, build_optimizer(pretrainer, options.optimizer)
        )
        store: Any = ToyStore(lengths)
        return PretrainingRun(
            options=options,
            out=tmp_path,
            accelerator=accelerator,
            backbone=ToyBackbone(),
            corpus=PreparedCorpus(make_clips(len(lengths)), store, []),
            pretrainer=pretrainer,
            model=model.train(),
            optimizer=optimizer,
            progress=Progress(),
        )

    return make


@pytest.fixture
def hubert_run(hubert_folder: Path, tmp_path: Path) -> Path:
    """The folder of an untrained model on layer 1 of the tiny HuBERT."""
    torch.manual_seed(0)
    backbone = load_backbone(str(hubert_folder), layer=1)
    adapter = WAPTransformer(WAPTransformerConfig(input_size=16, **SIZES))
    classifier = FrameClassifier(adapter, build_pooler("mean", 8), classes=3)
    labels = ["hum", "noise", "tone"]
    SpeechClassifier(backbone, classifier, labels).save_pretrained(tmp_path / "hubert_run")
    return tmp_path / "hubert_run"
