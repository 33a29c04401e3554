# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.description import (
    CorpusDescription,
    known_names,
    load_description,
)

OWN = """
title: Mine
language: Swiss German
licence: mine
home: https://example.org
layout: "s01_happy.wav"
layout_from: me
audio: ["{speaker}_{code}"]
id: "{speaker}_{code}"
columns:
  label: "{code}"
  speaker: {of: "{speaker}", values: {"01": one}}
classes:
  "2": {happy: [yes, "01"], sad: [no]}
"""


@pytest.mark.parametrize("name", known_names())
def test_descriptions_are_whole(name: str) -> None:
    one = load_description(name)
    assert one.patterns
    assert {"label", "speaker"} <= one.columns.keys()
    for text in (one.title, one.language, one.licence, one.home, one.layout_from, one.layout):
        assert text.strip()
    assert one.home.startswith("http")
    for classes in one.classes:
        class_of = one.class_set(classes)
        targets = set(class_of.values())
        assert len(targets) == int(classes)
        labels = [label for group in one.classes[classes].values() for label in group]
        assert len(labels) == len(set(labels))


def test_classes_have_the_same_names_in_all_corpora() -> None:
    names = {
        target
        for name in known_names()
        for classes in load_description(name).classes.values()
        for target in classes
    }
    assert names == {
        *("angry", "boredom", "calm", "contempt", "disgust", "excited", "fear", "frustrated"),
        *("happy", "neutral", "sad", "surprise", "low", "high", "other", "no-agreement"),
    }


@pytest.mark.parametrize("written", ["crema-d", "CREMA_D", "CremaD"])
def test_names_as_people_write_them(written: str) -> None:
    assert load_description(written).name == "cremad"


def test_an_unknown_name_gets_the_closest() -> None:
    with pytest.raises(DataError, match=r"known are aesdd, .*did you mean 'ravdess'"):
        load_description("ravdes")


def test_a_description_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OWN)
    one = load_description(str(file))
    assert isinstance(one, CorpusDescription)
    assert one.name == "mine"
    # Codes stay text: neither 1 nor true nor false.
    assert one.class_set(None) == {"yes": "happy", "01": "happy", "no": "sad"}
    assert one.columns["speaker"].values == {"01": "one"}
    assert one.columns["label"].of == "{code}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title: Mine\n", ""), "the field 'title' is missing"),
        (("licence:", "license:"), "there is no field 'license'; did you mean 'licence'"),
        (('audio: ["{speaker}_{code}"]', "audio: all"), "audio: found 'all', expected list"),
        (("title: Mine", "title: [a]"), "title: found"),
        (("title: Mine", "title: {a"), "is no YAML"),
        (("of:", "from:"), "columns: speaker: there is no field 'from'"),
        (("id:", "clips: many\nid:"), "clips: found 'many', expected int"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    assert change[0] in OWN
    file = tmp_path / "mine.yaml"
    file.write_text(OWN.replace(*change, 1))
    with pytest.raises(DataError) as raised:
        load_description(str(file))
    assert message in str(raised.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_description("nowhere.yaml")
