# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import yaml

from voxadapt.recipes.corpora.intake.description import known_names, plain_name
from voxadapt.recipes.corpora.intake.emobox_slips import (
    LABEL_FIXES,
    ONE_SPEAKER,
    SPEAKER_PATTERNS,
)

FACTS: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("emobox_facts.yaml").read_text(encoding="utf-8")
)


def test_every_correction_is_of_a_label_that_the_lists_have() -> None:
    for fix in LABEL_FIXES:
        assert fix.label in FACTS[fix.corpus]["labels"]
        assert FACTS[fix.corpus]["map"].get(fix.label) != (fix.target or None)
        assert fix.reason


def test_maps_and_corrections_cover_every_label_of_the_lists() -> None:
    fixed = {(fix.corpus, fix.label) for fix in LABEL_FIXES}
    missing = {
        (name, label)
        for name, facts in FACTS.items()
        for label in facts.get("labels", {})
        if label not in facts["map"]
    }
    assert missing == {("emodb", "neutral")} <= fixed


def test_speakers_are_told_in_one_way() -> None:
    described = {plain_name(name) for name in known_names()}
    ways = [described & FACTS.keys(), set(SPEAKER_PATTERNS), set(ONE_SPEAKER)]
    assert sum(map(len, ways)) == len(set.union(*ways))
    assert FACTS.keys() - set.union(*ways) == {"emozionalmente", "m3ed", "mer2023", "mesd", "resd"}
