# SPDX-License-Identifier: Apache-2.0
"""From cells to runs of the recipes: manifests, command lines, folders, and how long they take."""

import argparse
import dataclasses
import hashlib
import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from adapter_gain_cells import CORPORA, PROTOCOLS, VARIANTS, Cell, Pretraining
from adapter_gain_splits import (
    Parts,
    cut_labels,
    divide,
    manifest_rows,
    parts_share_speakers,
    write_manifest,
)
from adapter_gain_worker import Task

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import clip_seconds
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.running.command_line import parse

# What does not change what a run computes, or is part of its digest by its content.
NOT_DIGESTED = ("data", "features", "out", "resume", "adapter", "seed", "allow_outside")
# Seconds of audio, times passes over it, that one thread gets through in a second, before there are
# runs to tell; and seconds that any run takes.
FIRST_RATES = {"pretraining": 25.0, "adapter": 170.0, "none": 5000.0}
START_SECONDS = 4.0


class Plan:
    """Turns cells into tasks.

    Args:
        options: The benchmark's.

    Raises:
        ValueError: The adapter that is pretrained has another size than the random one.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.runs: Path = options.runs.resolve()
        self.features = self.runs / "features"
        self.manifests = {
            name: (options.corpora / name / f"{name}.csv").resolve() for name in CORPORA
        }
        common = ["--precision", options.precision]
        self.finetune_options = ["--pool", "sap", *common, *epochs(options.epochs)]
        self.finetune_options += shlex.split(options.finetune)
        self.pretrain_options = [*common, *epochs(options.pretrain_epochs)]
        self.pretrain_options += shlex.split(options.pretrain)
        self._clips: dict[str, list[Clip]] = {}
        self._parts: dict[tuple[str, int | None, int], Parts] = {}
        self._rows: dict[tuple[str, int | None, int, int], list[dict[str, str]]] = {}
        self._pretrain_configs: dict[str, PretrainOptions] = {}
        self.finetune_config = parse(FinetuneOptions, self.finetune_options, prog="--finetune")
        self._check_sizes()

    def _check_sizes(self) -> None:
        pretrained = dataclasses.asdict(self.pretrain_config("full").adapter)
        random = dataclasses.asdict(self.finetune_config.size)
        # Dropout in fine-tuning is an option of its own, for both.
        names = [name for name in random if name != "dropout" and random[name] != pretrained[name]]
        if names:
            differences = ", ".join(
                f"{name} is {pretrained[name]} and {random[name]}" for name in names
            )
            raise ValueError(
                f"the adapter that is pretrained differs from the random one: {differences}. Give "
                "--adapter.… in --pretrain and --size.… in --finetune the same value"
            )

    def pretrain_config(self, variant: str) -> PretrainOptions:
        """The options of pretraining, resolved."""
        if variant not in self._pretrain_configs:
            argv = [*self.pretrain_options, *VARIANTS[variant]]
            self._pretrain_configs[variant] = parse(PretrainOptions, argv, prog="--pretrain")
        return self._pretrain_configs[variant]

    def clips(self, corpus: str) -> list[Clip]:
        """The clips of a corpus."""
        if corpus not in self._clips:
            self._clips[corpus] = read_manifest(self.manifests[corpus], require_label=True).clips
        return self._clips[corpus]

    def labelled(self, protocol: str) -> list[Clip]:
        """The clips of a protocol's corpus, with what is to be told apart as their label."""
        chosen = PROTOCOLS[protocol]
        clips = self.clips(chosen.corpus)
        if chosen.voices:
            return [dataclasses.replace(clip, label=clip.speaker) for clip in clips]
        return clips

    def parts(self, cell: Cell, share: int) -> Parts:
        """Train, validation and test part of a cell, with a share of its labels."""
        clips = self.labelled(cell.protocol)
        key = (cell.protocol, cell.fold, cell.seed)
        if key not in self._parts:
            protocol = PROTOCOLS[cell.protocol]
            self._parts[key] = divide(clips, protocol, cell.fold, cell.seed)
        return cut_labels(clips, self._parts[key], share, cell.seed)

    def rows(self, cell: Cell, share: int) -> list[dict[str, str]]:
        """Rows of a cell's manifest."""
        key = (cell.protocol, cell.fold, cell.seed, share)
        if key not in self._rows:
            clips = self.labelled(cell.protocol)
            self._rows[key] = manifest_rows(clips, self.parts(cell, share))
        return self._rows[key]

    def manifest(self, cell: Cell, share: int) -> Path:
        """Path of the manifest of a cell's parts."""
        fold = "" if cell.fold is None else f"fold-{cell.fold}-"
        name = f"{fold}seed-{cell.seed}-{share:03}-{digest(self.rows(cell, share))}.csv"
        return self.runs / "manifests" / cell.protocol / name

    def write_manifests(self, cells: Iterable[Cell]) -> None:
        """Write the manifests of cells, and of their whole validation parts."""
        for cell in cells:
            for share in {cell.share, 100}:
                write_manifest(self.manifest(cell, share), self.rows(cell, share))

    def pretraining_digest(self, pretraining: Pretraining) -> str:
        """What names a pretraining run: its options with all defaults, its clips, its seed."""
        config = comparable(self.pretrain_config(pretraining.variant))
        ids = [[clip.id for clip in self.clips(corpus)] for corpus in pretraining.corpora]
        return digest([config, pretraining.corpora, ids, pretraining.seed])

    def pretraining_task(self, pretraining: Pretraining) -> Task:
        """The run that pretrains an adapter."""
        out = self.pretraining_folder(pretraining)
        seconds = sum(
            seconds_of(clip) for corpus in pretraining.corpora for clip in self.clips(corpus)
        )
        argv = [*self.pretrain_options, *VARIANTS[pretraining.variant]]
        argv += ["--data", *(str(self.manifests[corpus]) for corpus in pretraining.corpora)]
        argv += ["--seed", str(pretraining.seed)]
        about = {
            "pretraining": pretraining.name,
            "kind": "pretraining",
            "work": seconds * self.pretrain_config(pretraining.variant).epochs,
        }
        return self._task("pretrain_adapter", f"pretrain/{pretraining.name}", argv, out, about)

    def pretraining_folder(self, pretraining: Pretraining) -> Path:
        """Folder of a pretraining run."""
        name = f"{pretraining.name}-{self.pretraining_digest(pretraining)}"
        return self.runs / "pretrain" / name

    def cell_task(self, cell: Cell) -> Task:
        """The run that fine-tunes, selects and tests."""
        clips, parts = self.labelled(cell.protocol), self.parts(cell, cell.share)
        pretraining = cell.pretraining
        adapter, adapter_digest = cell.adapter, cell.adapter
        if pretraining is not None:
            adapter = str(self.pretraining_folder(pretraining))
            adapter_digest = self.pretraining_digest(pretraining)
        content = [
            {name: row[name] for name in row if name != "path"}
            for row in self.rows(cell, cell.share)
        ]
        name = digest([comparable(self.finetune_config), content, cell.seed, adapter_digest])
        argv = ["--data", str(self.manifest(cell, cell.share)), "--allow-outside"]
        argv += [*self.finetune_options, "--adapter", adapter, "--seed", str(cell.seed)]
        if parts_share_speakers(clips, parts):
            # For folds, `divide` has seen to it that only validation may share speakers with train.
            argv += ["--allow-speaker-overlap"]
        seconds = sum(seconds_of(clips[index]) for index in parts["train"])
        about = {
            **dataclasses.asdict(cell),
            "kind": "none" if cell.adapter == "none" else "adapter",
            "work": seconds * self.finetune_config.epochs,
        }
        out = self.runs / "finetune" / f"{cell.name}-{name}"
        task = self._task("finetune", cell.name, argv, out, about)
        return task | {"valid": str(self.manifest(cell, 100))}

    def _task(self, recipe: str, name: str, argv: list[str], out: Path, about: dict) -> Task:
        places = ["--features", str(self.features), "--out", str(out), "--resume"]
        return {
            "recipe": recipe,
            "name": name,
            "argv": [*argv, *places],
            "out": str(out),
            "result": f"{out}.json",
            "log": f"{out}.log",
            "about": about,
            "features": str(self.features),
            "precision": self.finetune_config.precision,
            "keep": self.options.keep_models,
        }


def epochs(number: int | None) -> list[str]:
    """The option for a number of epochs; none where the recipe's default is meant."""
    return [] if number is None else ["--epochs", str(number)]


def comparable(config: Any) -> dict[str, Any]:
    """Options that change what a run computes, with their defaults."""
    return {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in NOT_DIGESTED
    }


def digest(content: Any) -> str:
    """Eight hexadecimal digits of something JSON-able."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def seconds_of(clip: Clip) -> float:
    """Length of a clip: as its manifest's column `seconds` says, else as the file's header does."""
    text = clip.columns.get("seconds")
    return float(text) if text else _header_seconds(str(clip.path), clip.start, clip.end)


@cache
def _header_seconds(path: str, start: float | None, end: float | None) -> float:
    return clip_seconds(Clip(id=path, path=Path(path), start=start, end=end))


def read_result(task: Task) -> dict[str, Any] | None:
    """The result of a run that has finished, else None."""
    path = Path(task["result"])
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def estimate_seconds(tasks: Iterable[Task], results: Sequence[dict[str, Any]]) -> float:
    """Seconds that runs will take one after another, by what the finished ones of a kind took.

    Args:
        tasks: Those to come.
        results: Those that have finished.
    """
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for result in results:
        if result["status"] == "finished" and not result["resumed"]:
            spent[result["kind"]][0] += result["work"]
            spent[result["kind"]][1] += max(0.0, result["seconds"] - START_SECONDS)
    total = 0.0
    for task in tasks:
        kind, work = task["about"]["kind"], task["about"]["work"]
        done, took = spent.get(kind, (0.0, 0.0))
        total += START_SECONDS + (work * took / done if done else work / FIRST_RATES[kind])
    return total
