# SPDX-License-Identifier: Apache-2.0
"""Results on standard output whose reader may go before all of them are written."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_at_closed_pipe() -> Iterator[None]:
    """End quietly, with code 1, where the reader has gone, as ``head`` does after its lines."""
    try:
        yield
        sys.stdout.flush()  # what is left of a buffer meets the closed pipe here, and not at exit
    except BrokenPipeError:
        # Else the interpreter complains once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
