# SPDX-License-Identifier: Apache-2.0
"""Labels and probabilities, or values, for audio files.

    python recipes/predict.py runs/finetune clip.wav folder/ --format csv

Nothing needs a label; folders are searched for audio files.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn, TextIO

import torch
from tqdm import tqdm

from voxadapt.backbones import AudioError, Precision
from voxadapt.classifier import SpeechClassifier
from voxadapt.prediction import Prediction
from voxadapt.recipes.corpora.manifest_paths import printable
from voxadapt.recipes.predicting.audio_files import find_files
from voxadapt.recipes.predicting.embedding_file import EMBEDDING_ENDINGS, write_embeddings
from voxadapt.recipes.predicting.result_writers import (
    Format,
    ResultWriter,
    allowed_outputs,
    open_writer,
)
from voxadapt.recipes.running.closed_pipe import stop_at_closed_pipe
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.device_choice import choose_device
from voxadapt.recipes.running.encoder_precision import usable_precision
from voxadapt.recipes.running.options import check_batch_seconds
from voxadapt.recipes.scoring.run_reading import refuse_pretraining

logger = logging.getLogger(__name__)

# Fewer files are done before a bar could be read.
_FILES_FOR_A_BAR = 20


@dataclass
class PredictOptions:
    """Print labels and probabilities, or values, for audio files.

    Results go to standard output, or to --out; all else goes to standard error. Files that cannot
    be used are named there with the reason, and the rest is done. The exit code is 0 if all went
    well, 1 if files could not be used, 2 if the command could not run as it was given.

    Args:
        run: The folder that `finetune` wrote, or a hub id.
        files: Audio files; folders, which are searched for them at all depths; patterns in quotes,
            such as 'calls/**/*.wav'; `-` for a list of files on standard input, one a line.
        format: `jsonl` prints a JSON object for each file and line, `json` a list of them, `csv` a
            table with a header, `table` columns to be read by people. `auto` is what the ending of
            --out says; without one, `table` on a terminal and `jsonl` elsewhere.
        out: File for the results, instead of standard output. The files that cannot be used are
            listed beside it, with the ending .bad_audio.jsonl.
        overwrite: Replace the files that --out and --embeddings name, where they are there.
        embeddings: File for the pooled vectors, a row for each file that could be used, in order:
            .npy for the array alone, .npz for the files' names and labels as well.
        frame_weights: Say for each frame how much it counted, with its time (seconds), in `json`
            and `jsonl`.
        allowed_labels: Labels that may come up, of the first label column; the probabilities of the
            others are shared out among them.
        batch_seconds: Seconds of audio, padding included, in one forward pass. Left out, what the
            backbone is fast with.
        device: Where to compute: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes a GPU if there is
            one.
        precision: What the backbone is computed in. `bf16` is about twice as fast where the machine
            has it, and close to `fp32`; where the machine lacks it, `fp32` is used.
    """

    run: str
    files: list[str]
    format: Literal["auto", "jsonl", "json", "csv", "table"] = "auto"
    out: str | None = None
    overwrite: bool = False
    embeddings: str | None = None
    frame_weights: bool = False
    allowed_labels: list[str] = field(default_factory=list)
    batch_seconds: float | None = None
    device: str = "cpu"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        check_batch_seconds(self.batch_seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe: each file's prediction is written as soon as its batch is done."""
    options = parse(
        PredictOptions, argv, prog="predict.py", positionals=("run", "files"), page=__doc__
    )
    refuse_pretraining(options.run)
    kind = check_options(options)
    device = choose_device(options.device)
    paths = find_files(options.files)
    model = SpeechClassifier.from_pretrained(
        options.run, precision=usable_precision(options.precision, device.type), device=device
    )
    allowed = options.allowed_labels or None
    try:
        outputs = allowed_outputs(model.outputs, allowed)
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_', '-', 1)}") from error
    if device.type == "cpu" and torch.cuda.is_available() and len(paths) >= _FILES_FOR_A_BAR:
        logger.info("there is a GPU that is not used: --device cuda")
    found = model.predict_each(
        paths,
        batch_seconds=options.batch_seconds,
        frame_weights=options.frame_weights,
        allowed_labels=allowed,
        on_error="return",
    )
    with open_output(options) as stream, stop_at_closed_pipe():
        writer = open_writer(kind, stream, outputs, paths)
        done, bad = write_all(writer, paths, found, keep=options.embeddings is not None)
    if options.embeddings:
        try:
            write_embeddings(Path(options.embeddings), *done)
        except OSError as error:
            raise UsageError(f"--embeddings {options.embeddings}: {_not_writable(error)}") from None
    if bad:
        finish_with_bad(options, bad, len(paths))
    if options.out and options.overwrite:
        bad_listing(options.out).unlink(missing_ok=True)  # of the results that were replaced


def check_options(options: PredictOptions) -> Format:
    """Refuse what cannot be done before anything is loaded, and return the format.

    Raises:
        UsageError: The message says which option, and what to change.
    """
    named = {"--out": options.out, "--embeddings": options.embeddings}
    for flag, file in named.items():
        if file is None:
            continue
        if not Path(file).parent.is_dir():
            raise UsageError(
                f"{flag} {file}: there is no folder {Path(file).parent}; make it first"
            )
        if Path(file).is_dir():
            raise UsageError(f"{flag} {file}: is a folder; name a file")
        if Path(file).exists() and not options.overwrite:
            raise UsageError(
                f"{flag} {file}: is there already; name another file, or add --overwrite"
            )
    if options.out and options.embeddings and _same_file(options.out, options.embeddings):
        raise UsageError(f"--embeddings {options.embeddings}: is --out too; name another file")
    if options.embeddings and Path(options.embeddings).suffix.lower() not in EMBEDDING_ENDINGS:
        raise UsageError(f"--embeddings {options.embeddings}: must end with .npy or .npz")
    ending = Path(options.out or "").suffix.lower().removeprefix(".")
    by_ending: dict[str, Format] = {"csv": "csv", "json": "json", "jsonl": "jsonl", "txt": "table"}
    for_people = options.out is None and sys.stdout.isatty() and not options.frame_weights
    shown: Format = "table" if for_people else "jsonl"
    kind = by_ending.get(ending, shown) if options.format == "auto" else options.format
    if options.frame_weights and kind not in ("json", "jsonl"):
        raise UsageError(f"--frame-weights: does not fit into --format {kind}; take json or jsonl")
    return kind


@contextmanager
def open_output(options: PredictOptions) -> Iterator[TextIO]:
    """Standard output, or the file of --out.

    Raises:
        UsageError: The file cannot be written.
    """
    if options.out is None:
        yield sys.stdout
        return
    try:
        with open(options.out, "w", encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        raise UsageError(f"--out {options.out}: {_not_writable(error)}") from error


def bad_listing(out: str) -> Path:
    """Where the files that cannot be used are listed beside --out."""
    return Path(out).with_suffix(".bad_audio.jsonl")


def _same_file(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


def _not_writable(error: OSError) -> str:
    return f"cannot be written ({error.strerror or error}). Make room, or name another file"


def write_all(
    writer: ResultWriter,
    paths: Sequence[Path],
    found: Iterator[Prediction | AudioError],
    *,
    keep: bool,
) -> tuple[tuple[list[Path], list[Prediction]], list[AudioError]]:
    """Write what comes, and name on standard error what cannot be used.

    Args:
        writer: Of the format.
        paths: The files.
        found: What the model says of them, in order.
        keep: Return the predictions as well.

    Returns:
        The files that could be used with their predictions, and the errors of the others.
    """
    kept: tuple[list[Path], list[Prediction]] = ([], [])
    bad: list[AudioError] = []
    bar = tqdm(paths, unit="file", file=sys.stderr, disable=len(paths) < _FILES_FOR_A_BAR)
    for path, prediction in zip(bar, found, strict=True):
        if isinstance(prediction, AudioError):
            bad.append(prediction)
            bar.set_postfix({"bad": len(bad)})
            bar.write(f"error: {printable(str(prediction))}", file=sys.stderr)
            continue
        writer.write(path, prediction)
        if keep:
            kept[0].append(path)
            kept[1].append(prediction)
    writer.close()
    return kept, bad


def finish_with_bad(options: PredictOptions, bad: Sequence[AudioError], count: int) -> NoReturn:
    """Say how many files could not be used, list them beside --out, and leave with code 1."""
    print(f"{len(bad)} of {count} files could not be used", file=sys.stderr)
    if options.out:
        listing = bad_listing(options.out)
        lines = [
            {"path": printable(e.path), "reason": e.reason, "message": printable(e.message)}
            for e in bad
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        listing.write_text(text, encoding="utf-8")
        print(f"they are listed in {listing}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    leave(run_command(main))
