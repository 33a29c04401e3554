# SPDX-License-Identifier: Apache-2.0
"""How a classifier is trained, and which epoch is kept."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from voxadapt.adapters import FeatureStandardizer, WAPTransformer, WAPTransformerConfig
from voxadapt.backbones import load_backbone, split_backbone
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.layer_mix import LayerMix
from voxadapt.pooling import build_pooler
from voxadapt.recipes import fit_classifier
from voxadapt.recipes.checkpoints import load_checkpoint
from voxadapt.recipes.command_line import UsageError
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.splits import Splits
from voxadapt.recipes.finetune_options import (
    FinetuneOptimizerOptions,
    FinetuneOptions,
    HeadOptions,
    SpecAugmentOptions,
    tuning_of,
)
from voxadapt.recipes.fit_classifier import (
    FitState,
    LabelledFrames,
    build_optimizer,
    fit,
    keep_best,
    standard_error,
    train_step,
    validate,
)
from voxadapt.recipes.frame_batches import load_batch

LENGTHS = [6, 9, 4, 12, 7, 5, 8, 10]
NO_AUGMENT = SpecAugmentOptions(time_masks=0, feature_masks=0)


@pytest.fixture
def data(make_store: Callable[..., Any]) -> LabelledFrames:
    clips = [Clip(f"c{number}", Path(f"{number}.wav")) for number in range(8)]
    splits = Splits(train=[0, 1, 2, 3, 4], valid=[5, 6], test=[7], protocol="split-column")
    targets = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    return LabelledFrames(clips, make_store(LENGTHS), ["a", "b", "c"], targets, splits, 50.0, 6)


def make_model(*, dropout: float = 0.0, adapter: bool = True) -> FrameClassifier:
    torch.manual_seed(0)
    module: WAPTransformer | FeatureStandardizer = FeatureStandardizer(6)
    if adapter:
        sizes = {"width": 8, "layers": 2, "heads": 2, "feedforward": 16, "position_groups": 2}
        module = WAPTransformer(WAPTransformerConfig(input_size=6, dropout=dropout, **sizes))
        module.mask_embedding.requires_grad_(False)
    return FrameClassifier(module, build_pooler("sap", module.output_size), 3, dropout)


def make_options(**changes: Any) -> FinetuneOptions:
    options: dict[str, Any] = {"spec_augment": NO_AUGMENT, "head": HeadOptions(dropout=0.0)}
    return FinetuneOptions(**{**options, "batch_seconds": 0.5, "epochs": 3, **changes})


def step(
    model: FrameClassifier,
    data: LabelledFrames,
    options: FinetuneOptions,
    accelerator: Accelerator,
    *,
    share: float = 0.1,
    state: FitState | None = None,
) -> float:
    optimizer = build_optimizer(model, options)
    return train_step(
        model.train(),
        optimizer,
        data.splits.train,
        data,
        options,
        0,
        state or FitState(),
        share,
        accelerator,
    )


def test_the_loss_is_the_mean_cross_entropy_of_the_clips(
    data: LabelledFrames, accelerator: Accelerator
) -> None:
    """Against a written-out reference with label smoothing, one clip at a time."""
    model, smoothing = make_model(), 0.2
    reference = copy.deepcopy(model).eval()
    losses = []
    for index in data.splits.train:
        batch = load_batch(data.store, [index], device=torch.device("cpu"))
        log_probabilities = reference(batch.frames, batch.padding_mask)[0].log_softmax(dim=-1)
        right = -log_probabilities[data.targets[index]]
        losses.append((1 - smoothing) * right - smoothing * log_probabilities.mean())
    options = make_options(optimizer=FinetuneOptimizerOptions(label_smoothing=smoothing))
    loss = step(model, data, options, accelerator)
    assert loss == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_a_step_moves_every_weight_that_trains(
    data: LabelledFrames, accelerator: Accelerator
) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    step(model, data, make_options(), accelerator)
    for name, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == parameter.requires_grad, name
    assert torch.equal(model.adapter.standardize.mean, before["adapter.standardize.mean"])


def test_passes_do_not_change_a_step(data: LabelledFrames, accelerator: Accelerator) -> None:
    models = [make_model(), make_model()]
    losses = [
        step(model, data, make_options(passes=passes), accelerator)
        for model, passes in zip(models, (1, 3), strict=True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_learning_rates_and_weight_decay_by_group(
    data: LabelledFrames, accelerator: Accelerator
) -> None:
    settings = FinetuneOptimizerOptions(
        learning_rate=0.01, adapter_factor=0.25, linear_factor=3.0, weight_decay=0.3
    )
    factors = {"adapter": 0.25, "pooler": 1.0, "linear": 3.0}
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
    assert build_optimizer(make_model(adapter=False), options).param_groups[0]["factor"] == 1.0


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
    tuning: dict[str, Any], set_to: float | None, expected: float, hubert_folder: Path
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
    factors = {"tuned_layers": expected, "layer_mix": 7.0, "pooler": 1.0, "linear": 5.0}
    groups = build_optimizer(model, options).param_groups
    seen = {owner[id(p)]: group["factor"] for group in groups for p in group["params"]}
    assert seen == {
        name: factors[name.partition(".")[0]]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    assert sum(name.startswith("tuned_layers") for name in seen) == (8 if "lora" in tuning else 16)


def test_gradients_are_clipped(data: LabelledFrames, accelerator: Accelerator) -> None:
    model = make_model()
    options = make_options(optimizer=FinetuneOptimizerOptions(clip_norm=1e-3))
    step(model, data, options, accelerator)
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.stack([grad.norm() for grad in grads]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_dropout_is_a_function_of_seed_and_step(
    data: LabelledFrames, accelerator: Accelerator
) -> None:
    losses = []
    for number, drawn in ((0, 1), (0, 2), (1, 1)):
        model = make_model(dropout=0.5)
        torch.manual_seed(drawn)  # whatever was drawn before
        losses.append(step(model, data, make_options(), accelerator, state=FitState(step=number)))
    assert losses[0] == losses[1] != losses[2]


def test_frames_that_are_not_finite_stop_before_the_weights_are_touched(
    data: LabelledFrames, accelerator: Accelerator
) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    data.store.frames(1)[0, 0] = np.inf
    with pytest.raises(UsageError, match=r"the loss is not finite at step 0 .* clips \['c0', 'c1'"):
        step(model, data, make_options(), accelerator)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_hidden_features_stand_at_the_mean_and_hidden_time_is_left_to_the_adapter(
    data: LabelledFrames, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = WAPTransformer.forward

    def spy(self: Any, frames: Any, padding_mask: Any, span_mask: Any = None) -> Any:
        seen.append((frames, span_mask))
        return forward(self, frames, padding_mask, span_mask)

    monkeypatch.setattr(WAPTransformer, "forward", spy)
    model = make_model()
    model.adapter.standardize.set_statistics(torch.full((6,), 7.0), torch.ones(6))
    augment = SpecAugmentOptions(time_share=0.5, feature_masks=1, feature_share=0.5)
    step(model, data, make_options(spec_augment=augment), accelerator)
    ((frames, span_mask),) = seen
    assert frames.eq(7).all(dim=1).any()
    assert not frames.eq(7).all(dim=1).all(dim=1).any()
    assert span_mask.any()


def test_fit_leaves_the_chosen_weights_in_place_and_validates_every_epoch(
    data: LabelledFrames, accelerator: Accelerator, tmp_path: Path
) -> None:
    model = make_model(dropout=0.2)
    state = fit(model, data, make_options(), 0, accelerator, tmp_path)
    assert state is not None
    assert (state.epoch, len(state.history)) == (3, 3)
    assert [entry["epoch"] for entry in state.history] == [0, 1, 2]
    rates = [entry["learning_rate"] for entry in state.history]
    assert make_options().optimizer.learning_rate >= rates[0] > rates[1] > rates[2] > 0
    assert state.step == 3 * 2  # 38 frames in batches of at most 25 padded ones
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state.best_weights[name])
    assert validate(model, data, [5, 6], accelerator, 25) == {
        name: value
        for name, value in state.history[state.best_epoch].items()
        if name.startswith("valid")
    }
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    assert saved.keys() == {"model", "averaged", "optimizer", "state"}
    assert saved["state"]["epoch"] == 3


def test_fit_stops_where_it_is_told_to_and_goes_on(
    data: LabelledFrames, accelerator: Accelerator, tmp_path: Path
) -> None:
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole = fit(make_model(dropout=0.2), data, make_options(), 0, accelerator, tmp_path / "whole")
    for stop in (1, 2):
        options = make_options(max_epochs=stop, resume=True)
        model = make_model(dropout=0.2)
        assert fit(model, data, options, 0, accelerator, tmp_path / "parts") is None
    resumed = make_model(dropout=0.2)
    torch.nn.init.normal_(resumed.linear.weight)  # the checkpoint is what counts
    parts = fit(resumed, data, make_options(resume=True), 0, accelerator, tmp_path / "parts")
    assert whole is not None
    assert parts is not None
    assert whole.history == parts.history
    for name, tensor in whole.best_weights.items():
        assert torch.equal(tensor, parts.best_weights[name])


def test_without_resume_a_checkpoint_is_not_read(
    data: LabelledFrames, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_classifier, "load_checkpoint", None)
    assert fit(make_model(), data, make_options(epochs=1), 0, accelerator, tmp_path) is not None


def test_without_averaging_the_last_weights_are_kept(
    data: LabelledFrames, accelerator: Accelerator, tmp_path: Path
) -> None:
    optimizer = FinetuneOptimizerOptions(averaging=0.0)
    fit(make_model(), data, make_options(optimizer=optimizer), 0, accelerator, tmp_path)
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    for name, tensor in saved["model"].items():
        torch.testing.assert_close(saved["averaged"][name], tensor)


def keep(scores: list[tuple[float, float]]) -> int:
    """The epoch kept after these validation UAs and their standard errors."""
    state = FitState()
    for epoch, (accuracy, error) in enumerate(scores):
        state.epoch = epoch
        model = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(model.weight, epoch)
        keep_best(state, {"valid_ua": accuracy, "valid_ua_error": error}, model.state_dict())
    assert state.best_weights["weight"].item() == state.best_epoch
    return state.best_epoch


def test_the_epoch_kept_is_the_latest_within_a_standard_error_of_the_best() -> None:
    assert keep([(0.5, 0.05)]) == 0
    assert keep([(0.5, 0.05), (0.8, 0.05), (0.6, 0.05)]) == 1
    assert keep([(0.5, 0.05), (0.8, 0.05), (0.76, 0.05), (0.7, 0.05)]) == 2
    assert keep([(0.8, 0.05), (0.8, 0.05)]) == 1
    assert keep([(0.8, 0.05), (0.76, 0.05), (0.72, 0.05)]) == 1  # not below the best by steps


def test_the_kept_weights_are_a_copy() -> None:
    model, state = torch.nn.Linear(1, 1), FitState()
    keep_best(state, {"valid_ua": 0.5, "valid_ua_error": 0.1}, model.state_dict())
    before = model.weight.item()
    torch.nn.init.constant_(model.weight, 9.0)
    assert state.best_weights["weight"].item() == before


def test_standard_error_of_the_mean_recall() -> None:
    assert standard_error(np.array([[8, 2], [5, 5]])) == pytest.approx(
        np.sqrt(0.8 * 0.2 / 10 + 0.5 * 0.5 / 10) / 2
    )
    assert standard_error(np.array([[4, 0], [0, 4]])) == 0
    assert standard_error(np.array([[5, 5], [0, 0]])) == pytest.approx(np.sqrt(0.25 / 10))


def test_validation_is_the_mean_over_its_clips(
    data: LabelledFrames, accelerator: Accelerator
) -> None:
    model = make_model()
    found = validate(model, data, [5, 6], accelerator, 1000)
    probabilities = fit_classifier.classify_clips(
        model, data.store, [5, 6], accelerator, budget=1000
    )
    picked = probabilities[[0, 1], data.targets[[5, 6]]]
    assert found["valid_loss"] == pytest.approx(-np.log(picked).mean())
    assert found["valid_wa"] == (probabilities.argmax(axis=1) == data.targets[[5, 6]]).mean()
