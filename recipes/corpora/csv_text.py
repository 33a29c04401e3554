# SPDX-License-Identifier: Apache-2.0
"""Rows as CSV that reads back as what was written."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a header and a line for each row; a value that a row lacks is empty.

    Args:
        columns: Names of the columns.
        rows: Values by column.
    """
    text = io.StringIO(newline="")
    usual, quoted = (
        csv.DictWriter(text, columns, restval="", lineterminator="\n", quoting=quoting)
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    usual.writeheader()
    for row in rows:
        # Python leaves a carriage return without quotes where lines end otherwise (seen in 3.11),
        # and its own reader refuses that.
        has_return = any("\r" in value for value in row.values() if isinstance(value, str))
        (quoted if has_return else usual).writerow(row)
    return text.getvalue()
