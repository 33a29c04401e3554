# SPDX-License-Identifier: Apache-2.0
"""From clips to frames that the backbone computes in the training loop."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from voxadapt.backbones import Backbone
from voxadapt.recipes.corpora.audio_check import (
    AudioCheck,
    check_bad_again,
    decode_clips,
    join_shares,
    read_check,
    write_check,
)
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.feature_cache import BadClip, bad_audio_error
from voxadapt.recipes.corpora.online_frames import OnlineFrames
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.options import ONLINE
from voxadapt.recipes.running.prepare import (
    BAD_AUDIO_FILE,
    PreparedCorpus,
    list_bad_clips,
    prepare_features,
)

AUDIO_CHECK_FILE = "audio_check.json"


@dataclass
class OnlineCorpus:
    """Clips and what encodes them, aligned.

    Attributes:
        clips: The clips that can be read.
        store: Their frames, computed as they are asked for.
        bad: The clips that were left out because of their audio.
    """

    clips: list[Clip]
    store: OnlineFrames
    bad: list[BadClip]


def prepare_frames(
    clips: Sequence[Clip],
    backbone: Backbone,
    options: PretrainOptions,
    accelerator: Accelerator,
    out: Path,
) -> PreparedCorpus | OnlineCorpus:
    """Give clips their frames: from the cache, or online where `--features` says so.

    Args:
        clips: The clips.
        backbone: The frozen encoder.
        options: Where frames come from, and what to do with bad audio.
        accelerator: The process group, which shares the work.
        out: The run's folder.

    Raises:
        DataError: Bad audio, unless it is to be skipped.
    """
    if options.features == ONLINE:
        return prepare_online(clips, backbone, options, accelerator, out)
    return prepare_features(clips, backbone, options, accelerator, out / BAD_AUDIO_FILE)


def prepare_online(
    clips: Sequence[Clip],
    backbone: Backbone,
    options: PretrainOptions,
    accelerator: Accelerator,
    out: Path,
) -> OnlineCorpus:
    """Make a backbone encode clips in the training loop, and find those with bad audio first.

    Args:
        clips: The clips.
        backbone: The frozen encoder.
        options: What to change in the audio, and what to do where it is bad.
        accelerator: The process group, which shares the work.
        out: The run's folder, for what the check has shown and the list of clips left out.

    Raises:
        DataError: Bad audio, unless it is to be skipped.
    """
    check = check_audio(clips, options, accelerator, out / AUDIO_CHECK_FILE)
    kept = [index for index, samples in enumerate(check.samples) if samples]
    if check.bad and (options.on_bad_audio == "error" or not kept):
        raise bad_audio_error(check.bad, len(clips))
    # Those that a run which is resumed left out on the way are in the list alone.
    earlier = listed_clips(out / BAD_AUDIO_FILE) if options.resume else []
    listed = {clip.id: clip for clip in [*earlier, *check.bad]}
    accelerator.wait_for_everyone()  # all have read it
    if listed and accelerator.is_main_process:
        list_bad_clips(list(listed.values()), out / BAD_AUDIO_FILE)
    good = [clips[index] for index in kept]
    store = OnlineFrames(
        good,
        [check.samples[index] for index in kept],
        backbone,
        device=accelerator.device,
        seed=options.seed,
        augmentation=options.augment,
        on_bad_audio=options.on_bad_audio,
        listing=out / BAD_AUDIO_FILE,
        listed=listed,
    )
    return OnlineCorpus(good, store, check.bad)


def listed_clips(listing: Path) -> list[BadClip]:
    """The clips that an earlier start of a run has left out; none where there is no list.

    Raises:
        UsageError: The list is not one of ours.
    """
    if not listing.exists():
        return []
    try:
        # What follows the last end of a line was cut off when the run was killed.
        *lines, _ = listing.read_text(encoding="utf-8").split("\n")
        return [BadClip(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{listing}: not a list of clips that were left out ({error}). Move it away and go on "
            "with --resume"
        ) from error


def check_audio(
    clips: Sequence[Clip], options: PretrainOptions, accelerator: Accelerator, path: Path
) -> AudioCheck:
    """Decode every clip once, or find in `path` what an earlier start of the run has found.

    Raises:
        UsageError: What was found cannot be written down.
    """
    main = accelerator.is_main_process
    known = read_check(path, clips) if main else None
    if known is not None and (options.on_bad_audio == "error" or not options.resume):
        known = check_bad_again(known, clips)
    # The main process decides, so that all check or none does.
    (known,) = broadcast_object_list([known])
    check = known
    if check is None:
        rank, world = accelerator.process_index, accelerator.num_processes
        whose = "" if world == 1 else f" (1 of {world} processes)"
        share = decode_clips(clips[rank::world], progress=main, whose=whose)
        check = join_shares(gather_object([share]))
    if main:
        try:
            write_check(path, clips, check)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error}). Make room") from error
    return check
