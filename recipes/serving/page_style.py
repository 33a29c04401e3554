# SPDX-License-Identifier: Apache-2.0
"""How the page looks: light and dark, phone and desktop, with the machine's own fonts."""

PAGE_STYLE = """
.gradio-container { --ours: 0 98 168; --ours-track: #e9ebee; --other: #c85a00;
  --c0: #0062a8; --c1: #d4700a; --c2: #1b8a5a; --c3: #b8336a; --c4: #7650c4;
  --c5: #9a7b00; --c6: #0093a7; --c7: #c43d3d; --c8: #6e7781; --c9: #7a4a21; }
.dark .gradio-container, .gradio-container.dark { --ours: 92 172 230; --ours-track: #2b3137;
  --other: #f09c46;
  --c0: #5cace6; --c1: #f09c46; --c2: #4cc38a; --c3: #ef7fb0; --c4: #a98bf0;
  --c5: #d8b93a; --c6: #3fc4d6; --c7: #f27b72; --c8: #a7b0b9; --c9: #c79a6b; }
.gradio-container > main, main.fillable { max-width: 72rem !important; }
.voxadapt { color: var(--body-text-color); font-size: 15px; line-height: 1.5;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.voxadapt .html-container { padding: 0; }
#recording .source-selection button:not(.selected), #recording .controls button,
#recording .timestamps, #recording time, #recording .playback {
  color: var(--body-text-color-subdued); }
.voxadapt h1 { font-size: 1.6rem; line-height: 1.25; font-weight: 600; margin: 0; }
.voxadapt h3 { font-size: .95rem; font-weight: 600; margin: 1.4rem 0 .4rem; }
.voxadapt p { margin: 0; }
.voxadapt a { color: rgb(var(--ours)); text-decoration: underline; }
.voxadapt .told, .voxadapt .lead { color: var(--body-text-color-subdued); font-size: .875rem; }
.voxadapt .lead { margin-top: .25rem; max-width: 46rem; }
.voxadapt .empty { color: var(--body-text-color-subdued); padding: 2rem 1rem; text-align: center;
  border: 1px dashed var(--border-color-primary); border-radius: 8px; }
.voxadapt .headline { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .75rem;
  margin-bottom: .75rem; }
.voxadapt .label { font-size: 2rem; line-height: 1.25; font-weight: 600; }
.voxadapt .sure { font-size: 1.125rem; color: var(--body-text-color-subdued); }
.voxadapt .seconds { margin-inline-start: auto; color: var(--body-text-color-subdued); }
.voxadapt .shares { display: grid; grid-template-columns: minmax(4.5rem, auto) 1fr auto;
  gap: .3rem .75rem; align-items: center; }
.voxadapt .shares bdi { max-width: 14rem; }
.voxadapt .track { display: block; height: 12px; border-radius: 3px; overflow: hidden;
  background: var(--ours-track); }
.voxadapt .bar { display: block; height: 100%; background: rgb(var(--ours)); }
.voxadapt .number { text-align: end; white-space: nowrap; }
.voxadapt .values { display: grid; grid-template-columns: auto 1fr; gap: .2rem 1.5rem;
  font-size: 1.25rem; }
.voxadapt .values .number { text-align: start; font-weight: 600; }
.voxadapt summary { cursor: pointer; padding: .4rem 0; color: var(--body-text-color-subdued); }
.voxadapt .spectrogram { display: block; width: 100%; height: 150px; border-radius: 6px;
  background: #000; overflow: hidden; }
.voxadapt .spectrogram .attention { fill: rgb(255 255 255 / .16); stroke: none; }
.voxadapt .spectrogram .head { fill: none; stroke: #fff; stroke-width: 1; stroke-opacity: .55; }
.voxadapt .spectrogram .mean { fill: none; stroke: #fff; stroke-width: 1.75; }
.voxadapt .spectrogram .even { stroke: #fff; stroke-opacity: .7; stroke-dasharray: 2 4; }
.voxadapt .spectrogram .playhead { visibility: hidden; }
.voxadapt .spectrogram path, .voxadapt .spectrogram line { vector-effect: non-scaling-stroke; }
.voxadapt .ruler { display: flex; justify-content: space-between; white-space: nowrap;
  font-size: .8125rem; color: var(--body-text-color-subdued); margin: .25rem 0; }
.voxadapt .downloads { margin-top: 1.25rem; display: flex; flex-wrap: wrap; gap: .5rem;
  align-items: center; color: var(--body-text-color-subdued); }
.voxadapt a.download { display: inline-block; padding: .3rem .75rem; border-radius: 6px;
  border: 1px solid var(--border-color-primary); text-decoration: none; }
.voxadapt a.download:hover { background: var(--ours-track); }
.voxadapt a:focus-visible, .voxadapt summary:focus-visible { outline: 2px solid rgb(var(--ours)); }
.voxadapt .notice { border: 1px solid var(--border-color-primary); border-radius: 6px;
  border-left: 4px solid var(--body-text-color-subdued); padding: .75rem 1rem; }
.voxadapt .notice.error { border-left-color: var(--other); }
.voxadapt .chart { display: grid; grid-template: auto 1fr auto / auto 1fr; gap: 0 .6rem;
  font-size: .8125rem; line-height: 1; color: var(--body-text-color-subdued); text-align: end;
  margin-top: .6rem; }
.voxadapt .chart span:nth-child(2) { grid-row: 3; }
.voxadapt .chart .timeline { grid-area: 1 / 2 / 4 / 3; }
.voxadapt .chart .strip, .voxadapt .chart .ruler { grid-column: 2; }
.voxadapt .timeline { display: block; width: 100%; height: 170px; overflow: visible; }
.voxadapt .timeline .grid { stroke: var(--border-color-primary); stroke-width: 1; }
.voxadapt .timeline path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.voxadapt .timeline path, .voxadapt .timeline line { vector-effect: non-scaling-stroke; }
.voxadapt .strip { display: block; width: 100%; height: 22px; border-radius: 4px;
  overflow: hidden; background: var(--ours-track); margin-top: .6rem; }
.voxadapt .legend { display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: .875rem; }
.voxadapt .legend span::before { content: ""; display: inline-block; width: .75rem;
  height: .75rem; border-radius: 2px; margin-right: .4rem; vertical-align: -.05em;
  background: var(--tone); }
.voxadapt .scroll { max-height: 18rem; overflow: auto; }
.voxadapt table { width: 100%; border-collapse: collapse; font-size: .9375rem; }
.voxadapt th, .voxadapt td { padding: .3rem .5rem .3rem 0; text-align: start; font-weight: 400;
  border-bottom: 1px solid var(--border-color-primary); }
.voxadapt thead th { color: var(--body-text-color-subdued); font-size: .8125rem; }
@media (max-width: 40rem) {
  .voxadapt h1 { font-size: 1.3rem; }
  .voxadapt .label { font-size: 1.6rem; }
  .voxadapt .spectrogram { height: 120px; }
}
"""
