# SPDX-License-Identifier: Apache-2.0
"""The demo, on a corpus that is there already: its steps, its table, and whose folder it takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes import demo
from voxadapt.recipes.demo import MARK, clear, table
from voxadapt.recipes.running.command_line import UsageError

Run = Callable[..., Any]


def test_it_goes_the_whole_way_and_prints_where_things_are(
    run_cli: Run,
    corpus: Path,
    pretrain_options: list[str],
    finetune_options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, list[str]] = {}
    tiny = {"pretrain_adapter": pretrain_options, "finetune": finetune_options}
    for name, options in tiny.items():
        recipe = getattr(demo, name)
        main = recipe.main

        def run(argv: Any, name: str = name, main: Any = main, options: Any = options) -> Any:
            asked[name] = list(argv)
            sizes = [option for option in options if option.startswith(("--adapter.", "--size."))]
            more = [o for o in options if o.startswith(("--objectives.", "--collapse.", "--batch"))]
            return main([*argv, *sizes, *more])

        monkeypatch.setattr(recipe, "main", run)
    monkeypatch.setattr(demo, "make_demo_corpus", lambda folder: corpus, raising=False)

    options = ["--out=out", "--pretrain-epochs=1", "--finetune-epochs=2", "--seed=3"]
    ran = run_cli("demo", *options)
    assert ran.code == 0, ran.err
    for needle in ("UA", "WA", "macro-F1", "parameters", "out/finetune/report.html", "heard as"):
        assert needle in ran.out
    assert Path("out/finetune/report.html").exists()
    assert Path("out/finetune/model/model.safetensors").exists()
    for argv in asked.values():
        assert argv[argv.index("--data") + 1] == str(corpus)
        assert argv[argv.index("--seed") + 1] == "3"
    assert asked["pretrain_adapter"][asked["pretrain_adapter"].index("--epochs") + 1] == "1"
    assert asked["finetune"][asked["finetune"].index("--adapter") + 1] == "out/pretrain"

    asked.clear()  # a second call replaces the first one's runs
    assert run_cli("demo", *options).code == 0
    assert asked.keys() == tiny.keys()


def test_the_program_is_named_as_it_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my env").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "my env" / "python"))
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert demo.program() == "voxadapt"  # which a user will have to find
    (tmp_path / "my env" / "voxadapt").touch()
    assert demo.program() == str(Path("my env", "voxadapt"))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert demo.program() == "voxadapt"


def test_a_file_is_no_folder_for_a_demo(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="is a file; give a folder"):
        clear(tmp_path / "out")


def test_a_folder_below_a_file_cannot_be_made(run_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run_cli("demo", "--out=file/demo")
    assert ran.code == 2
    assert "--out file/demo: the folder file/demo cannot be made" in ran.err


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "pretrain" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match="holds no earlier demo; nothing was written"):
        clear(tmp_path)
    assert mine.exists()
    clear(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_only_the_runs_of_an_earlier_demo_are_removed(tmp_path: Path) -> None:
    for name in ("corpus", "features", "pretrain", "finetune"):
        (tmp_path / name).mkdir()
    (tmp_path / MARK).write_text("{}")
    clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", "features", MARK}


def test_the_table_has_a_line_for_each_result() -> None:
    metrics = {"ua": 0.9876, "wa": 0.5, "macro_f1": 1.0, "n": 40, "parameters_trained": 1234567}
    text = table(metrics, 61.4)
    for needle in ("98.8 %", "50.0 %", "100.0 %", "40", "1,234,567 parameters", "61 s"):
        assert needle in text
