# SPDX-License-Identifier: Apache-2.0
"""A run's folder is claimed once and continued only by the same run."""

import json
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.folder_lock import LOCK_FILE
from voxadapt.recipes.running.run_folder import (
    check_out,
    claim_out,
    compare_configs,
    flatten,
    make_folder,
    read_record,
    versions,
    write_json,
)

CONFIG: dict[str, Any] = {"seed": 0, "out": "a", "resume": False, "optimizer": {"warmup": 0.1}}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run that has computed something."""
    out = tmp_path / "run"
    claim_out(out, "finetune", CONFIG, adapter="random")
    (out / "checkpoint.pt").write_bytes(b"weights")
    return out


def test_a_new_or_empty_folder_is_free_and_nothing_is_written_by_asking(tmp_path: Path) -> None:
    for resume in (False, True):
        assert check_out(tmp_path / "new", "finetune", CONFIG, resume=resume) == tmp_path / "new"
        assert check_out(tmp_path, "finetune", CONFIG, resume=resume) == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [None, "{}", "no json", "[]", '{"command": "ride"}', '{"config": 3, "command": "x"}']
)
def test_a_foreign_folder_is_refused(content: str | None, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    for resume in (False, True):
        with pytest.raises(UsageError, match="holds no run of voxadapt; nothing was written"):
            check_out(tmp_path, "finetune", CONFIG, resume=resume)
    with pytest.raises(UsageError, match="is a file"):
        check_out(tmp_path / "photo.jpg", "finetune", CONFIG, resume=False)


def test_a_run_is_continued_only_with_resume_and_its_own_options(begun: Path) -> None:
    with pytest.raises(
        UsageError, match="already holds a run of finetune; nothing was overwritten"
    ):
        check_out(begun, "finetune", CONFIG, resume=False)
    assert check_out(begun, "finetune", CONFIG, resume=True) == begun
    with pytest.raises(UsageError, match="a run of finetune there, not of pretrain_adapter"):
        check_out(begun, "pretrain_adapter", CONFIG, resume=True)
    other = {**CONFIG, "seed": 1, "optimizer": {"warmup": 0.2}}
    with pytest.raises(UsageError, match=r"optimizer.warmup was 0.1, is 0.2; seed was 0, is 1"):
        check_out(begun, "finetune", other, resume=True)


def test_where_a_run_writes_and_where_it_stops_may_change(begun: Path) -> None:
    moved = {**CONFIG, "out": "b", "resume": True, "features": "c", "max_steps": 3, "max_epochs": 1}
    assert check_out(begun, "finetune", moved, resume=True) == begun
    for before, now in (("c", "online"), ("online", "c")):
        (difference,) = compare_configs({"features": before}, {"features": now})
        assert difference == f"features was {before!r}, is {now!r}"
    assert compare_configs({"features": "online"}, {"features": "online"}) == []


def test_a_run_that_computed_nothing_may_be_started_again(tmp_path: Path) -> None:
    claim_out(tmp_path, "finetune", CONFIG)
    (tmp_path / "bad_audio.jsonl").write_text("")
    (tmp_path / "audio_check.json").write_text("{}")
    (tmp_path / "checkpoint.pt.123.unfinished").write_text("")
    (tmp_path / "cross-other.bad_audio.jsonl").write_text("")
    (tmp_path / "fold-1" / "seed-0").mkdir(parents=True)
    (tmp_path / "fold-2" / "seed-0").mkdir(parents=True)
    (tmp_path / "fold-2" / "seed-0" / "log.txt").write_text("error: the loss is not finite")
    (tmp_path / "adapter.1.unfinished").mkdir()
    (tmp_path / "adapter.1.unfinished" / "config.json").write_text("{")
    other = {**CONFIG, "seed": 1}
    assert check_out(tmp_path, "pretrain_adapter", other, resume=False) == tmp_path
    with pytest.raises(UsageError, match="seed was 0, is 1"):
        check_out(tmp_path, "finetune", other, resume=True)


@pytest.mark.parametrize(
    "kept",
    [
        "notes.txt",
        "log.txt",
        "metrics.json",
        "tensorboard/events.out.tfevents.1",
        "layer-02/sap/run.json",
        "fold-1/seed-0/checkpoint.pt",
        "fold-1/seed-0/run.json",
        "fold-1/seed-0/more/log.txt",
    ],
)
def test_anything_else_that_lies_there_is_kept(kept: str, tmp_path: Path) -> None:
    claim_out(tmp_path, "finetune", CONFIG)
    (tmp_path / kept).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / kept).write_text("")
    with pytest.raises(UsageError, match="already holds a run of finetune; nothing was overwr"):
        check_out(tmp_path, "finetune", CONFIG, resume=False)


def test_a_link_to_a_folder_is_something(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    claim_out(out, "finetune", CONFIG)
    (out / "adapter").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="already holds a run"):
        check_out(out, "finetune", CONFIG, resume=False)


def test_leftovers_of_a_killed_process_are_no_obstacle_and_are_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "run.json.123.unfinished"
    leftover.write_text("{")
    assert check_out(tmp_path, "finetune", CONFIG, resume=True) == tmp_path
    claim_out(tmp_path, "finetune", CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", LOCK_FILE}


def test_the_record_says_whose_it_is_and_what_was_settled(begun: Path) -> None:
    record = read_record(begun)
    assert record is not None
    assert (record["command"], record["config"]) == ("finetune", CONFIG)
    assert record["adapter"] == "random"
    assert record["versions"] == versions()
    assert read_record(begun / "nowhere") is None


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        claim_out(tmp_path / "file" / "run", "finetune", CONFIG)


def test_a_folder_for_results_is_made_or_the_option_is_named(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "deep" / "er", "--out x")
    assert (tmp_path / "deep" / "er").is_dir()
    (tmp_path / "file").write_text("")
    for wrong in ("file", "file/deep"):
        with pytest.raises(UsageError, match=f"^--out x: the folder .*{wrong} cannot be made"):
            make_folder(tmp_path / wrong, "--out x")


def test_compare_and_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
    assert compare_configs({"a": 1, "b": 2}, {"a": 1, "c": None, "b": 3}) == ["b was 2, is 3"]
    assert compare_configs({"a": {"x": 1}}, {}) == ["a.x was 1, is None"]


def test_json_is_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    write_json(path, {"name": "Zoë"})
    assert "Zoë" in path.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        write_json(path, object())
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Zoë"}
    assert [file.name for file in path.parent.iterdir()] == ["x.json"]
    name = b"caf\xe9".decode("utf-8", "surrogateescape")  # of a file, as the command line has it
    write_json(path, {"data": [name]})
    assert json.loads(path.read_bytes()) == {"data": [name]}


def test_versions_name_what_can_change_a_result() -> None:
    found = versions()
    assert {"python", "voxadapt", "torch", "transformers", "numpy"} <= found.keys()
    assert "not installed" not in found.values()
