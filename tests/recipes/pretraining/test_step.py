# SPDX-License-Identifier: Apache-2.0
"""One step of pretraining: what it learns from, and that passes and fillers change nothing."""

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.adapters import CollapseError, FrameAugmentation, ObjectivesConfig
from voxadapt.adapters.attributes import perplexity
from voxadapt.adapters.schedules import cosine, one_cycle
from voxadapt.backbones import load_backbone
from voxadapt.recipes.pretraining import step as pretraining_step
from voxadapt.recipes.pretraining import step_sums, student_view
from voxadapt.recipes.pretraining.state import NotFiniteError, PretrainingRun
from voxadapt.recipes.pretraining.step import healthiest_lately, teacher_temperature, train_step
from voxadapt.recipes.pretraining.step_sums import COUNTED_OVER, count_globally, weighted_loss
from voxadapt.recipes.pretraining.student_view import (
    augment_student,
    draw_feature_masks,
    draw_masks,
)
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.frame_batches import load_batch, load_shares
from voxadapt.recipes.running.prepare import frequency_bands

Make = Callable[..., PretrainingRun]
CPU = torch.device("cpu")
CLIPS = [0, 1, 2, 3, 4]
OFF = FrameAugmentation(noise=0.0)  # the toy frames are no bands


@pytest.fixture
def make_run(make_run: Make) -> Make:
    """As ``make_run``, with a codebook whose attributes all occur."""

    def make(*arguments: Any, **options: Any) -> PretrainingRun:
        run = make_run(*arguments, **options)
        generator = torch.Generator().manual_seed(0)
        run.pretrainer.input_codebook.centroids.normal_(generator=generator)
        return run

    return make


def load(run: PretrainingRun, indices: list[int], **options: Any) -> Any:
    return load_batch(run.corpus.store, indices, device=CPU, **options)


def test_masks_depend_on_seed_epoch_and_clip_not_on_the_batch(make_run: Make) -> None:
    run = make_run()
    together = draw_masks(run, load(run, CLIPS))
    assert together.shape == (5, 14)
    for row, index in enumerate(CLIPS):
        length = int(run.corpus.store.lengths[index])
        alone = draw_masks(run, load(run, [index]))[0]
        assert torch.equal(together[row, :length], alone)
        assert not together[row, length:].any()
        assert 0 < alone.sum() < length
    run.progress.epoch = 1
    assert not torch.equal(draw_masks(run, load(run, CLIPS)), together)
    alike = make_run([40, 40])
    masks = draw_masks(alike, load(alike, [0, 1]))
    assert not torch.equal(masks[0], masks[1])
    other = make_run(seed=1)
    assert not torch.equal(draw_masks(other, load(other, CLIPS)), together)


def test_hidden_features_depend_on_seed_epoch_and_clip_not_on_the_batch(make_run: Make) -> None:
    options = {"masking.feature_masks": 1, "masking.feature_share": 1.0}
    run = make_run(**options)
    together = draw_feature_masks(run, load(run, CLIPS))
    assert together.shape == (5, 6)
    for row, index in enumerate(CLIPS):
        assert torch.equal(together[row], draw_feature_masks(run, load(run, [index]))[0])
    assert len({tuple(row) for row in together.tolist()}) > 1
    run.progress.epoch = 1
    assert not torch.equal(draw_feature_masks(run, load(run, CLIPS)), together)
    other = make_run(seed=1, **options)
    assert not torch.equal(draw_feature_masks(other, load(other, CLIPS)), together)


def test_hidden_features_are_hidden_from_the_student_alone(make_run: Make) -> None:
    seen = {}
    options = {"masking.feature_masks": 3, "masking.feature_share": 1.0}
    run = make_run(frame_augment=OFF, **options)
    for name in ("student", "teacher"):
        adapter = getattr(run.pretrainer, name).adapter
        adapter.register_forward_pre_hook(
            lambda _, arguments, name=name: seen.update({name: arguments[0].clone()})
        )
    train_step(run, CLIPS, 0.0)
    assert not torch.equal(seen["student"], seen["teacher"])
    changed = seen["student"] != seen["teacher"]
    assert seen["student"][changed].eq(0).all()  # the corpus mean of this adapter


def test_augmentation_depends_on_seed_epoch_and_clip_not_on_the_batch(make_run: Make) -> None:
    run = make_run()
    part = load(run, CLIPS)
    together = augment_student(run, part)
    assert torch.equal(together.frames, part.frames)
    for row, index in enumerate(CLIPS):
        length = int(run.corpus.store.lengths[index])
        alone = augment_student(run, load(run, [index])).student_frames
        assert torch.equal(together.student_frames[row, :length], alone[0])
        assert not together.student_frames[row, length:].any()
        assert not torch.equal(alone[0], part.frames[row, :length])
    run.progress.epoch = 1
    assert not torch.equal(augment_student(run, part).student_frames, together.student_frames)
    other = make_run(seed=1)
    assert not torch.equal(augment_student(other, part).student_frames, together.student_frames)


def test_augmentation_is_in_standard_deviations_around_the_mean(make_run: Make) -> None:
    run = make_run(frame_augment=FrameAugmentation(noise=0.01))
    standardize = run.pretrainer.student.adapter.standardize
    standardize.set_statistics(
        torch.full((6,), 7.0), torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 100.0])
    )
    part = load(run, CLIPS)
    changed = (augment_student(run, part).student_frames - part.frames)[~part.padding_mask]
    assert changed[:, :5].abs().max() < 0.05
    assert 0.1 < changed[:, 5].abs().max() < 5


def test_augmentation_comes_on_top_of_that_of_the_audio(make_run: Make) -> None:
    run = make_run(frame_augment=FrameAugmentation(noise=0.001))
    part = load(run, CLIPS)
    louder = dataclasses.replace(part, student_frames=part.frames + 3)
    changed = (augment_student(run, louder).student_frames - part.frames)[~part.padding_mask]
    torch.testing.assert_close(changed, torch.full_like(changed, 3.0), atol=0.05, rtol=0)


def test_the_filterbank_has_bands_and_a_clip_of_them_one_level(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert frequency_bands(load_backbone("fbank")) == 80
    run = make_run(frame_augment=FrameAugmentation(channel=0.0, warp=0.0, noise=0.0))
    assert frequency_bands(run.backbone) is None
    monkeypatch.setattr(student_view, "frequency_bands", lambda backbone: 3)
    part = load(run, CLIPS)
    changed = augment_student(run, part).student_frames - part.frames
    for row, length in enumerate((~part.padding_mask).sum(dim=1).tolist()):
        offset = changed[row, :length]
        torch.testing.assert_close(offset, offset[:1, :1].expand_as(offset), atol=1e-4, rtol=0)
        assert offset[0, 0].abs() > 1e-4


def test_without_augmentation_student_and_teacher_share_their_frames(make_run: Make) -> None:
    """Frames of features that are no bands have no level, channel or warp to change."""
    run = make_run(frame_augment=FrameAugmentation(noise=0.0))
    part = load(run, CLIPS)
    assert augment_student(run, part) is part


def test_counts_leave_padding_and_fillers_out(make_run: Make) -> None:
    run = make_run()
    parts = [load(run, [0, 3]), load(run, [1], is_filler=True)]
    masks = [draw_masks(run, part) for part in parts]
    counts = count_globally(parts, masks, run.accelerator)
    assert counts["real"] == 14 + 5
    assert counts["hidden"] == masks[0].sum()
    assert counts["visible"] == 14 + 5 - masks[0].sum()
    assert counts["clips"] == 2
    none = count_globally(parts[1:], masks[1:], run.accelerator)
    assert none.pop("clips") == 0
    assert all(count == 1 for count in none.values())


def test_the_loss_is_a_weighted_sum_of_means(make_run: Make) -> None:
    run = make_run(**{"objectives.mask_prediction": 3.0})
    sums = {name: torch.tensor(number) for number, name in enumerate(COUNTED_OVER, start=1)}
    sizes = {"hidden": 2, "real": 4, "visible": 3, "clips": 8}
    counts = {name: torch.tensor(size) for name, size in sizes.items()}
    weights = run.options.objectives.weights()
    expected = sum(weights[name] * float(sums[name] / counts[COUNTED_OVER[name]]) for name in sums)
    loss = weighted_loss({k: v.float() for k, v in sums.items()}, counts, run.options.objectives)
    assert float(loss) == pytest.approx(expected)
    assert weights["mask_prediction"] == 3.0


def test_the_logged_losses_are_means_over_real_frames_alone(make_run: Make) -> None:
    """Against one clip at a time, added up by hand."""
    run = make_run()
    state = copy.deepcopy(run.pretrainer.state_dict())
    train_step(run, CLIPS, 0.0)
    logged = run.progress.log[-1]
    run.pretrainer.load_state_dict(state)
    sums, counts = dict.fromkeys(COUNTED_OVER, 0.0), Counter()
    for index in CLIPS:
        part = load(run, [index])
        mask = draw_masks(run, part)
        hidden = draw_feature_masks(run, part)
        seen = augment_student(run, part).student_frames
        assert not torch.equal(seen, part.frames)
        found = run.pretrainer(
            part.frames, part.padding_mask, mask, part.clip_weights, hidden, seen
        )
        for name, value in found.losses.items():
            sums[name] += value.item()
        counts["hidden"] += int(mask.sum())
        counts["visible"] += int((~mask & ~part.padding_mask).sum())
        counts["real"] += int((~part.padding_mask).sum())
        counts["clips"] += 1
    for name, kind in COUNTED_OVER.items():
        assert logged[name] == pytest.approx(sums[name] / counts[kind], rel=1e-4)
    weights = run.options.objectives.weights()
    total = sum(weights[name] * logged[name] for name in COUNTED_OVER)
    assert logged["loss"] == pytest.approx(total, rel=1e-5)
    assert logged["attribute_perplexity"] > 2
    assert logged["hidden_share"] == pytest.approx(counts["hidden"] / counts["real"])


@pytest.mark.parametrize("passes", [2, 3, 5])
def test_passes_change_nothing(passes: int, make_run: Make) -> None:
    one, several = make_run(passes=1), make_run(passes=passes)
    for run in (one, several):
        for step, share in enumerate((0.0, 0.3)):
            run.progress.step = step
            train_step(run, CLIPS, share)
    for entry, other in zip(one.progress.log, several.progress.log, strict=True):
        assert entry == pytest.approx(other, rel=1e-4, abs=1e-5)
    for name in ("frame_center", "utterance_center", "teacher.adapter.norm.weight"):
        tensors = [run.pretrainer.state_dict()[name] for run in (one, several)]
        torch.testing.assert_close(*tensors)


def test_teacher_and_centers_follow_the_student_after_its_step(make_run: Make) -> None:
    run = make_run(**{"optimizer.ema_start": 0.9, "optimizer.ema_end": 1.0})
    before = copy.deepcopy(run.pretrainer.state_dict())
    train_step(run, CLIPS, 0.25)
    after = run.pretrainer.state_dict()
    decay = cosine(0.25, 0.9, 1.0)
    for name, _ in run.pretrainer.teacher.named_parameters():
        student = after[f"student.{name}"]
        expected = decay * before[f"teacher.{name}"] + (1 - decay) * student
        torch.testing.assert_close(after[f"teacher.{name}"], expected)
    assert after["frame_center"].abs().sum() > 0
    assert after["utterance_center"].abs().sum() > 0
    entry = run.progress.log[-1]
    assert entry["teacher_decay"] == pytest.approx(decay)
    warmup = run.options.optimizer.warmup
    assert entry["learning_rate"] == pytest.approx(1e-3 * one_cycle(0.25, warmup=warmup))
    assert run.optimizer.param_groups[0]["lr"] == entry["learning_rate"]


def test_teacher_temperature_goes_to_its_end_on_a_line() -> None:
    constant = ObjectivesConfig(teacher_temperature=0.07)
    assert {teacher_temperature(constant, share) for share in (0.0, 0.1, 1.0)} == {0.07}
    rising = dataclasses.replace(constant, teacher_temperature_start=0.04, temperature_warmup=0.5)
    shares = (0.0, 0.25, 0.5, 1.0)
    found = [teacher_temperature(rising, share) for share in shares]
    assert found == pytest.approx([0.04, 0.055, 0.07, 0.07])
    at_once = dataclasses.replace(rising, temperature_warmup=0.0)
    assert teacher_temperature(at_once, 0.0) == 0.07


def test_the_teachers_temperature_is_that_of_the_share_of_the_run(make_run: Make) -> None:
    temperatures = {"teacher_temperature_start": 0.01, "teacher_temperature": 0.09}
    settings = {f"objectives.{name}": value for name, value in temperatures.items()}
    run = make_run(**settings, **{"objectives.temperature_warmup": 0.5})
    constant = make_run(**{"objectives.teacher_temperature": 0.05})
    for one in (run, constant):
        train_step(one, CLIPS, 0.25)
    entry = run.progress.log[-1]
    assert entry["teacher_temperature"] == pytest.approx(0.05)
    assert entry == pytest.approx(constant.progress.log[-1])
    sharp = make_run(**settings)
    train_step(sharp, CLIPS, 0.0)
    assert sharp.progress.log[-1]["target_entropy"] < entry["target_entropy"]


def test_only_the_student_gets_a_gradient_and_it_is_clipped(make_run: Make) -> None:
    run = make_run(**{"optimizer.clip_norm": 1e-3})
    train_step(run, CLIPS, 0.1)
    grads = {name: p.grad for name, p in run.pretrainer.named_parameters() if p.grad is not None}
    assert not [name for name in grads if name.startswith("teacher.")]
    missing = {
        name for name, p in run.pretrainer.named_parameters() if p.requires_grad and p.grad is None
    }
    assert missing == set()
    norm = torch.stack([grad.norm() for grad in grads.values()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)
    assert run.progress.log[-1]["gradient_norm"] > 1e-3


def test_dropout_is_a_function_of_the_step(make_run: Make) -> None:
    losses = []
    for step, seed in ((0, 1), (0, 2), (1, 1)):
        run = make_run(**{"adapter.dropout": 0.5})
        run.progress.step = step
        torch.manual_seed(seed)  # whatever was drawn before
        losses.append(train_step(run, CLIPS, 0.1))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("kept", list(COUNTED_OVER))
def test_each_objective_can_stand_alone(kept: str, make_run: Make) -> None:
    off = {f"objectives.{name}": 0.0 for name in COUNTED_OVER if name != kept}
    run = make_run(**off)
    train_step(run, CLIPS, 0.1)
    entry = run.progress.log[-1]
    assert {name for name in COUNTED_OVER if name in entry} == {kept}
    assert entry["loss"] > 0
    assert ("attribute_perplexity" in entry) == (kept == "local_attributes")
    assert ("prototype_perplexity" in entry) == (kept == "frame_distillation")
    trained = [p for p in run.pretrainer.parameters() if p.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)


@pytest.mark.parametrize("clips_to_judge", [len(CLIPS), len(CLIPS) + 1])
def test_use_of_utterance_prototypes_is_judged_by_enough_clips(
    clips_to_judge: int, make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_sums, "CLIPS_TO_JUDGE", clips_to_judge)
    run = make_run()
    batch = load(run, CLIPS)
    sums = run.pretrainer(
        batch.frames, batch.padding_mask, draw_masks(run, batch), batch.clip_weights
    )
    train_step(run, CLIPS, 0.0)
    entry = run.progress.log[-1]
    if clips_to_judge > len(CLIPS):
        assert "utterance_perplexity" not in entry
    else:
        expected = perplexity(sums.utterance_targets)
        assert entry["utterance_perplexity"] == pytest.approx(expected, rel=1e-4)
        assert expected != pytest.approx(perplexity(sums.frame_targets), rel=1e-3)


def test_only_every_so_many_steps_and_the_last_are_logged(make_run: Make) -> None:
    run = make_run(log_steps=3)
    for step in range(5):
        run.progress.step = step
        train_step(run, CLIPS, 0.0)
    assert [entry["step"] for entry in run.progress.log] == [0, 3]
    train_step(run, CLIPS, 0.0, last=True)
    assert [entry["step"] for entry in run.progress.log] == [0, 3, 4]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge the toy batches, which have some dozen frames."""
    monkeypatch.setattr(pretraining_step, "FRAMES_TO_JUDGE", 10)


def test_too_few_frames_are_not_judged(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(**{"collapse.effective_rank": 100.0})
    monkeypatch.setattr(pretraining_step, "FRAMES_TO_JUDGE", 48)
    train_step(run, CLIPS, 0.5)  # 47 frames
    assert "student_effective_rank" in run.progress.log[-1]
    monkeypatch.setattr(pretraining_step, "FRAMES_TO_JUDGE", 47)
    with pytest.raises(CollapseError):
        train_step(run, CLIPS, 0.5)


def entries(*steps: tuple[float, float, float]) -> list[dict[str, float]]:
    """A log: clips, frames and a monitor of each step."""
    return [
        {"step": step, "clips": clips, "frames": frames, "teacher_std": std}
        for step, (clips, frames, std) in enumerate(steps)
    ]


def test_a_step_of_few_clips_is_judged_with_those_before_it() -> None:
    """One long, mostly silent recording is alike all over, however healthy the run is."""
    many, few = (24, 3000, 0.8), (1, 3000, 0.01)
    assert healthiest_lately(entries(many, (24, 3000, 0.02)))["teacher_std"] == 0.02
    assert healthiest_lately(entries(many, few)) == {}
    assert healthiest_lately(entries(*[many] * 9, few))["teacher_std"] == 0.8
    # Where every step has few clips, ten of them that are ill are enough.
    assert healthiest_lately(entries(many, *[few] * 10))["teacher_std"] == 0.01
    # Steps with too few frames are none of the ten.
    assert healthiest_lately(entries(*[(3, 90, 0.8)] * 9, few)) == {}
    assert healthiest_lately([{"codebook_inertia": 1.0}, *entries(many, few)]) == {}


def test_a_step_without_a_single_readable_clip_stops_the_run(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    nothing = [load(run, CLIPS, is_filler=True)]
    monkeypatch.setattr(pretraining_step, "load_shares", lambda *_, **__: nothing)
    before = {name: value.clone() for name, value in run.pretrainer.state_dict().items()}
    with pytest.raises(UsageError, match=r"none of the clips of step 0, epoch 1, can be read"):
        train_step(run, CLIPS, 0.1)
    assert all(torch.equal(before[name], v) for name, v in run.pretrainer.state_dict().items())


@pytest.mark.usefixtures("judged")
def test_collapse_is_looked_for_once_the_run_is_under_way(make_run: Make) -> None:
    run = make_run(**{"collapse.effective_rank": 100.0})
    train_step(run, CLIPS, 0.0)
    with pytest.raises(CollapseError, match=r"at step 0, .* student_effective_rank is"):
        train_step(run, CLIPS, 0.5)


@pytest.mark.usefixtures("judged")
def test_collapse_of_a_long_run_is_looked_for_after_a_hundred_steps(make_run: Make) -> None:
    """2 % of a long run are many thousand steps, all of which would be lost."""
    run = make_run(**{"collapse.effective_rank": 100.0})
    run.progress.step = 99
    train_step(run, CLIPS, 0.001)
    run.progress.step = 100
    with pytest.raises(CollapseError, match="at step 100, "):
        train_step(run, CLIPS, 0.001)


def test_frames_that_are_not_finite_stop_before_the_weights_are_touched(make_run: Make) -> None:
    run = make_run()
    run.corpus.store.frames(2)[0, 0] = np.nan
    before = copy.deepcopy(run.pretrainer.state_dict())
    run.progress.step = 7
    # Of the batch, the clip at fault alone is named.
    found = r"the loss is not finite .*at step 7, epoch 1, on clips \['clip-2'\], whose own"
    with pytest.raises(NotFiniteError, match=f"{found}.* mend.* No checkpoint has been written"):
        train_step(run, CLIPS, 0.5)
    for name, tensor in run.pretrainer.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_loss_that_is_not_finite_on_good_frames_names_the_batch(make_run: Make) -> None:
    run = make_run()
    run.save()
    with torch.no_grad():
        run.pretrainer.predictor[0].weight[0, 0] = float("inf")
    found = r"not finite \(mask_prediction, loss\) .* on clips \['clip-1', 'clip-3'\]"
    with pytest.raises(NotFiniteError, match=f"{found}.*last good checkpoint, of step 0,.*lower"):
        train_step(run, [1, 3], 0.5)


def test_all_clips_of_a_large_batch_are_named(make_run: Make) -> None:
    run = make_run([4] * 30)
    assert run.name_clips(range(30)) == f"clips {[f'clip-{number}' for number in range(30)]}"


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_touched(
    value: float, make_run: Make
) -> None:
    """Though the loss is finite: clipped to its norm, the gradient would make all weights NaN."""
    run = make_run()
    before = copy.deepcopy(run.pretrainer.state_dict())
    run.pretrainer.predictor[0].weight.register_hook(lambda grad: grad.fill_(value))
    with pytest.raises(NotFiniteError, match=r"the gradient is not finite \(gradient_norm\)"):
        train_step(run, CLIPS, 0.5)
    for name, tensor in run.pretrainer.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert run.progress.log == []


def test_a_clip_is_hidden_by_the_length_that_its_frames_have(make_run: Make) -> None:
    """Planned lengths are those of the clips as they are; online, a speed changes them."""
    run = make_run([14, 9])
    part = load(run, [0, 1])
    faster = dataclasses.replace(part, padding_mask=torch.arange(14) >= torch.tensor([[11], [6]]))
    masks = draw_masks(run, faster)
    assert masks[:, :11].any(dim=1).all()
    assert not masks[faster.padding_mask].any()
    other = make_run([11, 6])
    assert torch.equal(masks[:, :11], draw_masks(other, load(other, [0, 1])))


def test_the_student_sees_the_frames_that_are_meant_for_it(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    run = make_run(frame_augment=OFF, **{"masking.feature_masks": 0})
    for name in ("student", "teacher"):
        adapter = getattr(run.pretrainer, name).adapter
        adapter.register_forward_pre_hook(
            lambda _, arguments, name=name: seen.update({name: arguments[0].clone()})
        )
    asked = []

    def disturb(*arguments: Any, **options: Any) -> Any:
        asked.append(options["epoch"])
        parts = load_shares(*arguments, **options)
        return [dataclasses.replace(part, student_frames=part.frames + 1) for part in parts]

    monkeypatch.setattr(pretraining_step, "load_shares", disturb)
    run.progress.epoch = 3
    train_step(run, CLIPS, 0.0)
    assert asked == [3]
    assert torch.equal(seen["student"], seen["teacher"] + 1)


def test_a_step_trains_on_the_common_scale(make_run: Make) -> None:
    """Frames that a scale moves by 1 are the same step as frames that are 1 larger."""
    run, moved = make_run(), make_run()
    run.scales = lambda batch: dataclasses.replace(batch, frames=batch.frames + 1)  # type: ignore[assignment]
    frames = moved.corpus.store.frames
    moved.corpus.store.frames = lambda index: frames(index).astype(np.float32) + 1  # type: ignore[method-assign]
    expected = train_step(moved, CLIPS, 0.1)
    assert train_step(run, CLIPS, 0.1) == pytest.approx(expected)
    assert train_step(make_run(), CLIPS, 0.1) != pytest.approx(expected)
