# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from voxadapt.recipes.corpora.json_text import text_of_json


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (" é ", "é"), (1, "1"), (2.5, "2.5"), (True, "true"), (["é", 1], '["é", 1]')],
)
def test_values_become_the_text_of_a_cell(value: Any, text: str) -> None:
    assert text_of_json(value) == text
