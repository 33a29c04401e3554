# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from voxadapt.audio_source import read_source


def test_a_file_and_its_bytes_are_the_same(corpus: Path) -> None:
    path = next(corpus.parent.glob("*.wav"))
    expected = read_source(path, None)
    assert expected.ndim == 1
    assert torch.equal(read_source(str(path), None), expected)
    assert torch.equal(read_source(path.read_bytes(), None), expected)


def test_samples_need_a_rate_and_files_take_none(corpus: Path) -> None:
    samples = np.sin(np.arange(8_000) / 10).astype(np.float32)
    assert len(read_source(samples, 8_000)) == 16_000
    with pytest.raises(ValueError, match="sample_rate: missing; give the rate"):
        read_source(samples, None)
    with pytest.raises(ValueError, match="sample_rate: goes with samples only"):
        read_source(corpus, 16_000)
