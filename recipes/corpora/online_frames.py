# SPDX-License-Identifier: Apache-2.0
"""Frames of a frozen encoder that runs in the training loop, instead of frames on disk."""

import dataclasses
import json
import logging
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from voxadapt.backbones.audio import SAMPLE_RATE, AudioError, read_audio
from voxadapt.backbones.base import Backbone, pad_waveforms, padding_mask_from_lengths
from voxadapt.recipes.corpora.batching import padded_budget, plan_batches
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import READERS
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_cache import BadClip
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.corpora.waveform_augment import WaveformAugmentation, augment

logger = logging.getLogger(__name__)


class EncodedClips(NamedTuple):
    """Frames of several clips.

    Attributes:
        frames: ``[B, T, D]`` float32, zero on padding.
        student_frames: The same of the student's audio; None where no clip's differs.
        padding_mask: ``[B, T]`` bool, True = padding.
        usable: ``[B]`` bool, False for a clip whose audio could not be read and is left out: it has
            one frame of zeros, and must count for nothing.
    """

    frames: Tensor
    student_frames: Tensor | None
    padding_mask: Tensor
    usable: Tensor


class _Audio(NamedTuple):
    """A clip's audio for the teacher and for the student, one object where they are the same."""

    teacher: Tensor  # [S]
    student: Tensor  # [S]


class _UnreadableError(Exception):
    """A clip that cannot be read any more."""

    def __init__(self, clip: Clip, cause: AudioError) -> None:
        super().__init__(str(cause))
        self.bad = BadClip(clip.id, str(clip.path), cause.reason, str(cause))


class OnlineFrames:
    """Encodes clips as they are asked for; stands where a `FeatureStore` stands otherwise.

    Threads decode and augment the clips that `read_ahead` was told of, so that encoding does not
    wait for audio. What comes out depends on the seed, the epoch and the clip alone, whether it was
    read ahead or not.

    Args:
        clips: The clips, all of which can be read.
        samples: Samples of each clip at 16 kHz.
        backbone: The frozen encoder; it is moved to `device`.
        device: Where it runs and the frames stay.
        seed: The run's seed.
        augmentation: Changes to the audio.
        on_bad_audio: What to do with a clip that cannot be read any more: `error` stops, `skip`
            leaves it out of its batch.
        listing: JSONL file to which clips left out are added.
        listed: Ids of the clips that stand in it already.

    Attributes:
        feature_size: ``D``.
        lengths: Frames per clip as far as they follow from `samples` ``[clips]``, int64: for
            planning. Padding masks tell the real number, which a speed changes too.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        samples: Sequence[int],
        backbone: Backbone,
        *,
        device: torch.device,
        seed: int,
        augmentation: WaveformAugmentation,
        on_bad_audio: Literal["error", "skip"],
        listing: Path,
        listed: Collection[str] = (),
    ) -> None:
        spec = backbone.spec
        self.feature_size = spec.feature_size
        hop = SAMPLE_RATE / spec.frame_rate
        past_first = np.maximum(np.asarray(samples) - spec.minimum_samples, 0)
        self.lengths = (1 + past_first // hop).astype(np.int64)
        self._clips = clips
        self._backbone = backbone.to(device)
        self._device = device
        self._seed = seed
        self._augmentation = augmentation
        self._on_bad_audio = on_bad_audio
        self._listing = listing
        self._listed = set(listed)
        self._pool = ThreadPoolExecutor(READERS)
        self._under_way: dict[tuple[int | None, int], Future[_Audio]] = {}

    def __len__(self) -> int:
        return len(self._clips)

    def read_ahead(self, indices: Sequence[int], epoch: int | None) -> None:
        """Start to decode clips that `load` will be asked for with the same epoch."""
        for index in indices:
            if (epoch, index) not in self._under_way:
                self._under_way[epoch, index] = self._pool.submit(self._read, index, epoch)

    def load(self, indices: Sequence[int], epoch: int | None = None) -> EncodedClips:
        """Decode and encode clips.

        Args:
            indices: The clips.
            epoch: The epoch whose augmentation they get; None for clean audio.

        Raises:
            DataError: A clip cannot be read any more, unless such clips are to be left out.
        """
        self.read_ahead(indices, epoch)
        audio = [self._take(index, epoch) for index in indices]
        read = [clip for clip in audio if clip is not None]
        encoded = iter(self._encode([clip.teacher for clip in read]))
        changed = [clip.student for clip in read if clip.student is not clip.teacher]
        encoded_changed = iter(self._encode(changed))

        teacher: list[Tensor] = []
        student: list[Tensor] = []
        for clip in audio:
            teacher.append(self._nothing() if clip is None else next(encoded))
            same = clip is None or clip.student is clip.teacher
            student.append(teacher[-1] if same else next(encoded_changed))
        lengths = torch.tensor([len(frames) for frames in teacher], device=self._device)
        frames = torch.nn.utils.rnn.pad_sequence(teacher, batch_first=True)  # [B, T, D]
        return EncodedClips(
            frames=frames,
            student_frames=(
                torch.nn.utils.rnn.pad_sequence(student, batch_first=True) if changed else None
            ),
            padding_mask=padding_mask_from_lengths(lengths, frames.shape[1]),
            usable=torch.tensor([clip is not None for clip in audio], device=self._device),
        )

    def frames(self, index: int) -> np.ndarray:
        """Clean frames of a clip ``[T, D]`` float32; none at all where it was left out."""
        loaded = self.load([index])
        return loaded.frames[0][loaded.usable.expand(loaded.frames.shape[1])].cpu().numpy()

    def _read(self, index: int, epoch: int | None) -> _Audio:
        """Decode a clip and draw its augmentation from (seed, epoch, clip id)."""
        waveform = self._decode(index)
        if epoch is None or not self._augmentation.is_on:
            return _Audio(waveform, waveform)
        seed = stable_seed(self._seed, "augmentation", epoch, self._clips[index].id)
        random = np.random.default_rng(seed)

        def other_clip() -> Tensor | None:
            if len(self) == 1:
                return None
            return self._decode((index + int(random.integers(1, len(self)))) % len(self))

        return _Audio(*augment(waveform, self._augmentation, random, other_clip))

    def _decode(self, index: int) -> Tensor:
        clip = self._clips[index]
        try:
            return read_audio(clip.audio, start=clip.start, end=clip.end)
        except AudioError as error:
            raise _UnreadableError(clip, error) from error

    def _take(self, index: int, epoch: int | None) -> _Audio | None:
        """Wait for a clip's audio; None where it is left out."""
        try:
            return self._under_way.pop((epoch, index)).result()
        except _UnreadableError as error:
            if self._on_bad_audio == "error":
                raise DataError(
                    f"clip {error.bad.id!r} could be read when the audio was checked, and cannot "
                    f"now: {error.bad.message} Bring it back and go on with --resume"
                ) from error
            # As an error, so that every process says it and not the first one alone.
            logger.error(
                "left out of this step: clip %r: %s", self._clips[index].id, error.bad.message
            )
            self._list(error.bad)
            return None

    def _list(self, bad: BadClip) -> None:
        """List a clip that was left out, once a run."""
        if bad.id in self._listed:
            return
        line = json.dumps(dataclasses.asdict(bad), ensure_ascii=False)
        try:
            with self._listing.open("a", encoding="utf-8", errors="backslashreplace") as listing:
                listing.write(f"{line}\n")
        except OSError as error:
            raise DataError(
                f"{self._listing}: clip {bad.id!r} cannot be read, and cannot be listed here "
                f"({error}). Make room and go on with --resume"
            ) from error
        self._listed.add(bad.id)

    def _nothing(self) -> Tensor:
        return torch.zeros(1, self.feature_size, device=self._device)

    @torch.no_grad()  # and not inference mode, whose tensors cannot be trained on
    def _encode(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Frames ``[T, D]`` float32 of each waveform ``[S]``, in batches that suit the backbone."""
        budget = padded_budget(self._backbone.preferred_batch_seconds, SAMPLE_RATE)
        encoded: dict[int, Tensor] = {}
        for batch in plan_batches([len(waveform) for waveform in waveforms], budget, seed=None):
            padded, padding_mask = pad_waveforms([waveforms[index] for index in batch])
            frames, frame_mask = self._backbone(
                padded.to(self._device), padding_mask.to(self._device)
            )
            lengths = (~frame_mask).sum(dim=1).tolist()
            for row, (index, length) in enumerate(zip(batch, lengths, strict=True)):
                encoded[index] = frames[row, :length].float()
        return [encoded[index] for index in range(len(waveforms))]
