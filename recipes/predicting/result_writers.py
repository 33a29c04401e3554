# SPDX-License-Identifier: Apache-2.0
"""Writes predictions as they come: CSV, JSON, JSON Lines, or a table for people."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, TextIO

from voxadapt.allowed_labels import AllowedLabels, allowed_mask
from voxadapt.outputs import LabelOutputs, Outputs
from voxadapt.prediction import Prediction
from voxadapt.recipes.corpora.manifest_paths import printable
from voxadapt.recipes.scoring.prediction_rows import csv_header, csv_row, json_record

Format = Literal["jsonl", "json", "csv", "table"]
# Labels whose probabilities have a column each in a table for people.
_MOST_COLUMNS = 8
_WIDEST_PATH = 60


class ResultWriter(Protocol):
    """Takes one prediction after the other."""

    def write(self, path: Path, prediction: Prediction) -> None:
        """Write what was found of a file."""
        ...

    def close(self) -> None:
        """Write what comes after the last."""
        ...


def open_writer(
    kind: Format, stream: TextIO, outputs: Outputs, paths: Sequence[Path]
) -> ResultWriter:
    """Build the writer of a format, which writes its beginning.

    Args:
        kind: The format.
        stream: Where it goes.
        outputs: What the model's outputs mean, of the labels that may come up.
        paths: All files that will be asked about.
    """
    if kind == "csv":
        return CsvWriter(stream, outputs)
    if kind == "table":
        return TableWriter(stream, outputs, paths)
    return JsonWriter(stream, lines=kind == "jsonl")


def allowed_outputs(outputs: Outputs, allowed: AllowedLabels | None) -> Outputs:
    """The outputs that may come up, in the model's order.

    Raises:
        ValueError: A label that the model does not know.
    """
    mask = allowed_mask(outputs, allowed)
    if mask is None or not isinstance(outputs, LabelOutputs):
        return outputs
    columns = {
        name: [label for label, kept in zip(labels, flags.tolist(), strict=True) if kept]
        for (name, labels), flags in zip(outputs.columns.items(), outputs.split(mask), strict=True)
    }
    return LabelOutputs(columns)


class CsvWriter:
    """A header, and a row for each file."""

    def __init__(self, stream: TextIO, outputs: Outputs) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow(csv_header(outputs))

    def write(self, path: Path, prediction: Prediction) -> None:
        """Write a row."""
        self._writer.writerow(csv_row(path, prediction))

    def close(self) -> None:
        """Nothing follows."""


class JsonWriter:
    """An object for each file: one a line, or all of them in a list."""

    def __init__(self, stream: TextIO, *, lines: bool) -> None:
        self._stream, self._lines, self._count = stream, lines, 0
        if not lines:
            stream.write("[")

    def write(self, path: Path, prediction: Prediction) -> None:
        """Write an object."""
        if not self._lines:
            self._stream.write(",\n" if self._count else "\n")
        self._stream.write(json.dumps(json_record(path, prediction), ensure_ascii=False))
        if self._lines:
            self._stream.write("\n")
        self._count += 1

    def close(self) -> None:
        """Close the list."""
        if not self._lines:
            self._stream.write("\n]\n" if self._count else "]\n")


class TableWriter:
    """Columns that stand under each other: the label, and probabilities in per cent."""

    def __init__(self, stream: TextIO, outputs: Outputs, paths: Sequence[Path]) -> None:
        self._stream = stream
        longest = max((len(printable(str(path))) for path in paths), default=0)
        self._path_width = max(4, min(longest, _WIDEST_PATH))
        header = csv_header(outputs)[1:]
        self._few = len(header) <= _MOST_COLUMNS or not isinstance(outputs, LabelOutputs)
        if not self._few:
            header = ["predicted", "%", "and then"]
        texts = (
            _widest_texts(outputs) if self._few else {"predicted": max(map(len, outputs.labels))}
        )
        self._widths = [max(len(name), texts.get(name, 7)) for name in header]
        self._line("path", header)

    def write(self, path: Path, prediction: Prediction) -> None:
        """Write a line."""
        cells = _cells(path, prediction) if self._few else _ranking(prediction)
        self._line(printable(str(path)), cells)

    def close(self) -> None:
        """Nothing follows."""

    def _line(self, path: str, cells: Sequence[str]) -> None:
        shown = path if len(path) <= self._path_width else "…" + path[-self._path_width + 1 :]
        padded = [
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(cells, self._widths, strict=True)
        ]
        self._stream.write("  ".join([shown.ljust(self._path_width), *padded]).rstrip() + "\n")


def _widest_texts(outputs: Outputs) -> dict[str, int]:
    """Width of the columns that hold a label: ``predicted``, and further label columns by name."""
    if not isinstance(outputs, LabelOutputs):
        return {}
    names = ["predicted", *list(outputs.columns)[1:]]
    return {
        name: max(map(len, labels))
        for name, labels in zip(names, outputs.columns.values(), strict=True)
    }


def _cells(path: Path, prediction: Prediction) -> list[str]:
    row = csv_row(path, prediction)[1:]
    if prediction.values:
        return [f"{value:.3f}" for value in row]
    return [cell if isinstance(cell, str) else f"{100 * cell:.1f}" for cell in row]


def _ranking(prediction: Prediction) -> list[str]:
    """The label, its probability, and the next two, where there are too many for columns."""
    ranked = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])
    following = ", ".join(f"{label} {100 * share:.1f}" for label, share in ranked[1:3])
    return [ranked[0][0], f"{100 * ranked[0][1]:.1f}", following]


def _is_number(cell: str) -> bool:
    return cell.removeprefix("-").replace(".", "", 1).isdigit()
