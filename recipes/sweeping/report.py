# SPDX-License-Identifier: Apache-2.0
"""The report of a sweep: UA by layer, a line for each pooler."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from voxadapt.recipes.reporting.bands import Band, band_chart
from voxadapt.recipes.reporting.commands import command_of
from voxadapt.recipes.reporting.head import describe_protocol, describe_seconds
from voxadapt.recipes.reporting.page import NARROW_SPACE, build_page, percent, text
from voxadapt.recipes.reporting.sections import weights_table
from voxadapt.recipes.reporting.tables import settings_list
from voxadapt.recipes.running.run_folder import flatten, versions
from voxadapt.recipes.scoring.target_scores import selection_score
from voxadapt.recipes.sweeping.options import SweepOptions
from voxadapt.recipes.sweeping.table import CellResult, chosen_result


def build_sweep_report(results: Sequence[CellResult], options: SweepOptions, out: Path) -> str:
    """The page as HTML.

    Args:
        results: The finished layers and poolers, layer by layer.
        options: The options of the sweep.
        out: Its folder, which the page is to stand in.
    """
    sections = (
        _head(results, options, out),
        _curves(results),
        _table(results, out),
        _weights(results),
        _settings(results, options),
    )
    chosen = chosen_result(results)
    return build_page(f"{out.resolve().name}: {chosen.cell.title}", "\n".join(sections))


def _write(result: CellResult) -> Callable[[float], str]:
    return percent if selection_score(result.metrics) == "ua" else "{:.3f}".format


def _head(results: Sequence[CellResult], options: SweepOptions, out: Path) -> str:
    chosen, best = chosen_result(results), max(results, key=lambda result: result.mean)
    write, first = _write(chosen), chosen.metrics
    score = selection_score(first).upper()
    runs = len(chosen.runs)
    spread = f" <small>± {100 * chosen.std:.1f}</small>" if runs > 1 and score == "UA" else ""
    ends = ""
    if chosen.interval is not None:
        low, high = (write(end) for end in chosen.interval)
        ends = f" 95{NARROW_SPACE}% interval {low} to {high}."
    facts = {
        "Encoder, frozen": options.backbone,
        "Adapter": str(first["adapter"]),
        "Protocol": str(first.get("protocol_name") or first["protocol"]),
        "Test clips": f"{first['n'] // max(1, len({run['seed'] for run in chosen.runs})):,}",
        "Runs of each": f"{runs}",
        "Time in all": describe_seconds(sum(result.metrics["seconds"] for result in results)),
    }
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{text(told)}</dd></div>" for name, told in facts.items()
    )
    overlap = ""
    if first["speaker_overlap"]:
        overlap = (
            '<div class="notice warning" role="note"><strong>Parts share speakers.</strong> These '
            "scores say little about speakers that the model has never heard.</div>"
        )
    return f"""<header>
<p class="kind">Sweep of layers <bdi>{text(out.resolve().name)}</bdi></p>
<h1>Validation chooses {text(chosen.cell.title)}</h1>
{overlap}
<div class="scores">
<div class="score">
<h2>{score} on test</h2>
<div class="value" data-score="chosen">{write(chosen.mean)}{spread}</div>
<p>of the layer and pooler with the highest {score} on validation.{ends}</p>
</div>
<div class="score">
<h2>{score} on validation</h2>
<div class="value">{write(chosen.valid)}</div>
<p>of the same; what the choice was made by.</p>
</div>
<div class="score">
<h2>Highest on test</h2>
<div class="value">{write(best.mean)}</div>
<p>{text(best.cell.title)}. Picked on the test part, so better than what a new test would show.</p>
</div>
</div>
<p class="protocol">{text(describe_protocol(first["protocol"]))}</p>
<dl class="facts">{rows}</dl>
</header>"""


def _curves(results: Sequence[CellResult]) -> str:
    layers = sorted({r.cell.layer for r in results if isinstance(r.cell.layer, int)})
    if not layers:
        return ""
    share = selection_score(results[0].metrics) == "ua"
    labels = results[0].metrics.get("labels")
    level = ("chance", 1 / len(labels)) if labels and share else None
    unit = "UA, %" if share else "CCC"
    test = band_chart(
        f"{unit} on test",
        layers,
        _bands(results, layers, "mean"),
        axis="layer",
        shares=share,
        level=level,
    )
    valid = band_chart(
        f"{unit} on validation",
        layers,
        _bands(results, layers, "valid"),
        axis="layer",
        shares=share,
        level=level,
    )
    many = any(len(result.runs) > 1 for result in results)
    band = " The shade is one standard deviation over the runs to each side." if many else ""
    return f"""<section id="curve">
<h2>By layer</h2>
<p class="lead">Layer 0 is the input of the encoder’s first layer.{band} Choose a layer by
validation, the second curve. Where the two disagree about which is best, these clips cannot tell
the layers apart.</p>
<div class="charts">
{test}
{valid}
</div>
</section>"""


def _bands(results: Sequence[CellResult], layers: Sequence[int], key: str) -> list[Band]:
    pools = list(dict.fromkeys(result.cell.pool for result in results))
    found = {(result.cell.layer, result.cell.pool): result for result in results}
    bands = []
    for group, pool in enumerate(pools):
        row = [found.get((layer, pool)) for layer in layers]
        values = [None if result is None else getattr(result, key) for result in row]
        spread = [None if result is None else result.std for result in row]
        if key == "mean" and any(spread):
            low = [None if v is None else v - s for v, s in zip(values, spread, strict=True)]
            high = [None if v is None else v + s for v, s in zip(values, spread, strict=True)]
            bands.append(Band(pool, group, values, low, high))
        else:
            bands.append(Band(pool, group, values))
    return bands


def _table(results: Sequence[CellResult], out: Path) -> str:
    chosen = chosen_result(results)
    write, score = _write(chosen), selection_score(chosen.metrics).upper()
    rows = "".join(_row(result, result is chosen, out, write) for result in results)
    return f"""<section id="cells">
<h2>Every layer and pooler</h2>
<p class="lead">Each name leads to the report of its run. In bold, what validation chooses.</p>
<div class="scroll"><table class="list runs sweep">
<thead><tr><th scope="col">layer</th><th scope="col">pooler</th>
<th class="number" scope="col">{score} on test</th>
<th class="number further" scope="col">95{NARROW_SPACE}% interval</th>
<th class="number" scope="col">on validation</th></tr></thead>
<tbody>{rows}</tbody>
</table></div>
</section>"""


def _row(result: CellResult, chosen: bool, out: Path, write: Callable[[float], str]) -> str:
    link = quote(result.cell.folder.relative_to(out).as_posix())
    spread = ""
    if len(result.runs) > 1:
        scaled = 100 * result.std if write is percent else result.std
        spread = f" ± {scaled:.{1 if write is percent else 3}f}"
    ends = "–" if result.interval is None else " to ".join(write(end) for end in result.interval)
    mean = f"{write(result.mean)}{spread}"
    return (
        f'<tr><td><a href="{text(link)}/report.html">{text(result.cell.layer)}</a></td>'
        f"<td>{text(result.cell.pool)}</td>"
        f'<td class="number">{f"<b>{mean}</b>" if chosen else mean}</td>'
        f'<td class="number faint further">{ends}</td>'
        f'<td class="number">{write(result.valid)}</td></tr>'
    )


def _weights(results: Sequence[CellResult]) -> str:
    """What each pooler's learnt sum made of the layers."""
    mixed = [result for result in results if result.metrics.get("layer_weights")]
    if not mixed:
        return ""
    charts = [
        f"<div><h3>{text(result.cell.pool)}</h3>"
        f"{weights_table(result.metrics['layer_weights'])}</div>"
        for result in mixed
    ]
    return f"""<section id="weights">
<h2>Weights of the learnt sum</h2>
<p class="lead">By pooler; the mark is where all weights began. Layers are standardised first.</p>
<div class="charts">{"".join(charts)}</div>
</section>"""


def _settings(results: Sequence[CellResult], options: SweepOptions) -> str:
    config = dataclasses.asdict(options)
    defaults = dataclasses.asdict(SweepOptions(backbone="any"))
    command = command_of("sweep_layers", config, defaults)
    prints = sorted(
        {
            str(result.metrics.get("test_fingerprint") or result.metrics.get("split_fingerprint"))
            for result in results
        }
    )
    return f"""<section id="settings">
<details>
<summary>Command, configuration, versions, fingerprint of the test part</summary>
<div>
<h3>Command</h3>
<pre class="command">{text(command)}</pre>
<h3>Configuration</h3>
{settings_list(flatten(config))}
<h3>Versions</h3>
{settings_list(versions())}
<h3>Test part</h3>
<p>{", ".join(f"<code>{text(name)}</code>" for name in prints)}: the same for all layers, or they
could not be compared.</p>
</div>
</details>
</section>"""
