# SPDX-License-Identifier: Apache-2.0
"""A corpus with everything wrong, checked by one process and by two."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt.recipes.corpora.corpus_check import CorpusCheck, check_corpus

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "corpora"


@pytest.fixture(scope="module")
def checks(animals: dict[str, Any]) -> list[CorpusCheck]:
    folder = animals["wav PCM_16"].path.parents[1]
    return [check_corpus(folder, jobs=jobs) for jobs in (1, 2)]


def test_the_number_of_processes_changes_nothing(checks: list[CorpusCheck]) -> None:
    one, two = checks
    assert one.findings == two.findings
    for first, second in zip(one.clips, two.clips, strict=True):
        assert first.clip == second.clip
        ours, theirs = (dataclasses.asdict(found.quality) for found in (first, second))
        np.testing.assert_array_equal(ours.pop("fingerprint"), theirs.pop("fingerprint"))
        assert ours == theirs


def test_each_bad_file_is_an_error(checks: list[CorpusCheck], animals: dict[str, Any]) -> None:
    expected = {f"bad/{one.path.name}" for one in animals.values() if one.reasons}
    found = [one for one in checks[0].findings if one.severity == "error"]
    assert {finding.clip for finding in found} == expected
    assert len(found) == len(expected)
    assert {found.clip.id for found in checks[0].usable} == {
        found.clip.id for found in checks[0].clips
    } - expected


def test_all_good_files_but_one_are_copies(checks: list[CorpusCheck]) -> None:
    # They hold one tone: in every encoding, at every rate, coded and not.
    copies = {one.clip for one in checks[0].findings if one.kind.endswith("duplicate")}
    usable = {found.clip.id for found in checks[0].usable}
    assert copies < usable
    assert len(usable - copies) <= 3


def test_findings_come_sorted(checks: list[CorpusCheck]) -> None:
    orders = [finding.order for finding in checks[0].findings]
    assert orders == sorted(orders)


def test_hours(checks: list[CorpusCheck], zoo: Any) -> None:
    assert checks[0].seconds == pytest.approx(zoo.SECONDS * len(checks[0].usable), rel=0.05)


@pytest.mark.skipif(not CORPORA.is_dir(), reason=f"no real speech in {CORPORA}")
def test_real_speech() -> None:
    urdu = check_corpus(CORPORA / "urdu" / "urdu.csv", jobs=1)
    assert len(urdu.usable) == len(urdu.clips) == 400
    errors = [finding for finding in urdu.findings if finding.severity == "error"]
    assert [finding.kind for finding in errors] == ["speaker overlap"]  # 18 of 19 speakers of test
    assert "18 of the 19 speakers" in errors[0].message
    kinds = {finding.kind for finding in urdu.findings}
    assert not kinds & {
        "duplicate",
        "near-duplicate",
        "label typo",
        "label spelling",
        "sample rate",
    }


@pytest.mark.slow
@pytest.mark.skipif(not CORPORA.is_dir(), reason=f"no real speech in {CORPORA}")
def test_recordings_that_a_corpus_has_under_two_speakers() -> None:
    baved = check_corpus(CORPORA / "baved" / "baved.csv")
    copies = [finding for finding in baved.findings if finding.kind == "duplicate"]
    assert len(copies) == 27
    twice = [
        finding for finding in copies if "speaker 'speaker53' and 'speaker46'" in finding.message
    ]
    assert twice
    assert {finding.severity for finding in twice} == {"error"}
