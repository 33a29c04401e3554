# SPDX-License-Identifier: Apache-2.0
r"""Compute a frozen encoder's frames for all clips, into the cache or as .npy files.

    python recipes/extract_features.py --data corpus.csv --backbone facebook/hubert-base-ls960 \
        --layer 9 --precision bf16 --export npy --out features

Several processes share the work: ``accelerate launch`` or ``torchrun`` in place of ``python``.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from voxadapt.backbones import Backbone
from voxadapt.recipes.corpora.feature_cache import features_folder_of
from voxadapt.recipes.corpora.feature_export import export_files, export_npy, parts_of
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.options import CorpusOptions, check_batch_seconds
from voxadapt.recipes.running.prepare import (
    PreparedCorpus,
    build_backbone,
    hours,
    prepare_features,
    read_clips,
)
from voxadapt.recipes.running.process_group import join_processes
from voxadapt.recipes.running.run_folder import versions, write_json

logger = logging.getLogger(__name__)

DESCRIPTION_FILE = "features.json"


@dataclass
class ExtractOptions(CorpusOptions):
    """Compute a backbone's frames for all clips, and keep them in the feature cache.

    The other recipes read the same cache, so this is for filling it ahead of them (on another
    machine, by several processes) and for taking the frames elsewhere. What is in the cache already
    is not computed again: a run that was stopped, or killed, goes on with the same command.

    Args:
        batch_seconds: Seconds of audio, padding included, in one forward pass. Left out, what is
            fast for the backbone on this device; less needs less memory.
        export: `none` leaves it at the cache. `npy` also writes the frames as fairseq's and
            emotion2vec's scripts read them: for each part of the `split` column (or `all`) one
            NAME.npy with the frames of all clips, float32, one NAME.lengths with each clip's number
            of frames, NAME.tsv, NAME.ids, and NAME.emo where clips have labels.
        out: The folder to export to; nothing in it is overwritten.
        label: Column whose labels are exported.
    """

    batch_seconds: float | None = None
    export: Literal["none", "npy"] = "none"
    out: str | None = None
    label: str = "label"

    def __post_init__(self) -> None:
        check_batch_seconds(self.batch_seconds)
        if (self.export == "none") != (self.out is None):
            raise ValueError(
                f"--export is {self.export} and --out {self.out or 'not given'}: they go together, "
                "as in `--export npy --out features`; without both, frames go to the cache only"
            )


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the recipe and return what it prints."""
    options = parse(ExtractOptions, argv, prog="extract_features.py", page=__doc__)
    accelerator = join_processes()
    clips = read_clips(
        options, accelerator, label=None if options.label == "label" else options.label
    )
    out = None if options.out is None else Path(options.out)
    if out is not None:
        check_free(out, list(parts_of(clips)))
    backbone = build_backbone(options)
    corpus = prepare_features(
        clips, backbone, options, accelerator, None, batch_seconds=options.batch_seconds
    )
    summary = summarize(corpus, backbone, features_folder_of(Path(options.features), backbone))
    if accelerator.is_main_process:
        if out is not None:
            export(out, corpus, {**summary, "config": asdict(options), "versions": versions()})
        print(table(summary, out))
    accelerator.wait_for_everyone()
    return summary


def check_free(out: Path, parts: Sequence[str]) -> None:
    """Refuse to overwrite anything, before hours are spent.

    Raises:
        UsageError: One of the files is there already, or ``out`` is no folder.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give a folder")
    for path in [*export_files(out, parts), out / DESCRIPTION_FILE]:
        if path.exists():
            raise UsageError(
                f"--out {out}: {path} is there already; nothing was overwritten. Give another "
                "folder, or remove the file"
            )


def export(out: Path, corpus: PreparedCorpus, description: Mapping[str, Any]) -> None:
    """Write the frames of each part, and what they are.

    Raises:
        UsageError: The folder cannot be written.
    """
    parts = parts_of(corpus.clips)  # without clips that were left out
    try:
        written = export_npy(out, parts, corpus.clips, corpus.store)
        write_json(out / DESCRIPTION_FILE, description)
    except OSError as error:
        raise UsageError(
            f"--out {out}: cannot be written ({error}). Make room, or give another folder; the "
            "frames are in the cache and are not computed again"
        ) from error
    logger.info("exported: %s", ", ".join(path.name for path in written))


def summarize(corpus: PreparedCorpus, backbone: Backbone, folder: Path) -> dict[str, Any]:
    """What is in the cache for these clips, and which encoder made it."""
    spec = backbone.spec
    frames = int(corpus.store.lengths.sum())
    return {
        "backbone": asdict(spec),
        "precision": backbone.precision,
        "fingerprint": backbone.fingerprint(),
        "backbone_config": backbone.config(),
        "clips": len(corpus.clips),
        "left_out": len(corpus.bad),
        "hours": round(hours(corpus.store, spec.frame_rate), 6),
        "frames": frames,
        "bytes": 2 * frames * spec.feature_size,  # float16
        "folder": str(folder),
    }


def table(summary: Mapping[str, Any], out: Path | None) -> str:
    """The summary for people."""
    spec, config = summary["backbone"], summary["backbone_config"]
    sides = spec["layer_outputs"]
    wide = f" ({sides} layers side by side)" if sides > 1 else ""
    rows = [
        ("encoder", f"{spec['name']}, layer {config.get('layer', 'none')}"),
        ("run", f"{spec['layers']} layers, {spec['parameters']:,} parameters"),
        ("precision", summary["precision"]),
        ("licence", spec["licence"] or "not said by a model card"),
        ("normalisation", spec["normalization"]),
        ("a frame", f"{spec['feature_size']:,} features{wide}, {spec['frame_rate']:g} a second"),
        (
            "it sees",
            f"{spec['receptive_field']:,} samples; the shortest clip fills one frame with "
            f"{spec['minimum_samples']:,}",
        ),
        ("clips", f"{summary['clips']:,}, {summary['left_out']:,} left out"),
        ("audio", f"{summary['hours']:.2f} h, {summary['frames']:,} frames"),
        ("size", f"{summary['bytes'] / 1e6:,.2f} MB, float16"),
        ("cache", summary["folder"]),
        *([("exported to", str(out))] if out is not None else []),
    ]
    return "\n".join(f"{name:<14} {value}" for name, value in rows)


if __name__ == "__main__":
    leave(run_command(main))
