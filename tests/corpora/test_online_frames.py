# SPDX-License-Identifier: Apache-2.0
"""Frames computed in the loop are those of the cache, and augmentation a function of the clip."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.backbones import load_backbone
from voxadapt.backbones.audio import read_audio
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_cache import extract_features
from voxadapt.recipes.corpora.online_frames import OnlineFrames
from voxadapt.recipes.corpora.waveform_augment import WaveformAugmentation

CPU = torch.device("cpu")
ALL_ON: dict[str, Any] = {
    "speed": [0.8, 1.2],
    "gain_db": [-6, 6],
    "noise_snr_db": [0, 10],
    "noise_probability": 1.0,
}


@pytest.fixture
def clips(corpus_rows: list[dict[str, str]]) -> list[Clip]:
    return [Clip(id=row["id"], path=Path(row["path"])) for row in corpus_rows[:6]]


@pytest.fixture
def own_clips(clips: list[Clip], tmp_path: Path) -> list[Clip]:
    """The same clips in files that a test may spoil."""
    for clip in clips:
        copy = tmp_path / clip.path.name
        copy.write_bytes(clip.path.read_bytes())
        clip.path = copy
    return clips


@pytest.fixture(params=["fbank", "hubert"])
def backbone(request: pytest.FixtureRequest, hubert_folder: Path) -> Any:
    return load_backbone("fbank" if request.param == "fbank" else str(hubert_folder))


@pytest.fixture
def make_frames(tmp_path: Path) -> Callable[..., OnlineFrames]:
    """Build frames of clips: ``make_frames(clips, gain_db=[-6, 6])``."""

    def make(
        clips: list[Clip],
        backbone: Any = None,
        seed: int = 0,
        on_bad_audio: Any = "error",
        **augmentation: Any,
    ) -> OnlineFrames:
        return OnlineFrames(
            clips,
            [len(read_audio(clip.path)) for clip in clips],
            backbone or load_backbone("fbank"),
            device=CPU,
            seed=seed,
            augmentation=WaveformAugmentation(**augmentation),
            on_bad_audio=on_bad_audio,
            listing=tmp_path / "bad_audio.jsonl",
        )

    return make


Make = Callable[..., OnlineFrames]


def real(frames: OnlineFrames, index: int, epoch: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A clip's frames ``[T, D]`` for teacher and student."""
    loaded = frames.load([index], epoch)
    student = loaded.frames if loaded.student_frames is None else loaded.student_frames
    assert not loaded.padding_mask.any()
    return loaded.frames[0], student[0]


@pytest.mark.parametrize("epoch", [None, 0])
def test_clean_frames_are_those_of_the_cache_before_it_rounds(
    epoch: int | None, clips: list[Clip], backbone: Any, make_frames: Make, tmp_path: Path
) -> None:
    store, _, _ = extract_features(clips, backbone, tmp_path / "features")
    online = make_frames(clips, backbone)
    assert len(online) == len(store) == 6
    assert online.feature_size == store.feature_size
    assert online.lengths.tolist() == store.lengths.tolist()
    assert online.lengths.dtype == store.lengths.dtype
    loaded = online.load([4, 0, 2], epoch)
    assert loaded.student_frames is None
    assert loaded.frames.dtype == torch.float32
    assert loaded.usable.all()
    for row, index in enumerate([4, 0, 2]):
        cached = torch.from_numpy(store.frames(index).astype(np.float32))
        found = loaded.frames[row][~loaded.padding_mask[row]]
        torch.testing.assert_close(found, cached, rtol=2**-10, atol=1e-5)
        assert loaded.frames[row][loaded.padding_mask[row]].eq(0).all()
        np.testing.assert_allclose(online.frames(index), found, rtol=1e-5, atol=1e-5)


def test_a_clip_is_the_same_alone_in_a_batch_and_in_small_batches_of_the_backbone(
    clips: list[Clip], backbone: Any, make_frames: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = make_frames(clips, backbone, **ALL_ON)
    together = online.load(range(6), 3)
    assert together.student_frames is not None
    for row in range(6):
        teacher, student = real(online, row, 3)
        count = len(teacher)
        assert int((~together.padding_mask[row]).sum()) == count
        torch.testing.assert_close(together.frames[row, :count], teacher, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            together.student_frames[row, :count], student, rtol=1e-4, atol=1e-4
        )
    shapes: list[list[int]] = []
    backbone.register_forward_pre_hook(lambda _, inputs: shapes.append([*inputs[0].shape]))
    monkeypatch.setattr(type(backbone), "preferred_batch_seconds", 1.0)
    in_parts = online.load(range(6), 3)
    assert len(shapes) > 2
    assert max(rows * samples for rows, samples in shapes) <= 16_000
    torch.testing.assert_close(in_parts.frames, together.frames, rtol=1e-4, atol=1e-4)


def test_frames_can_be_trained_on(clips: list[Clip], make_frames: Make) -> None:
    loaded = make_frames(clips, **ALL_ON).load([0, 1], 0)
    assert loaded.student_frames is not None
    weight = torch.ones(160, requires_grad=True)
    (loaded.frames * weight + loaded.student_frames * weight).sum().backward()
    assert weight.grad is not None
    assert not loaded.frames.requires_grad


def test_augmentation_is_drawn_from_seed_epoch_and_clip_alone(
    clips: list[Clip], make_frames: Make
) -> None:
    online = make_frames(clips, **ALL_ON)
    online.read_ahead([5, 2, 0], 0)
    online.load([5], 0)
    found = real(online, 2, 0)
    fresh = make_frames(clips, **ALL_ON)
    assert all(map(torch.equal, found, real(fresh, 2, 0)))

    def differs(other: tuple[torch.Tensor, torch.Tensor]) -> bool:
        return other[1].shape != found[1].shape or not torch.allclose(other[1], found[1], atol=1e-3)

    assert differs(real(online, 2, 1))
    assert differs(real(make_frames(clips, seed=1, **ALL_ON), 2, 0))
    renamed = [
        Clip(id="other" if index == 2 else clip.id, path=clip.path)
        for index, clip in enumerate(clips)
    ]
    assert differs(real(make_frames(renamed, **ALL_ON), 2, 0))
    clean = online.load([2])
    assert clean.student_frames is None
    assert torch.equal(clean.frames[0], real(make_frames(clips), 2, 0)[0])


def test_speed_is_for_both_and_noise_for_the_student_alone(
    clips: list[Clip], make_frames: Make
) -> None:
    clean = real(make_frames(clips), 0, 0)[0]
    slow = make_frames(clips, speed=[0.5, 0.5]).load([0], 0)
    assert slow.student_frames is None
    assert slow.frames.shape[1] == pytest.approx(2 * len(clean), abs=2)

    teacher, student = real(make_frames(clips, noise_snr_db=[0, 0], noise_probability=1.0), 0, 0)
    assert torch.equal(teacher, clean)
    assert (student - teacher).abs().mean() > 0.5
    assert student.shape == teacher.shape

    teacher, student = real(make_frames(clips, gain_db=[6, 6]), 0, 0)
    assert torch.equal(teacher, clean)
    # Log-Mel energies rise by 6 dB, in nepers of power, but for the floor below them.
    rise = (student - teacher).median()
    assert float(rise) == pytest.approx(0.6 * np.log(10), rel=0.02)


def test_only_clips_that_differ_are_encoded_twice(clips: list[Clip], make_frames: Make) -> None:
    backbone = load_backbone("fbank")
    rows: list[int] = []
    backbone.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))  # type: ignore[attr-defined]
    online = make_frames(clips, backbone, noise_snr_db=[0, 0], noise_probability=0.5)
    loaded = online.load(range(6), 0)
    assert loaded.student_frames is not None
    differ = (loaded.frames != loaded.student_frames).flatten(1).any(dim=1)
    assert 0 < differ.sum() < 6
    assert sum(rows) == 6 + int(differ.sum())


def test_babble_is_another_clip(
    clips: list[Clip], make_frames: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    babble = {"noise_snr_db": [0, 0], "noise_probability": 1.0, "babble_share": 1.0}
    online = make_frames(clips, **babble)
    decoded: list[int] = []
    decode = OnlineFrames._decode

    def spy(self: OnlineFrames, index: int) -> torch.Tensor:
        decoded.append(index)
        return decode(self, index)

    monkeypatch.setattr(OnlineFrames, "_decode", spy)
    others = set()
    for epoch in range(30):
        decoded.clear()
        online.load([2], epoch)
        first, other = decoded
        assert first == 2
        others.add(other)
    assert others == {0, 1, 3, 4, 5}
    # A corpus of one clip has no other.
    assert make_frames(clips[:1], **babble).load([0], 0).student_frames is not None


def test_a_clip_that_went_away_stops_the_run_by_name(
    own_clips: list[Clip], make_frames: Make
) -> None:
    online = make_frames(own_clips)
    online.load([0, 1, 2], 0)
    own_clips[1].path.unlink()
    with pytest.raises(
        DataError,
        match=rf"clip '{own_clips[1].id}' could be read .* does not exist.* go on with --resume",
    ):
        online.load([0, 1, 2], 0)
    assert not Path(own_clips[0].path.parent, "bad_audio.jsonl").exists()


def test_a_clip_that_went_away_counts_for_nothing_where_bad_audio_is_skipped(
    own_clips: list[Clip],
    make_frames: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    online = make_frames(own_clips, on_bad_audio="skip", gain_db=[3, 3])
    whole = online.load([0, 1, 2], 0)
    own_clips[1].path.unlink()
    loaded = online.load([0, 1, 2], 0)
    assert loaded.usable.tolist() == [True, False, True]
    assert loaded.padding_mask[1].logical_not().sum() == 1
    assert loaded.student_frames is not None
    assert whole.student_frames is not None
    assert loaded.frames[1].eq(0).all()
    for row in (0, 2):
        count = int((~whole.padding_mask[row]).sum())
        torch.testing.assert_close(loaded.frames[row, :count], whole.frames[row, :count])
        torch.testing.assert_close(
            loaded.student_frames[row, :count], whole.student_frames[row, :count]
        )
    assert f"left out of this step: clip '{own_clips[1].id}'" in caplog.text
    (line,) = (tmp_path / "bad_audio.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "missing"
    assert online.frames(1).shape == (0, 160)


def test_a_babble_clip_that_went_away_is_the_one_that_is_named(
    own_clips: list[Clip], make_frames: Make
) -> None:
    babble = {"noise_snr_db": [0, 0], "noise_probability": 1.0, "babble_share": 1.0}
    online = make_frames(own_clips[:2], **babble)
    own_clips[1].path.unlink()
    with pytest.raises(DataError, match=f"clip '{own_clips[1].id}' could be read"):
        online.load([0], 0)


def test_what_was_read_ahead_is_let_go_of(own_clips: list[Clip], make_frames: Make) -> None:
    online = make_frames(own_clips)
    online.read_ahead([0, 1, 0], 4)
    online.load([0, 1], 4)
    own_clips[0].path.unlink()
    with pytest.raises(DataError):
        online.load([0], 4)
