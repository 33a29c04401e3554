# SPDX-License-Identifier: Apache-2.0
"""How an exported model fares on labelled clips beside the one that it was made from."""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from voxadapt.backbones import AudioError, read_audio
from voxadapt.classifier import SpeechClassifier
from voxadapt.outputs import LabelOutputs, Outputs
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.exporting.onnx_file import file_bytes, output_names
from voxadapt.recipes.exporting.onnx_session import OnnxModel
from voxadapt.recipes.exporting.parity import run_alone
from voxadapt.recipes.finetuning.labelled_frames import targets_for
from voxadapt.recipes.scoring.target_scores import selection_name, validation_scores

logger = logging.getLogger(__name__)

TORCH = "torch"
Run = Callable[[Tensor], np.ndarray]


@dataclass(frozen=True)
class AccuracyRow:
    """One model on the clips, one clip at a time.

    Attributes:
        name: ``torch``, or the file's.
        clips: How many clips there were, without those that cannot be read.
        score: UA (fraction), or CCC of a model of values.
        agreement: Share of clips with torch's label; None for values.
        difference: Largest difference from torch of a probability or value.
        milliseconds: Median time of a clip.
        bytes: Size of the file; None for torch.
    """

    name: str
    clips: int
    score: float
    agreement: float | None
    difference: float
    milliseconds: float
    bytes: int | None


def compare_accuracy(
    model: SpeechClassifier, files: Sequence[Path], clips: Sequence[Clip], *, skip_bad: bool
) -> list[AccuracyRow]:
    """Run a model and its exported files on labelled clips.

    Args:
        model: In eval mode, on the CPU.
        files: The files.
        clips: Clips with labels or values.
        skip_bad: Whether clips that cannot be read are left out, and logged; else they are an
            error.

    Raises:
        DataError: With the clips that cannot be read; or none is left.
    """
    first = output_names(model)[0]
    runs: dict[str, Run] = {TORCH: lambda clip: run_alone(model, clip)[first]}
    for path in files:
        runs[path.name] = partial(_run_file, OnnxModel(path), first)
    kept, activated, times = _run_all(runs, clips, skip_bad=skip_bad)
    targets = targets_for(model.outputs, kept)
    sizes = {path.name: file_bytes(path) for path in files}
    return [
        AccuracyRow(
            name,
            len(kept),
            validation_scores(model.outputs, targets, activated[name])[
                f"valid_{selection_name(model.outputs)}"
            ],
            _agreement(model.outputs, activated[name], activated[TORCH]),
            float(np.abs(activated[name] - activated[TORCH]).max()),
            1e3 * statistics.median(times[name]),
            sizes.get(name),
        )
        for name in runs
    ]


def _run_file(session: OnnxModel, output: str, clip: Tensor) -> np.ndarray:
    found: np.ndarray = session.run([clip])[output][0]
    return found


def _run_all(
    runs: Mapping[str, Run], clips: Sequence[Clip], *, skip_bad: bool
) -> tuple[list[Clip], dict[str, np.ndarray], dict[str, list[float]]]:
    """Clips that could be read, what each model says ``[N, C]``, and seconds that it took."""
    kept: list[Clip] = []
    bad: list[str] = []
    rows: dict[str, list[np.ndarray]] = {name: [] for name in runs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for clip in tqdm(clips, desc="accuracy", unit="clip"):
        try:
            samples = read_audio(clip.audio, start=clip.start, end=clip.end)
        except AudioError as error:
            bad.append(f"clip {clip.id!r}: {error}")
            continue
        kept.append(clip)
        for name, run in runs.items():
            began = time.perf_counter()
            rows[name].append(run(samples))
            times[name].append(time.perf_counter() - began)
    if bad and not skip_bad:
        raise DataError("--data: clips cannot be used; mend them, or add --on-bad-audio skip:", bad)
    if not kept:
        raise DataError("--data: no clip can be used:", bad)
    for told in bad:
        logger.warning("left out: %s", told)
    return kept, {name: np.stack(found).astype(float) for name, found in rows.items()}, times


def _agreement(outputs: Outputs, found: np.ndarray, expected: np.ndarray) -> float | None:
    """Share of clips with the same label in the first column."""
    if not isinstance(outputs, LabelOutputs):
        return None
    labels = len(outputs.labels)
    same = found[:, :labels].argmax(axis=1) == expected[:, :labels].argmax(axis=1)
    return float(same.mean())


def accuracy_table(outputs: Outputs, rows: Sequence[AccuracyRow], how: str) -> str:
    """The rows as text.

    Args:
        outputs: What the model says.
        rows: From `compare_accuracy`.
        how: Which clips those are and how they were run, in words.
    """
    labelled = isinstance(outputs, LabelOutputs)
    width = max(len(row.name) for row in rows)
    score = "UA, %" if labelled else "CCC"
    lines = [
        f"Accuracy on {rows[0].clips} clips {how}, one clip at a time",
        f"  {'':{width}}  {score:>6}  same label  difference  ms a clip       MB",
    ]
    for row in rows:
        value = f"{100 * row.score:6.2f}" if labelled else f"{row.score:6.3f}"
        agreement = "" if row.agreement is None else f"{100 * row.agreement:.1f} %"
        size = "" if row.bytes is None else f"{row.bytes / 1e6:.2f}"
        lines.append(
            f"  {row.name:{width}}  {value}  {agreement:>10}  {row.difference:10.1e}  "
            f"{row.milliseconds:9.1f}  {size:>7}"
        )
    return "\n".join(lines)
