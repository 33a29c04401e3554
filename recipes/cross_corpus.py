# SPDX-License-Identifier: Apache-2.0
"""Train on each of several corpora and test on all of them: a matrix of unweighted accuracy.

    python recipes/cross_corpus.py --data a.csv b.csv c.csv --label-map labels.yaml --out runs/cross

Corpora with the same label names need no ``--label-map``. All options of ``finetune`` hold for each
training; what a corpus is tested on in its own row is its own test part.
"""

import dataclasses
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.finetune import run_finetune
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.folder_lock import leaving
from voxadapt.recipes.running.process_group import join_processes
from voxadapt.recipes.running.run_folder import check_out, claim_out, versions, write_json
from voxadapt.recipes.scoring.corpus_names import name_corpora
from voxadapt.recipes.scoring.cross_corpus_output import draw_matrix, matrix_table, write_matrix
from voxadapt.recipes.scoring.label_map import read_label_map
from voxadapt.recipes.scoring.metrics import SCORES

logger = logging.getLogger(__name__)


@dataclass
class CrossCorpusOptions(FinetuneOptions):
    """Train on each of several corpora and test on all of them.

    Every corpus is trained on as `finetune` does, by its own protocol, and its model is tested on
    the other corpora, once: rows of the matrix are what was trained on, columns what was tested on.

    Args:
        data: Manifests (CSV or JSONL) or folders with one sub-folder per class, two or more.
        out: Folder for matrix.json, matrix.csv and matrix.png, and for each corpus's run.
        label_map: YAML file with a section for each corpus that needs one: `their label: common
            label` a line, `null` to leave its clips out. Lines outside of sections hold for all.
        shared_labels: Learn and test only the labels that all corpora have; clips of the others are
            left out, counted and listed. Otherwise a label that one corpus lacks is an error.
    """

    one_manifest: ClassVar[bool] = False

    out: str = "runs/cross_corpus"
    shared_labels: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.data) < 2:
            raise ValueError(f"--data: found {len(self.data)} manifests, must be two or more")
        if self.test_data:
            raise ValueError("--test-data: every corpus of --data is tested on; leave it out")
        if self.task != "classification" or "," in self.label:
            raise ValueError("--task, --label: must be classification of one label column")


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Run the recipe and return the matrix."""
    options = parse(CrossCorpusOptions, argv, prog="cross_corpus.py", page=__doc__)
    config = dataclasses.asdict(options)
    out = check_out(options.out, "cross_corpus", config, resume=options.resume)
    with leaving(out):
        return run_matrix(options, config, out)


def run_matrix(
    options: CrossCorpusOptions, config: dict[str, Any], out: Path
) -> dict[str, Any] | None:
    """Run the recipe with a folder that is checked already; returns the matrix."""
    accelerator = join_processes(options.precision)
    names = name_corpora(options.data)
    label_map, left_out = common_labels(options, names)
    if accelerator.is_main_process:
        claim_out(out, "cross_corpus", config)
        write_json(out / "label_map.json", label_map)
    accelerator.wait_for_everyone()
    rows = []
    folders = folders_of(names, out)
    for number, name in enumerate(names):
        logger.info("corpus %d of %d: training on %s", number + 1, len(names), name)
        metrics = run_finetune(options_of(options, number, folders[number]))
        if metrics is None:
            return None
        rows.append(row_of(name, names, metrics))
    result = {
        "corpora": [
            {"name": name, "data": source, "left_out_labels": left_out[name]}
            for name, source in zip(names, options.data, strict=True)
        ],
        "labels": rows[0]["labels"],
        "rows": rows,
        "config": config,
        "versions": versions(),
    }
    if accelerator.is_main_process:
        write_json(out / "matrix.json", result)
        write_matrix(result, out / "matrix.csv")
        draw_matrix(result, out / "matrix.png")
        print(matrix_table(result))
        logger.info(
            "matrix %s, %s, %s", *(out / f"matrix.{kind}" for kind in ("json", "csv", "png"))
        )
    return result


def common_labels(
    options: CrossCorpusOptions, names: Sequence[str]
) -> tuple[dict[str, dict[str, str | None]], dict[str, dict[str, int]]]:
    """Settle what each label of each corpus is called in the matrix, or that it is left out.

    Returns:
        By corpus: the common label or None by the corpus's own; and the clips left out by label.

    Raises:
        DataError: A manifest cannot be read.
        UsageError: A label is not in all corpora, or fewer than two are.
    """
    label_map = read_label_map(options.label_map)
    label_map.check_corpora(names)
    counts = {}
    for name, source in zip(names, options.data, strict=True):
        clips = read_manifest(
            source,
            label=options.label,
            require_label=True,
            allow_outside=options.allow_outside,
        ).clips
        labels = [str(clip.label) for clip in clips]
        counts[name] = {label: labels.count(label) for label in sorted(set(labels))}
        label_map.check_section(name, counts[name])
    label_map.check_lines({label for found in counts.values() for label in found})
    lines = {
        name: {theirs: label_map.of_corpus(name).get(theirs, theirs) for theirs in found}
        for name, found in counts.items()
    }
    common = {name: {ours for ours in found.values() if ours} for name, found in lines.items()}
    shared = set.intersection(*common.values())
    if not options.shared_labels:
        refuse_unshared(common, shared)
    if len(shared) < 2:
        told = "; ".join(f"{name}: {', '.join(sorted(found))}" for name, found in common.items())
        raise UsageError(
            f"--data: the corpora share {len(shared)} labels, and two or more are needed ({told}). "
            "Say by --label-map which labels mean the same"
        )
    for found in lines.values():
        found.update({theirs: None for theirs, ours in found.items() if ours not in shared})
    left_out = {
        name: {theirs: counts[name][theirs] for theirs, ours in found.items() if ours is None}
        for name, found in lines.items()
    }
    return lines, left_out


def refuse_unshared(common: dict[str, set[str]], shared: set[str]) -> None:
    """Refuse labels that some corpora lack.

    Raises:
        UsageError: There are such labels.
    """
    alone = {name: sorted(found - shared) for name, found in common.items() if found - shared}
    if alone:
        told = "; ".join(f"{name}: {', '.join(found)}" for name, found in alone.items())
        raise UsageError(
            f"--data: some labels are not in all corpora ({told}). Say by --label-map which mean "
            "the same, map them to null, or add --shared-labels to leave them out"
        )


def folders_of(names: Sequence[str], out: Path) -> list[Path]:
    """Where the training on each corpus writes: its name, as any file system takes it."""
    found: list[str] = []
    for name in names:
        safe = re.sub(r"[^\w.-]", "_", name)
        # Names that differ only in such a letter are told apart by their number.
        found.append(f"{safe}-{len(found) + 1}" if safe in found else safe)
    return [out / folder for folder in found]


def options_of(options: CrossCorpusOptions, number: int, folder: Path) -> FinetuneOptions:
    """Options of the training on one corpus.

    A folder that is not there yet is no matter to ``--resume``: to look for it here would give each
    process another answer, while the first of them makes it.
    """
    fields = [field.name for field in dataclasses.fields(FinetuneOptions)]
    values = {field: getattr(options, field) for field in fields}
    values |= {
        "data": [options.data[number]],
        "test_data": [source for place, source in enumerate(options.data) if place != number],
        "label_map": str(folder.parent / "label_map.json"),  # JSON is YAML
        "out": str(folder),
    }
    return FinetuneOptions(**values)


def row_of(name: str, names: Sequence[str], metrics: dict[str, Any]) -> dict[str, Any]:
    """One row of the matrix: a training, and its scores on every corpus, in their order."""
    others = {entry["name"]: entry for entry in metrics["cross_corpus"]}
    cells = []
    for column in names:
        found = metrics if column == name else others[column]
        cells.append(
            {
                "test": column,
                "n": found["n"],
                **{score: found[score] for score in reversed(SCORES)},
                "std": found.get("std"),
                "ci95": found.get("ci95"),
                "per_class_recall": found["per_class_recall"],
            }
        )
    kept = ("labels", "protocol", "protocol_name", "speaker_overlap", "notes", "parameters_trained")
    return {"train": name, **{key: metrics[key] for key in kept}, "cells": cells}


if __name__ == "__main__":
    leave(run_command(main))
