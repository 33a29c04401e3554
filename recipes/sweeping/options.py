# SPDX-License-Identifier: Apache-2.0
"""Options of ``sweep_layers``."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from voxadapt.recipes.finetuning.options import FinetuneOptions, tuning_of
from voxadapt.recipes.running.options import require

POOLS = ("mean", "sap", "attentive", "qkv")
SWEEP_OUT = "runs/sweep_layers"


@dataclass
class SweepOptions(FinetuneOptions):
    """Fine-tune each layer of an encoder with each pooler, and draw UA by layer.

    The encoder runs once over the corpus and fills the caches of all layers; then each layer with
    each pooler is one `finetune` with the same options, whose folder holds all that a run's does
    but the model. Everything that `finetune` takes can be given, except --layer and --pool. Started
    again with --resume, it goes on with what is not finished.

    Args:
        layers: Layers to try, 0 being the input of the first; left out, all of them.
        pools: Poolers to try: `mean`, `sap`, `attentive`, `qkv`.
        weighted: Try a learnt sum over all layers as well (`finetune --layer weighted`). All layers
            then stay in the cache a second time.
        keep_models: Keep the trained models, which are large in sum.
        layer: Not for a sweep; see --layers.
        pool: Not for a sweep; see --pools.
        adapter: A pretraining run's folder (or a hub id), `random`, `bottleneck` or `none`. A
            pretrained adapter fits the layer only that it was pretrained on.
        out: The sweep's folder: sweep.json, sweep.csv, report.html, and a folder for each run.
        seeds: Runs of each layer and pooler, with seeds counted up from --seed; UA is their mean,
            and the band in the curve their spread.
        jobs: Runs side by side, each worker a process. They share out the threads, unless
            OMP_NUM_THREADS is set.
        report_clips: Test clips to listen to in the reports of the single runs.
        report_map: Whether these reports have a map of the test clips.
    """

    adapter: str | None = "none"
    out: str = SWEEP_OUT
    report_clips: int = 0
    report_map: bool = False
    layers: list[int] = field(default_factory=list)
    pools: list[str] = field(default_factory=lambda: list(POOLS))
    weighted: bool = False
    keep_models: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, many in (("layer", "--layers 6 7 8"), ("pool", "--pools sap qkv")):
            default = FinetuneOptions.__dataclass_fields__[name].default
            found = getattr(self, name)
            require(found == default, f"--{name}", found, f"left out here; give {many}")
        wrong = [pool for pool in self.pools if pool not in POOLS]
        require(not wrong, "--pools", wrong, f"among {', '.join(POOLS)}")
        require(bool(self.pools), "--pools", self.pools, "at least one")
        require(min(self.layers, default=0) >= 0, "--layers", self.layers, "0 or more each")
        for name in ("layers", "pools"):
            values = getattr(self, name)
            require(len(set(values)) == len(values), f"--{name}", values, "different")
        if self.backbone == "fbank":
            raise ValueError(
                "--backbone: found fbank, a filterbank, which has no layers; name an encoder, such "
                "as openai/whisper-tiny or facebook/hubert-base-ls960, or its folder"
            )
        if tuning_of(self) is not None:
            raise ValueError(
                "--lora and --unfreeze-top: a sweep is of the frozen encoder's layers; leave them "
                "out"
            )


@dataclass(frozen=True)
class Cell:
    """A layer with a pooler.

    Attributes:
        layer: The layer, or `weighted`.
        pool: The pooler.
        folder: Where its run writes.
    """

    layer: int | str
    pool: str
    folder: Path

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.layer if self.layer == 'weighted' else f'layer {self.layer}'}, {self.pool}"


def plan_cells(options: SweepOptions, layers: list[int], out: Path) -> list[Cell]:
    """Each layer with each pooler, layer by layer, the learnt sum last."""
    rows: list[int | str] = [*layers, *(["weighted"] if options.weighted else [])]
    names = {row: row if isinstance(row, str) else f"layer-{row:02d}" for row in rows}
    return [Cell(row, pool, out / names[row] / pool) for row in rows for pool in options.pools]


def finetune_options(options: SweepOptions, cell: Cell) -> FinetuneOptions:
    """What ``finetune`` is to be started with for one cell; it goes on where there is a run."""
    shared = {
        spec.name: getattr(options, spec.name) for spec in dataclasses.fields(FinetuneOptions)
    }
    own = {"layer": cell.layer, "pool": cell.pool, "out": str(cell.folder)}
    return FinetuneOptions(**{**shared, **own, "jobs": 1, "resume": True})
