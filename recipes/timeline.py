# SPDX-License-Identifier: Apache-2.0
"""What a trained model says of long recordings, over time.

    python recipes/timeline.py runs/finetune meeting.flac --vad energy --out timelines

Recordings of any length are read from disk in pieces.
"""

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from voxadapt.allowed_labels import allowed_mask
from voxadapt.backbones import AudioError, Precision
from voxadapt.classifier import SpeechClassifier
from voxadapt.outputs import LabelOutputs, Outputs
from voxadapt.recipes.running.closed_pipe import stop_at_closed_pipe
from voxadapt.recipes.running.command_line import UsageError, flag, leave, parse, run_command
from voxadapt.recipes.running.device_choice import choose_device
from voxadapt.recipes.running.encoder_precision import usable_precision
from voxadapt.recipes.running.options import check_batch_seconds
from voxadapt.recipes.running.run_folder import make_folder
from voxadapt.recipes.scoring.run_reading import refuse_pretraining
from voxadapt.recipes.timelines.outputs import (
    Kind,
    check_free,
    choose_kinds,
    plan_stems,
    write_files,
)
from voxadapt.recipes.timelines.progress import RecordingsProgress
from voxadapt.recipes.timelines.recordings import find_recordings
from voxadapt.recipes.timelines.table import timeline_table
from voxadapt.timeline import Overall, Timeline
from voxadapt.timeline_files import audacity_labels, printable, timeline_record, write_windows
from voxadapt.timeline_gates import build_gate
from voxadapt.timeline_prediction import TimelineSettings, predict_timeline
from voxadapt.timeline_speech import Gate

USUAL_KINDS: tuple[Kind, ...] = ("windows", "segments", "json", "audacity", "png")


@dataclass
class TimelineOptions:
    """What a trained model says of long recordings, over time: windows, smoothed, and segments.

    Recordings that cannot be used are named on standard error, the rest is done, and the exit code
    is 1.

    Args:
        run: The folder that `finetune` wrote, or a hub id.
        files: Audio files of any length, rate and number of channels; folders, which are searched
            for them at all depths; patterns in quotes, such as 'calls/**/*.wav'; `-` for a list of
            files on standard input, one a line.
        window: Seconds that the model hears at once: best about the length of the clips that it was
            trained on. A recording that is shorter is one window.
        hop: Seconds from one window to the next, at most a window. The last window is moved back so
            that it ends where the recording ends.
        smooth: Width of the moving mean over the windows' probabilities (seconds). It looks to both
            sides, so a label depends on audio up to half of this, and half a window, later. 0 is
            none; left out, it is one window.
        vad: What the model is asked about: `none` is everything but digital silence, `energy` what
            is loud for the recording, `silero` what the silero-vad network takes for speech (pip
            install -e '.[vad]').
        min_speech: Share of the stretch that a window stands for that must be speech, for the model
            to be asked; above 0, at most 1.
        allowed_labels: Labels that may come up, of the first label column; the probabilities of the
            others are shared out among them. Left out, all may.
        format: What is printed: `table` has segments, `csv` a row for each window, `json` all of it
            with one object a recording, `audacity` a label track.
        out: Folder for a file of each kind in --write for each recording; what is found in a folder
            keeps its sub-folders.
        write: Kinds of files: `windows` and `segments` are CSV, `audacity` is a label track (File,
            Import, Labels), `json` has all, `png` and `svg` are pictures. Left out, all but `svg`.
        overwrite: Replace files in --out that are there already.
        batch_seconds: Seconds of audio in one forward pass; left out, what the backbone is fast
            with.
        device: Where to compute: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes a GPU if there is
            one.
        precision: What the backbone is computed in. `bf16` is about twice as fast where the machine
            has it, and close to `fp32`; where the machine lacks it, `fp32` is used.
    """

    run: str
    files: list[str]
    window: float = 3.0
    hop: float = 1.0
    smooth: float | None = None
    vad: Literal["none", "energy", "silero"] = "none"
    min_speech: float = 0.25
    allowed_labels: list[str] = field(default_factory=list)
    format: Literal["table", "csv", "json", "audacity"] = "table"
    out: str | None = None
    write: list[Kind] = field(default_factory=list)
    overwrite: bool = False
    batch_seconds: float | None = None
    device: str = "cpu"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        try:
            self.settings()
        except ValueError as error:
            raise ValueError(as_flag(error)) from None
        check_batch_seconds(self.batch_seconds)
        if self.write and self.out is None:
            raise ValueError("--write: names kinds of files, but there is no folder; give --out")

    def settings(self, vad: Gate | None = None) -> TimelineSettings:
        """What of it is checked as `TimelineSettings`; the gate may have to be loaded."""
        return TimelineSettings(self.window, self.hop, self.smooth, vad, self.min_speech)


def main(argv: Sequence[str] | None = None) -> dict[Path, Overall]:
    """Run the recipe; prints timelines, and returns what each recording is over all."""
    options = parse(
        TimelineOptions, argv, prog="timeline.py", positionals=("run", "files"), page=__doc__
    )
    refuse_pretraining(options.run)
    device = choose_device(options.device)
    recordings = find_recordings(options.files)
    if options.format == "audacity" and len(recordings) > 1:
        raise UsageError(
            f"--format audacity: a track holds one recording, not {len(recordings)}; give --out "
            "for a file each"
        )
    try:
        settings = options.settings(build_gate(options.vad))
    except ImportError as error:
        raise UsageError(f"--vad {options.vad}: {error}") from None
    model = SpeechClassifier.from_pretrained(
        options.run, precision=usable_precision(options.precision, device.type), device=device
    )
    check_model(model, options, settings)
    kinds = choose_kinds(model.outputs, options.write or USUAL_KINDS, bool(options.write))
    stems: dict[Path, Path] = {}
    if options.out is not None:
        stems = plan_stems(recordings.items(), Path(options.out))
        if not options.overwrite:
            check_free(stems.values(), kinds, label_columns(model.outputs))
        make_folder(Path(options.out), f"--out {options.out}")
    found: dict[Path, Overall] = {}
    with stop_at_closed_pipe(), RecordingsProgress(recordings) as progress:
        for path in recordings:
            try:
                timeline = predict_timeline(
                    model,
                    path,
                    settings=settings,
                    batch_seconds=options.batch_seconds,
                    allowed_labels=options.allowed_labels or None,
                    progress=progress.update,
                )
            except AudioError as error:
                progress.say(f"error: {printable(str(error))}", sys.stderr)
                continue
            finally:
                progress.finish(path)
            for file in write_files(timeline, stems[path], kinds) if stems else []:
                progress.say(f"written: {file}", sys.stderr)
            progress.say(as_text(timeline, options.format, header=not found), sys.stdout)
            found[path] = timeline.overall()
    if len(found) < len(recordings):
        print(
            f"{len(recordings) - len(found)} of {len(recordings)} recordings could not be used",
            file=sys.stderr,
        )
        raise SystemExit(1)
    return found


def check_model(
    model: SpeechClassifier, options: TimelineOptions, settings: TimelineSettings
) -> None:
    """Refuse what this model cannot do, before any recording is read.

    Raises:
        UsageError: The window is shorter than a frame, a label is unknown, or a label track is
            asked of several columns or of values.
    """
    try:
        settings.check_window(model.backbone.spec)
        allowed_mask(model.outputs, options.allowed_labels or None)
    except ValueError as error:
        raise UsageError(as_flag(error)) from None
    columns = label_columns(model.outputs)
    if options.format == "audacity" and len(columns) != 1:
        why = f"columns {', '.join(columns)}" if columns else "no labels, but values"
        raise UsageError(
            f"--format audacity: a track holds one column of labels, and this model has {why}; "
            + ("give --out for a file each" if columns else "use csv or json")
        )


def label_columns(outputs: Outputs) -> list[str]:
    """The names of the label columns; none for values."""
    return list(outputs.columns) if isinstance(outputs, LabelOutputs) else []


def as_text(timeline: Timeline, kind: str, *, header: bool) -> str:
    """A timeline as it is printed, without the last line's end."""
    if kind == "json":
        return json.dumps(timeline_record(timeline), ensure_ascii=False)
    if kind == "audacity":
        return audacity_labels(timeline).rstrip("\n")
    if kind == "table":
        return timeline_table(timeline) + "\n"
    stream = io.StringIO()
    write_windows(timeline, stream, header=header)
    return stream.getvalue().rstrip("\n")


def as_flag(error: ValueError) -> str:
    """An error that begins with the name of a setting, with that as it is typed."""
    name, colon, rest = str(error).partition(":")
    return flag(name) + colon + rest


if __name__ == "__main__":
    leave(run_command(main))
