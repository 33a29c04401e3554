# SPDX-License-Identifier: Apache-2.0
"""When the codebook is fitted, and on which frames."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from voxadapt.recipes.pretraining import codebook_refits
from voxadapt.recipes.pretraining.codebook_refits import (
    choose_backend,
    refit_codebook,
    sample_frames,
)
from voxadapt.recipes.pretraining.state import NotFiniteError, PretrainingRun
from voxadapt.recipes.running.command_line import UsageError

Make = Callable[..., PretrainingRun]


def test_fits_come_at_their_shares_of_the_run(make_run: Make) -> None:
    run = make_run(**{"codebook.refit_at": [0.0, 0.3, 0.6]})
    fits = []
    for share in (0.0, 0.1, 0.29, 0.3, 0.5, 0.7, 0.9):
        refit_codebook(run, share)
        fits.append(run.progress.fits)
    assert fits == [1, 1, 1, 2, 2, 3, 3]
    entries = run.progress.log
    assert ["codebook_kept_ids" in entry for entry in entries] == [False, False, True]
    assert all(1 <= entry["codebook_perplexity"] <= 4 for entry in entries)
    assert [entry["codebook_reseeded"] for entry in entries] == [0.0, 0.0, 0.0]


def test_the_first_fit_is_on_input_frames_and_the_others_on_the_teachers(make_run: Make) -> None:
    run = make_run()
    pretrainer = run.pretrainer
    refit_codebook(run, 0.0)
    assert not pretrainer.attributes_from_teacher
    inputs = sample_of(run, fits=0)
    ids = pretrainer.input_codebook(inputs)
    for number, centroid in enumerate(pretrainer.input_codebook.centroids):
        torch.testing.assert_close(inputs[ids == number].mean(dim=0), centroid)
    assert pretrainer.teacher_codebook.centroids.abs().sum() == 0

    before = pretrainer.input_codebook.centroids.clone()
    refit_codebook(run, 0.4)
    assert pretrainer.attributes_from_teacher
    assert torch.equal(pretrainer.input_codebook.centroids, before)
    assert pretrainer.teacher_codebook.centroids.abs().sum() > 0


def sample_of(run: PretrainingRun, fits: int) -> torch.Tensor:
    kept, run.progress.fits = run.progress.fits, fits
    frames = sample_frames(run)
    run.progress.fits = kept
    return frames


def test_the_sample_is_real_frames_of_the_right_kind(make_run: Make) -> None:
    run = make_run([9, 4, 6])
    adapter = run.pretrainer.teacher.adapter
    adapter.standardize.set_statistics(torch.ones(6), torch.full((6,), 2.0))
    raw = torch.cat([torch.from_numpy(run.corpus.store.frames(i)).float() for i in range(3)])
    found = sample_of(run, fits=0)
    assert found.shape == (19, 6)
    torch.testing.assert_close(found.sum(0), ((raw - 1) / 2).sum(0))

    found = sample_of(run, fits=1)
    assert found.shape == (19, 8)
    torch.testing.assert_close(F.layer_norm(found, (8,)), found, rtol=1e-3, atol=1e-3)
    assert not found.requires_grad


def test_the_sample_is_on_the_scale_that_the_run_trains_on(make_run: Make) -> None:
    run = make_run([9, 4, 6])
    plain = sample_of(run, fits=0)
    run.scales = lambda batch: dataclasses.replace(batch, frames=batch.frames + 1)  # type: ignore[assignment]
    std = run.pretrainer.teacher.adapter.standardize.std
    torch.testing.assert_close(sample_of(run, fits=0), plain + 1 / std)


def test_a_large_corpus_gives_a_seeded_sample(make_run: Make) -> None:
    run = make_run([10] * 30, **{"codebook.sample_frames": 45})
    assert len(sample_of(run, fits=0)) == 50
    assert torch.equal(sample_of(run, fits=0), sample_of(run, fits=0))
    other = make_run([10] * 30, seed=1, **{"codebook.sample_frames": 45})
    assert not torch.equal(sample_of(run, fits=0), sample_of(other, fits=0))


def test_a_refit_starts_from_the_last_centroids_of_its_kind(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    fit = codebook_refits.fit_codebook

    def spy(*arguments: object, **options: object) -> object:
        initial = options["initial"]
        starts.append(initial.clone() if isinstance(initial, torch.Tensor) else None)
        return fit(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(codebook_refits, "fit_codebook", spy)
    run = make_run()
    for share in (0.0, 0.4):
        refit_codebook(run, share)
    last = run.pretrainer.teacher_codebook.centroids.clone()
    refit_codebook(run, 0.7)
    assert starts[:2] == [None, None]
    assert torch.equal(starts[2], last)


def test_kept_ids_are_counted_between_the_last_codebook_and_the_new_one(make_run: Make) -> None:
    run = make_run([30, 20, 40])
    for share in (0.0, 0.4):
        refit_codebook(run, share)
    with torch.no_grad():
        for parameter in run.pretrainer.teacher.adapter.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    before = run.pretrainer.teacher_codebook.centroids.clone()
    frames = sample_of(run, fits=2)
    refit_codebook(run, 0.7)
    after = run.pretrainer.teacher_codebook.centroids
    ids = [torch.cdist(frames, centroids).argmin(dim=1) for centroids in (before, after)]
    kept = run.progress.log[-1]["codebook_kept_ids"]
    assert kept == pytest.approx(float((ids[0] == ids[1]).float().mean()))
    assert 0.25 < kept < 1.0


@pytest.mark.parametrize("backend", ["faiss", "torch"])
def test_the_backend_that_was_asked_for_fits(
    backend: str, make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    fit = codebook_refits.fit_codebook

    def spy(*arguments: object, **options: object) -> object:
        asked.append(options["backend"])
        return fit(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(codebook_refits, "fit_codebook", spy)
    refit_codebook(make_run(**{"codebook.backend": backend}), 0.0)
    assert asked == [backend]


def test_auto_is_torch_on_a_gpu_and_with_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for onednn, expected in ((True, "torch"), (False, "faiss")):
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda found=onednn: found)
        assert choose_backend("auto", cpu) == expected
        assert choose_backend("auto", gpu) == "torch"
        assert choose_backend("faiss", gpu) == "faiss"


def test_without_the_objective_nothing_is_fitted(make_run: Make) -> None:
    run = make_run(**{"objectives.local_attributes": 0.0})
    refit_codebook(run, 0.0)
    assert run.progress.fits == 0
    assert run.progress.log == []


def test_too_little_audio_says_what_to_change(make_run: Make) -> None:
    run = make_run([2, 3], **{"objectives.attributes": 8})
    with pytest.raises(UsageError, match=r"attributes: found 8, but there are 5 frames") as caught:
        refit_codebook(run, 0.0)
    assert "give more audio. Nothing has been trained yet: --out may stay" in str(caught.value)
    for changes in ({"step": 3}, {"resume": True}):
        run.progress.step = changes.get("step", 0)
        object.__setattr__(run.options, "resume", "resume" in changes)
        with pytest.raises(UsageError, match="for other options, give another --out or remove"):
            refit_codebook(run, 0.0)
    run = make_run([5, 5], **{"objectives.attributes": 8, "codebook.sample_frames": 5})
    with pytest.raises(UsageError, match=r"raise --codebook.sample_frames"):
        refit_codebook(run, 0.0)


def test_without_a_clip_that_can_be_read_it_says_so(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    monkeypatch.setattr(codebook_refits, "sample_frames", lambda _: torch.zeros(0, 6))
    with pytest.raises(UsageError, match="none of the clips drawn for the codebook can be read"):
        refit_codebook(run, 0.0)


def test_frames_that_are_not_finite_stop_the_fit_and_name_the_clip(make_run: Make) -> None:
    run = make_run()
    run.corpus.store.frames(3)[2, 1] = float("inf")
    with pytest.raises(NotFiniteError, match=r"at step 0, in clips \['clip-3'\], whose own frames"):
        refit_codebook(run, 0.0)
    assert run.progress.fits == 0


def test_clips_that_cannot_be_read_are_not_clustered(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run([9, 4, 6])
    load = codebook_refits.load_batch

    def lose_the_second(store: object, rows: list[int], **named: object) -> object:
        batch = load(store, rows, **named)  # type: ignore[arg-type]
        for place, row in enumerate(rows):
            if row == 1:  # as `EncodedClips` has it: one frame of zeros that counts for nothing
                batch.frames[place] = 0.0
                batch.padding_mask[place, 1:] = True
                batch.clip_weights[place] = 0.0
        return batch

    monkeypatch.setattr(codebook_refits, "load_batch", lose_the_second)
    for fits in (0, 1):
        assert len(sample_of(run, fits=fits)) == 9 + 6
