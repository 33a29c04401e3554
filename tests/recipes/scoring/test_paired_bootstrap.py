# SPDX-License-Identifier: Apache-2.0
"""Paired differences, against loops over resamples that are scored by scikit-learn."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from voxadapt.recipes.scoring.paired_bootstrap import Resampled, group_by_clip, resample_runs

LABELS = np.array(["angry", "happy", "sad"])


def make_records(
    clips: int = 90, seeds: int = 1, right: float = 0.7, seed: int = 0, speakers: int = 0
) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    records = []
    for number in range(seeds):
        for clip in range(clips):
            label = LABELS[clip % 3]
            predicted = label if random.random() < right else LABELS[random.integers(3)]
            speaker = f"s{clip % speakers}" if speakers else None
            records.append(
                {"id": f"c{clip}", "label": label, "predicted": predicted, "speaker": speaker}
                | {"seed": number}
            )
    return records


def compare(*runs: list[dict[str, Any]], **options: Any) -> Resampled:
    grouped = [group_by_clip(records) for records in runs]
    return resample_runs(grouped, sorted(grouped[0].labels), **options)


def test_scores_of_one_seed_are_those_of_scikit_learn() -> None:
    records = make_records()
    found = compare(records, make_records(seed=1))
    true, predicted = ([record[name] for record in records] for name in ("label", "predicted"))
    assert found.scores["wa"][0] == pytest.approx(accuracy_score(true, predicted))
    assert found.scores["ua"][0] == pytest.approx(recall_score(true, predicted, average="macro"))
    assert found.scores["macro_f1"][0] == pytest.approx(f1_score(true, predicted, average="macro"))


@pytest.mark.parametrize("speakers", [0, 9])
def test_resamples_are_those_of_a_loop(speakers: int) -> None:
    runs = [make_records(speakers=speakers, seed=seed) for seed in (0, 1)]
    samples = 200
    found = compare(*runs, samples=samples, seed=3)
    assert found.unit == ("speaker" if speakers else "clip")
    clips = sorted({record["id"] for record in runs[0]})
    named = [f"s{int(clip[1:]) % speakers}" for clip in clips] if speakers else clips
    names, unit = np.unique(named, return_inverse=True)
    draws = np.random.default_rng(3).multinomial(
        len(names), np.full(len(names), 1 / len(names)), samples
    )
    for run, records in enumerate(runs):
        by_clip = {record["id"]: record for record in records}
        for sample in range(0, samples, 20):
            rows = np.repeat(np.arange(len(clips)), draws[sample][unit])
            true, predicted = (
                [by_clip[clips[row]][name] for row in rows] for name in ("label", "predicted")
            )
            ua = recall_score(true, predicted, average="macro", labels=np.unique(true))
            assert found.resampled["ua"][sample, run] == pytest.approx(ua)
            f1 = f1_score(true, predicted, average="macro")
            assert found.resampled["macro_f1"][sample, run] == pytest.approx(f1)


def test_seeds_of_a_clip_stay_together_and_are_no_more_clips() -> None:
    one = make_records(clips=30, seeds=1)
    five = [{**record, "seed": number} for number in range(5) for record in one]
    found = compare(one, five)
    for name in ("wa", "ua", "macro_f1"):
        assert found.scores[name][0] == pytest.approx(found.scores[name][1])
        np.testing.assert_allclose(found.resampled[name][:, 0], found.resampled[name][:, 1])
    assert found.clips == 30


def test_seeds_count_by_their_share() -> None:
    records = [
        {"id": "a", "label": "angry", "predicted": "angry"},
        {"id": "a", "label": "angry", "predicted": "sad"},
        {"id": "b", "label": "sad", "predicted": "sad"},
    ]
    found = compare(records, records)
    assert found.scores["wa"][0] == pytest.approx(0.75)
    assert found.scores["ua"][0] == pytest.approx(0.75)
    # F1 of angry: 2·0.5 / (1 + 0.5); of sad: 2·1 / (1 + 1.5).
    assert found.scores["macro_f1"][0] == pytest.approx((2 / 3 + 0.8) / 2)


def test_what_is_paired_is_surer_than_what_is_not() -> None:
    better = make_records(clips=300)
    worse = [dict(record) for record in better]
    wrong = [row for row, record in enumerate(worse) if record["label"] == record["predicted"]]
    for row in wrong[:12]:
        worse[row]["predicted"] = "sad" if worse[row]["label"] != "sad" else "angry"
    found = compare(better, worse)
    difference = found.difference("wa", 0, 1)
    assert difference["difference"] == pytest.approx(12 / 300)
    assert difference["interval"][0] > 0
    assert difference["p"] < 0.05
    # Not paired, their intervals overlap widely.
    assert found.interval("wa", 1)[1] > found.interval("wa", 0)[0] + 0.02
    back = found.difference("wa", 1, 0)
    assert back["difference"] == -difference["difference"]
    assert back["interval"] == pytest.approx([-edge for edge in difference["interval"][::-1]])
    assert back["p"] == difference["p"]


def test_p_is_twice_the_share_of_resamples_beyond_no_difference() -> None:
    found = compare(make_records(right=0.7), make_records(right=0.65, seed=1), samples=1000)
    drawn = found.resampled["ua"][:, 0] - found.resampled["ua"][:, 1]
    difference = found.difference("ua", 0, 1)
    assert difference["difference"] > 0
    share = (drawn <= 0).mean()
    assert 0.01 < share < 0.5
    assert difference["p"] == pytest.approx(2 * share)


def test_runs_that_say_the_same_do_not_differ() -> None:
    records = make_records()
    assert compare(records, records).difference("ua", 0, 1) == {
        "difference": 0.0,
        "interval": [0.0, 0.0],
        "p": 1.0,
    }


def test_a_run_that_is_right_on_all_of_few_clips_is_not_certain() -> None:
    records = make_records(clips=9, right=1.0, seeds=2)
    found = compare(records, make_records(clips=9))
    for name in ("wa", "ua", "macro_f1"):
        assert found.interval(name, 0) == [pytest.approx(0.025 ** (1 / 9)), 1.0]


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Runs that are right with 0.7 and 0.6: the true difference of WA is 0.1 times 2/3."""
    held = 0
    for seed in range(200):
        runs = [
            make_records(150, right=right, seed=2 * seed + (right == 0.6)) for right in (0.7, 0.6)
        ]
        low, high = compare(*runs, samples=300, seed=seed).difference("wa", 0, 1)["interval"]
        held += low <= 0.1 * 2 / 3 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_speakers_that_an_older_run_does_not_know_are_taken_from_the_other() -> None:
    known, unknown = make_records(speakers=9), make_records()
    assert compare(known, unknown).unit == "speaker"
    assert compare(unknown, unknown).unit == "clip"


def test_no_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="clips is empty"):
        resample_runs([group_by_clip(make_records())], [])
