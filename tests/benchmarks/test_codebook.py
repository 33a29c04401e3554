# SPDX-License-Identifier: Apache-2.0
"""The benchmark of codebook fits, on tiny sizes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--frames-count", "400", "--features", "8", "--attributes", "4", "--repeats", "2"]
TINY += ["--threads", "1", "--iterations", "9"]


@pytest.fixture
def benchmark(load_benchmark: Callable[..., Any]) -> Any:
    return load_benchmark("codebook").main


def test_frames_are_layer_normalised_correlated_and_seeded(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "CHUNK", 300)
    frames = benchmark.make_frames(1000, 16, seed=0)
    assert frames.shape == (1000, 16)
    torch.testing.assert_close(frames.mean(dim=1), torch.zeros(1000), atol=1e-5, rtol=0)
    torch.testing.assert_close(frames.square().mean(dim=1), torch.ones(1000), atol=1e-2, rtol=0)
    values = torch.linalg.eigvalsh(frames.T.cov())
    assert values[-4:].sum() > 0.8 * values.sum()
    assert torch.equal(benchmark.make_frames(1000, 16, seed=0), frames)
    assert not torch.equal(benchmark.make_frames(1000, 16, seed=1), frames)


def test_table_and_json(benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sub" / "results.json"
    np.save(tmp_path / "frames.npy", benchmark.make_frames(300, 8, seed=1).half().numpy())
    benchmark.main([*TINY, "--frames", str(tmp_path / "frames.npy"), "--out", str(out)])
    printed = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert results["setup"]["frames"] == [300, 8]
    assert not results["setup"]["made_up"]
    assert results["setup"]["iterations"] == 9
    ways = [row["way"] for row in results["rows"]]
    mini_batches = [benchmark.MINI_BATCH, benchmark.MINI_BATCH_WHOLE]
    assert ways == ["ours, faiss", "ours, torch", benchmark.FAISS, *mini_batches]
    inertias = [row["inertia"] for row in results["rows"]]
    assert max(inertias) < 1.3 * min(inertias)
    assert all(len(row["rounds"]) == 2 for row in results["rows"])
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(lines) == 7
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| ours, faiss |")


def test_iterations_are_those_of_our_fits(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    fit = benchmark.fit_codebook

    def record(*args: Any, iterations: int, **options: Any) -> Any:
        found.append((options["backend"], iterations))
        return fit(*args, iterations=iterations, **options)

    monkeypatch.setattr(benchmark, "fit_codebook", record)
    benchmark.main(TINY)
    assert set(found) == {("faiss", 9), ("torch", 9)}


def test_targets_are_judged_by_ratios(benchmark: Any) -> None:
    rows = [
        {"way": "ours, faiss", "seconds": 11.0, "inertia": 20.0},
        {"way": "ours, torch", "seconds": 4.0, "inertia": 20.2},
        {"way": benchmark.FAISS, "seconds": 10.0, "inertia": 20.0},
        {"way": benchmark.MINI_BATCH, "seconds": 20.0, "inertia": 21.0},
        {"way": benchmark.MINI_BATCH_WHOLE, "seconds": 40.0, "inertia": 20.5},
    ]
    setup = {"frames": [1000, 8], "made_up": True, "attributes": 4, "threads": 1, "device": "cpu"}
    setup |= {"torch": "2", "faiss-cpu": "1", "scikit-learn": "1", "repeats": 1, "load_before": 0.0}
    setup |= {"iterations": 7}
    lines = benchmark.table({"setup": setup, "rows": rows}).splitlines()
    assert "ours at most 7 iterations" in lines[0]
    assert lines[4].split(" | ")[2:] == [
        "1.100 (missed)",
        "0.550 (missed)",
        "0.275 (met)",
        "20.000",
        "1.000 (met) |",
    ]
    times = ["0.400 (met)", "0.200 (met)", "0.100 (met)"]
    assert lines[5].split(" | ")[2:] == [*times, "20.200", "1.010 (missed) |"]
    assert lines[6].split(" | ")[2:] == ["1.000", "0.500", "0.250", "20.000", "1.000 |"]


def test_mini_batches_go_over_all_frames_as_often_as_the_others(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sklearn.cluster

    found = []

    class Recorded(sklearn.cluster.MiniBatchKMeans):  # type: ignore[misc]
        def fit(self, *frames: Any) -> Any:
            fitted = super().fit(*frames)
            found.append(self.n_steps_ * self.batch_size / len(frames[0]))
            return fitted

    monkeypatch.setattr(sklearn.cluster, "MiniBatchKMeans", Recorded)
    frames = benchmark.make_frames(5000, 8, seed=0)
    options = benchmark.parse([*TINY, "--repeats", "1"])
    benchmark.measure(frames, options)
    assert len(found) == 2
    assert found[0] < 15
    assert found[1] == pytest.approx(benchmark.ITERATIONS, abs=0.5)
