# SPDX-License-Identifier: Apache-2.0
"""The running average of weights: of what trains, beside what is shared."""

from pathlib import Path

import pytest
import torch

from voxadapt.adapters import FeatureStandardizer
from voxadapt.backbones import Lora, load_backbone, split_backbone
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.pooling import build_pooler
from voxadapt.recipes.finetuning.weight_average import average_decay, make_average, update_average


@pytest.fixture
def model(hubert_folder: Path) -> FrameClassifier:
    whole = load_backbone(str(hubert_folder))
    torch.manual_seed(0)
    _, tuned_layers = split_backbone(whole, Lora(2, 4.0))
    return FrameClassifier(
        FeatureStandardizer(16), build_pooler("sap", 16), 3, tuned_layers=tuned_layers
    )


def test_it_shares_the_frozen_weights_and_copies_all_others(model: FrameClassifier) -> None:
    averaged = make_average(model)
    frozen = model.frozen_tensors()
    assert len(frozen) > 20
    for name, tensor in averaged.state_dict(keep_vars=True).items():
        own = model.state_dict(keep_vars=True)[name]
        assert (tensor is own) == (name in frozen), name
        assert torch.equal(tensor, own)
        assert not tensor.requires_grad
    assert not averaged.training
    assert any(parameter.requires_grad for parameter in model.parameters())


def test_it_moves_towards_what_trains_and_leaves_the_rest_alone(model: FrameClassifier) -> None:
    averaged = make_average(model)
    before = {name: tensor.clone() for name, tensor in averaged.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 1.0
    versions = {name: tensor._version for name, tensor in model.frozen_tensors().items()}
    update_average(averaged, model, 0.75)
    # Not even written with their own values: that would take as long as all the rest.
    assert versions == {name: tensor._version for name, tensor in model.frozen_tensors().items()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    for name, tensor in averaged.state_dict().items():
        if name in trained:
            torch.testing.assert_close(tensor, before[name] + 0.25)
        else:
            assert torch.equal(tensor, before[name]), name


def test_it_forgets_the_start_and_can_be_off() -> None:
    assert average_decay(1, 0.98) == pytest.approx(0.1)
    assert average_decay(10_000, 0.98) == 0.98
    decays = [average_decay(number, 0.98) for number in range(1, 600)]
    assert decays == sorted(decays)
    assert average_decay(50, 0.0) == 0.0
