# SPDX-License-Identifier: Apache-2.0
"""Write a trained model as an ONNX file, front end included.

    python recipes/export.py runs/finetune --onnx model.onnx
    python recipes/export.py runs/finetune --onnx model.onnx --int8 --data corpus.csv

The file takes waveforms and gives probabilities, for any number of clips of any lengths, and needs
onnxruntime only. Before it is kept, it is compared with torch at several lengths and batch sizes.
"""

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.exporting.int8 import quantize
from voxadapt.recipes.exporting.onnx_accuracy import AccuracyRow, accuracy_table, compare_accuracy
from voxadapt.recipes.exporting.onnx_file import (
    ExportError,
    describe_model,
    file_bytes,
    onnx_parts,
    require_packages,
    weights_name,
    write_onnx,
)
from voxadapt.recipes.exporting.onnx_session import OnnxModel
from voxadapt.recipes.exporting.parity import LIMIT, ParityRow, check_parity, parity_table
from voxadapt.recipes.exporting.run_clips import clips_of_run
from voxadapt.recipes.finetuning.label_columns import column_to_read
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.options import DEMO_CORPUS, CorpusOptions
from voxadapt.recipes.running.process_group import join_processes
from voxadapt.recipes.running.run_folder import make_folder, read_record, write_json
from voxadapt.recipes.scoring.corpus_names import choose_split
from voxadapt.recipes.scoring.labelled_for import read_labelled_for
from voxadapt.recipes.scoring.run_reading import refuse_pretraining

logger = logging.getLogger(__name__)


@dataclass
class ExportOptions:
    """Write a trained model as an ONNX file, front end included.

    The file is compared with torch at 5 lengths and 3 batch sizes, and kept only where no output
    differs by more than 1e-4. Beside it stands a JSON file with the same name and the ending .json:
    the labels, what goes in and out, and these comparisons.

    Args:
        run: The folder that `finetune` wrote, or a hub id.
        onnx: File to write; nothing is overwritten.
        int8: Also write a file with the linear layers in 8 bits, with the ending .int8.onnx, and
            show how both fare on `--data`.
        data: Manifest (CSV or JSONL), or another source of labelled clips that `finetune` takes, to
            compare the accuracy of the files with torch's. Left out, with `--int8`, the data that
            the model was trained on, in the parts that the run had.
        split: Part of it: `train`, `valid` or `test` of the manifest's `split` column, or `all`.
        label: Column that holds the true label. Left out, the column that the model was trained on,
            or `label` where the data lacks it. A model of several label columns or of values reads
            those that it was trained on.
        on_bad_audio: What to do with clips that cannot be used: `error` stops, `skip` leaves them
            out.
        allow_outside: Accept manifest paths outside the manifest's folder.
    """

    run: str
    onnx: str | None = None
    int8: bool = False
    data: list[str] = field(default_factory=list)
    split: Literal["train", "valid", "test", "all"] = "test"
    label: str | None = None
    on_bad_audio: Literal["error", "skip"] = "error"
    allow_outside: bool = False


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the recipe and return what the JSON file beside the model holds."""
    options = parse(ExportOptions, argv, prog="export.py", positionals=("run",), page=__doc__)
    refuse_pretraining(options.run)
    require_packages()
    out = check_target(options)
    model = SpeechClassifier.from_pretrained(options.run)
    clips = labelled_clips(options, model)  # before minutes are spent, what is wrong with --data

    # Written where nobody looks, and moved when all is well.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        file = Path(folder) / out.name
        metadata = describe_model(model)
        logger.info("making a graph of %s; this takes a moment", options.run)
        write_onnx(model, file, metadata)
        rows = check_parity(model, OnnxModel(file))
        print(parity_table(rows))
        refuse_difference(rows)
        files = [file]
        if options.int8:
            files.append(int8_name(file))
            quantize(*files)
        accuracy: list[AccuracyRow] = []
        if clips:
            skip_bad = options.on_bad_audio == "skip"
            accuracy = compare_accuracy(model, files, clips, skip_bad=skip_bad)
            how = f"({options.split}), {torch.get_num_threads()} threads"
            print(accuracy_table(model.outputs, accuracy, how))
        for part in [part for written in files for part in onnx_parts(written)]:
            shutil.move(part, out.parent / part.name)
    record = {
        **metadata,
        "parity": {"limit": LIMIT, "rows": [dataclasses.asdict(row) for row in rows]},
        "accuracy": [dataclasses.asdict(row) for row in accuracy],
    }
    write_json(sidecar(out), record)
    for path in [out, int8_name(out)][: len(files)]:
        logger.info("%s, %.2f MB", path, file_bytes(path) / 1e6)
    logger.info("what goes in and comes out: %s", sidecar(out))
    return record


def check_target(options: ExportOptions) -> Path:
    """The file to write.

    Raises:
        UsageError: It is not named, has another ending, is there already, or its folder cannot be
            made.
    """
    if options.onnx is None:
        raise UsageError("--onnx: missing; name the file to write, such as model.onnx")
    out = Path(options.onnx)
    if out.suffix != ".onnx":
        raise UsageError(f"--onnx {out}: found the ending {out.suffix!r}, must be .onnx")
    files = [out, *([int8_name(out)] if options.int8 else [])]
    for path in [*files, *map(weights_name, files), sidecar(out)]:
        if path.exists():
            raise UsageError(f"--onnx {out}: {path} is there already; nothing was overwritten")
    make_folder(out.parent, f"--onnx {out}")
    return out


def int8_name(path: Path) -> Path:
    """Where the file in 8 bits goes."""
    return path.with_suffix(".int8.onnx")


def sidecar(path: Path) -> Path:
    """Where the JSON about the file goes."""
    return path.with_suffix(".json")


def labelled_clips(options: ExportOptions, model: SpeechClassifier) -> list[Clip]:
    """The clips to compare on; none where that was not asked for.

    Raises:
        UsageError: It was asked for, and there is no data.
    """
    data = options.data
    if not data and not options.int8:
        return []
    if not data:
        record = read_record(Path(options.run))
        if record is None:
            raise UsageError(
                f"--data: missing; --int8 shows what 8 bits cost on labelled clips, and "
                f"{options.run} does not tell what data it was trained on. Name a manifest"
            )
        config = record["config"]
        names = ", ".join(config.get("data", [])) or DEMO_CORPUS
        logger.info("no --data given: comparing on %s, in the run's own parts", names)
        # Refuses what the model cannot be scored by; of several columns, the run's stay.
        if column_to_read(model.outputs, options.label) == options.label:
            config = {**config, "label": options.label}
        return clips_of_run(
            Path(options.run), config, options.split, allow_outside=options.allow_outside
        )
    corpus = CorpusOptions(data=data, allow_outside=options.allow_outside)
    clips, _ = read_labelled_for(model, options.label, corpus, join_processes())
    return choose_split(clips, options.split, data[0], "--split")


def refuse_difference(rows: Sequence[ParityRow]) -> None:
    """Stop where the file does not give what torch gives.

    Raises:
        ExportError: It does not.
    """
    worst = max(rows, key=lambda row: row.worst)
    if worst.worst > LIMIT:
        raise ExportError(
            f"the exported graph differs from torch by {worst.worst:.1e} (clips of "
            f"{worst.seconds:g} s, batch of {worst.batch}), above {LIMIT:.0e}; no file was kept. "
            "Use the model with voxadapt predict, and report this with the table above"
        )


if __name__ == "__main__":
    leave(run_command(main))
