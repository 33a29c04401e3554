# SPDX-License-Identifier: Apache-2.0
"""One optimiser step: its loss, its gradients, and what does not change it."""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.adapters import WAPTransformer
from voxadapt.outputs import ValueOutputs
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.finetuning import step as finetune_step
from voxadapt.recipes.finetuning.epoch_choice import FitState
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.finetuning.loss import concordance
from voxadapt.recipes.finetuning.options import FinetuneOptimizerOptions, SpecAugmentOptions
from voxadapt.recipes.finetuning.step import draw_passes
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.frame_batches import load_batch, load_shares

Make = Callable[..., Any]


def test_the_loss_is_the_mean_cross_entropy_of_the_clips(
    data: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    """Against a written-out reference with label smoothing, one clip at a time."""
    model, smoothing = make_model(), 0.2
    reference = copy.deepcopy(model).eval()
    losses = []
    for index in data.splits.train:
        batch = load_batch(data.store, [index], device=torch.device("cpu"))
        log_probabilities = reference(batch.frames, batch.padding_mask)[0].log_softmax(dim=-1)
        right = -log_probabilities[data.targets[index, 0]]
        losses.append((1 - smoothing) * right - smoothing * log_probabilities.mean())
    options = make_options(optimizer=FinetuneOptimizerOptions(label_smoothing=smoothing))
    loss = take_step(model, data, options)
    assert loss == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_a_step_moves_every_weight_that_trains(
    data: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    take_step(model, data, make_options())
    for name, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == parameter.requires_grad, name
    assert torch.equal(model.adapter.standardize.mean, before["adapter.standardize.mean"])


def test_passes_do_not_change_a_step(
    data: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    models = [make_model(), make_model()]
    losses = [
        take_step(model, data, make_options(passes=passes))
        for model, passes in zip(models, (1, 3), strict=True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_not_finite_stops_before_the_weights(
    data: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    model.linear.weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(UsageError, match=r"the gradient is not finite at step 0 .*clip-0") as told:
        take_step(model, data, make_options())
    assert "--optimizer.learning_rate" in str(told.value)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("world", [1, 2, 3])
def test_copies_of_a_clip_in_one_step_have_draws_of_their_own(
    data: LabelledFrames, make_options: Make, world: int
) -> None:
    """With mixup, so that what is hidden and what is mixed in both differ; whatever the world."""
    rows = [3, 1, 3, 0, 3, 3, 1]
    options = make_options(
        sampling="balanced",
        mixup=1.0,
        passes=2,
        spec_augment=SpecAugmentOptions(time_share=0.9, feature_masks=0),
    )

    def draw(step: int, rank: int, world: int) -> list[tuple[int, Any, Any]]:
        one: Any = SimpleNamespace(
            process_index=rank, num_processes=world, device=torch.device("cpu")
        )
        passes = draw_passes(rows, data, options, 0, FitState(step=step), one, 6)
        found = []
        for part in passes:
            assert part.mixture is not None
            for row, index in enumerate(part.batch.indices):
                length = int(data.store.lengths[index])
                hidden = tuple(part.masks[0][row, :length].tolist())
                share = float(part.mixture.shares[row])
                found.append((index, hidden, (part.mixture.partners[row], share)))
        return found

    drawn = [entry for rank in range(world) for entry in draw(0, rank, world)]
    assert sorted(drawn) == sorted(draw(0, 0, 1))
    assert sorted(index for index, _, _ in drawn) == sorted(rows)
    copies = [entry for entry in drawn if entry[0] == 3]
    assert len({hidden for _, hidden, _ in copies}) > 1
    assert len({mixed for _, _, mixed in copies}) == 4
    later = [mixed for index, _, mixed in draw(1, 0, 1) if index == 3]
    assert not set(later) & {mixed for _, _, mixed in copies}


def test_gradients_are_clipped(
    data: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    model = make_model()
    options = make_options(optimizer=FinetuneOptimizerOptions(clip_norm=1e-3))
    take_step(model, data, options)
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.stack([grad.norm() for grad in grads]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_dropout_is_a_function_of_seed_and_step(
    data: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    losses = []
    for number, drawn in ((0, 1), (0, 2), (1, 1)):
        model = make_model(dropout=0.5)
        torch.manual_seed(drawn)  # whatever was drawn before
        losses.append(take_step(model, data, make_options(), state=FitState(step=number)))
    assert losses[0] == losses[1] != losses[2]


def test_frames_that_are_not_finite_stop_before_the_weights_are_touched(
    data: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    data.store.frames(1)[0, 0] = np.inf
    with pytest.raises(
        UsageError, match=r"the loss is not finite at step 0 .* clips \['clip-0', 'clip-1'"
    ):
        take_step(model, data, make_options())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_hidden_features_stand_at_the_mean_and_hidden_time_is_left_to_the_adapter(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    take_step: Make,
    monkeypatch: pytest.MonkeyPatch,
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
    take_step(model, data, make_options(spec_augment=augment))
    ((frames, span_mask),) = seen
    assert frames.eq(7).all(dim=1).any()
    assert not frames.eq(7).all(dim=1).all(dim=1).any()
    assert span_mask.any()


@pytest.fixture
def values(make_data: Make) -> LabelledFrames:
    """Eight toy clips with two dimensions."""
    targets = np.random.default_rng(0).standard_normal((8, 2))
    targets[:, 0] += 3.0
    return make_data(ValueOutputs(["arousal", "valence"], [3.0, 0.0], [1.0, 1.0]), targets)


def test_the_loss_of_values_is_one_minus_their_concordance_over_all_clips(
    values: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    model, options = make_model(outputs=2), make_options(task="regression", label="arousal,valence")
    batch = load_batch(values.store, values.splits.train, device=torch.device("cpu"))
    with torch.no_grad():
        outputs = copy.deepcopy(model).eval()(batch.frames, batch.padding_mask)
    targets = torch.from_numpy(values.targets[:5]) - torch.tensor([3.0, 0.0])
    expected = float((1 - concordance(outputs.double(), targets)).mean())
    assert take_step(model, values, options) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_passes_do_not_change_the_gradients_of_values(
    dropout: float, values: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    """A CCC over each pass would give others; with dropout, both runs through must draw alike."""
    regression = {"task": "regression", "label": "arousal,valence"}
    if dropout:
        # Passes draw dropout for other shapes, so they differ from one another, and not from the
        # sum of slopes that autograd finds through all of them at once.
        model = make_model(dropout=dropout, outputs=2)
        twin = copy.deepcopy(model).train()
        take_step(model, values, make_options(passes=2, **regression))
        torch.manual_seed(stable_seed(0, "dropout", 0, 0))
        parts = load_shares(
            values.store, [0, 1, 2, 3, 4], rank=0, world=1, passes=2, device=torch.device("cpu")
        )
        outputs = torch.cat([twin(part.frames, part.padding_mask) for part in parts]).double()
        order = [index for part in parts for index in part.indices]
        targets = torch.from_numpy(values.targets[order]) - torch.tensor([3.0, 0.0])
        (1 - concordance(outputs, targets)).mean().backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        models = [model, twin]
    else:
        models = [make_model(outputs=2), make_model(outputs=2)]
        losses = [
            take_step(model, values, make_options(passes=passes, **regression))
            for model, passes in zip(models, (1, 3), strict=True)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
    assert any(one.grad is not None and one.grad.any() for one in models[0].parameters())


def test_mixed_frames_and_labels_go_into_the_step(
    data: LabelledFrames,
    make_model: Make,
    make_options: Make,
    take_step: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    mix = finetune_step.mix_batch

    def spy(*arguments: Any, **named: Any) -> Any:
        drawn.append((named, mix(*arguments, **named)))
        return drawn[-1][1]

    monkeypatch.setattr(finetune_step, "mix_batch", spy)
    plain = take_step(make_model(), data, make_options())
    assert not drawn
    losses = [
        take_step(make_model(), data, make_options(mixup=0.4, passes=passes)) for passes in (1, 3)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(plain, rel=1e-3)
    # Both labels of each clip, in their shares, on the mixed frames.
    expected = []
    for index in data.splits.train:
        batch = load_batch(data.store, [index], device=torch.device("cpu"))
        ids, train = [data.clips[index].id], data.splits.train
        mixture = mix(batch, data.store, ids, train, alpha=0.4, seed=0, turns=[0])
        logits = make_model().eval()(batch.frames, batch.padding_mask)
        own, other = (
            torch.nn.functional.cross_entropy(
                logits, torch.from_numpy(data.targets[clip]), label_smoothing=0.1
            )
            for clip in (index, mixture.partners[0])
        )
        share = float(mixture.shares[0])
        expected.append(float((share * own + (1 - share) * other).detach()))
    assert losses[0] == pytest.approx(np.mean(expected), rel=1e-4)
    assert {turn for named, _ in drawn for turn in named["turns"]} == {0}
    state = FitState(epoch=2, step=9)
    take_step(make_model(), data, make_options(mixup=0.4), state=state)
    assert set(drawn[-1][0]["turns"]) == {2}


def test_a_clip_that_comes_twice_counts_twice(
    data: LabelledFrames, make_model: Make, make_options: Make, take_step: Make
) -> None:
    once = [take_step(make_model(), data, make_options(), rows=[row]) for row in (0, 1)]
    both = take_step(make_model(), data, make_options(), rows=[0, 0, 0, 1])
    assert both == pytest.approx((3 * once[0] + once[1]) / 4, rel=1e-5)
