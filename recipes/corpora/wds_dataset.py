# SPDX-License-Identifier: Apache-2.0
"""WebDataset tar shards as a manifest: each sample is a clip, which stays in its shard."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import map_in_threads
from voxadapt.recipes.corpora.errors import DataError, some_of
from voxadapt.recipes.corpora.hf_dataset import SPEAKER_COLUMNS
from voxadapt.recipes.corpora.manifest_columns import says_splits, split_meant_by, splits_of_names
from voxadapt.recipes.corpora.manifest_paths import printable
from voxadapt.recipes.corpora.shard_index import index_shard
from voxadapt.recipes.corpora.shard_pattern import expand_shards
from voxadapt.recipes.corpora.shard_samples import ShardSample


def read_wds_shards(
    text: str, *, label: str, require_label: bool, progress: bool = True
) -> list[Clip]:
    """Index shards and make a clip of each sample, in the order of the shards.

    A sample is one audio member and, if there are any, a .json object, a .cls and a .txt member:
    the class is the column `label`, the text `text`, and NAME.txt or NAME.cls after the sample's
    own name is the column NAME. `speaker` is the first column of `SPEAKER_COLUMNS`. A column
    `split` is the split; where none says so, shards called train-..., valid-... and test-... do.

    Args:
        text: `wds:PATTERN`, with braces (`{000..099}`, `{train,test}`) or `*`.
        label: The column that holds the labels. Another than `label` must be there.
        require_label: Whether each clip must have a label.
        progress: Whether to show a bar where indexing takes more than seconds.

    Raises:
        DataError: The library is not installed; there is no such shard, or one cannot be read; a
            sample has no audio, or several; labels are missing; a key occurs twice.
    """
    shards = expand_shards(text)
    samples: list[tuple[Path, ShardSample]] = []
    bar = tqdm(total=len(shards), desc="shards", unit="shard", delay=3, disable=not progress)
    with bar:
        for shard, found in zip(shards, map_in_threads(index_shard, shards), strict=True):
            samples += [(shard, sample) for sample in found]
            bar.update()
    columns = {name for _, sample in samples for name in sample.fields}
    if (require_label or label != "label") and label not in columns and samples:
        raise DataError(
            f"no sample of {text!r} has {label!r} for its label; there are: "
            f"{some_of(sorted(columns), 20) or 'no columns'}. A .cls member, or a .json one with "
            f"{label!r}, gives it"
        )
    speaker = next((name for name in SPEAKER_COLUMNS if name in columns), "")
    splits = splits_of_names(shard.name for shard in shards)
    by_column = says_splits(sample.fields.get("split", "") for _, sample in samples)
    clips: list[Clip] = []
    problems: list[str] = []
    for shard, sample in samples:
        problem = _problem(sample, label if require_label else None)
        if problem:
            problems.append(f"{shard.name}, sample {printable(sample.key)!r}: {problem}")
        else:
            split = sample.fields.get("split", "") if by_column else splits[shard.name]
            clip = _clip(shard, sample, label, speaker)
            clip.split = split_meant_by(split or "")
            if by_column:
                clip.columns.pop("split", None)
            clips.append(clip)
    problems += _twins(clips)
    if not samples:
        problems.append("they hold no sample")
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems):,} problems"
        raise DataError(f"the shards {text!r} have {count}:", problems)
    return clips


def _problem(sample: ShardSample, label: str | None) -> str:
    if not sample.audio:
        return "it holds no audio; each sample must have one member such as KEY.wav or KEY.flac"
    if len(sample.audio) > 1:
        names = [member.member for member in sample.audio]
        return f"it holds {len(names)} audio members ({some_of(names)}); a clip has one"
    if sample.faults:
        return "; ".join(sample.faults)
    if label is not None and not sample.fields.get(label):
        return f"{label!r} is empty; every clip needs a label"
    return ""


def _clip(shard: Path, sample: ShardSample, label: str, speaker: str) -> Clip:
    fields = sample.fields
    return Clip(
        id=printable(f"{re.sub(r'[.]tar$', '', shard.name)}/{sample.key}"),
        path=shard / sample.audio[0].member,
        label=fields.get(label) or None,
        speaker=fields.get(speaker) or None,
        fold=fields.get("fold") or None,
        columns={name: fields[name] for name in fields if name not in (label, speaker, "fold")},
        source=sample.audio[0],
    )


def _twins(clips: Sequence[Clip]) -> list[str]:
    counts = Counter(clip.id for clip in clips)
    return [
        f"{clip_id!r} (shard and key) is there {count} times; each sample needs a key of its own"
        for clip_id, count in counts.items()
        if count > 1
    ]
