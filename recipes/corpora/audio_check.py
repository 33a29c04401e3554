# SPDX-License-Identifier: Apache-2.0
"""Decodes every clip once before a training that decodes as it goes: bad audio is found first."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from voxadapt.adapters.written_aside import write_aside
from voxadapt.backbones.audio import AudioError, read_audio
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import map_in_threads
from voxadapt.recipes.corpora.feature_cache import BadClip

logger = logging.getLogger(__name__)


@dataclass
class AudioCheck:
    """What decoding every clip has shown.

    Attributes:
        samples: Samples of each clip at 16 kHz, in the order of the clips; 0 for a bad one.
        bad: The clips that cannot be used.
    """

    samples: list[int]
    bad: list[BadClip]


class Decoded(NamedTuple):
    """What became of one clip: its samples at 16 kHz, or why it has none."""

    samples: int
    bad: BadClip | None


def decode_clips(
    clips: Sequence[Clip], *, progress: bool = False, whose: str = ""
) -> list[Decoded]:
    """Decode clips in threads and keep no more than their lengths.

    Args:
        clips: The clips.
        progress: Whether to show a bar where this takes more than seconds.
        whose: Words for the bar, on which part of the corpus these clips are.

    Returns:
        In the order of the clips.
    """
    bar = tqdm(
        total=len(clips), desc=f"checking audio{whose}", unit="clip", delay=3, disable=not progress
    )
    found: list[Decoded] = []
    with bar:
        for decoded in map_in_threads(_decode, clips):
            found.append(decoded)
            bar.update()
    return found


def _decode(clip: Clip) -> Decoded:
    try:
        return Decoded(len(read_audio(clip.audio, start=clip.start, end=clip.end)), None)
    except AudioError as error:
        return Decoded(0, BadClip(clip.id, str(clip.path), error.reason, str(error)))


def join_shares(shares: Sequence[Sequence[Decoded]]) -> AudioCheck:
    """Put together what each of several processes found on ``clips[rank::world]``."""
    world, clips = len(shares), sum(map(len, shares))
    found = [shares[index % world][index // world] for index in range(clips)]
    return AudioCheck(
        [decoded.samples for decoded in found],
        [decoded.bad for decoded in found if decoded.bad is not None],
    )


def check_bad_again(check: AudioCheck, clips: Sequence[Clip]) -> AudioCheck:
    """Decode the bad clips once more, since they may have been repaired."""
    indices = [index for index, samples in enumerate(check.samples) if not samples]
    found = decode_clips([clips[index] for index in indices])
    samples = list(check.samples)
    for index, decoded in zip(indices, found, strict=True):
        samples[index] = decoded.samples
    return AudioCheck(samples, [decoded.bad for decoded in found if decoded.bad is not None])


def write_check(path: Path, clips: Sequence[Clip], check: AudioCheck) -> None:
    """Write down what was found, for `read_check`.

    Args:
        path: The file; its folder exists.
        clips: The clips that were checked.
        check: What was found.

    Raises:
        OSError: The disk is full or may not be written.
    """
    content = {"clips": _name_of(clips), **asdict(check)}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Bytes of a file's name that is no UTF-8 become JSON's own way to write them.
    encoded = text.encode("utf-8", "backslashreplace")
    write_aside(path, encoded)


def read_check(path: Path, clips: Sequence[Clip]) -> AudioCheck | None:
    """What `write_check` wrote on the same clips; None where there is no such file.

    Args:
        path: The file.
        clips: The clips; others, other segments, and files of another size make it useless.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["clips"] != _name_of(clips):
            return None
        return AudioCheck(content["samples"], [BadClip(**entry) for entry in content["bad"]])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is not used, and the audio is checked again: %s", path, error)
        return None


def _name_of(clips: Sequence[Clip]) -> str:
    """A name for clips by what tells them apart without reading them: sizes, not contents."""
    digest = blake2b(digest_size=16)
    for clip in clips:
        try:
            size = clip.audio_bytes
        except OSError:
            size = -1
        digest.update(repr((clip.id, str(clip.path), clip.start, clip.end, size)).encode())
    return digest.hexdigest()
