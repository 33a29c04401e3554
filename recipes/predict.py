# SPDX-License-Identifier: Apache-2.0
"""Labels and probabilities, or values, for audio files.

    python recipes/predict.py runs/finetune clip.wav folder/ --format csv

Nothing needs a label; folders are searched for audio files.
"""

import csv
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from voxadapt.backbones import AudioError, Precision
from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.corpora.class_folders import AUDIO_EXTENSIONS
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.encoder_precision import usable_precision
from voxadapt.recipes.scoring.prediction_rows import csv_header, csv_row, json_record

logger = logging.getLogger(__name__)


@dataclass
class PredictOptions:
    """Print labels and probabilities, or values, for audio files.

    Files that cannot be used are named on standard error, the rest is done, and the exit code is 1.

    Args:
        run: The folder that `finetune` wrote, or a hub id.
        files: Audio files, or folders that are searched for them.
        format: `json` prints one JSON object for each file and line, `csv` a table with a header.
        precision: What the backbone is computed in. `bf16` is about twice as fast where the machine
            has it, and close to `fp32`; where the machine lacks it, `fp32` is used.
    """

    run: str
    files: list[str]
    format: Literal["json", "csv"] = "json"
    precision: Precision = "fp32"


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run the recipe; prints each file's prediction and returns them all."""
    options = parse(PredictOptions, argv, prog="predict.py", positionals=("run", "files"))
    paths = list(find_files(options.files))
    model = SpeechClassifier.from_pretrained(
        options.run, precision=usable_precision(options.precision)
    )
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if options.format == "csv":
        writer.writerow(csv_header(model.outputs))
    records, failures = [], 0
    for path in tqdm(paths, unit="file", file=sys.stderr, disable=len(paths) < 20):
        try:
            prediction = model.predict(path)
        except AudioError as error:
            print(f"error: {error}", file=sys.stderr)
            failures += 1
            continue
        records.append(json_record(path, prediction))
        if options.format == "csv":
            writer.writerow(csv_row(path, prediction))
        else:
            print(json.dumps(records[-1], ensure_ascii=False))
    if failures:
        print(f"{failures} of {len(paths)} files could not be used", file=sys.stderr)
        raise SystemExit(1)
    return records


def find_files(names: Sequence[str]) -> Iterator[Path]:
    """Files as they are named, and the audio files inside folders, sorted.

    Raises:
        UsageError: A name is neither, or a folder holds no audio file.
    """
    for name in names:
        path = Path(name)
        if not path.is_dir():
            if not path.exists():
                raise UsageError(f"{name}: there is no such file or folder")
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_EXTENSIONS)
        if not found:
            raise UsageError(
                f"{name}: this folder holds no audio file ({', '.join(sorted(AUDIO_EXTENSIONS))})"
            )
        yield from found


if __name__ == "__main__":
    leave(run_command(main))
