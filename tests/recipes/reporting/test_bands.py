# SPDX-License-Identifier: Apache-2.0
import re

from voxadapt.recipes.reporting.bands import Band, band_chart


def test_lines_bands_and_words() -> None:
    bands = [
        Band("sap", 0, [0.5, 0.7, 0.6], [0.4, 0.6, 0.5], [0.6, 0.8, 0.7]),
        Band("<qkv>", 1, [0.55, None, 0.9]),
    ]
    chart = band_chart("UA, %", [0, 1, 2], bands, axis="layer", shares=True, level=("chance", 0.25))
    (first,) = re.findall(r'<polyline class="line c0" points="([^"]+)"/>\n?<circle', chart)
    heights = [float(point.split(",")[1]) for point in first.split()]
    assert heights[1] < heights[2] < heights[0]  # the best stands highest
    (second,) = re.findall(r'<polyline class="line c1" points="([^"]+)"/>\n?<circle', chart)
    assert len(second.split()) == 2
    assert chart.count('class="band c') == 1
    assert "sap is highest at layer 1 with 70.0\u202f%" in chart
    assert "&lt;qkv&gt;, layer 2: 90.0\u202f%" in chart
    assert "<qkv>" not in chart
    assert 'class="level"' not in chart  # chance is far below what is drawn


def test_a_single_point_and_a_line_without_values() -> None:
    chart = band_chart(
        "UA", [4], [Band("one", 0, [0.5], [0.4], [0.6]), Band("none", 1, [None])], axis="layer"
    )
    assert "none has no value" in chart
    assert chart.count("<circle") == 1
    assert "whisker" in chart
