# SPDX-License-Identifier: Apache-2.0
import json
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from voxadapt.recipes.scoring.metrics import (
    average_runs,
    bootstrap_interval,
    classification_metrics,
    count_pairs,
    expected_calibration_error,
    scores_of_counts,
)

LABELS = ["angry", "happy", "neutral", "sad"]


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make_predictions(clips: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Unbalanced classes, about two thirds right."""
    rng = np.random.default_rng(0)
    true = rng.choice(4, size=clips, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(clips) < 0.6, true, rng.integers(4, size=clips))
    return true, predicted


def sklearn_scores(true: np.ndarray, predicted: np.ndarray) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a resample may lack a class that was predicted
        return [
            accuracy_score(true, predicted),
            balanced_accuracy_score(true, predicted),
            f1_score(true, predicted, average="macro"),
        ]


# --- classification_metrics


def test_scores_worked_out_by_hand() -> None:
    true = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 0, 1, 1, 2])
    metrics = classification_metrics(LABELS, true, predicted)
    assert metrics["n"] == 6
    assert metrics["wa"] == pytest.approx(4 / 6)
    assert metrics["ua"] == pytest.approx((3 / 4 + 1 / 2) / 2)  # "neutral" was never asked for
    f1 = [2 * 3 / (4 + 3), 2 * 1 / (2 + 2), 0.0]  # it counts in F1: it was predicted
    assert metrics["macro_f1"] == pytest.approx(sum(f1) / 3)
    recall = {"angry": 0.75, "happy": 0.5, "neutral": None, "sad": None}
    assert metrics["per_class_recall"] == recall
    assert metrics["confusion"] == [[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert json.loads(json.dumps(metrics)) == metrics


def test_a_single_class_and_a_single_clip() -> None:
    metrics = classification_metrics(LABELS, np.array([2]), np.array([2]))
    assert (metrics["wa"], metrics["ua"], metrics["macro_f1"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("function", [classification_metrics, bootstrap_interval])
def test_wrong_classes_are_refused(function: Callable[..., dict]) -> None:
    one, two = np.array([1]), np.array([1, 2])
    with pytest.raises(ValueError, match="true is empty"):
        function(LABELS, np.array([], dtype=int), np.array([], dtype=int))
    with pytest.raises(ValueError, match="equally long, got 2 and 1"):
        function(LABELS, two, one)
    with pytest.raises(ValueError, match=r"predicted must lie in 0\.\.3.*got 4\.\.4"):
        function(LABELS, one, np.array([4]))
    with pytest.raises(ValueError, match=r"true must lie in 0\.\.3.*got -1\.\.-1"):
        function(LABELS, -one, one)
    with pytest.raises(ValueError, match=r"true must be class numbers.*float64"):
        function(LABELS, one / 2, one)
    with pytest.raises(ValueError, match=r"predicted must be class numbers.*\[1, 2\]"):
        function(LABELS, two, two[None])
    with pytest.raises(ValueError, match="labels must differ"):
        function(["a", "b", "a"], one, one)


# --- bootstrap_interval


def test_clip_interval_equals_sklearn_on_the_same_resamples() -> None:
    true, predicted = make_predictions()
    cells, clips = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
    drawn = np.random.default_rng(3).multinomial(60, clips / 60, size=200)
    resamples = [np.repeat(cells, counts, axis=1) for counts in drawn]
    scores = np.array([sklearn_scores(*resample) for resample in resamples])
    interval = bootstrap_interval(LABELS, true, predicted, samples=200, seed=3, level=0.9)
    low, high = np.percentile(scores, [5, 95], axis=0)
    assert interval.pop("unit") == "clip"
    assert list(interval) == ["wa", "ua", "macro_f1"]
    np.testing.assert_allclose(list(interval.values()), np.stack([low, high], axis=1))


def test_clip_interval_agrees_with_resampled_clip_indices() -> None:
    """The textbook bootstrap, by indices; the two differ by Monte Carlo error only."""
    true, predicted = make_predictions()
    rng = np.random.default_rng(1)
    resamples = rng.integers(60, size=(1000, 60))
    scores = np.array([sklearn_scores(true[index], predicted[index]) for index in resamples])
    interval = bootstrap_interval(LABELS, true, predicted, samples=20_000)
    for column, name in enumerate(["wa", "ua", "macro_f1"]):
        expected = np.percentile(scores[:, column], [2.5, 97.5])
        np.testing.assert_allclose(interval[name], expected, atol=0.025)


def test_speaker_interval_equals_sklearn_on_the_same_resamples() -> None:
    true, predicted = make_predictions()
    speakers = [f"s{number}" for number in np.random.default_rng(5).integers(6, size=60)]
    drawn = np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), size=200)
    scores = []
    for counts in drawn:
        clips = [
            clip
            for speaker, count in zip(sorted(set(speakers)), counts, strict=True)
            for clip in np.flatnonzero(np.array(speakers) == speaker).tolist() * count
        ]
        scores.append(sklearn_scores(true[clips], predicted[clips]))
    low, high = np.percentile(scores, [2.5, 97.5], axis=0)
    interval = bootstrap_interval(LABELS, true, predicted, speakers=speakers, samples=200)
    assert interval.pop("unit") == "speaker"
    np.testing.assert_allclose(list(interval.values()), np.stack([low, high], axis=1))


def test_speakers_that_are_all_alike_inside_widen_the_interval() -> None:
    true = np.repeat([0, 1], 50)
    speakers = [str(number) for number in np.repeat(np.arange(10), 10)]
    predicted = np.where(np.arange(100) % 20 < 10, true, 1 - true)  # every other speaker is wrong
    by_clip = bootstrap_interval(LABELS, true, predicted)["wa"]
    by_speaker = bootstrap_interval(LABELS, true, predicted, speakers=speakers)["wa"]
    assert by_speaker[1] - by_speaker[0] > 2 * (by_clip[1] - by_clip[0])


def test_clips_are_resampled_where_speakers_are_few_or_unknown() -> None:
    true, predicted = make_predictions()
    five = [str(clip % 5) for clip in range(60)]
    choices = [(None, "clip"), (five, "speaker"), (["0", *["1", "2", "3"] * 20][:60], "clip")]
    choices.append(([None, *five[1:]], "clip"))
    for speakers, unit in choices:
        interval = bootstrap_interval(LABELS, true, predicted, speakers=speakers, samples=10)
        assert interval["unit"] == unit


def test_interval_follows_the_seed_alone_and_is_json() -> None:
    true, predicted = make_predictions()
    first = bootstrap_interval(LABELS, true, predicted, seed=1)
    assert first == bootstrap_interval(LABELS, true, predicted, seed=1)
    assert first != bootstrap_interval(LABELS, true, predicted, seed=2)
    assert json.loads(json.dumps(first)) == first


def test_few_clips_that_are_all_right_are_not_certain() -> None:
    true = np.array([0, 0, 0, 0, 1, 1])
    interval = bootstrap_interval(LABELS, true, true)
    assert interval["wa"] == [pytest.approx(0.025 ** (1 / 6)), 1.0]
    # Two clips tell of the second class, so the mean recall rests on two of each.
    assert interval["ua"] == interval["macro_f1"] == [pytest.approx(0.025 ** (1 / 4)), 1.0]
    wrong = bootstrap_interval(LABELS, true, 1 - true)
    assert wrong["wa"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 6))]


def test_speakers_that_are_all_right_count_as_so_many_units() -> None:
    true = np.tile([0, 1], 50)
    speakers = [str(number) for number in np.repeat(np.arange(5), 20)]
    interval = bootstrap_interval(LABELS, true, true, speakers=speakers, level=0.9)
    assert interval["unit"] == "speaker"
    for name in ("wa", "ua", "macro_f1"):
        assert interval[name] == [pytest.approx(0.05 ** (1 / 5)), 1.0]


def test_a_model_that_says_one_class_only_is_not_certain() -> None:
    true = np.repeat([0, 1], 50)
    interval = bootstrap_interval(LABELS, true, np.zeros(100, dtype=int))
    assert interval["ua"] == pytest.approx([0.3983, 0.6017], abs=1e-4)  # 50 of 100, from a table
    assert json.loads(json.dumps(interval)) == interval


def test_wrong_bootstrap_options_are_refused() -> None:
    true, predicted = make_predictions()
    with pytest.raises(ValueError, match="one entry a clip, got 2 for 60"):
        bootstrap_interval(LABELS, true, predicted, speakers=["a", "b"])
    with pytest.raises(ValueError, match="samples must be at least 1"):
        bootstrap_interval(LABELS, true, predicted, samples=0)
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="level must be between 0 and 1"):
            bootstrap_interval(LABELS, true, predicted, level=level)


# --- expected_calibration_error


def test_calibration_error_equals_the_loop_over_bins() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 4, size=300)
    probabilities[:20] = [0.625, 0.125, 0.125, 0.125]  # on the edge of two of the eight bins
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    true = np.where(confidence <= 0.625, predicted, rng.integers(4, size=300))  # too shy, too bold
    right = true == predicted
    expected = 0.0
    for number in range(8):
        low, high = number / 8, (number + 1) / 8
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert expected_calibration_error(probabilities, true, bins=8) == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    certain = np.eye(4)[[0, 1, 2, 3]]
    assert expected_calibration_error(certain, np.array([0, 1, 2, 3])) == 0.0
    assert expected_calibration_error(certain, np.array([1, 2, 3, 0])) == 1.0
    half = np.array([[0.5, 0.5]] * 4)
    assert expected_calibration_error(half, np.array([0, 1, 0, 1])) == 0.0
    assert expected_calibration_error(half, np.array([0, 0, 0, 1])) == pytest.approx(0.25)


def test_wrong_probabilities_are_refused() -> None:
    good = np.array([[0.5, 0.5], [0.2, 0.8]])
    with pytest.raises(ValueError, match=r"must be \[N, C\], got \[2\]"):
        expected_calibration_error(good[0], np.array([0, 1]))
    with pytest.raises(ValueError, match="equally long, got 1 and 2"):
        expected_calibration_error(good, np.array([0]))
    with pytest.raises(ValueError, match="true is empty"):
        expected_calibration_error(good[:0], np.array([], dtype=int))
    for row in ([3.0, -2.0], [0.5, 0.6], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="in row 1; apply softmax"):
            expected_calibration_error(np.array([good[0], row]), np.array([0, 1]))
    with pytest.raises(ValueError, match="bins must be at least 1"):
        expected_calibration_error(good, np.array([0, 1]), bins=0)


# --- average_runs


def test_average_and_sample_deviation_over_runs() -> None:
    runs = [{"wa": wa, "ua": 0.5, "macro_f1": 1 - wa, "n": 9} for wa in (0.6, 0.7, 0.8)]
    averages = average_runs(runs)
    assert list(averages) == ["wa", "ua", "macro_f1"]
    assert averages["wa"] == pytest.approx({"mean": 0.7, "std": 0.1})
    assert averages["ua"] == pytest.approx({"mean": 0.5, "std": 0.0})
    assert averages["macro_f1"] == pytest.approx({"mean": 0.3, "std": 0.1})


def test_a_single_run_has_no_deviation() -> None:
    metrics = classification_metrics(LABELS, *make_predictions())
    averages = average_runs([metrics])
    assert averages["ua"] == {"mean": metrics["ua"], "std": 0.0}
    assert json.loads(json.dumps(averages)) == averages


def test_wrong_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        average_runs([])
    with pytest.raises(ValueError, match="run 1 lacks ua"):
        average_runs([{"wa": 1, "ua": 1, "macro_f1": 1}, {"wa": 1, "macro_f1": 1}])


def test_a_score_that_some_runs_lack_is_averaged_over_the_others() -> None:
    runs = [{"ccc": 0.2, "pearson": None}, {"ccc": 0.4, "pearson": None}]
    averages = average_runs(runs, ("ccc", "pearson"))
    assert averages["ccc"]["mean"] == pytest.approx(0.3)
    assert averages["pearson"] == {"mean": None, "std": None}
    assert average_runs([*runs, {"ccc": 0, "pearson": 0.5}], ["pearson"])["pearson"]["mean"] == 0.5


def test_scores_of_counts_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    true, predicted = random.integers(0, 4, size=(2, 300))
    group = random.integers(0, 6, size=300)
    right, shape = true == predicted, (6, 4)
    scores = scores_of_counts(
        count_pairs(group[right], true[right], shape),
        count_pairs(group, true, shape),
        count_pairs(group, predicted, shape),
    )
    for number in range(6):
        chosen = group == number
        found = classification_metrics("abcd", true[chosen], predicted[chosen])
        for name, values in scores.items():
            assert values[number] == pytest.approx(found[name])


def test_pairs_count_by_their_weights() -> None:
    rows, columns = np.array([0, 1, 1]), np.array([2, 0, 0])
    assert count_pairs(rows, columns, (2, 3)).tolist() == [[0, 0, 1], [2, 0, 0]]
    weights = np.array([0.5, 0.25, 0.25])
    assert count_pairs(rows, columns, (2, 3), weights).tolist() == [[0, 0, 0.5], [0.5, 0, 0]]
