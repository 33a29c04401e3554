# SPDX-License-Identifier: Apache-2.0
"""The bar counts audio, over all recordings, and a bad one does not stop it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from voxadapt.recipes.timelines.progress import RecordingsProgress


def test_seconds_of_all_recordings_are_counted(
    tmp_path: Path, write_samples: Callable[..., Path]
) -> None:
    paths = [write_samples(tmp_path / f"{n}.wav", np.zeros(16_000 * n)) for n in (2, 4)]
    (tmp_path / "bad.wav").write_bytes(b"none")
    paths.insert(1, tmp_path / "bad.wav")
    with RecordingsProgress(paths) as progress:
        assert progress._bar.total == 6
        progress.update(1.0, 2.0)
        assert progress._bar.n == 1
        progress.finish(paths[0])
        progress.finish(paths[1])
        progress.update(3.0, 4.0)
        assert progress._bar.n == 5
        assert "0:05.0/0:06.0" in str(progress._bar)
        progress.finish(paths[2])
        assert progress._bar.n == 6
