# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the server: what it counts as an error, and one short run."""

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

Load = Callable[..., Namespace]


def test_what_is_not_as_it_should_be_is_an_error(load_benchmark: Load) -> None:
    serving = load_benchmark("serving").main
    good = serving.Visits([0.1, 0.2, 0.3], Counter({200: 3}), Counter({400: 1, 422: 2}))
    found = serving.summarize([good, good], seconds=2.0)
    assert (found["requests"], found["refused"], found["errors"]) == (12, 6, 0)
    assert found["per_second"] == 6
    assert found["p50_ms"] == pytest.approx(200)
    bad = serving.Visits(
        [0.1], Counter({200: 1, 503: 2}), Counter({200: 3, 500: 4}), Counter({"OSError": 5})
    )
    found = serving.summarize([good, bad], seconds=1.0)
    assert found["errors"] == 2 + 3 + 4 + 5
    assert found["wrong"]["OSError"] == 5


def test_clips_are_spread_over_the_folder(load_benchmark: Load, tmp_path: Path) -> None:
    serving = load_benchmark("serving").main
    for number in range(10):
        (tmp_path / f"{number}.wav").write_bytes(bytes([number]))
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert serving.read_clips(tmp_path, 4) == [b"\0", b"\3", b"\6", b"\t"]
    assert len(serving.read_clips(tmp_path, 99)) == 10
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="holds no recording"):
        serving.read_clips(tmp_path / "empty", 4)


@pytest.mark.slow
def test_it_measures_a_server(
    load_benchmark: Load, finetuned: Path, corpus: Path, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi", reason="needs pip install -e '.[serve]'")
    serving = load_benchmark("serving").main
    options = [str(finetuned), "--clips", str(corpus.parent), "--out", str(tmp_path / "out.json")]
    serving.main([*options, "--clients=8", "--seconds=3", "--warm-up=1"])
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["errors"] == 0
    assert found["refused"] > 0
    assert found["clips_per_batch"] >= 1
    assert min(found["resident_mb"]) > 50
