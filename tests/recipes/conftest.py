# SPDX-License-Identifier: Apache-2.0
"""Frames in memory instead of on disk, and what a recipe's parts need around them."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from voxadapt.adapters import (
    AdapterPretrainer,
    FeatureStandardizer,
    WAPTransformer,
    WAPTransformerConfig,
)
from voxadapt.backbones import load_backbone
from voxadapt.classifier import SpeechClassifier
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.outputs import LabelOutputs, Outputs
from voxadapt.pooling import build_pooler
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.splits import Splits
from voxadapt.recipes.finetuning.epoch_choice import FitState
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.optimizer import build_optimizer as build_finetune_optimizer
from voxadapt.recipes.finetuning.options import FinetuneOptions, HeadOptions, SpecAugmentOptions
from voxadapt.recipes.finetuning.step import train_step
from voxadapt.recipes.pretrain_adapter import build_optimizer
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.pretraining.state import PretrainingRun, Progress
from voxadapt.recipes.running.prepare import PreparedCorpus
from voxadapt.recipes.running.process_group import join_processes

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
def wait_a_second() -> Callable[[], None]:
    """Wait for the clock's next second.

    TensorBoard reads a run's files by name: the second in which each began, and within one a count
    of the process's files, of which the tenth comes before the ninth. Runs are resumed later.
    """

    def wait() -> None:
        second = int(time.time())
        while int(time.time()) == second:
            time.sleep(0.01)

    return wait


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
        defaults |= {"objectives.prosody": 1.0, "objectives.hidden_prosody": 1.0}
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
        pretrainer = AdapterPretrainer(adapter, options.objectives, bands=FEATURES // 2)
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


@pytest.fixture
def make_data() -> Callable[..., LabelledFrames]:
    """Build what a classifier learns from: eight toy clips, of which five train."""

    def make(outputs: Outputs | None = None, targets: Any = None) -> LabelledFrames:
        store: Any = ToyStore([6, 9, 4, 12, 7, 5, 8, 10])
        splits = Splits(train=[0, 1, 2, 3, 4], valid=[5, 6], test=[7], protocol="split-column")
        outputs = outputs or LabelOutputs({"label": ["a", "b", "c"]})
        targets = np.array([0, 1, 2, 0, 1, 2, 0, 1])[:, None] if targets is None else targets
        return LabelledFrames(make_clips(8), store, outputs, targets, splits, 50.0, FEATURES)

    return make


@pytest.fixture
def data(make_data: Callable[..., LabelledFrames]) -> LabelledFrames:
    """Eight toy clips of three classes."""
    return make_data()


@pytest.fixture
def make_model() -> Callable[..., FrameClassifier]:
    """Build a tiny classifier, the same each time."""

    def make(*, dropout: float = 0.0, adapter: bool = True, outputs: int = 3) -> FrameClassifier:
        torch.manual_seed(0)
        module: WAPTransformer | FeatureStandardizer = FeatureStandardizer(FEATURES)
        if adapter:
            config = WAPTransformerConfig(input_size=FEATURES, dropout=dropout, **SIZES)
            module = WAPTransformer(config)
            module.mask_embedding.requires_grad_(False)
        return FrameClassifier(module, build_pooler("sap", module.output_size), outputs, dropout)

    return make


@pytest.fixture
def make_options() -> Callable[..., FinetuneOptions]:
    """Build options without dropout and augmentation."""

    def make(**changes: Any) -> FinetuneOptions:
        options: dict[str, Any] = {
            "spec_augment": SpecAugmentOptions(time_masks=0, feature_masks=0),
            "head": HeadOptions(dropout=0.0),
            "batch_seconds": 0.5,
            "epochs": 3,
        }
        return FinetuneOptions(**{**options, **changes})

    return make


@pytest.fixture
def take_step(accelerator: Accelerator) -> Callable[..., float]:
    """Take one optimiser step on all clips that train, and give its loss."""

    def take(
        model: FrameClassifier,
        data: LabelledFrames,
        options: FinetuneOptions,
        *,
        share: float = 0.1,
        state: FitState | None = None,
        rows: Sequence[int] | None = None,
    ) -> float:
        return train_step(
            model.train(),
            build_finetune_optimizer(model, options),
            list(data.splits.train if rows is None else rows),
            data,
            options,
            0,
            state or FitState(),
            share,
            accelerator,
        )

    return take
