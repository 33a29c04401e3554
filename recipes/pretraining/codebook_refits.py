# SPDX-License-Identifier: Apache-2.0
"""Fits of the codebook of local attributes during pretraining."""

from typing import Literal

import torch
from accelerate.utils import broadcast
from torch import Tensor

from voxadapt.adapters import fit_codebook
from voxadapt.adapters.pretraining import clusterable
from voxadapt.recipes.corpora.batching import plan_batches
from voxadapt.recipes.corpora.seeding import stable_seed
from voxadapt.recipes.pretraining.state import NotFiniteError, PretrainingRun
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.frame_batches import load_batch


def refit_codebook(run: PretrainingRun, share: float) -> dict[str, float]:
    """Fit the codebook where its time has come: first on input frames, later on the teacher's.

    The main process fits, the others receive. A refit starts from the last centroids of the same
    kind of frames, so that ids keep their meaning.

    Args:
        run: The run.
        share: Share of the run that is done, 0 to 1.

    Returns:
        What is logged of the fit, on the main process; nothing where none was made.

    Raises:
        UsageError: There are fewer frames than attributes.
    """
    options, progress = run.options, run.progress
    times = options.codebook.refit_at
    if not options.objectives.local_attributes or progress.fits >= len(times):
        return {}
    if share < times[progress.fits]:
        return {}
    entry: dict[str, float] = {}
    from_teacher = progress.fits > 0
    pretrainer = run.pretrainer
    codebook = pretrainer.teacher_codebook if from_teacher else pretrainer.input_codebook
    if run.accelerator.is_main_process:
        frames, attributes = sample_frames(run), options.objectives.attributes
        if not len(frames):
            raise UsageError(
                "none of the clips drawn for the codebook can be read any more. "
                f"{run.way_back()}; bring them back and go on with --resume"
            )
        if len(frames) < attributes:
            drawn = len(frames) >= options.codebook.sample_frames
            more = "raise --codebook.sample_frames" if drawn else "give more audio"
            begun = (
                f"{run.way_back()}: for other options, give another --out or remove {run.out}"
                if progress.step or options.resume
                else "Nothing has been trained yet: --out may stay, with other options too"
            )
            raise UsageError(
                f"--objectives.attributes: found {attributes}, but there are {len(frames)} frames "
                f"to cluster; give fewer attributes, or {more}. {begun}"
            )
        backend = choose_backend(options.codebook.backend, run.accelerator.device)
        fit = fit_codebook(
            frames.to(run.accelerator.device) if backend == "torch" else frames,
            attributes,
            seed=stable_seed(options.seed, "codebook", progress.fits),
            initial=codebook.centroids if progress.fits > 1 else None,
            iterations=options.codebook.iterations,
            backend=backend,
        )
        codebook.centroids.copy_(fit.centroids)
        entry = {
            "codebook_inertia": fit.inertia,
            "codebook_perplexity": fit.perplexity,
            "codebook_reseeded": float(fit.reseeded),
        }
        if fit.kept is not None:
            entry["codebook_kept_ids"] = fit.kept
        progress.log.append({"step": float(progress.step), **entry})
    codebook.centroids.copy_(broadcast(codebook.centroids))
    pretrainer.attributes_from_teacher.fill_(from_teacher)
    progress.fits += 1
    return entry


def choose_backend(
    asked: Literal["faiss", "torch", "auto"], device: torch.device
) -> Literal["faiss", "torch"]:
    """What runs k-means: ``auto`` is torch on a GPU, and on a CPU where torch has oneDNN."""
    if asked != "auto":
        return asked
    return "torch" if device.type != "cpu" or torch.backends.mkldnn.is_available() else "faiss"


@torch.no_grad()
def sample_frames(run: PretrainingRun) -> Tensor:
    """Frames ``[N, D]`` of a seeded sample of clips, of the kind that the next fit clusters.

    Raises:
        NotFiniteError: A frame is not finite; naming the clips.
    """
    options, store, fits = run.options, run.corpus.store, run.progress.fits
    adapter = run.pretrainer.teacher.adapter
    generator = torch.Generator().manual_seed(stable_seed(options.seed, "sample", fits))
    order = torch.randperm(len(run.corpus.clips), generator=generator).numpy()
    enough = int((store.lengths[order].cumsum() < options.codebook.sample_frames).sum()) + 1
    chosen = order[:enough]
    parts = []
    for batch in plan_batches(store.lengths[chosen], run.budget, seed=None):
        rows = [int(chosen[row]) for row in batch]
        loaded = run.on_common_scale(load_batch(store, rows, device=run.accelerator.device))
        if fits == 0:
            frames = adapter.standardize(loaded.frames, loaded.padding_mask)
        else:
            frames = clusterable(adapter(loaded.frames, loaded.padding_mask))
        # A clip that could not be read stands there as a frame of zeros, with no weight.
        heard = ~loaded.padding_mask & (loaded.clip_weights > 0).unsqueeze(1)
        parts.append(frames[heard].cpu())
        if not bool(torch.isfinite(parts[-1]).all()):
            raise NotFiniteError(
                f"a frame that the codebook is to be fitted to is not finite at step "
                f"{run.progress.step}, in {run.name_clips(rows)}. {run.way_back()}"
            )
    return torch.cat(parts)
