# SPDX-License-Identifier: Apache-2.0
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from voxadapt.adapters import AdapterPretrainer, ObjectivesConfig, WAPTransformerConfig
from voxadapt.adapters.pretraining import PretrainingSums, clusterable, mean_over_time
from voxadapt.adapters.prosody import prosody
from voxadapt.adapters.prototypes import Prototypes

LENGTHS = [9, 14, 1, 6]
BANDS = 5  # two windows to a frame
OBJECTIVES = ObjectivesConfig(prosody=1.0, hidden_prosody=1.0, prototypes=6, attributes=5)
NAMES = [
    "mask_prediction",
    "frame_distillation",
    "utterance_distillation",
    "local_attributes",
    "reconstruction",
    "denoising",
    "prosody",
    "hidden_prosody",
]
VECTORS = ["frame_logits", "utterance_logits", "frame_targets", "utterance_targets"]
# Which part of the module serves which objective.
HEADS = {
    "mask_prediction": "predictor",
    "frame_distillation": "student.frame_prototypes",
    "utterance_distillation": "student.utterance_prototypes",
    "local_attributes": "attribute_classifier",
    "reconstruction": "reconstructor",
    "denoising": "reconstructor",
    "prosody": "prosodist",
    "hidden_prosody": "prosodist",
}


@pytest.fixture
def make_pretrainer(make_adapter: Callable) -> Callable[..., AdapterPretrainer]:
    """Build a pretrainer whose teacher, centers and codebooks are all unlike their start."""

    def make(objectives: ObjectivesConfig = OBJECTIVES, seed: int = 0) -> AdapterPretrainer:
        pretrainer = AdapterPretrainer(make_adapter(seed=seed), objectives, BANDS)
        with torch.no_grad():
            for parameter in pretrainer.teacher.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            pretrainer.teacher.adapter.norm.weight.mul_(4.0)
            for module in (pretrainer.input_codebook, pretrainer.teacher_codebook):
                module.centroids.normal_()
            pretrainer.frame_center.normal_(std=0.3)
            pretrainer.utterance_center.normal_(std=0.3)
        return pretrainer.train()

    return make


@pytest.fixture
def batch(make_batch: Callable) -> tuple[torch.Tensor, ...]:
    """Frames, padding mask, span mask and clip weights of four clips."""
    frames, padding_mask = make_batch(LENGTHS)
    span_mask = torch.rand(padding_mask.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    span_mask &= ~padding_mask
    span_mask[2] = False  # a clip of one frame is not hidden
    return frames, padding_mask, span_mask, torch.ones(4)


def assert_same_sums(one: PretrainingSums, two: PretrainingSums, tolerance: float) -> None:
    assert one.losses.keys() == two.losses.keys()
    for left, right in (
        *((one.losses[name], two.losses[name]) for name in one.losses),
        *zip(one[1:], two[1:], strict=True),
    ):
        torch.testing.assert_close(left, right, atol=tolerance, rtol=tolerance)


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max())
    return exponentials / exponentials.sum()


def layer_norm(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / np.sqrt(values.var() + 1e-5)


def smooth_l1(difference: np.ndarray) -> float:
    distance = np.abs(difference)
    return np.where(distance < 1, 0.5 * distance**2, distance - 0.5).mean()


def cross_entropy(student: np.ndarray, teacher: np.ndarray, center: np.ndarray) -> float:
    targets = softmax((teacher - center) / OBJECTIVES.teacher_temperature)
    return -(targets * np.log(softmax(student / OBJECTIVES.student_temperature))).sum()


@torch.no_grad()
def sums_by_hand(pretrainer: AdapterPretrainer, batch: tuple[torch.Tensor, ...]) -> dict:
    """Every sum, clip by clip and frame by frame, from the parts of the module."""
    student, teacher = pretrainer.student, pretrainer.teacher
    from_teacher = bool(pretrainer.attributes_from_teacher)
    frame_center = pretrainer.frame_center.numpy()
    sums = dict.fromkeys([*NAMES, "target_entropy"], 0.0)
    vectors = dict.fromkeys(VECTORS, 0.0)
    ids = []

    def numpy(module: nn.Module, frames: torch.Tensor) -> np.ndarray:
        return module(frames[None])[0].double().numpy()

    for row, length in enumerate(LENGTHS):
        frames, span_mask = batch[0][row : row + 1, :length], batch[2][row : row + 1, :length]
        nothing = torch.zeros(1, length, dtype=torch.bool)
        standardized = student.adapter.standardize(frames, nothing)[0]
        seen = student.adapter(frames, nothing, span_mask)[0]
        whole = teacher.adapter(frames, nothing)[0]
        contour = prosody(frames, nothing, BANDS)[0].double().numpy()
        for frame in range(length):
            target = layer_norm(whole[frame].double().numpy())
            clustered = target if from_teacher else standardized[frame].double().numpy()
            codebook = pretrainer.teacher_codebook if from_teacher else pretrainer.input_codebook
            distances = np.square(codebook.centroids.double().numpy() - clustered).sum(axis=1)
            ids.append(int(distances.argmin()))
            if span_mask[0, frame]:
                predicted = numpy(pretrainer.predictor, seen[frame])
                sums["mask_prediction"] += smooth_l1(predicted - target)
                rebuilt = numpy(pretrainer.reconstructor, seen[frame])
                hidden_frame = standardized[frame].double().numpy()
                sums["reconstruction"] += smooth_l1(rebuilt - hidden_frame)
                logits = numpy(pretrainer.attribute_classifier, seen[frame])
                sums["local_attributes"] -= np.log(softmax(logits)[ids[-1]])
            else:
                rebuilt = numpy(pretrainer.reconstructor, seen[frame])
                frame_itself = standardized[frame].double().numpy()
                sums["denoising"] += smooth_l1(rebuilt - frame_itself)
            told = numpy(pretrainer.prosodist, seen[frame])
            name = "hidden_prosody" if span_mask[0, frame] else "prosody"
            sums[name] += smooth_l1(told - contour[frame])
            logits = numpy(teacher.frame_prototypes, whole[frame])
            vectors["frame_logits"] += logits
            targets = softmax((logits - frame_center) / OBJECTIVES.teacher_temperature)
            vectors["frame_targets"] += targets
            sums["target_entropy"] -= (targets * np.log(targets)).sum()
            sums["frame_distillation"] += cross_entropy(
                numpy(student.frame_prototypes, seen[frame]), logits, frame_center
            )
        logits = numpy(teacher.utterance_prototypes, whole.mean(dim=0))
        vectors["utterance_logits"] += logits
        center = pretrainer.utterance_center.numpy()
        vectors["utterance_targets"] += softmax((logits - center) / OBJECTIVES.teacher_temperature)
        sums["utterance_distillation"] += cross_entropy(
            numpy(student.utterance_prototypes, seen.mean(dim=0)),
            logits,
            pretrainer.utterance_center.numpy(),
        )
    return {**sums, **vectors, "attribute_ids": ids}


@pytest.mark.parametrize("from_teacher", [False, True])
def test_sums_against_a_loop_over_frames(
    make_pretrainer: Callable, batch: tuple, from_teacher: bool
) -> None:
    pretrainer = make_pretrainer()
    pretrainer.attributes_from_teacher.fill_(from_teacher)
    sums = pretrainer(*batch)
    expected = sums_by_hand(pretrainer, batch)
    assert sorted(sums.losses) == sorted(NAMES)
    for name in NAMES:
        assert sums.losses[name].item() == pytest.approx(expected[name], rel=1e-4)
    for name in (*VECTORS, "target_entropy"):
        values = getattr(sums, name).detach().numpy()
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-4)
    assert sums.attribute_ids.tolist() == expected["attribute_ids"]
    assert sums.frame_targets.sum() == pytest.approx(sum(LENGTHS), rel=1e-5)
    assert len(set(expected["attribute_ids"])) > 1


def test_monitored_frames_are_the_real_ones(make_pretrainer: Callable, batch: tuple) -> None:
    pretrainer = make_pretrainer()
    frames, padding_mask, span_mask, _ = batch
    sums = pretrainer(*batch)
    student = pretrainer.student.adapter(frames, padding_mask, span_mask)
    teacher = pretrainer.teacher.adapter(frames, padding_mask)
    torch.testing.assert_close(sums.student_frames, student[~padding_mask])
    torch.testing.assert_close(sums.teacher_frames, teacher[~padding_mask])
    assert not sums.student_frames.requires_grad
    assert not sums.teacher_frames.requires_grad


def test_targets_are_of_the_clean_frames(make_pretrainer: Callable, batch: tuple) -> None:
    """Disturbed where they are hidden, the student's frames show nowhere."""
    pretrainer = make_pretrainer()
    disturbed = batch[0] + batch[2].unsqueeze(-1)
    assert_same_sums(pretrainer(*batch, student_frames=disturbed), pretrainer(*batch), 1e-6)


def test_teacher_equals_the_student_at_the_start(make_adapter: Callable, batch: tuple) -> None:
    adapter = make_adapter()
    pretrainer = AdapterPretrainer(adapter, OBJECTIVES)
    assert pretrainer.student.adapter is adapter
    teacher = pretrainer.teacher.state_dict()
    for name, value in pretrainer.student.state_dict().items():
        assert torch.equal(value, teacher[name])
    frames, padding_mask, span_mask, clip_weights = batch
    sums = pretrainer(frames, padding_mask, torch.zeros_like(span_mask), clip_weights)
    assert torch.equal(sums.student_frames, sums.teacher_frames)


def test_teacher_stays_in_eval_mode(
    tiny_config: WAPTransformerConfig, make_adapter: Callable, batch: tuple
) -> None:
    adapter = make_adapter(dataclasses.replace(tiny_config, dropout=0.5))
    pretrainer = AdapterPretrainer(adapter, OBJECTIVES)
    parent = nn.Sequential(pretrainer).train()
    assert pretrainer.training
    assert pretrainer.student.adapter.training
    assert not any(module.training for module in pretrainer.teacher.modules())
    one, two = pretrainer(*batch), pretrainer(*batch)
    assert torch.equal(one.teacher_frames, two.teacher_frames)
    assert not torch.allclose(one.student_frames, two.student_frames)
    parent.eval()
    assert not pretrainer.student.adapter.training


def test_fillers_change_no_sum(make_pretrainer: Callable, batch: tuple) -> None:
    pretrainer = make_pretrainer()
    expected = pretrainer(*batch)
    filled = [torch.cat([part, part[1:2]]) for part in batch]
    filled[3][-1] = 0.0
    assert_same_sums(pretrainer(*filled), expected, 1e-5)
    only = pretrainer(*(part[:1] for part in batch[:3]), torch.zeros(1))
    assert all(loss == 0 for loss in only.losses.values())
    assert only.frame_logits.tolist() == only.utterance_logits.tolist() == [0.0] * 6
    assert len(only.student_frames) == len(only.teacher_frames) == len(only.attribute_ids) == 0


def test_parts_of_a_batch_add_up(make_pretrainer: Callable, batch: tuple) -> None:
    pretrainer = make_pretrainer()
    whole = pretrainer(*batch)
    parts = [pretrainer(*(part[rows] for part in batch)) for rows in ([0, 1], [2, 3])]
    for name, value in whole.losses.items():
        assert value.item() == pytest.approx(
            sum(part.losses[name].item() for part in parts), rel=1e-4
        )
    for name in (*VECTORS, "target_entropy"):
        total = sum(getattr(part, name) for part in parts)
        torch.testing.assert_close(getattr(whole, name), total, atol=1e-4, rtol=1e-4)
    for name in ("student_frames", "teacher_frames", "attribute_ids"):
        joined = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(getattr(whole, name), joined, atol=1e-4, rtol=1e-4)


def test_padding_changes_no_sum(make_pretrainer: Callable, batch: tuple) -> None:
    pretrainer = make_pretrainer()
    frames, padding_mask, span_mask, clip_weights = batch
    expected = pretrainer(*batch)
    dirty = frames.masked_fill(padding_mask.unsqueeze(-1), float("nan"))
    longer = nn.functional.pad(dirty, (0, 0, 0, 7), value=float("inf"))
    sums = pretrainer(
        longer,
        nn.functional.pad(padding_mask, (0, 7), value=True),
        nn.functional.pad(span_mask, (0, 7), value=False),
        clip_weights,
    )
    assert_same_sums(sums, expected, 1e-5)


def test_gradients_reach_what_trains_and_nothing_else(
    make_pretrainer: Callable, batch: tuple
) -> None:
    pretrainer = make_pretrainer()
    sum(pretrainer(*batch).losses.values()).backward()
    for name, parameter in pretrainer.named_parameters():
        if name.startswith("teacher."):
            assert not parameter.requires_grad
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    buffers = dict(pretrainer.named_buffers())
    assert {"frame_center", "input_codebook.centroids"} < buffers.keys()
    assert not any(buffer.requires_grad for buffer in buffers.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_alone(make_pretrainer: Callable, batch: tuple, name: str) -> None:
    both = make_pretrainer()(*batch)
    alone = dataclasses.replace(OBJECTIVES, **{other: 0.0 for other in NAMES if other != name})
    pretrainer = make_pretrainer(alone)
    sums = pretrainer(*batch)
    assert list(sums.losses) == [name]
    torch.testing.assert_close(sums.losses[name], both.losses[name])
    assert len(sums.attribute_ids) == (sum(LENGTHS) if name == "local_attributes" else 0)

    # Every parameter that trains gets a gradient, or DistributedDataParallel would wait for it.
    sums.losses[name].backward()
    trained = {key for key, value in pretrainer.named_parameters() if value.requires_grad}
    assert trained == {
        key for key, value in pretrainer.named_parameters() if value.grad is not None
    }
    for head in set(HEADS.values()):
        parts = {key for key, _ in pretrainer.named_parameters() if key.startswith(f"{head}.")}
        assert parts
        assert parts & trained == (parts if head == HEADS[name] else set())
    assert {key for key, _ in pretrainer.named_parameters() if "student.adapter." in key} < trained


@pytest.mark.parametrize("level", ["frame", "utterance"])
def test_prototypes_of_an_objective_that_is_off_are_not_computed(
    make_pretrainer: Callable, batch: tuple, level: str
) -> None:
    objectives = dataclasses.replace(OBJECTIVES, **{f"{level}_distillation": 0.0})
    pretrainer = make_pretrainer(objectives)
    called = []
    for branch in (pretrainer.student, pretrainer.teacher):
        for name in ("frame", "utterance"):
            module = getattr(branch, f"{name}_prototypes")
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    sums = pretrainer(*batch)
    other = {"frame": "utterance", "utterance": "frame"}[level]
    assert called == [other, other]
    assert getattr(sums, f"{level}_logits").tolist() == [0.0] * 6
    assert getattr(sums, f"{other}_logits").abs().sum() > 0
    assert (sums.frame_targets.sum() == 0) == (sums.target_entropy == 0) == (level == "frame")


def test_a_batch_without_hidden_frames_still_has_a_gradient(
    make_pretrainer: Callable, make_batch: Callable
) -> None:
    pretrainer = make_pretrainer()
    frames, padding_mask = make_batch([1, 1])
    sums = pretrainer(frames, padding_mask, torch.zeros_like(padding_mask), torch.ones(2))
    assert sums.losses["mask_prediction"] == sums.losses["local_attributes"] == 0
    sum(sums.losses.values()).backward()
    for name, parameter in pretrainer.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_attributes_are_the_same_in_mixed_precision(
    make_pretrainer: Callable, batch: tuple
) -> None:
    pretrainer = make_pretrainer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = pretrainer(*batch)
    single = pretrainer(*batch)
    assert torch.equal(mixed.attribute_ids, single.attribute_ids)
    for name, loss in single.losses.items():
        assert mixed.losses[name].dtype == torch.float32
        assert mixed.losses[name].item() == pytest.approx(loss.item(), rel=0.1)


def test_training_steps_stay_finite_and_move_the_teacher(
    make_pretrainer: Callable, batch: tuple
) -> None:
    pretrainer = make_pretrainer()
    before = {name: value.clone() for name, value in pretrainer.state_dict().items()}
    trained = [value for value in pretrainer.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        sums = pretrainer(*batch)
        loss = sum(sums.losses.values()) / sum(LENGTHS)
        loss.backward()
        optimizer.step()
        pretrainer.update_teacher(0.9)
        pretrainer.update_centers(sums.frame_logits / sum(LENGTHS), sums.utterance_logits / 4)
        losses.append(loss.item())
    assert losses[1] < losses[0]
    after = pretrainer.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    for name in before:
        still = "codebook" in name or "standardize" in name or name == "attributes_from_teacher"
        assert torch.equal(before[name], after[name]) == still, name


def test_update_teacher_averages_the_whole_branch(make_pretrainer: Callable) -> None:
    pretrainer = make_pretrainer()
    teacher = {name: value.clone() for name, value in pretrainer.teacher.named_parameters()}
    pretrainer.update_teacher(0.75)
    student = dict(pretrainer.student.named_parameters())
    assert any("prototypes" in name for name in teacher)
    for name, value in pretrainer.teacher.named_parameters():
        torch.testing.assert_close(value, 0.75 * teacher[name] + 0.25 * student[name].detach())


@pytest.mark.parametrize("momentum", [0.9, 0.0, 1.0])
def test_update_centers(make_pretrainer: Callable, momentum: float) -> None:
    pretrainer = make_pretrainer(dataclasses.replace(OBJECTIVES, center_momentum=momentum))
    frame, utterance = pretrainer.frame_center.clone(), pretrainer.utterance_center.clone()
    frame_mean, utterance_mean = torch.randn(6), torch.randn(6)
    pretrainer.update_centers(frame_mean, utterance_mean)
    for center, old, mean in (
        (pretrainer.frame_center, frame, frame_mean),
        (pretrainer.utterance_center, utterance, utterance_mean),
    ):
        torch.testing.assert_close(center, momentum * old + (1 - momentum) * mean)


def test_state_dict_brings_everything_back(make_pretrainer: Callable, batch: tuple) -> None:
    pretrainer = make_pretrainer()
    pretrainer.attributes_from_teacher.fill_(True)
    expected = pretrainer(*batch)
    other = make_pretrainer(seed=1)
    assert not torch.equal(other(*batch).teacher_frames, expected.teacher_frames)
    other.load_state_dict(pretrainer.state_dict())
    assert_same_sums(other(*batch), expected, 0.0)


def test_prototypes_are_cosine_similarities() -> None:
    torch.manual_seed(0)
    module = Prototypes(4, 3)
    vectors = torch.randn(5, 4)
    projected = vectors @ module.projection.weight.T + module.projection.bias
    for row, similarities in enumerate(module(vectors)):
        for prototype, similarity in zip(module.prototypes, similarities, strict=True):
            expected = projected[row] @ prototype / projected[row].norm() / prototype.norm()
            torch.testing.assert_close(similarity, expected)


def test_clusterable_frames_are_layer_normalised() -> None:
    frames = 5 * torch.randn(6, 16, generator=torch.Generator().manual_seed(0)) + 3
    output = clusterable(frames.bfloat16())
    assert output.dtype == torch.float32
    torch.testing.assert_close(output.mean(dim=-1), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(output.std(dim=-1, unbiased=False), torch.ones(6))


def test_mean_over_time() -> None:
    frames = torch.tensor([[[1.0], [3.0], [0.0]], [[5.0], [0.0], [0.0]], [[0.0], [0.0], [0.0]]])
    real = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    assert mean_over_time(frames, real).tolist() == [[2.0], [5.0], [0.0]]


def test_weights_are_those_of_the_config() -> None:
    objectives = ObjectivesConfig(
        mask_prediction=1.0,
        frame_distillation=2.0,
        utterance_distillation=3.0,
        local_attributes=0.0,
        reconstruction=4.0,
        denoising=5.0,
        prosody=6.0,
        hidden_prosody=7.0,
    )
    weights = [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 7.0]
    assert objectives.weights() == dict(zip(NAMES, weights, strict=True))
    assert objectives.for_bands(80) == objectives
    left = dataclasses.replace(objectives, prosody=0.0, hidden_prosody=0.0)
    assert objectives.for_bands(None) == left


def test_prosody_is_of_frames_that_are_bands(make_adapter: Callable, batch: tuple) -> None:
    sums = AdapterPretrainer(make_adapter(), OBJECTIVES)(*batch)
    assert sorted(sums.losses) == sorted(NAMES[:-2])
    alone = dataclasses.replace(OBJECTIVES, **dict.fromkeys(NAMES[:-2], 0.0))
    with pytest.raises(ValueError, match="at least one must be above 0"):
        AdapterPretrainer(make_adapter(), alone)
    with pytest.raises(ValueError, match="bands: found 4, must divide the"):
        AdapterPretrainer(make_adapter(), OBJECTIVES, 4)(*batch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict.fromkeys(NAMES, 0.0), "at least one must be above 0"),
        ({"local_attributes": -1.0}, "local_attributes: found -1.0, must be a finite number"),
        ({"local_attributes": math.nan}, "local_attributes: found nan, must be a finite number"),
        ({"denoising": math.inf}, "denoising: found inf, must be a finite number of 0 or more"),
        ({"student_temperature": 0.0}, "student_temperature: found 0.0, must be a finite number"),
        ({"teacher_temperature": -0.1}, "teacher_temperature: found -0.1"),
        ({"teacher_temperature_start": 0.0}, "teacher_temperature_start: found 0.0"),
        ({"teacher_temperature_start": math.nan}, "teacher_temperature_start: found nan"),
        ({"temperature_warmup": 1.1}, "temperature_warmup: found 1.1, must be between 0 and 1"),
        ({"prototypes": 1}, "prototypes: found 1, must be at least 2"),
        ({"attributes": 1}, "attributes: found 1, must be at least 2"),
        ({"center_momentum": 1.1}, "center_momentum: found 1.1"),
        ({"center_momentum": -0.1}, "center_momentum: found -0.1"),
    ],
)
def test_objectives_are_validated(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectivesConfig(**changes)


def test_temperature_of_a_step_sharpens_the_teacher(
    make_pretrainer: Callable, batch: tuple
) -> None:
    pretrainer = make_pretrainer()
    usual, same = pretrainer(*batch), pretrainer(*batch, teacher_temperature=0.05)
    sharp = pretrainer(*batch, teacher_temperature=0.01)
    assert torch.equal(usual.frame_targets, same.frame_targets)
    assert sharp.target_entropy < usual.target_entropy
    assert not torch.equal(sharp.utterance_targets, usual.utterance_targets)


def test_hidden_features_stand_at_the_mean_for_the_student_only(
    make_pretrainer: Callable, batch: tuple
) -> None:
    frames, padding_mask, span_mask, weights = batch
    pretrainer = make_pretrainer()
    feature_mask = torch.zeros(4, 10, dtype=torch.bool)
    feature_mask[0, 2:5] = True
    sums = pretrainer(frames, padding_mask, span_mask, weights, feature_mask)
    seen = frames.clone()
    seen[0, :, 2:5] = pretrainer.student.adapter.standardize.mean[2:5]
    student = pretrainer.student.adapter(seen, padding_mask, span_mask)
    teacher = pretrainer.teacher.adapter(frames, padding_mask)
    torch.testing.assert_close(sums.student_frames, student[~padding_mask])
    torch.testing.assert_close(sums.teacher_frames, teacher[~padding_mask])
    whole = pretrainer(frames, padding_mask, span_mask, weights, torch.zeros_like(feature_mask))
    assert_same_sums(whole, pretrainer(*batch), 0.0)


def test_disturbed_frames_are_for_the_student_only(make_pretrainer: Callable, batch: tuple) -> None:
    frames, padding_mask, span_mask, _ = batch
    disturbed = frames + torch.randn(frames.shape, generator=torch.Generator().manual_seed(1))
    pretrainer = make_pretrainer()
    sums = pretrainer(*batch, student_frames=disturbed)
    same = pretrainer(*batch)
    student = pretrainer.student.adapter(disturbed, padding_mask, span_mask)
    torch.testing.assert_close(sums.student_frames, student[~padding_mask])
    for name in ("teacher_frames", "attribute_ids", "frame_targets", "utterance_logits"):
        torch.testing.assert_close(getattr(sums, name), getattr(same, name))
    assert all(sums.losses[name] != same.losses[name] for name in NAMES)
    assert_same_sums(pretrainer(*batch, student_frames=frames), same, 0.0)

    feature_mask = torch.ones(4, 10, dtype=torch.bool)
    hidden = [
        pretrainer(*batch, feature_mask, student_frames=seen).student_frames
        for seen in (frames, disturbed)
    ]
    torch.testing.assert_close(*hidden)
    with pytest.raises(ValueError, match=r"student_frames: found shape \[4, 13, 10\].*\[4, 14, 10"):
        pretrainer(*batch, student_frames=disturbed[:, 1:])
