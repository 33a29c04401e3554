# SPDX-License-Identifier: Apache-2.0
"""Made-up timelines."""

from collections.abc import Callable

import numpy as np
import pytest

from voxadapt.timeline import Timeline


@pytest.fixture(scope="session")
def make_timeline() -> Callable[..., Timeline]:
    """A timeline of ``make_timeline(seconds, columns, dimensions, gate)``, a window a second."""

    def make(
        seconds: int = 20,
        columns: dict[str, list[str]] | None = None,
        dimensions: tuple[str, ...] = (),
        gate: bool = False,
        name: str = "folder/call.wav",
    ) -> Timeline:
        columns = {"emotion": ["angry", "sad"]} if columns is None else columns
        random = np.random.default_rng(0)
        parts = [random.dirichlet(np.full(len(names), 0.3), seconds) for names in columns.values()]
        parts += [random.standard_normal((seconds, 1)) for _ in dimensions]
        rows = np.concatenate(parts, axis=1).astype(np.float32)
        unheard = [place for place in range(seconds) if gate and place % 10 == 9]
        rows[unheard] = np.nan
        edges = np.arange(seconds + 1.0)
        heard = ~np.isnan(rows).any(axis=1)
        return Timeline(
            name=name,
            seconds=float(seconds),
            window=1.0,
            hop=1.0,
            smooth=1.0,
            columns=columns,
            dimensions=dimensions,
            times=np.stack([edges[:-1], edges[1:]], axis=1),
            stretches=np.stack([edges[:-1], edges[1:]], axis=1),
            speech_share=heard.astype(float),
            raw=rows,
            smoothed=rows,
            speech=[(start, start + 9.0) for start in range(0, seconds, 10)] if gate else None,
            envelope=random.uniform(0, 1, 20 * seconds).astype(np.float32),
            envelope_step=0.05,
        )

    return make
