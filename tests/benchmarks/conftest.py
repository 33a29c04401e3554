# SPDX-License-Identifier: Apache-2.0
import importlib
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load_benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Namespace]]:
    """Import a benchmark afresh: ``.main`` is its script, ``.tables`` its ``NAME_tables``."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str, parts: Sequence[str] = ()) -> Namespace:
        modules = {part: importlib.import_module(f"{name}_{part}") for part in parts}
        return Namespace(main=importlib.import_module(name), **modules)

    yield load
    for name in {path.stem for path in FOLDER.glob("*.py")} & sys.modules.keys():
        del sys.modules[name]
