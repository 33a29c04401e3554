# SPDX-License-Identifier: Apache-2.0
"""How a report looks: light and dark, phone and desktop, screen and paper."""

# As many groups have a colour of their own; further ones get another shape.
GROUP_COLOURS = 10

# Blue and orange stay apart in all common kinds of colour blindness. As triples, so that the
# confusion matrix can set their strength.
_STYLE = """
:root {
  --page: #fafaf8; --surface: #ffffff; --ink: #1b1e22; --muted: #5b626a; --rule: #dfe2e5;
  --blue: 0 98 168; --orange: 200 90 0; --track: #e9ebee;
  --right: 0 98 168; --wrong: 205 92 0; --warn: #fff4e5; --warn-rule: #d98324;
  --c0: #0062a8; --c1: #d4700a; --c2: #1b8a5a; --c3: #b8336a; --c4: #7650c4;
  --c5: #9a7b00; --c6: #0093a7; --c7: #c43d3d; --c8: #6e7781; --c9: #7a4a21;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #131619; --surface: #1a1e22; --ink: #e7e9eb; --muted: #a0a8b0; --rule: #30363c;
    --blue: 92 172 230; --orange: 240 156 70; --track: #2b3137;
    --right: 40 120 190; --wrong: 190 105 20; --warn: #2f2415; --warn-rule: #c98a3c;
    --c0: #5cace6; --c1: #f09c46; --c2: #4cc38a; --c3: #ef7fb0; --c4: #a98bf0;
    --c5: #d8b93a; --c6: #3fc4d6; --c7: #f27b72; --c8: #a7b0b9; --c9: #c79a6b;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; font-weight: 600; margin: 0; text-wrap: balance; }
h2 { font-size: 1.125rem; font-weight: 600; margin: 0 0 .25rem; }
p { margin: 0; max-width: 46rem; }
.kind { color: var(--muted); font-size: .875rem; margin-bottom: .25rem; }
.lead { color: var(--muted); font-size: .9375rem; margin: .25rem 0 1rem; }
section { margin-top: 2.75rem; }
code, .mono {
  font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}

.scores { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; margin: 1.5rem 0 1rem; }
.score {
  background: var(--surface); border: 1px solid var(--rule); border-radius: 8px;
  padding: 1rem 1.25rem .875rem; min-width: 0;
}
.score h2 { font-size: .9375rem; margin: 0; }
.score .value { font-size: 2.25rem; line-height: 1.25; font-weight: 600; }
.score .value small {
  display: inline-block; white-space: nowrap; font-size: .55em; font-weight: 400;
  color: var(--muted);
}
.score svg { margin: .375rem 0 .25rem; }
.score p { font-size: .8125rem; line-height: 1.45; color: var(--muted); }
.score .range { display: flex; justify-content: space-between; gap: 0 1rem; flex-wrap: wrap; }
.score .range b { color: var(--ink); font-weight: 400; }

.notice {
  border: 1px solid var(--rule); border-left: 4px solid var(--muted); border-radius: 6px;
  background: var(--surface); padding: .75rem 1.125rem; margin: 1.25rem 0 0; font-size: .9375rem;
}
.notice.warning { background: var(--warn); border-color: var(--warn-rule); }
.notice strong { font-weight: 600; }
.notice ul { margin: .25rem 0 0; padding-left: 1.125rem; }

dl.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr));
  gap: .875rem 1.5rem; margin: 1.5rem 0 0; padding-top: 1.25rem; border-top: 1px solid var(--rule);
}
dl.facts dt { font-size: .8125rem; color: var(--muted); }
dl.facts dd { margin: 0; font-size: .9375rem; }

svg { display: block; width: 100%; overflow: visible; }

.pair { display: flex; flex-wrap: wrap; gap: 0 4rem; }
.pair > section { max-width: 100%; }
.pair > #confusion { min-width: min(100%, 20rem); }
.pair > #confusion > .lead { width: 0; min-width: 100%; }  /* the matrix sets the width */
.pair > #recall { flex: 1 1 28rem; }
.halves {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 0 4rem;
}
.halves > * { min-width: 0; }
.track { fill: var(--track); }
.blue { fill: rgb(var(--blue)); stroke: none; }
.wrong { fill: rgb(var(--orange)); }
.soft { fill: rgb(var(--blue) / .35); }
.mark { stroke: var(--ink); stroke-width: 1.5; }
.charts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr));
  gap: 1.5rem 2rem;
}
figure { margin: 0; min-width: 0; }
figcaption {
  display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: baseline; font-size: .875rem;
  color: var(--muted); margin-bottom: .375rem;
}
figcaption b { color: var(--ink); font-weight: 600; }
figure + .lead { margin: .25rem 0 0; font-size: .875rem; }
.bands .name { white-space: nowrap; }
.bands .name svg { display: inline-block; width: 18px; height: 12px; margin-right: .3rem; }
.bands .name polyline { stroke-width: 3; }
.folds { margin-bottom: 1.5rem; }
.key::before {
  content: ""; display: inline-block; width: 1.125rem; height: 0; margin-right: .4rem;
  border-top: 3px solid currentColor; vertical-align: .25em;
}
.key.blue::before { border-color: rgb(var(--blue)); }
.key.orange::before { border-color: rgb(var(--orange)); }
.key.level::before { border-top: 2px dotted var(--muted); }
.key.dashed::before { border-top: 1px dashed var(--muted); }
.chart text { font-size: 12px; fill: var(--muted); }
.chart text.told { fill: var(--ink); }
.chart .grid { stroke: var(--rule); stroke-width: 1; }
.chart .level { stroke: var(--muted); stroke-width: 1.5; stroke-dasharray: 1.5 3.5; }
.chart .chosen { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 4 3; }
.chart polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.chart polyline.blue { stroke: rgb(var(--blue)); }
.chart polyline.orange { stroke: rgb(var(--orange)); }
.chart circle.blue { fill: rgb(var(--blue)); }
.chart circle.orange { fill: rgb(var(--orange)); }
.chart circle.ring { fill: none; stroke-width: 2; }
.chart circle.ring.blue { stroke: rgb(var(--blue)); }
.chart circle.ring.orange { stroke: rgb(var(--orange)); }
.chart .target { fill: transparent; }

table { border-collapse: collapse; font-size: .9375rem; }
th { font-weight: 500; text-align: start; }
td.number, th.number { text-align: end; white-space: nowrap; }
thead th { font-size: .8125rem; color: var(--muted); vertical-align: bottom; }
.list { width: 100%; }
.list td, .list th { padding: .4375rem .5rem; border-bottom: 1px solid var(--rule); }
.list td { vertical-align: baseline; }
.list tr > :first-child { padding-left: 0; }
.list tr > :last-child { padding-right: 0; }
.bars td { vertical-align: middle; }
.bars.dense td, .bars.dense th { padding-top: .125rem; padding-bottom: .125rem; }
.bars .name { width: 24%; min-width: 6rem; font-weight: 400; }
.bars .bar { width: 56%; }
.mistakes .clip { width: 50%; }
.faint { color: var(--muted); }

.scroll { overflow: auto; max-width: 100%; padding-bottom: .25rem; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid rgb(var(--blue)); }
.scroll.tall { max-height: min(85vh, 56rem); border: 1px solid var(--rule); border-radius: 6px; }
.matrix { border-collapse: separate; border-spacing: 2px; width: max-content; }
.matrix td {
  min-width: 4.5rem; height: 3.25rem; padding: .25rem .375rem; text-align: center;
  border-radius: 4px; line-height: 1.2; background: rgb(var(--tone) / var(--strength));
}
.matrix td { --tone: var(--wrong); --strength: 0; }
.matrix td.right { --tone: var(--right); }
.matrix td.zero { color: var(--muted); }
.matrix td small { display: block; font-size: .75rem; white-space: nowrap; opacity: .85; }
.matrix td.total { background: none; color: var(--muted); text-align: end; }
.matrix th {
  position: sticky; z-index: 1; background: var(--page); padding: .25rem .375rem;
  color: var(--ink); font-weight: 400; line-height: 1.25;
}
.matrix th[scope=row] { left: 0; padding: 0 .75rem 0 0; }
.matrix thead th { top: 0; text-align: center; }
.matrix thead th:first-child { left: 0; z-index: 2; text-align: start; padding-left: 0; }
.matrix thead th:first-child, .matrix thead th.total { color: var(--muted); }
.matrix thead th.total { text-align: end; }
.matrix bdi { display: block; max-width: 14rem; overflow-wrap: anywhere; }
.matrix thead bdi { max-width: 7.5rem; margin: 0 auto; }
.matrix thead bdi.upright {
  writing-mode: vertical-rl; max-height: 12rem; text-align: end; line-height: 1.5;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
.matrix.dense { font-size: .75rem; border-spacing: 1px; }
.matrix.dense td { min-width: 2.5rem; height: 2.25rem; padding: 0 .25rem; border-radius: 2px; }
.matrix.dense td.zero { opacity: .6; }
.matrix.dense td small { font-size: .625rem; }
.matrix.dense th { font-size: .8125rem; }
.matrix.dense th:first-child { padding-left: .5rem; }
.matrix.dense th[scope=row] bdi {
  max-width: 12rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}

details { border: 1px solid var(--rule); border-radius: 8px; background: var(--surface); }
summary { cursor: pointer; padding: .75rem 1.125rem; font-weight: 600; }
details > div { padding: 0 1.125rem 1.125rem; }
details h3 { font-size: .9375rem; font-weight: 600; margin: 1rem 0 .25rem; }
details p { font-size: .875rem; }
.settings { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr));
  gap: 0 2rem; margin: 0; font-size: .875rem; }
.settings div {
  display: flex; justify-content: space-between; gap: 1.5rem; padding: .25rem 0;
  border-bottom: 1px solid var(--rule);
}
.settings dt { flex: none; max-width: 60%; color: var(--muted); }
.settings dd { margin: 0; text-align: end; }

.maps figure { position: relative; }
.map .frame { fill: var(--surface); stroke: var(--rule); }
.map .dot { stroke: var(--surface); stroke-width: .75; cursor: pointer; }
.map .dot.missed { stroke: var(--ink); stroke-width: 1.5; }
.map .dot.dim { opacity: .12; }
.map .dot.same { stroke: var(--ink); stroke-width: 2.5; }
.legend { display: flex; flex-wrap: wrap; gap: .125rem .25rem; margin: .375rem 0 0; padding: 0; }
.legend button {
  all: unset; display: inline-flex; align-items: center; gap: .3rem; padding: .125rem .375rem;
  border-radius: 4px; font-size: .8125rem; cursor: pointer; max-width: 100%;
}
.legend button:hover, .legend button[aria-pressed=true] { background: var(--track); }
.legend button:focus-visible { outline: 2px solid rgb(var(--blue)); }
.legend svg { width: 12px; height: 12px; flex: none; }
.legend bdi { overflow: hidden; text-overflow: ellipsis; }
.tip {
  position: absolute; z-index: 3; pointer-events: none; max-width: min(20rem, 90%);
  background: var(--ink); color: var(--page); padding: .375rem .625rem; border-radius: 4px;
  font-size: .8125rem; line-height: 1.4; white-space: pre-line;
}
.tip[hidden] { display: none; }

.clips {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr));
  gap: 1.25rem;
}
.clip-card {
  background: var(--surface); border: 1px solid var(--rule); border-radius: 8px; padding: .875rem;
  min-width: 0; display: flex; flex-direction: column; gap: .5rem; margin: 0;
}
.clip-card h3 { font-size: .9375rem; font-weight: 600; margin: 0; }
.clip-card .id { font-size: .75rem; color: var(--muted); }
.clip-card .id, .clip-card .why { line-height: 1.35; }
.clip-card .why { font-size: .8125rem; color: var(--muted); }
.clip-card audio { width: 100%; height: 2.25rem; margin-top: auto; }
.clip-card .shares { display: grid; grid-template-columns: minmax(0, auto) 1fr auto;
  gap: .125rem .5rem; font-size: .8125rem; align-items: center; }
.clip-card .shares .true { font-weight: 600; }
.arrow { color: var(--muted); font-weight: 400; padding: 0 .125rem; }
.spectrogram { cursor: pointer; border-radius: 4px; background: #000; overflow: hidden; }
.spectrogram .attention { fill: rgb(255 255 255 / .16); stroke: none; }
.spectrogram .head { fill: none; stroke: #fff; stroke-width: 1; stroke-opacity: .55; }
.spectrogram .mean { fill: none; stroke: #fff; stroke-width: 1.5; }
.spectrogram .even { stroke: #fff; stroke-opacity: .7; stroke-dasharray: 2 4; }
.spectrogram .playhead { stroke: #4de1ff; stroke-width: 2; visibility: hidden; }
.spectrogram .playing { visibility: visible; }
.spectrogram path, .spectrogram line { vector-effect: non-scaling-stroke; }
.ruler {
  display: flex; justify-content: space-between; font-size: .75rem; color: var(--muted);
  margin-top: -.25rem; white-space: nowrap;
}

.diagram .bar { fill: rgb(var(--blue) / .75); }
.diagram .mean { stroke: rgb(var(--orange)); stroke-width: 3; }
.diagram .count { fill: var(--muted); opacity: .5; }
.diagram .even, .chart .even { stroke: var(--muted); stroke-width: 1.25; stroke-dasharray: 4 4; }
.key.box::before { height: .75rem; border: none; vertical-align: -.1em; }
.key.box.bar::before { background: rgb(var(--blue) / .75); }
.key.mean::before { border-color: rgb(var(--orange)); }
.key.diagonal::before { border-top: 1.5px dashed var(--muted); }

.strip circle { fill: rgb(var(--blue)); fill-opacity: .75; }
.chart polyline.line, .chart .whisker { fill: none; stroke-width: 2; }
.chart .band { opacity: .16; stroke: none; }
.chart circle.point { stroke: var(--page); stroke-width: 1; }
.chart .faint-line { stroke-width: 1; opacity: .35; }
.sweep td { white-space: nowrap; }
.runs a { color: rgb(var(--blue)); }
a:focus-visible { outline: 2px solid rgb(var(--blue)); }
pre.command {
  background: var(--track); border-radius: 6px; padding: .625rem .875rem; overflow-x: auto;
  margin: .375rem 0 .75rem; font: .8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas,
  "Liberation Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere;
}
details.more { background: none; border: none; }
details.more > summary { padding: .5rem 0; font-weight: 400; font-size: .9375rem; }
details.more > div { padding: 0; }

@media (max-width: 40rem) {
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.375rem; }
  section { margin-top: 2.25rem; }
  .scores { grid-template-columns: 1fr 1fr; gap: .75rem; }
  .score { padding: .75rem .875rem; }
  .score:first-child { grid-column: 1 / -1; }
  .score:not(:first-child) .value { font-size: 1.75rem; }
  dl.facts { grid-template-columns: 1fr 1fr; gap: .75rem 1rem; }
  .chart text { font-size: 14px; }
  .matrix td { min-width: 3.25rem; }
  .matrix .corner { display: block; max-width: 4.5rem; }
  .matrix th { font-size: .8125rem; }
  .matrix th[scope=row] { padding-right: .5rem; }
  .matrix bdi, .matrix.dense th[scope=row] bdi { max-width: 6.5rem; }
  .matrix thead bdi { max-width: 5rem; }
  .list { font-size: .875rem; }
  .mistakes tr {
    display: grid; grid-template-columns: 1fr 1fr 4.75rem 4.75rem; gap: 0 .5rem;
    padding: .4375rem 0; border-bottom: 1px solid var(--rule);
  }
  .mistakes td, .mistakes th { padding: 0; border: none; }
  .mistakes .clip { grid-column: 1 / -1; width: auto; }
  .further { display: none; }
  .bars .name { width: 34%; }
  .bars .bar { width: 36%; }
  .runs td, .runs th { padding-left: .25rem; padding-right: .25rem; }
}
@media print {
  body { background: none; font-size: 11pt; }
  section { margin-top: 1.5rem; }
  figure, .score, .clip-card, tr { break-inside: avoid; }
  h2, h2 + .lead { break-after: avoid; }
  audio, .tip { display: none; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .matrix th { position: static; background: none; }
  .scroll, .scroll.tall { overflow: visible; max-height: none; }
}
"""

# A group's colour, for what is filled and for what is drawn as a line.
_GROUPS = "".join(
    f".c{number} {{ fill: var(--c{number}); }} .line.c{number} {{ stroke: var(--c{number}); }}\n"
    for number in range(GROUP_COLOURS)
)
# After the groups: a line is never filled.
_LINES = ".chart polyline.line { fill: none; }\n"

STYLE = _STYLE + _GROUPS + _LINES
