# SPDX-License-Identifier: Apache-2.0
"""Which weights train, and at what rate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from voxadapt.adapters import FeatureStandardizer
from voxadapt.backbones import load_backbone, split_backbone
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.layer_mix import LayerMix
from voxadapt.pooling import build_pooler
from voxadapt.recipes.finetuning.epoch_choice import FitState
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.optimizer import build_optimizer
from voxadapt.recipes.finetuning.options import FinetuneOptimizerOptions, tuning_of
from voxadapt.recipes.finetuning.step import train_step

Make = Callable[..., Any]


def test_learning_rates_and_weight_decay_by_group(
    data: LabelledFrames, make_model: Make, make_options: Make, accelerator: Accelerator
) -> None:
    settings = FinetuneOptimizerOptions(
        learning_rate=0.01,
        adapter_factor=0.25,
        pooler_factor=0.5,
        linear_factor=3.0,
        weight_decay=0.3,
    )
    factors = {"adapter": 0.25, "pooler": 0.5, "linear": 3.0}
    options, model = make_options(optimizer=settings), make_model()
    optimizer = build_optimizer(model, options)
    owner = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            seen.append(owner[id(parameter)])
            assert group["factor"] == factors[seen[-1].split(".")[0]]
            assert group["weight_decay"] == (0.3 if parameter.dim() > 1 else 0.0)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert sorted(seen) == sorted(trained)

    train_step(model, optimizer, data.splits.train, data, options, 0, FitState(), 0.5, accelerator)
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.01 * 0.5 * group["factor"])
    assert build_optimizer(make_model(adapter=False), options).param_groups[0]["factor"] == 0.5


@pytest.mark.parametrize(
    ("tuning", "set_to", "expected"),
    [
        ({"lora": "r=2"}, None, 0.5),
        ({"lora": "r=2"}, 0.3, 0.3),
        ({"unfreeze_top": 1}, None, 0.02),
        ({"unfreeze_top": 1}, 0.0, 0.0),
    ],
)
def test_the_encoder_and_the_sum_over_layers_have_learning_rates_of_their_own(
    make_options: Make,
    tuning: dict[str, Any],
    set_to: float | None,
    expected: float,
    hubert_folder: Path,
) -> None:
    settings = FinetuneOptimizerOptions(encoder_factor=set_to, layer_factor=7.0)
    options = make_options(backbone=str(hubert_folder), optimizer=settings, **tuning)
    wanted = tuning_of(options)
    assert wanted is not None
    _, tuned_layers = split_backbone(load_backbone(str(hubert_folder)), wanted)
    model = FrameClassifier(
        FeatureStandardizer(8),
        build_pooler("sap", 8),
        3,
        tuned_layers=tuned_layers,
        layer_mix=LayerMix(2, 8),
    )
    owner = {id(parameter): name for name, parameter in model.named_parameters()}
    factors = {"tuned_layers": expected, "layer_mix": 7.0, "pooler": 1.0, "linear": 1.0}
    groups = build_optimizer(model, options).param_groups
    seen = {owner[id(p)]: group["factor"] for group in groups for p in group["params"]}
    assert seen == {
        name: factors[name.partition(".")[0]]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    assert sum(name.startswith("tuned_layers") for name in seen) == (8 if "lora" in tuning else 16)
