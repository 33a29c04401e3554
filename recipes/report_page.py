# SPDX-License-Identifier: Apache-2.0
"""The page that a report is set in: one file, light and dark, phone and desktop."""

import html

NARROW_SPACE = "\u202f"  # no line break between a number and its sign


def text(value: object) -> str:
    """Escape a value for HTML text and attributes; whatever comes from data goes through here."""
    return html.escape(str(value), quote=True)


def percent(share: float) -> str:
    """``0.724`` to ``72.4 %``."""
    return f"{100 * share:.1f}{NARROW_SPACE}%"


def build_page(title: str, body: str) -> str:
    """Set a body in a whole HTML document that can load nothing, from inside or outside.

    Args:
        title: The window's title, not escaped yet.
        body: HTML.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


# A label or an id that got past escaping could still neither run nor fetch anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

# Blue and orange stay apart in all common kinds of colour blindness. As triples, so that the
# confusion matrix can set their strength.
_STYLE = """
:root {
  --page: #fafaf8; --surface: #ffffff; --ink: #1b1e22; --muted: #5b626a; --rule: #dfe2e5;
  --blue: 0 98 168; --orange: 200 90 0; --track: #e9ebee;
  --right: 0 98 168; --wrong: 205 92 0; --warn: #fff4e5; --warn-rule: #d98324;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131619; --surface: #1a1e22; --ink: #e7e9eb; --muted: #a0a8b0; --rule: #30363c;
    --blue: 92 172 230; --orange: 240 156 70; --track: #2b3137;
    --right: 40 120 190; --wrong: 190 105 20; --warn: #2f2415; --warn-rule: #c98a3c;
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
  padding: 1rem 1.25rem .875rem;
}
.score h2 { font-size: .9375rem; margin: 0; }
.score .value { font-size: 2.25rem; line-height: 1.25; font-weight: 600; white-space: nowrap; }
.score .value small { font-size: .55em; font-weight: 400; color: var(--muted); }
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
.track { fill: var(--track); }
.blue { fill: rgb(var(--blue)); stroke: none; }
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
.recall td { vertical-align: middle; }
.recall.dense td, .recall.dense th { padding-top: .125rem; padding-bottom: .125rem; }
.recall .name { width: 24%; min-width: 6rem; font-weight: 400; }
.recall .bar { width: 56%; }
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
  .recall .name { width: 34%; }
  .recall .bar { width: 36%; }
}
@media print {
  body { background: none; }
  section, figure, .score { break-inside: avoid; }
  .scroll, .scroll.tall { overflow: visible; max-height: none; }
}
"""
