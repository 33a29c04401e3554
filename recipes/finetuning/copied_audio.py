# SPDX-License-Identifier: Apache-2.0
"""The same recording in two parts under two names, as the feature cache knows it by its content."""

from collections.abc import Sequence

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.split_checks import copied_clips
from voxadapt.recipes.corpora.splits import Splits
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_plan import PlannedRun, draw_splits
from voxadapt.recipes.running.prepare import PreparedCorpus


def refuse_copies(
    plan: Sequence[PlannedRun], corpus: PreparedCorpus, options: FinetuneOptions
) -> None:
    """Refuse parts that hold the same audio, as those that hold the same file are refused.

    A recording has one speaker under whatever names, so ``--allow-speaker-overlap`` accepts this as
    it accepts shared speakers; `find_copies` then has what to note.

    Args:
        plan: The runs of the command.
        corpus: Clips and their frames.
        options: The options.

    Raises:
        DataError: With the parts of all runs, before any is trained.
    """
    if options.allow_speaker_overlap:
        return
    audio_numbers = corpus.store.audio_numbers()
    if audio_numbers.max() + 1 == len(audio_numbers):  # parts need not be drawn
        return
    problems = []
    for run in plan:
        parts = draw_splits(corpus.clips, options, run.seed, run.fold).parts()
        title = f"{run.title}: " if len(plan) > 1 else ""
        found = copied_clips(corpus.clips, parts, audio_numbers)
        problems += [title + sentence for sentence in found]
    if problems:
        raise DataError(
            "parts have the same audio in files of other names, so that what is scored was heard "
            "in training. Leave the copies out, as `voxadapt check-data MANIFEST --fix NEW.csv` "
            "does, or accept them by --allow-speaker-overlap, and the results will say so:",
            problems,
        )


def find_copies(corpus: PreparedCorpus, splits: Splits) -> list[str]:
    """Return what a reader of results on these parts should know, one sentence each.

    Args:
        corpus: Clips and their frames.
        splits: The parts.
    """
    return list(copied_clips(corpus.clips, splits.parts(), corpus.store.audio_numbers()))
