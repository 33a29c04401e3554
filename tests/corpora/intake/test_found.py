# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.intake.found import make_clip, normalise_splits


def test_fields_become_what_they_mean() -> None:
    fields = {"label": "sad", "speaker": "", "start": "1.5", "end": "", "gender": "f", "fold": "2"}
    assert make_clip(Path("/a.wav"), "a", fields) == Clip(
        "a", Path("/a.wav"), start=1.5, label="sad", fold="2", columns={"gender": "f"}
    )
    with pytest.raises(ValueError, match="soon"):
        make_clip(Path("/a.wav"), "a", {"start": "soon"})


def test_splits_get_the_names_of_manifests() -> None:
    words = ["train", "TRAIN", "dev", "Val", "test", "tst ", None, "holdout", "holdout"]
    clips = [Clip("a", Path("a"), split=word) for word in words]
    assert list(normalise_splits(clips)) == ["holdout"]
    expected = ["train", "train", "valid", "valid", "test", "test", None, None, None]
    assert [clip.split for clip in clips] == expected
