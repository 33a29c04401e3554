# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import numpy as np
import pytest
import torch

from voxadapt.adapters import FeatureStandardizer

LENGTHS = [40, 1, 25]


def test_new_module_passes_frames_through_and_clears_padding(make_batch: Callable) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    dirty = frames.masked_fill(padding_mask.unsqueeze(-1), float("nan"))
    module = FeatureStandardizer(10)
    assert torch.equal(module(dirty, padding_mask), frames)
    assert (module.input_size, module.output_size) == (10, 10)


def test_corpus_gets_zero_mean_and_unit_variance(make_batch: Callable) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    frames[..., 3] = 7.0  # a feature that never changes
    real = frames[~padding_mask].double().numpy()
    module = FeatureStandardizer(10)
    module.set_statistics(torch.tensor(real.mean(axis=0)), torch.tensor(real.std(axis=0)))

    output = module(frames, padding_mask)
    standardized = output[~padding_mask].numpy()
    changing = np.arange(10) != 3
    expected = (real - real.mean(axis=0)) / np.where(changing, real.std(axis=0), 1.0)
    np.testing.assert_allclose(standardized, expected, atol=1e-5)
    np.testing.assert_allclose(standardized.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(standardized.std(axis=0)[changing], 1.0, atol=1e-5)
    np.testing.assert_allclose(standardized[:, 3], 0.0, atol=1e-5)
    assert (output[padding_mask] == 0).all()


def test_statistics_travel_with_the_module_and_do_not_train() -> None:
    module = FeatureStandardizer(3)
    module.set_statistics(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
    other = FeatureStandardizer(3)
    other.load_state_dict(module.state_dict())
    assert other.mean.tolist() == [1, 2, 3]
    assert other.std.tolist() == [4, 5, 6]
    assert not list(module.parameters())


def test_cached_half_precision_frames_are_standardized_in_single() -> None:
    module = FeatureStandardizer(1)
    module.set_statistics(torch.tensor([1000.0]), torch.tensor([0.25]))
    frames = torch.tensor([[[1000.5]]], dtype=torch.float16)
    output = module(frames, torch.tensor([[False]]))
    assert output.dtype == torch.float32
    assert output.item() == 2.0


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (torch.zeros(4), torch.ones(3), "mean: found shape"),
        (torch.zeros(3), torch.ones(1, 3), "std: found shape"),
        (torch.tensor([0.0, float("nan"), 0.0]), torch.ones(3), "mean: .* finite: False"),
        (torch.zeros(3), torch.tensor([1.0, float("inf"), 1.0]), "std: .* finite: False"),
    ],
)
def test_bad_statistics_are_refused(mean: torch.Tensor, std: torch.Tensor, message: str) -> None:
    module = FeatureStandardizer(3)
    with pytest.raises(ValueError, match=message):
        module.set_statistics(mean, std)
    assert module.mean.tolist() == [0, 0, 0]
    assert module.std.tolist() == [1, 1, 1]


def test_wrong_feature_size_is_refused() -> None:
    with pytest.raises(ValueError, match="frames: found shape"):
        FeatureStandardizer(3)(torch.zeros(1, 2, 4), torch.zeros(1, 2, dtype=torch.bool))


def test_hidden_frames_come_out_as_the_mean(make_batch: Callable) -> None:
    frames, padding_mask = make_batch(LENGTHS)
    span_mask = torch.zeros_like(padding_mask)
    span_mask[0, 3:7] = True
    module = FeatureStandardizer(10)
    output = module(frames, padding_mask, span_mask)
    assert (output[0, 3:7] == 0).all()
    assert torch.equal(output[~span_mask], module(frames, padding_mask)[~span_mask])
    with pytest.raises(ValueError, match="span_mask: found"):
        module(frames, padding_mask, span_mask.float())


@pytest.mark.parametrize("size", [0, -1])
def test_no_features_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"input_size: found {size}, must be 1 or more"):
        FeatureStandardizer(size)
