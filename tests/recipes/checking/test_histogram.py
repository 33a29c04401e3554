# SPDX-License-Identifier: Apache-2.0
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from voxadapt.recipes.checking.histogram import histogram


@pytest.mark.parametrize(
    "values", [[2.0], [0.0, 0.0], [-0.06, 0.01, 0.0], [1e-9, 1e9], list(np.linspace(1, 2, 999))]
)
def test_every_value_is_in_a_bar(values: list[float]) -> None:
    figure = histogram("Level", values, "dB")
    ElementTree.fromstring(figure)
    assert sum(
        int(count.replace(",", "")) for count in re.findall(r": ([\d,]+) clips<", figure)
    ) == (len(values))
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"', figure)]
    assert min(heights) > 0
    assert max(heights) <= 160


def test_limits_inside_of_the_values_are_drawn() -> None:
    figure = histogram("Length", [1.0, 2.0, 9.0], "seconds", [("longest", 5.0), ("beyond", 20.0)])
    assert "longest: 5 seconds" in figure
    assert 'key dashed">longest' in figure
    assert "beyond" not in figure


def test_names_are_escaped() -> None:
    assert "<b>&lt;i&gt;</b>" in histogram("<i>", [1.0], "<s>")
