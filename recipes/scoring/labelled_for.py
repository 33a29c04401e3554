# SPDX-License-Identifier: Apache-2.0
"""Labelled clips for a model to be scored on, by the column that it was trained on."""

import logging

from accelerate import Accelerator

from voxadapt.classifier import SpeechClassifier
from voxadapt.outputs import LABEL
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.finetuning.label_columns import column_text, column_to_read
from voxadapt.recipes.running.options import CorpusOptions
from voxadapt.recipes.running.prepare import read_clips

logger = logging.getLogger(__name__)


def read_labelled_for(
    model: SpeechClassifier, given: str | None, options: CorpusOptions, accelerator: Accelerator
) -> tuple[list[Clip], str]:
    """Read the clips of other data, with the labels of the column that fits the model.

    Args:
        model: The model.
        given: The column that the user names; None takes the one that the model was trained on, and
            ``label`` where the data has no such column, which is said.
        options: Where the data is.
        accelerator: The process group.

    Returns:
        The clips, and the column that their labels are from.

    Raises:
        DataError: With every problem of a manifest at once.
        UsageError: A model of several columns or of values is given another column.
    """
    column = column_to_read(model.outputs, given, trained=trained_column(model))
    try:
        return read_clips(options, accelerator, label=column), column
    except DataError:
        # Of several columns or of values, no other holds what is scored.
        if given is not None or column == LABEL or column != trained_column(model):
            raise
        clips = _read_by_label(options, accelerator, column)
        if clips is None:
            raise
    logger.warning(
        "the model was trained on the column %r, which this data has not: it is scored by %r. "
        "--label COLUMN names another",
        *(column, LABEL),
    )
    return clips, LABEL


def trained_column(model: SpeechClassifier) -> str:
    """The column of a model's only labels, as its folder tells; ``label`` where it does not."""
    options = model.extras.get("options")
    found = options.get("label") if isinstance(options, dict) else None
    return found.strip() if isinstance(found, str) and model.outputs.labels else LABEL


def _read_by_label(
    options: CorpusOptions, accelerator: Accelerator, column: str
) -> list[Clip] | None:
    """The clips by their ``label``; None where they have that column, or no labels either."""
    try:
        clips = read_clips(options, accelerator, label=LABEL)
    except DataError:
        return None
    has_it = any(column_text(clip, column, first=LABEL) for clip in clips)
    return None if has_it else clips
