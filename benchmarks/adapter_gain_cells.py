# SPDX-License-Identifier: Apache-2.0
"""What `adapter_gain.py` compares: each cell is one fine-tuning run on one part of a corpus."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CORPORA = ("urdu", "fsdd", "baved")
FOLDS = 5
SHARES = (100, 25, 10)
"""Percent of the labels that a run is given."""

FULL = "full"


@dataclass(frozen=True)
class Protocol:
    """How a corpus is divided.

    Attributes:
        corpus: Its folder's name.
        folds: Whether it is cut into `FOLDS` folds by speaker; otherwise its own split is taken,
            although the parts share speakers; drawn by the seed where there is none.
        crossed: Whether every seed runs on every fold; otherwise seed s tests fold s modulo their
            number, so that as many seeds as folds test each clip once.
        voices: Whether the speaker is the label.
        nested: Whether the folds are inner ones, to choose options by: each fold is left out in
            turn, the rest is cut into `FOLDS` folds by speaker, and inner fold i without fold o has
            the number ``FOLDS * o + i``. The clips of fold o are in no part.
    """

    corpus: str
    folds: bool
    crossed: bool = False
    voices: bool = False
    nested: bool = False

    @property
    def fold_count(self) -> int:
        """Folds to test."""
        return FOLDS * FOLDS if self.nested else FOLDS


PROTOCOLS = {
    "urdu-official": Protocol("urdu", folds=False),
    "urdu-folds": Protocol("urdu", folds=True, crossed=True),
    "urdu-nested": Protocol("urdu", folds=True, crossed=True, nested=True),
    "baved-folds": Protocol("baved", folds=True),
    "fsdd-folds": Protocol("fsdd", folds=True),
    "baved-voices": Protocol("baved", folds=False, voices=True),
}
DEFAULT_PROTOCOLS = ("urdu-official", "urdu-folds", "baved-folds")

BASELINES: dict[str, str | None] = {
    "none": None,
    "random": "none",
    "heard": "random",
    "unheard": "random",
}
"""Kinds of adapters, and what each is compared with.

`heard` was pretrained on the audio of all corpora, `unheard` on that of all but the one it is
fine-tuned on.
"""
PRETRAINED = ("heard", "unheard")

VARIANTS: dict[str, tuple[str, ...]] = {
    FULL: (),
    "no-mask-prediction": ("--objectives.mask_prediction=0",),
    "no-self-distillation": (
        "--objectives.frame_distillation=0",
        "--objectives.utterance_distillation=0",
    ),
    "no-frame-distillation": ("--objectives.frame_distillation=0",),
    "no-utterance-distillation": ("--objectives.utterance_distillation=0",),
    "no-local-attributes": ("--objectives.local_attributes=0",),
    "no-reconstruction": ("--objectives.reconstruction=0",),
    "no-denoising": ("--objectives.denoising=0",),
    "no-frame-augmentation": (
        "--frame_augment.level=0",
        "--frame_augment.channel=0",
        "--frame_augment.warp=0",
        "--frame_augment.noise=0",
        "--masking.feature_masks=0",
    ),
    # The first fit clusters the input frames; without another one, attributes stay those of input.
    "input-attributes": ("--codebook.refit_at=[0.0]",),
    # The teacher is the student as it was one step before.
    "no-ema": ("--optimizer.ema_start=0", "--optimizer.ema_end=0"),
}
"""Options of `pretrain_adapter` for the full method, and for each ablation."""


@dataclass(frozen=True)
class Pretraining:
    """A pretraining run; all cells that need the same share it.

    Attributes:
        corpora: Whose audio it hears.
        variant: One of `VARIANTS`.
        seed: Its seed.
    """

    corpora: tuple[str, ...]
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """Name for files and people."""
        return f"{'+'.join(self.corpora)}-{self.variant}-seed-{self.seed}"


@dataclass(frozen=True)
class Cell:
    """One fine-tuning run.

    Attributes:
        protocol: One of `PROTOCOLS`.
        share: Percent of the labels of the training and validation part that it is given.
        adapter: One of `BASELINES`.
        variant: One of `VARIANTS`, for an adapter that is pretrained.
        fold: The fold that is tested; None for the corpus's own split.
        seed: Its seed: of the validation part, the share, and all that is random in training.
        pretrain_seed: The seed of the pretraining run.
    """

    protocol: str
    share: int
    adapter: str
    variant: str
    fold: int | None
    seed: int
    pretrain_seed: int = 0

    @property
    def group(self) -> tuple[str, int, str, str]:
        """What the runs of one row of the table have in common."""
        return (self.protocol, self.share, self.adapter, self.variant)

    @property
    def pair(self) -> tuple[int | None, int]:
        """What paired runs of two rows have in common: data, split, share, first weights."""
        return (self.fold, self.seed)

    @property
    def words(self) -> set[str]:
        """What `--only` can call it by."""
        names = {self.protocol, f"{self.share}%", self.adapter, self.variant, f"seed={self.seed}"}
        return names if self.fold is None else {*names, f"fold={self.fold}"}

    @property
    def name(self) -> str:
        """Name for files and people."""
        kind = self.adapter if self.variant == FULL else f"{self.adapter}-{self.variant}"
        fold = "" if self.fold is None else f"fold-{self.fold}-"
        return f"{self.protocol}/{self.share:03}/{kind}/{fold}seed-{self.seed}"

    @property
    def pretraining(self) -> Pretraining | None:
        """The pretraining run that its adapter comes from; None where it is not pretrained."""
        if self.adapter not in PRETRAINED:
            return None
        target = PROTOCOLS[self.protocol].corpus if self.adapter == "unheard" else None
        corpora = tuple(corpus for corpus in CORPORA if corpus != target)
        return Pretraining(corpora, self.variant, self.pretrain_seed)


def list_cells(
    protocols: Iterable[str] = DEFAULT_PROTOCOLS,
    *,
    seeds: int = 5,
    shares: Sequence[int] = SHARES,
    ablation_shares: Sequence[int] = (10,),
    rotate: bool = False,
    pretrain_seeds: int = 1,
) -> list[Cell]:
    """All cells, the main ones before the ablations, cheap ones (few labels) first.

    Args:
        protocols: Names of `PROTOCOLS`.
        seeds: Runs of each row, on each fold where folds are crossed with seeds.
        shares: Percents of the labels.
        ablation_shares: Those of them at which the ablations are run, on the heard adapter.
        rotate: Cross no folds with seeds: seed s tests fold s modulo their number everywhere.
        pretrain_seeds: Pretraining runs of each kind; fine-tuning seed s takes that of seed s mod
            this number.
    """
    kinds = [(adapter, FULL) for adapter in BASELINES]
    ablations = [("heard", variant) for variant in VARIANTS if variant != FULL]
    cells = []
    for chosen, chosen_shares in ((kinds, shares), (ablations, ablation_shares)):
        for share in sorted(set(chosen_shares)):
            for name in protocols:
                for fold, seed in plan_runs(PROTOCOLS[name], seeds, rotate):
                    for adapter, variant in chosen:
                        pretrain_seed = seed % pretrain_seeds if adapter in PRETRAINED else 0
                        cells.append(Cell(name, share, adapter, variant, fold, seed, pretrain_seed))
    return cells


def plan_runs(protocol: Protocol, seeds: int, rotate: bool) -> list[tuple[int | None, int]]:
    """Pairs of fold and seed to run."""
    if not protocol.folds:
        return [(None, seed) for seed in range(seeds)]
    count = protocol.fold_count
    if protocol.crossed and not rotate:
        return [(fold, seed) for seed in range(seeds) for fold in range(count)]
    return [(seed % count, seed) for seed in range(seeds)]


def choose_cells(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells that all words name, and those that they are compared with.

    Args:
        cells: All cells.
        only: Words such as `urdu-folds`, `10%`, `heard`, `full`, `no-ema`, `fold=2`, `seed=0`;
            alternatives with commas between them.

    Raises:
        ValueError: A word names no cell, or no cell has all of them.
    """
    known = set().union(*(cell.words for cell in cells))
    groups = [set(word.split(",")) for word in only]
    unknown = sorted(set().union(*groups) - known)
    if unknown:
        raise ValueError(f"--only: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    chosen = {cell for cell in cells if all(group & cell.words for group in groups)}
    if not chosen:
        raise ValueError(f"--only: no cell is all of {' '.join(only)}")
    baselines = (baseline_of(cell) for cell in chosen)
    wanted = chosen | {cell for cell in baselines if cell is not None}
    # At a share where only ablations run, their baseline is not in the list: it is added.
    kept = [cell for cell in cells if cell in wanted]
    return kept + sorted(wanted - set(kept), key=lambda cell: cell.name)


def baseline_of(cell: Cell) -> Cell | None:
    """The cell that a cell is compared with: same data, split, share and seed."""
    if cell.variant != FULL:
        return dataclasses.replace(cell, variant=FULL)
    adapter = BASELINES[cell.adapter]
    return None if adapter is None else dataclasses.replace(cell, adapter=adapter, pretrain_seed=0)
