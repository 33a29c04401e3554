# SPDX-License-Identifier: Apache-2.0
"""Where the linear layer starts."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.recipes.finetuning import linear_start
from voxadapt.recipes.finetuning.labelled_frames import UNKNOWN, LabelledFrames
from voxadapt.recipes.finetuning.linear_start import (
    PROBE_FRAMES,
    probe_labels,
    probe_values,
    sample_clips,
    start_linear,
)
from voxadapt.recipes.finetuning.options import HeadOptions

Make = Callable[..., Any]
TWO_COLUMNS = LabelOutputs({"emotion": ["a", "b", "c"], "speaker": ["x", "y"]})


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((40, 4))


def pool(model: Any, data: LabelledFrames, clips: list[int]) -> torch.Tensor:
    """Pooled vectors of clips, one at a time."""
    found = []
    for clip in clips:
        frames = torch.from_numpy(data.store.frames(clip)).float()[None]
        padding_mask = torch.zeros(frames.shape[:2], dtype=torch.bool)
        with torch.no_grad():
            found.append(model.eval().with_weights(frames, padding_mask)[1])
    return torch.cat(found)


def test_a_sample_is_bounded_seeded_and_of_the_clips_given() -> None:
    lengths = np.full(40, 10)
    clips = list(range(5, 40))
    drawn = sample_clips(lengths, clips, 0, 95)
    assert len(drawn) == 10  # the tenth clip is the one that passes 95 frames
    assert drawn == sorted(drawn)
    assert set(drawn) < set(clips)
    assert drawn == sample_clips(lengths, clips, 0, 95)
    assert drawn != sample_clips(lengths, clips, 1, 95)
    assert sample_clips(lengths, clips, 0, PROBE_FRAMES) == clips
    assert len(sample_clips(lengths, clips, 0, 1)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_has_every_class_of_every_column_where_it_can(seed: int) -> None:
    lengths = np.full(200, 10)
    classes = np.zeros((200, 2), dtype=int)
    classes[:8, 0] = np.arange(8)  # seven classes of one clip each
    classes[100:104, 1] = [1, 2, 3, UNKNOWN]
    clips = [clip for clip in range(200) if clip % 50 < 30]
    drawn = sample_clips(lengths, clips, seed, 200, classes)
    assert len(drawn) == 20
    assert set(classes[drawn, 0]) == set(range(8))
    assert set(classes[drawn, 1]) == {0, 1, 2, 3, UNKNOWN}
    assert set(drawn) < set(clips)
    assert len(sample_clips(lengths, clips, seed, 50, classes)) == 5  # still bounded
    assert sample_clips(lengths, clips, seed, PROBE_FRAMES, classes) == clips


@pytest.mark.parametrize("adapter", [True, False])
def test_a_model_starts_at_the_probe_of_its_training_clips(
    data: LabelledFrames, make_model: Make, make_options: Make, adapter: bool
) -> None:
    model, train = make_model(adapter=adapter).eval(), data.splits.train
    others = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_linear(model, data, make_options(head=HeadOptions(probe=0.5)), 3)
    vectors = model.vector_standardizer(pool(model, data, train))
    torch.testing.assert_close(
        vectors.mean(dim=0), torch.zeros(vectors.shape[1]), rtol=0, atol=1e-4
    )
    probe = LogisticRegression(C=0.5).fit(vectors.numpy(), data.targets[train, 0])
    with torch.no_grad():
        found = model.linear(vectors).softmax(dim=-1).numpy()
    np.testing.assert_allclose(found, probe.predict_proba(vectors.numpy()), atol=1e-3)
    for name, tensor in others.items():
        if not name.startswith("linear."):
            assert torch.equal(model.state_dict()[name], tensor)


def test_it_says_on_how_many_clips_it_was_fitted(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    start_linear(make_model(), data, make_options(), 0)
    assert "starts at a probe on 5 clips" in caplog.text
    monkeypatch.setattr(linear_start, "PROBE_FRAMES", 20)
    start_linear(make_model(), data, make_options(), 0)
    assert re.search(r"starts at a probe on [234] of 5 clips", caplog.text)


def test_a_probe_that_has_not_converged_is_a_start_all_the_same(
    features: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_start, "ITERATIONS", 2)
    classes = (features[:, 0] > 0).astype(int)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight, _ = probe_labels(
            features, classes, LabelOutputs({"label": ["a", "b"]}), 1e6, balanced=[False]
        )
    assert weight.any()


def test_without_a_probe_a_model_stays_as_it_is(
    data: LabelledFrames, make_model: Make, make_options: Make
) -> None:
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_linear(model, data, make_options(head=HeadOptions(probe=0.0)), 0)
    assert list(model.state_dict()) == list(before)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_model_of_values_starts_at_a_ridge_regression(
    make_data: Make, make_model: Make, make_options: Make
) -> None:
    values = np.arange(16.0).reshape(8, 2) ** 2
    data = make_data(ValueOutputs(["arousal", "valence"], [70.0, 80.0], [60.0, 70.0]), values)
    model = make_model(outputs=2).eval()
    start_linear(model, data, make_options(head=HeadOptions(probe=100.0)), 0)
    train = data.splits.train
    with torch.no_grad():
        vectors = model.vector_standardizer(pool(model, data, train))
        found = data.outputs.activate(model.linear(vectors))
    np.testing.assert_allclose(found.numpy(), values[train], atol=2.0)


def test_columns_are_probed_one_by_one_and_unknown_labels_left_out(features: np.ndarray) -> None:
    emotions = (features[:, 0] > 0) + 2 * (features[:, 1] > 1.0)
    emotions = np.minimum(emotions, 2)
    speakers = np.where(features[:, 2] > 0, 1, 0)
    speakers[::4] = UNKNOWN
    targets = np.stack([emotions, speakers], axis=1)
    weight, bias = probe_labels(features, targets, TWO_COLUMNS, 1.0, balanced=[False, False])
    assert (weight.shape, bias.shape) == ((5, 4), (5,))

    one = LogisticRegression(C=1.0, max_iter=500).fit(features, emotions)
    np.testing.assert_allclose(weight[:3], one.coef_, atol=1e-6)
    known = speakers != UNKNOWN
    two = LogisticRegression(C=1.0, max_iter=500).fit(features[known], speakers[known])
    # Of two classes scikit-learn has one row: the second's logit over the first's.
    np.testing.assert_allclose(weight[4] - weight[3], two.coef_[0], atol=1e-6)
    np.testing.assert_allclose(bias[4] - bias[3], two.intercept_[0], atol=1e-6)
    np.testing.assert_allclose(weight[3] + weight[4], 0.0, atol=1e-12)


def test_classes_that_the_sample_lacks_start_behind_the_others(features: np.ndarray) -> None:
    targets = np.stack([np.where(features[:, 0] > 0, 2, 0), np.zeros(40)], axis=1).astype(int)
    weight, bias = probe_labels(features, targets, TWO_COLUMNS, 1.0, balanced=[False, False])
    assert not weight[1].any()
    assert bias[1] == min(bias[0], bias[2])
    assert not weight[3:].any()  # one class only, so there is nothing to tell apart
    assert not bias[3:].any()


def test_columns_without_weight_are_not_probed(
    make_data: Make, make_model: Make, make_options: Make
) -> None:
    targets = np.stack([np.arange(8) % 3, np.arange(8) % 2], axis=1)
    data = make_data(TWO_COLUMNS, targets.copy())
    model = make_model(outputs=5)
    start_linear(model, data, make_options(label="emotion,speaker", label_weights=[0.0, 1.0]), 0)
    assert not model.linear.weight[:3].any()
    assert model.linear.weight[3:].any()
    assert np.array_equal(data.targets, targets)


def test_a_balanced_probe_counts_rare_classes_as_much(features: np.ndarray) -> None:
    classes = np.where(np.arange(40) < 4, 0, 1)
    outputs = LabelOutputs({"label": ["rare", "common"]})
    rare = {
        balanced: np.diff(
            probe_labels(features, classes[:, None], outputs, 0.01, balanced=[balanced])[1]
        ).item()
        for balanced in (True, False)
    }
    assert abs(rare[True]) < 0.1 < rare[False]


@pytest.mark.parametrize("option", ["class_weights", "sampling"])
def test_training_that_balances_classes_has_a_balanced_probe(
    make_data: Make, make_model: Make, make_options: Make, option: str
) -> None:
    outputs = LabelOutputs({"label": ["common", "rare"]})
    data = make_data(outputs, np.array([0, 0, 0, 0, 1, 0, 1, 0])[:, None])
    lead = {}
    for value in ("balanced", None):
        model = make_model(outputs=2)
        start_linear(model, data, make_options(**({option: value} if value else {})), 0)
        lead[value] = (model.linear.bias[0] - model.linear.bias[1]).item()
    assert abs(lead["balanced"]) < 0.5 < lead[None]


def test_a_lower_inverse_strength_holds_weights_closer_to_zero(features: np.ndarray) -> None:
    classes = (features[:, 0] > 0).astype(int)[:, None]
    outputs = LabelOutputs({"label": ["a", "b"]})
    values = features[:, :1] @ np.ones((1, 2))
    for probe in (
        lambda c: probe_labels(features, classes, outputs, c, balanced=[False])[0],
        lambda c: probe_values(features, values, c)[0],
    ):
        sizes = [np.abs(probe(strength)).sum() for strength in (0.001, 0.1, 10.0)]
        assert sizes == sorted(sizes)
        assert sizes[0] < 0.5 * sizes[2]


@pytest.mark.parametrize("option", ["class_weights", "sampling"])
def test_balanced_sampling_balances_the_first_column_only(
    make_data: Make, make_model: Make, make_options: Make, option: str
) -> None:
    outputs = LabelOutputs({"one": ["common", "rare"], "other": ["common", "rare"]})
    rare = np.array([0, 0, 0, 0, 1, 0, 1, 0])
    data = make_data(outputs, np.stack([rare, rare], axis=1))
    model = make_model(outputs=4)
    start_linear(model, data, make_options(label="one,other", **{option: "balanced"}), 0)
    leads = model.linear.bias[[0, 2]] - model.linear.bias[[1, 3]]
    assert abs(leads[0]) < 0.5
    assert (abs(leads[1]) < 0.5) == (option == "class_weights")
