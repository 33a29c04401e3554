# SPDX-License-Identifier: Apache-2.0
"""What the student sees of a batch: drawn for each clip from (seed, epoch, clip id).

So it does not depend on the batch, the process or the pass that a clip comes in.
"""

from dataclasses import replace

import torch
from torch import Tensor

from voxadapt.adapters import augment_frames, draw_feature_mask, draw_span_mask
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.pretraining.state import PretrainingRun
from voxadapt.recipes.running.frame_batches import FrameBatch
from voxadapt.recipes.running.prepare import feature_period, frequency_bands


def augment_student(run: PretrainingRun, batch: FrameBatch) -> FrameBatch:
    """Change what the student sees, drawn for each clip from (seed, epoch, clip id)."""
    options = run.options
    bands = frequency_bands(run.backbone)
    settings = options.frame_augment.for_bands(bands)
    if not settings.is_on:
        return batch
    standardize = run.pretrainer.student.adapter.standardize
    clean = batch.frames if batch.student_frames is None else batch.student_frames
    standardized = standardize(clean, batch.padding_mask)
    changed = torch.zeros_like(standardized)
    lengths = (~batch.padding_mask).sum(dim=1).tolist()
    for row, (index, length) in enumerate(zip(batch.indices, lengths, strict=True)):
        clip_id = run.corpus.clips[index].id
        seed = stable_seed(options.seed, "frames", run.progress.epoch, clip_id)
        changed[row, :length] = augment_frames(
            standardized[row, :length],
            settings,
            generator=torch.Generator().manual_seed(seed),
            bands=bands,
        )
    changed = torch.addcmul(standardize.mean, changed, standardize.std)
    return replace(batch, student_frames=changed.masked_fill(batch.padding_mask.unsqueeze(-1), 0.0))


def draw_masks(run: PretrainingRun, batch: FrameBatch) -> Tensor:
    """Hidden frames ``[B, T]`` of a batch, drawn for each clip from (seed, epoch, clip id)."""
    options = run.options
    masks = torch.zeros(batch.padding_mask.shape, dtype=torch.bool)
    lengths = (~batch.padding_mask).sum(dim=1).tolist()
    for row, (index, length) in enumerate(zip(batch.indices, lengths, strict=True)):
        clip = run.corpus.clips[index]
        seed = stable_seed(options.seed, "mask", run.progress.epoch, clip.id)
        masks[row, :length] = draw_span_mask(
            length,
            ratio=options.masking.ratio,
            span_length=options.masking.span_length,
            generator=torch.Generator().manual_seed(seed),
        )
    return masks.to(batch.padding_mask.device)


def draw_feature_masks(run: PretrainingRun, batch: FrameBatch) -> Tensor | None:
    """Hidden features ``[B, D]`` of a batch, drawn for each clip from (seed, epoch, clip id)."""
    options = run.options
    if not options.masking.feature_masks:
        return None
    masks = []
    for index in batch.indices:
        clip = run.corpus.clips[index]
        seed = stable_seed(options.seed, "features", run.progress.epoch, clip.id)
        masks.append(
            draw_feature_mask(
                batch.frames.shape[-1],
                masks=options.masking.feature_masks,
                share=options.masking.feature_share,
                generator=torch.Generator().manual_seed(seed),
                period=feature_period(run.backbone),
            )
        )
    return torch.stack(masks).to(batch.frames.device)
