# SPDX-License-Identifier: Apache-2.0
"""Several corpora on one scale, so that an adapter does not learn them apart.

Rooms, microphones and codecs move and stretch the features of a whole corpus. Told apart by that
alone, the corpora would each get a region of their own, and a corpus that was not heard would lie
in none. With every corpus at its own mean and deviation, as speaker and corpus normalisation has
it in emotion recognition (Schuller et al. 2010, "Cross-Corpus Acoustic Emotion Recognition"), a
new corpus stands where the others did.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from voxadapt.adapters.standardize import CONSTANT_STD
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.running.frame_batches import (
    STATISTICS_FRAMES,
    FrameBatch,
    Store,
    corpus_statistics,
)

CORPUS_COLUMN = "corpus"


class CorpusScales:
    """Moves every clip's frames from the scale of its corpus to the common one.

    Args:
        corpus_of_clip: ``[N]`` int, the number of each clip's corpus.
        means: ``[M, D]``, the features' mean over each of the ``M`` corpora.
        stds: ``[M, D]``, their standard deviation.
        mean: ``[D]``, the mean that all of them shall have.
        std: ``[D]``, the standard deviation that all of them shall have.
    """

    def __init__(
        self, corpus_of_clip: Tensor, means: Tensor, stds: Tensor, mean: Tensor, std: Tensor
    ) -> None:
        self.corpus_of_clip = corpus_of_clip
        # A feature that is constant in a corpus has no scale there: it is moved and not stretched.
        scaled = std / stds.clamp(min=CONSTANT_STD)
        self.factors = torch.where(stds < CONSTANT_STD, 1.0, scaled)
        self.offsets = mean - means * self.factors

    def __call__(self, batch: FrameBatch) -> FrameBatch:
        """The batch with its frames, and the student's, on the common scale; padding stays 0."""
        corpora = self.corpus_of_clip[batch.indices]
        device = batch.frames.device
        factors = self.factors[corpora].unsqueeze(1).to(device)  # [B, 1, D]
        offsets = self.offsets[corpora].unsqueeze(1).to(device)
        real = ~batch.padding_mask.unsqueeze(-1)

        def moved(frames: Tensor) -> Tensor:
            return torch.addcmul(offsets, frames, factors) * real

        student = batch.student_frames
        return replace(
            batch,
            frames=moved(batch.frames),
            student_frames=None if student is None else moved(student.to(device)),
        )


def common_scale(
    store: Store, clips: Sequence[Clip], *, manifests: int, seed: int
) -> tuple[Tensor, Tensor, CorpusScales | None]:
    """Statistics over all clips, and what brings each corpus to them.

    A manifest is a corpus; where it has a column `corpus`, each value there is one.

    Args:
        store: The frames.
        clips: Their clips.
        manifests: How many manifests they come from.
        seed: Seed of the samples that statistics are taken from.

    Returns:
        ``[D]`` mean and ``[D]`` standard deviation over all clips, and the scales; None for one
        corpus, which stays as it is.
    """
    names = [corpus_name(clip, manifests) for clip in clips]
    corpora = sorted(set(names))
    mean, std = corpus_statistics(store, range(len(clips)), seed=stable_seed(seed, "statistics"))
    if len(corpora) == 1:
        return mean, std, None
    number = {name: row for row, name in enumerate(corpora)}
    of_clip = torch.tensor([number[name] for name in names])
    statistics = [
        corpus_statistics(
            store,
            torch.nonzero(of_clip == row).flatten().tolist(),
            seed=stable_seed(seed, "statistics", name),
            max_frames=STATISTICS_FRAMES // len(corpora),
        )
        for name, row in number.items()
    ]
    means, stds = (torch.stack(list(parts)) for parts in zip(*statistics, strict=True))
    return mean, std, CorpusScales(of_clip, means, stds, mean, std)


def corpus_name(clip: Clip, manifests: int) -> str:
    """The corpus of a clip: its manifest's number, and its `corpus` column where it has one."""
    # `read_clips` puts the manifest's number before the ids where there are several manifests.
    manifest = clip.id.split(":", 1)[0] if manifests > 1 else "0"
    return f"{manifest}:{clip.columns.get(CORPUS_COLUMN, '')}"
