# SPDX-License-Identifier: Apache-2.0
"""The rows of `adapter_gain.py` as a picture: test UA by share of the labels, or ablations.

python benchmarks/adapter_gain_picture.py adapter_gain.json [MORE.json …] adapter_gain.svg
python benchmarks/adapter_gain_picture.py --ablations adapter_gain.json [MORE.json …] ablations.svg
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_gain_cells import BASELINES, FULL, PROTOCOLS
from adapter_gain_tables import ablation_gains

from voxadapt.recipes.reporting.picture import BLUE, GREY, ORANGE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colour, marker and line of each kind of adapter, and what the key calls it.
LOOKS = {
    "none": (GREY, "s", ":", "no adapter"),
    "random": (GREY, "o", "-", "random adapter"),
    "heard": (BLUE, "o", "-", "pretrained, target heard"),
    "unheard": (ORANGE, "D", "-", "pretrained, target unheard"),
}
APART = 0.06  # between markers of one share, where the distance of two shares is 1


def draw_gain(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a panel for each protocol; bars are standard errors of the mean over runs.

    Args:
        rows: As `adapter_gain_tables.make_rows` gives them; ablations are left out.
        path: SVG, PNG or PDF.

    Raises:
        ValueError: There is nothing to draw.
        UsageError: The path cannot be written, or has another ending.
    """
    shown = [row for row in rows if row["variant"] == FULL and row["runs"]]
    protocols = [name for name in PROTOCOLS if any(row["protocol"] == name for row in shown)]
    if not protocols:
        raise ValueError("rows: found none of a run that has finished; run the benchmark first")
    figure = new_figure(3.4 * len(protocols), 3.4)
    panels = figure.subplots(1, len(protocols), squeeze=False)[0]
    for panel, protocol in zip(panels, protocols, strict=True):
        _draw_panel(panel, [row for row in shown if row["protocol"] == protocol])
        panel.set_title(protocol)
    panels[0].set_ylabel("test UA, %")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), fontsize=8)
    save_figure(figure, path)


def _draw_panel(panel: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    shares = sorted({row["share"] for row in rows})
    for number, adapter in enumerate(BASELINES):
        colour, marker, line, name = LOOKS[adapter]
        found = sorted(
            (row for row in rows if row["adapter"] == adapter), key=lambda row: row["share"]
        )
        if not found:
            continue
        panel.errorbar(
            [shares.index(row["share"]) + APART * (number - 1.5) for row in found],
            [100 * row["ua"]["mean"] for row in found],
            [100 * row["ua"]["std"] / row["runs"] ** 0.5 for row in found],
            color=colour,
            marker=marker,
            linestyle=line,
            markersize=5,
            capsize=2,
            label=name,
        )
    panel.set_xticks(range(len(shares)), [f"{share} %" for share in shares])
    panel.set_xlim(-0.5, len(shares) - 0.5)
    panel.set_xlabel("of the labels")
    panel.grid(axis="y", alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def draw_ablations(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw what each ablation gains or loses, mean over protocols, with standard errors.

    Args:
        rows: As `adapter_gain_tables.make_rows` gives them.
        path: SVG, PNG or PDF.

    Raises:
        ValueError: No ablation has finished, or they are at several shares of the labels.
        UsageError: The path cannot be written, or has another ending.
    """
    found = ablation_gains(rows)
    shares = sorted({row["share"] for row in found})
    if len(shares) != 1:
        raise ValueError(
            f"rows: found ablations at {len(shares)} shares of the labels ({shares}, percent); run "
            "them at one, or give its rows only"
        )
    found.sort(key=lambda row: row["gain"]["mean"], reverse=True)
    figure = new_figure(7.0, 1.2 + 0.32 * len(found))
    panel = figure.subplots()
    panel.axvline(0, color=GREY, linewidth=1)
    for name, colour, marker, label, up in (
        ("gain", BLUE, "o", "test", -0.12),
        ("valid_gain", ORANGE, "D", "validation", 0.12),
    ):
        gains = [row[name] for row in found]
        panel.errorbar(
            [100 * gain["mean"] for gain in gains],
            [place + up for place in range(len(found))],
            xerr=[100 * (gain["standard_error"] or 0.0) for gain in gains],
            color=colour,
            marker=marker,
            linestyle="",
            markersize=5,
            capsize=2,
            label=label,
        )
    panel.set_yticks(range(len(found)), [row["variant"].replace("-", " ") for row in found])
    panel.invert_yaxis()
    panel.set_xlabel(f"UA, points over the full method, {shares[0]} % of the labels")
    panel.grid(axis="x", alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(fontsize=8)
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read results and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", type=Path, nargs="+", help="JSON files of adapter_gain.py")
    parser.add_argument("picture", type=Path, help="SVG, PNG or PDF")
    parser.add_argument("--ablations", action="store_true", help="draw what ablations change")
    options = parser.parse_args(arguments)
    rows = [row for file in options.results for row in json.loads(file.read_text())["rows"]]
    draw = draw_ablations if options.ablations else draw_gain
    draw(rows, options.picture)


if __name__ == "__main__":
    main()
