# SPDX-License-Identifier: Apache-2.0
"""A run of pretraining over made-up frames, and the operations of a step, for `pretraining.py`."""

import argparse
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from voxadapt.adapters import AdapterPretrainer, WAPTransformer, WAPTransformerConfig
from voxadapt.adapters.prosody import PROSODY_SIZE
from voxadapt.backbones import load_backbone
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.feature_shards import FeatureStore, read_places, write_shard
from voxadapt.recipes.pretrain_adapter import build_optimizer
from voxadapt.recipes.pretraining.options import AdapterSize, PretrainOptions
from voxadapt.recipes.pretraining.state import PretrainingRun, Progress
from voxadapt.recipes.running.frame_batches import corpus_statistics
from voxadapt.recipes.running.prepare import PreparedCorpus, frequency_bands

FEATURES = {"hubert": 768, "fbank": 160}
"""Features of a frame: of HuBERT base, and of the filterbank, which are two times 80 bands."""
FRAME_RATE = 50.0
FRAMES = (75, 175)  # of a clip: 125 in the mean, or 2.5 s
CLIPS_A_SHARD = 100


def make_corpus(
    folder: Path, batches: int, batch_seconds: float, seed: int, features: int = FEATURES["hubert"]
) -> FeatureStore:
    """Write a feature cache of random frames, enough for about so many batches.

    Args:
        folder: An existing folder.
        batches: Batches of a pass over it.
        batch_seconds: Seconds of audio that a batch stands for.
        seed: Of lengths and frames.
        features: Of a frame.
    """
    random = np.random.default_rng(seed)
    lengths: list[int] = []
    while sum(lengths) < batches * batch_seconds * FRAME_RATE:
        lengths.append(int(random.integers(FRAMES[0], FRAMES[1] + 1)))
    keys = [f"{number:08}" for number in range(len(lengths))]
    for first in range(0, len(keys), CLIPS_A_SHARD):
        part = slice(first, first + CLIPS_A_SHARD)
        write_shard(
            folder,
            {
                key: random.standard_normal((length, features), dtype=np.float32).astype(np.float16)
                for key, length in zip(keys[part], lengths[part], strict=True)
            },
        )
    places = read_places(folder)
    return FeatureStore(folder, [places[key] for key in keys], features)


def make_run(
    store: FeatureStore, out: Path, width: int, options: argparse.Namespace
) -> PretrainingRun:
    """Put together what `pretrain_adapter` would, on frames that no backbone has made.

    Args:
        store: The frames.
        out: The run's folder; nothing is written there.
        width: Of the adapter; heads have 64 features or less, and there are 4 at least.
        options: The command line: device, precision, batch_seconds, frames, compile, seed.
    """
    heads, features = max(4, width // 64), FEATURES[options.frames]
    settings = PretrainOptions(
        batch_seconds=options.batch_seconds,
        precision=options.precision,
        adapter=AdapterSize(width=width, feedforward=4 * width, heads=heads),
    )
    accelerator = Accelerator(
        cpu=options.device == "cpu",
        mixed_precision="bf16" if options.precision == "bf16" else "no",
    )
    spec = SimpleNamespace(feature_size=features, frame_rate=FRAME_RATE)
    clips = [Clip(id=f"clip-{number}", path=Path("none.wav")) for number in range(len(store))]
    torch.manual_seed(options.seed)
    adapter = WAPTransformer(
        WAPTransformerConfig(input_size=features, **dataclasses.asdict(settings.adapter))
    )
    statistics = corpus_statistics(store, range(len(store)), seed=options.seed, max_frames=10_000)
    adapter.standardize.set_statistics(*statistics)
    fbank = options.frames == "fbank"  # whose frames the augmentation changes in more ways
    backbone: Any = load_backbone("fbank") if fbank else SimpleNamespace(spec=spec)
    pretrainer = AdapterPretrainer(adapter, settings.objectives, frequency_bands(backbone))
    # As after the first third of a run.
    pretrainer.attributes_from_teacher.fill_(True)
    pretrainer.teacher_codebook.centroids.normal_()
    model, optimizer = accelerator.prepare(
        pretrainer, build_optimizer(pretrainer, settings.optimizer)
    )
    if options.compile:
        for branch in (pretrainer.student, pretrainer.teacher):
            branch.adapter.compile(dynamic=True)
    return PretrainingRun(
        options=settings,
        out=out,
        accelerator=accelerator,
        backbone=backbone,
        corpus=PreparedCorpus(clips, store, []),
        pretrainer=pretrainer,
        model=model.train(),
        optimizer=optimizer,
        progress=Progress(),
    )


def step_flops(run: PretrainingRun, batch: list[int]) -> float:
    """Floating-point operations of a step's matrix products, without those on padding.

    The teacher computes them forward, the student forward and twice as many backward: for the
    gradients of weights and of inputs. Only the first layer has no gradient of its inputs, which
    are the frozen frames. Attention and the position convolution count, nothing else does.

    Args:
        run: The run.
        batch: The clips of the step.
    """
    config, objectives = run.pretrainer.student.adapter.config, run.pretrainer.objectives
    width, prototypes = config.width, objectives.prototypes
    lengths = run.corpus.store.lengths[batch].astype(float)
    frames, hidden = lengths.sum(), run.options.masking.ratio * lengths.sum()
    first = 2 * frames * config.input_size * width
    position = 2 * frames * width * (width // config.position_groups) * config.position_kernel
    layer = 2 * frames * width * (4 * width + 2 * config.feedforward)
    attention = 4 * np.square(lengths).sum() * width
    adapter = first + position + config.layers * (layer + attention)
    distillation = 0.0
    if objectives.frame_distillation:
        distillation += 2 * frames * width * (width + prototypes)
    if objectives.utterance_distillation:
        distillation += 2 * len(batch) * width * (width + prototypes)
    heads = 0.0
    if objectives.mask_prediction:
        heads += 2 * hidden * width * 4 * width
    if objectives.reconstruction:
        heads += 2 * hidden * width * 2 * (width + config.input_size)
    if objectives.denoising:
        heads += 2 * (frames - hidden) * width * 2 * (width + config.input_size)
    for weight, told in (
        (objectives.prosody, frames - hidden),
        (objectives.hidden_prosody, hidden),
    ):
        if weight:
            heads += 2 * told * width * 2 * (width + PROSODY_SIZE)
    attributes = 0.0
    if objectives.local_attributes:
        heads += 2 * hidden * width * objectives.attributes
        attributes = 2 * frames * width * objectives.attributes
    student = 3 * (adapter + distillation + heads) - first
    return float(student + adapter + distillation + attributes)
