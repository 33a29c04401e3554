# SPDX-License-Identifier: Apache-2.0
"""Values of JSON as the text that a CSV cell would hold."""

import json
from typing import Any


def text_of_json(value: Any) -> str:
    """Return a value as text: null is empty, and a number or a nested value stays as JSON."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
