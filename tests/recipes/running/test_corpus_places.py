# SPDX-License-Identifier: Apache-2.0
"""Corpora of one command: each of them once, however it is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.corpus_places import corpus_places

Run = Callable[..., Any]


def test_the_same_place_by_another_name_is_the_same_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("path\n")
    Path("link.csv").symlink_to("a.csv")
    assert corpus_places(["a.csv", "b.csv"]) == [tmp_path / "a.csv", tmp_path / "b.csv"]
    for again in ("a.csv", "./a.csv", "sub/../a.csv", str(tmp_path / "a.csv"), "link.csv"):
        with pytest.raises(UsageError, match=r"a\.csv' is named twice; name each corpus once"):
            corpus_places(["a.csv", "b.csv", again])
    for name in ("hf:user/corpus:train", "wds:shards/{00..09}.tar"):
        with pytest.raises(UsageError, match=f"^'{name[:3]}.* is named twice"):
            corpus_places([name, name])


@pytest.mark.parametrize("command", ["pretrain_adapter", "extract_features", "score", "export"])
def test_commands_of_several_manifests_refuse_one_that_is_given_twice(
    command: str, run_cli: Run, corpus: Path, finetuned: Path
) -> None:
    given: dict[str, list[Any]] = {
        "score": [finetuned],
        "export": [finetuned, "--onnx=model.onnx"],
        "extract_features": [],
    }
    ran = run_cli(command, *given.get(command, ["--out=run"]), "--data", corpus, corpus)
    assert ran.code == 2, ran.err
    assert f"{str(corpus)!r} is named twice" in ran.err
    assert not Path("run").exists()
