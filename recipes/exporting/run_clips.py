# SPDX-License-Identifier: Apache-2.0
"""The labelled clips of the run that made a model, in the parts that it had."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.options import DEMO_CORPUS
from voxadapt.recipes.running.process_group import join_processes
from voxadapt.recipes.scoring.corpus_names import choose_split
from voxadapt.recipes.scoring.other_corpora import read_labelled
from voxadapt.recipes.scoring.run_reading import read_parts

# What says which clips a run has read, and what their labels were.
_READ_BY = ("data", "label", "label_map", "test_data", "allow_outside")


def clips_of_run(
    run: Path, config: Mapping[str, Any], split: str, *, allow_outside: bool = False
) -> list[Clip]:
    """Read the clips of one part of a run, whether a column or the run itself chose them.

    Args:
        run: The folder that `finetune` wrote.
        config: The run's options, from its ``run.json``.
        split: ``train``, ``valid``, ``test`` or ``all``.
        allow_outside: Accept manifest paths outside the manifest's folder, where the run did not.

    Raises:
        DataError: With every problem of the manifest.
        UsageError: The part is empty, or its clips are not in the manifest any more.
    """
    read_by = {name: config[name] for name in _READ_BY if name in config}
    options = dataclasses.replace(FinetuneOptions(), **read_by)
    options.allow_outside = options.allow_outside or allow_outside
    clips, _ = read_labelled(options, join_processes())
    source = ", ".join(options.data) or DEMO_CORPUS
    parts = read_parts(run)
    if parts is None:
        return choose_split(clips, split, source, "--split")
    wanted = [clip for name, ids in parts.items() if split in ("all", name) for clip in ids]
    by_id = {clip.id: clip for clip in clips}
    missing = [clip for clip in wanted if clip not in by_id]
    if missing:
        raise UsageError(
            f"--data: missing; {len(missing):,} of {len(wanted):,} clips of {run} ({split}) are "
            f"not in {source} any more: {some_of(missing)}. Put it back as it was, or name a "
            "manifest by --data"
        )
    return [by_id[clip] for clip in wanted]
