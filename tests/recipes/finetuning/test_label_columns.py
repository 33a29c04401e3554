# SPDX-License-Identifier: Apache-2.0
"""Columns of labels and of values, and what is refused of them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.finetuning.label_columns import (
    check_label_columns,
    column_text,
    column_values,
    first_column,
    label_names,
    refuse_constant,
    value_text,
)
from voxadapt.recipes.running.command_line import UsageError

Make = Callable[..., Any]


def make_clips(labels: list[str], **columns: list[str]) -> list[Clip]:
    return [
        Clip(
            f"c{row}",
            Path(f"{row}.wav"),
            label=label,
            speaker=f"s{row}",
            columns={name: values[row] for name, values in columns.items()},
        )
        for row, label in enumerate(labels)
    ]


def test_names_are_parted_by_commas() -> None:
    assert label_names("emotion, speaker") == ["emotion", "speaker"]
    assert first_column("emotion,speaker") == "emotion"
    for text in ("", "emotion,", "emotion,emotion"):
        with pytest.raises(UsageError, match="--label"):
            label_names(text)


def test_a_column_may_be_a_field_of_the_clip() -> None:
    (clip,) = make_clips(["sad"], style=["read"])
    found = [column_text(clip, name, first="emotion") for name in ("emotion", "speaker", "style")]
    assert found == ["sad", "s0", "read"]
    assert column_text(clip, "nothing", first="emotion") == ""


@pytest.mark.parametrize("twin", ["Sad", "s ad", "SAD"])
def test_labels_that_differ_by_case_or_spaces_are_refused(twin: str, make_options: Make) -> None:
    with pytest.raises(DataError, match="differ by case or spaces only") as failed:
        check_label_columns(make_clips(["sad", "sad", twin, "angry"]), make_options())
    assert f"{twin!r} (1 clips)" in str(failed.value)
    assert "'sad' (2 clips)" in str(failed.value)
    clips = make_clips(["sad", "angry"] * 2, style=["read", "Read"] * 2)
    check_label_columns(clips, make_options())
    with pytest.raises(DataError, match="column 'style'"):
        check_label_columns(clips, make_options(label="label,style"))


def test_a_column_that_is_not_there_is_named_with_the_closest(make_options: Make) -> None:
    clips = make_clips(["sad", "angry"] * 2, style=["read", "acted"] * 2)
    with pytest.raises(DataError, match=r"in the column 'speakr'; .*did you mean 'speaker'\?"):
        check_label_columns(clips, make_options(label="label,speakr"))


def test_values_are_read_and_every_one_that_is_none_is_listed(make_options: Make) -> None:
    clips = make_clips(["1", "2.5", "-3e-1"], valence=["0", "1", "2"])
    found = column_values(clips, ["label", "valence"])
    np.testing.assert_array_equal(found, [[1, 0], [2.5, 1], [-0.3, 2]])

    options = make_options(task="regression", label="label,valence")
    clips = make_clips(["high", "nan", "1", "2"], valence=["0", "", "inf", "1"])
    with pytest.raises(DataError, match="every clip needs a number") as failed:
        check_label_columns(clips, options)
    for problem in (
        "clip 'c0': label is 'high'",
        "clip 'c1': label is 'nan'",
        "clip 'c1': valence is ''",
        "clip 'c2': valence is 'inf'",
    ):
        assert problem in str(failed.value)


def test_a_regression_divides_clips_by_thirds_and_keeps_the_values(make_options: Make) -> None:
    values = [str(value) for value in range(9)]
    clips = make_clips(values)
    found = check_label_columns(clips, make_options(task="regression", label="arousal"))
    assert Counter(clip.label for clip in found) == {
        f"{third} third of arousal": 3 for third in ("lowest", "middle", "highest")
    }
    assert [value_text(clip, "arousal", first="arousal") for clip in found] == values
    np.testing.assert_array_equal(column_values(found, ["arousal"])[:, 0], np.arange(9))
    assert [clip.label for clip in clips] == values  # those given stay as they are


def test_a_dimension_of_one_value_is_refused() -> None:
    values = np.array([[1.0, 2.0], [1.0, 3.0]])
    with pytest.raises(DataError, match="the same value of 'arousal'"):
        refuse_constant(values, ["arousal", "valence"])
    refuse_constant(values[:, 1:], ["valence"])


def test_too_few_clips_are_refused(make_options: Make) -> None:
    for clips, title in ((make_clips(["a"]), "1 clip;"), (make_clips(["a", "b", "a"]), "3 clips;")):
        with pytest.raises(DataError, match=f"the corpus has {title} at least 4 are needed"):
            check_label_columns(clips, make_options())
