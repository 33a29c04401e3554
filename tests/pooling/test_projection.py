# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from voxadapt.pooling import MeanPooling, StatisticalAttentivePooling
from voxadapt.pooling.projection import project_or_not


@pytest.mark.parametrize("pooler_class", [MeanPooling, StatisticalAttentivePooling])
def test_the_projection_is_applied_to_the_pooled_vector(pooler_class: type) -> None:
    torch.manual_seed(0)
    plain = pooler_class(4)
    projected = pooler_class(4, output_size=3)
    projected.load_state_dict(plain.state_dict(), strict=False)
    frames, padding_mask = torch.randn(2, 7, 4), torch.zeros(2, 7, dtype=torch.bool)
    vector, weights = plain.with_weights(frames, padding_mask)
    found, found_weights = projected.with_weights(frames, padding_mask)
    expected = vector @ projected.projection.weight.T + projected.projection.bias
    torch.testing.assert_close(found, expected)
    assert torch.equal(found_weights, weights)


def test_without_one_there_is_no_tensor_more() -> None:
    assert not list(project_or_not(4, None).state_dict())
    assert all(not name.startswith("projection") for name in MeanPooling(4).state_dict())
    # So that models that were saved before there was one load, and start as they did.
    torch.manual_seed(0)
    plain = StatisticalAttentivePooling(4).state_dict()
    torch.manual_seed(0)
    projected = StatisticalAttentivePooling(4, output_size=3).state_dict()
    assert all(torch.equal(projected[name], tensor) for name, tensor in plain.items())


def test_a_size_out_of_range_is_refused() -> None:
    assert isinstance(project_or_not(4, 1), nn.Linear)
    for size in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="output_size must be a whole number"):
            project_or_not(4, size)  # type: ignore[arg-type]
