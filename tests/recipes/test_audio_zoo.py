# SPDX-License-Identifier: Apache-2.0
"""What the recipes make of the zoo: each file is used, or named with our own reason."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxadapt.recipes.corpora.manifest_paths import printable

READ_BY_FOLDERS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@pytest.fixture(scope="module")
def corpus_folder(animals: dict[str, Any]) -> Path:
    """The zoo as a folder of two classes."""
    folder: Path = animals["wav PCM_16"].path.parents[1]
    return folder


def bad_files(animals: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        f"bad/{animal.path.name}": animal.reasons for animal in animals.values() if animal.reasons
    }


def check_listing(listing: Path, animals: dict[str, Any]) -> None:
    records = [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    expected = {name: why for name, why in bad_files(animals).items() if name != "bad/pipe.wav"}
    assert {record["id"] for record in records} == set(expected)
    for record in records:
        assert record["reason"] in expected[record["id"]]
        assert Path(record["path"]).name in record["message"]


def test_finetune_lists_each_bad_file_and_uses_the_rest(
    run_cli: Callable[..., Any],
    corpus_folder: Path,
    animals: dict[str, Any],
    finetune_options: list[str],
    tmp_path: Path,
) -> None:
    options = ["--data", corpus_folder, *finetune_options[2:], "--adapter=none"]
    stopped = run_cli("finetune", *options, "--out", tmp_path / "stopped")
    assert stopped.code == 2
    assert f"the audio of {len(bad_files(animals))} of " in stopped.err
    assert "bad/1_hz.wav" in stopped.err

    # One class has no usable clip, so the first half of the good ones is made a class of its own.
    folder = tmp_path / "corpus"
    shutil.copytree(corpus_folder, folder, symlinks=True, ignore=_no_pipes)
    other = folder / "other"
    other.mkdir()
    for path in sorted((folder / "good").iterdir())[::2]:
        path.rename(other / path.name)
    ran = run_cli(
        "finetune",
        "--data",
        folder,
        *finetune_options[2:],
        "--adapter=none",
        "--on-bad-audio=skip",
        "--allow-speaker-overlap",  # some of the files are copies of others
        "--out",
        tmp_path / "run",
    )
    assert "Traceback" not in ran.err
    assert ran.code == 0, ran.err
    check_listing(tmp_path / "run/bad_audio.jsonl", animals)


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "pipe.wav"]


def test_extract_features_lists_each_bad_file(
    run_cli: Callable[..., Any],
    corpus_folder: Path,
    animals: dict[str, Any],
    features: Path,
) -> None:
    ran = run_cli(
        "extract_features", "--data", corpus_folder, "--features", features, "--on-bad-audio=skip"
    )
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err
    lines = [line for line in ran.err.splitlines() if line.startswith("left out: ")]
    for name, reasons in bad_files(animals).items():
        (told,) = [line for line in lines if line.startswith(f"left out: {name}: ")]
        assert reasons
        assert Path(name).name in told.removeprefix(f"left out: {name}: ")
    assert len(lines) == len(bad_files(animals))


def test_predict_names_each_bad_file_and_predicts_the_rest(
    run_cli: Callable[..., Any], corpus_folder: Path, animals: dict[str, Any], finetuned: Path
) -> None:
    ran = run_cli("predict", finetuned, corpus_folder / "good", corpus_folder / "bad")
    assert "Traceback" not in ran.err
    assert ran.code == 1
    lines = ran.err.replace("\r", "\n").split("\n")  # between them, the bar writes over itself
    errors = [line for line in lines if "error: " in line]
    for name in bad_files(animals):
        assert any(Path(name).name in line for line in errors), name
    predicted = [json.loads(line) for line in ran.out.splitlines()]
    good = {
        printable(animal.path.name)
        for animal in animals.values()
        if not animal.reasons and animal.path.suffix.lower() in READ_BY_FOLDERS
    }
    assert {Path(record["path"]).name for record in predicted} == good
