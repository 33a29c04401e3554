# SPDX-License-Identifier: Apache-2.0
"""Which layer of an encoder serves best, and with which pooler: UA by layer, for any corpus.

    python recipes/sweep_layers.py --backbone openai/whisper-tiny --data corpus.csv --seeds 3

The study of Shendabadi et al. 2026 (arXiv 2602.06000) for any encoder: one pass over the audio for
all layers, then a fine-tuning of each layer with each pooler.
"""

import dataclasses
import functools
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm

from voxadapt.adapters.written_aside import write_aside
from voxadapt.backbones import Backbone
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.feature_cache import open_folder
from voxadapt.recipes.finetuning.label_columns import check_label_columns
from voxadapt.recipes.finetuning.model_building import pooler_options
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.finetuning.run_plan import check_splits, plan_runs
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.folder_lock import leaving
from voxadapt.recipes.running.prepare import BAD_AUDIO_FILE, build_backbone, prepare_features
from voxadapt.recipes.running.process_group import join_processes
from voxadapt.recipes.running.run_folder import check_out, claim_out, write_json
from voxadapt.recipes.scoring.other_corpora import read_labelled
from voxadapt.recipes.sweeping.layer_caches import fill_layer_caches
from voxadapt.recipes.sweeping.options import Cell, SweepOptions, finetune_options, plan_cells
from voxadapt.recipes.sweeping.pool import LOG_FOLDER, run_cells
from voxadapt.recipes.sweeping.report import build_sweep_report
from voxadapt.recipes.sweeping.table import as_csv, as_json, as_text, read_cell
from voxadapt.recipes.sweeping.worker import drop_models

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the recipe and return what stands in ``sweep.json``."""
    options = parse(SweepOptions, argv, prog="sweep_layers.py", page=__doc__)
    config = dataclasses.asdict(options)
    out = check_out(options.out, "sweep_layers", config, resume=options.resume)
    with leaving(out):
        return sweep(options, config, out)


def sweep(options: SweepOptions, config: dict[str, Any], out: Path) -> dict[str, Any]:
    """Run the recipe with a folder that is checked already; returns what `main` does."""
    accelerator = join_processes(options.precision)
    if accelerator.num_processes > 1:
        raise UsageError(
            f"sweep_layers: {accelerator.num_processes} processes were launched; launch one, which "
            "starts workers by --jobs"
        )
    clips = check_label_columns(read_labelled(options, accelerator)[0], options)
    for pool in options.pools:
        pooler_options(finetune_options(options, Cell("last", pool, out)))
    check_splits(clips, options, plan_runs(clips, options, out))
    claim = functools.partial(claim_out, out, "sweep_layers", config)
    layers = prepare_layers(clips, options, accelerator, claim)
    cells = plan_cells(options, layers, out)
    left = [cell for cell in cells if read_cell(cell) is None]
    logger.info("%d runs, %d of them finished", len(cells), len(cells) - len(left))
    for cell in cells:
        if cell not in left and not options.keep_models:
            drop_models(cell.folder)  # of a worker that was killed before it did
    wrong = run_cells(left, options, out) if left else {}
    summary = write_results(cells, options, out)
    if wrong:
        told = "".join(f"\n  - {title}: {why}" for title, why in wrong.items())
        raise UsageError(
            f"{len(wrong)} of {len(cells)} runs failed; the others are finished, and logs are in "
            f"{out / LOG_FOLDER}. The same command with --resume runs only what is left:{told}"
        )
    return summary


def prepare_layers(
    clips: list[Clip],
    options: SweepOptions,
    accelerator: Accelerator,
    claim: Callable[[], None],
) -> list[int]:
    """Fill the caches of the layers to try; returns them.

    Args:
        clips: The clips.
        options: The options of the sweep.
        accelerator: The process group, of this process alone.
        claim: Takes the sweep's folder; called once all that can be wrong with the options is
            known, and before the list of bad audio is written there.

    Raises:
        UsageError: The encoder has no such layer.
        BackboneError: It cannot be had.
    """
    whole = load_layer(options, "weighted")
    depth = whole.spec.layer_outputs - 1
    layers = sorted(options.layers or range(depth + 1))
    if layers[-1] > depth:
        raise UsageError(
            f"--layers: found {layers[-1]}, but {whole.spec.name} has the layers 0 (the input of "
            f"the first) to {depth}"
        )
    claim()
    logger.info("layers %s of %s", ", ".join(map(str, layers)), whole.spec.name)
    features = Path(options.features)
    # One at a time: all of them would be as many encoders in memory.
    folders = {
        layer: open_folder(features, load_layer(options, layer))
        for layer in tqdm(layers, desc="reading the encoder", delay=3, file=sys.stderr)
    }
    device, keep = accelerator.device, options.weighted
    fill_layer_caches(clips, whole, folders, features, device=device, keep_whole=keep)
    del whole
    # Bad audio is told here, once, and not by each run.
    first = load_layer(options, layers[0])
    listing = Path(options.out) / BAD_AUDIO_FILE
    prepare_features(clips, first, options, accelerator, listing)
    return layers


def load_layer(options: SweepOptions, layer: int | str) -> Backbone:
    """The encoder with one of its layers, or all side by side, as the runs load it."""
    return build_backbone(dataclasses.replace(as_finetune(options), layer=layer))


def as_finetune(options: SweepOptions) -> FinetuneOptions:
    """The options that a sweep and its runs have in common."""
    return finetune_options(options, Cell("last", options.pools[0], Path(options.out)))


def write_results(cells: Sequence[Cell], options: SweepOptions, out: Path) -> dict[str, Any]:
    """Write table and page of what is finished, and print the table; returns ``sweep.json``."""
    results = [result for result in map(read_cell, cells) if result is not None]
    if not results:
        return {}
    summary = as_json(results, out)
    write_json(out / "sweep.json", summary)
    table = as_csv(results).encode()
    write_aside(out / "sweep.csv", table)
    page = build_sweep_report(results, options, out).encode()
    write_aside(out / "report.html", page)
    print(as_text(results))
    logger.info("table %s, curve %s", out / "sweep.csv", out / "report.html")
    return summary


if __name__ == "__main__":
    leave(run_command(main))
