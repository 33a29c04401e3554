# SPDX-License-Identifier: Apache-2.0
"""When the codebook is fitted, and on which frames."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from voxadapt.recipes import codebook_refits
from voxadapt.recipes.codebook_refits import refit_codebook, sample_frames
from voxadapt.recipes.command_line import UsageError
from voxadapt.recipes.pretraining_state import PretrainingRun

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


def test_without_the_objective_nothing_is_fitted(make_run: Make) -> None:
    run = make_run(**{"objectives.local_attributes": 0.0})
    refit_codebook(run, 0.0)
    assert run.progress.fits == 0
    assert run.progress.log == []


def test_too_little_audio_says_what_to_change(make_run: Make) -> None:
    run = make_run([2, 3], **{"objectives.attributes": 8})
    with pytest.raises(UsageError, match=r"attributes: found 8, but there are 5 frames"):
        refit_codebook(run, 0.0)
