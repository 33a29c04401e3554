# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from voxadapt.recipes.corpora.natural_order import natural_key


@pytest.mark.parametrize(
    "ordered",
    [
        ["1", "2", "9", "10", "11"],
        ["s1", "s2", "s10"],
        ["Ses01F", "Ses01M", "Ses02F", "Ses10F"],
        ["", "3", "a", "a1", "a1b", "a2", "b"],
        ["fold-2", "fold-10"],
    ],
)
def test_numbers_in_names_count_as_numbers(ordered):
    mixed = list(ordered)
    random.Random(0).shuffle(mixed)
    assert sorted(mixed, key=natural_key) == ordered


def test_names_that_differ_have_keys_that_differ():
    names = ["01", "1", "١", "²", "a01", "a1"]
    assert len({str(natural_key(name)) for name in names}) == len(names)
