# SPDX-License-Identifier: Apache-2.0
"""The command: what it prints and writes, and how it ends."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora.manifest import read_manifest

from ..corpora.hf_corpora import save_splits
from ..corpora.wds_corpora import shard_corpus

COLUMNS = ["path", "id", "label", "speaker", "split", "mood <b>"]


@pytest.fixture
def corpus_folder(tmp_path: Path) -> Path:
    """A manifest of 12 good clips of 4 speakers, then one silent, one missing and one copied."""
    folder = tmp_path / "corpus"
    (folder / "audio files").mkdir(parents=True)
    rows = []
    for number in range(12):
        path = f"audio files/{number}.wav"
        random = np.random.default_rng(number)
        swell = 1 + np.sin(np.arange(8_000) / random.uniform(300, 900))
        soundfile.write(folder / path, 0.05 * swell * random.standard_normal(8_000), 16_000)
        split = ("train", "train", "valid", "test")[number % 4]
        rows.append([path, f"clip {number}", "xy"[number // 6], f"s{number % 4}", split, "a, b"])
    soundfile.write(folder / "silent.wav", np.zeros(8_000), 16_000)
    (folder / "copy.wav").write_bytes((folder / "audio files/3.wav").read_bytes())
    rows.append(["silent.wav", "quiet", "x", "s0", "train", ""])
    rows.append(["missing.wav", "gone", "x", "s0", "train", ""])
    rows.append(["copy.wav", "copy of 3", "x", "s0", "train", "kept?"])
    with (folder / "corpus.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


@pytest.fixture
def clean_corpus(corpus_folder: Path) -> Path:
    lines = (corpus_folder / "corpus.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (corpus_folder / "clean.csv").write_text("".join(lines[:13]), encoding="utf-8")
    return corpus_folder / "clean.csv"


def test_exit_codes(run_cli: Callable[..., Any], corpus_folder: Path, clean_corpus: Path) -> None:
    fine = run_cli("check_data", clean_corpus)
    assert (fine.code, fine.err) == (0, "")
    assert "12 rows, 12 usable clips" in fine.out
    assert "nothing found" in fine.out

    bad = run_cli("check_data", corpus_folder / "corpus.csv")
    assert bad.code == 1
    assert "3 errors, 0 warnings, 0 notes" in bad.out

    for arguments in (
        ["nowhere.csv"],
        [clean_corpus, "--jobs=0"],
        [clean_corpus, "--min-seconds=40"],
        [clean_corpus, "--max-clipped=-1"],
        [clean_corpus, "--leave-out", "short"],
        [clean_corpus, "--label=emotion"],
        [clean_corpus, "--fix", "out.txt"],
        [clean_corpus, "--fix", clean_corpus],
        [clean_corpus, "--html", "no/folder.html"],
        [clean_corpus, "--json", clean_corpus],
        [clean_corpus, "--html", corpus_folder / "audio files" / ".." / "clean.csv"],
        [clean_corpus, "--json", "one.json", "--html", "one.json"],
        [clean_corpus, "--what"],
    ):
        wrong = run_cli("check_data", *arguments)
        assert wrong.code == 2, arguments
        assert "error: " in wrong.err
        assert "Traceback" not in wrong.err
    assert clean_corpus.read_text(encoding="utf-8").startswith("path,id")


def test_the_table_tells_line_clip_measurement_and_advice(
    run_cli: Callable[..., Any], corpus_folder: Path
) -> None:
    out = run_cli("check_data", corpus_folder / "corpus.csv").out
    assert re.search(r"^error +duplicate +1$", out, re.M)
    assert re.search(r"^error +missing +1$", out, re.M)
    assert re.search(r"^error +silent +1$", out, re.M)
    assert "  line 14, quiet: is silent (its samples are all the same)\n" in out
    assert "  line 15, gone: path 'missing.wav' does not exist" in out
    assert (
        "  line 16, copy of 3: has the same samples as 'clip 3' (line 5), with split 'train' and "
        "'test', speaker 's0' and 's3'\n" in out
    )
    assert "\n  -> leave it out, or export it again\n" in out
    short = run_cli("check_data", corpus_folder / "corpus.csv", "--show=0").out
    assert "quiet" not in short
    assert "and 1 more; --show 1 or --json FILE" in short


def test_json_has_everything(
    run_cli: Callable[..., Any], corpus_folder: Path, tmp_path: Path
) -> None:
    run_cli("check_data", corpus_folder / "corpus.csv", "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["counts"] == {"error": 3, "warning": 0, "note": 0}
    assert found["kinds"] == {"error: duplicate": 1, "error: missing": 1, "error: silent": 1}
    assert found["rows"] == 15
    assert found["usable_clips"] == 13
    silent = next(one for one in found["findings"] if one["kind"] == "silent")
    assert (silent["clip"], silent["line"], silent["leave_out"]) == ("quiet", 14, True)
    assert len(found["clips"]) == 14  # without the one that is missing
    first = found["clips"][0]
    assert (first["id"], first["seconds"], first["rate"], first["usable"]) == (
        "clip 0",
        0.5,
        16_000,
        True,
    )
    assert found["clips"][12]["level_db"] is None


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("place", [".", "sub", "../elsewhere"])
def test_fix_leaves_the_bad_rows_out_and_says_why(
    run_cli: Callable[..., Any], corpus_folder: Path, place: str, ending: str
) -> None:
    folder = corpus_folder / place
    folder.mkdir(exist_ok=True)
    out = folder / f"fixed.{ending}"
    ran = run_cli("check_data", corpus_folder / "corpus.csv", "--fix", out)
    assert ran.code == 1
    assert "12 rows; 3 left out" in ran.err

    fixed = read_manifest(out, allow_outside=True)
    assert [clip.id for clip in fixed.clips] == [f"clip {number}" for number in range(12)]
    for number, clip in enumerate(fixed.clips):
        assert clip.path == (corpus_folder / f"audio files/{number}.wav").resolve()
        assert clip.columns == {"mood <b>": "a, b"}
        assert clip.speaker == f"s{number % 4}"
    with (folder / "fixed.reasons.csv").open(newline="", encoding="utf-8") as file:
        reasons = list(csv.DictReader(file))
    assert [(row["line"], row["id"], row["path"], row["kind"]) for row in reasons] == [
        ("14", "quiet", "silent.wav", "silent"),
        ("15", "gone", "missing.wav", "missing"),
        ("16", "copy of 3", "copy.wav", "duplicate"),
    ]
    assert all(row["found"] and row["advice"] for row in reasons)
    assert run_cli("check_data", out, "--allow-outside").code == 0

    again = run_cli("check_data", corpus_folder / "corpus.csv", "--fix", out)
    assert again.code == 2
    assert "is there already; nothing was overwritten" in again.err


def test_kinds_of_warnings_can_be_left_out_too(
    run_cli: Callable[..., Any], clean_corpus: Path, corpus_folder: Path
) -> None:
    soundfile.write(corpus_folder / "audio files/4.wav", [0.1, -0.1] * 400, 16_000)
    options = [clean_corpus, "--fix", corpus_folder / "long.csv", "--leave-out", "short"]
    ran = run_cli("check_data", *options)
    assert ran.code == 0
    assert len(read_manifest(corpus_folder / "long.csv").clips) == 11
    assert "--leave-out" not in ran.err
    options = [clean_corpus, "--fix", corpus_folder / "all.csv", "--leave-out", "shrot"]
    ran = run_cli("check_data", *options)
    assert len(read_manifest(corpus_folder / "all.csv").clips) == 12
    assert (
        "--leave-out shrot: no clip has a finding of that kind; those there are: short" in ran.err
    )


def test_json_lines_keep_their_numbers_and_lists(
    run_cli: Callable[..., Any], corpus_folder: Path, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [
        {"path": f"audio files/{number}.wav", "start": 0.125, "rating": 3 + number, "votes": ["a"]}
        for number in range(4)
    ]
    lines = [json.dumps(row) for row in rows]
    lines[1] = '{"path": "silent.wav"}'
    lines.insert(3, "no json")
    (corpus_folder / "m.jsonl").write_text("\n".join(lines), encoding="utf-8")
    run_cli("check_data", corpus_folder / "m.jsonl", "--fix", tmp_path / "fixed.jsonl")
    fixed = (tmp_path / "fixed.jsonl").read_text(encoding="utf-8").splitlines()
    expected = [{**rows[n], "path": f"corpus/audio files/{n}.wav"} for n in (0, 2, 3)]
    assert [json.loads(line) for line in fixed] == expected


def test_lines_that_are_no_rows_are_in_the_reasons(
    run_cli: Callable[..., Any], clean_corpus: Path, corpus_folder: Path
) -> None:
    with clean_corpus.open("a", encoding="utf-8") as file:
        file.write("audio files/1.wav,too few\n")
    ran = run_cli("check_data", clean_corpus, "--fix", corpus_folder / "fixed.csv")
    assert ran.code == 1
    reasons = (corpus_folder / "fixed.reasons.csv").read_text(encoding="utf-8").splitlines()
    assert len(reasons) == 2
    assert reasons[1].startswith("14,,,error,manifest,")
    assert len(read_manifest(corpus_folder / "fixed.csv").clips) == 12


def test_html_is_one_file_that_escapes_names(
    run_cli: Callable[..., Any], corpus_folder: Path, tmp_path: Path
) -> None:
    text = (corpus_folder / "corpus.csv").read_text(encoding="utf-8")
    (corpus_folder / "corpus.csv").write_text(text.replace("quiet", "<script>x"), encoding="utf-8")
    run_cli("check_data", corpus_folder / "corpus.csv", "--html", tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page
    assert "http" not in page.replace("http-equiv", "")
    for title in ("Findings", "Length", "Level", "Peak", "Offset", "Labels", "Error: silent"):
        assert title in page


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are of POSIX systems")
def test_names_that_are_not_utf8(
    run_process: Callable[..., Any], corpus_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "classes"
    for label in ("x", "y"):
        (folder / label).mkdir(parents=True)
    for number in range(6):
        source = corpus_folder / f"audio files/{number}.wav"
        (folder / "xy"[number % 2] / f"{number}.wav").write_bytes(source.read_bytes())
    try:
        name = folder / "x" / os.fsdecode(b"caf\xe9.wav")
        name.write_bytes((corpus_folder / "audio files/7.wav").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    out = [tmp_path / name for name in ("a.json", "a.html", "fixed.csv")]
    ran = run_process(
        "check_data", folder, "--json", out[0], "--html", out[1], "--fix", out[2], "--show=9"
    )
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err
    assert len(read_manifest(out[2]).clips) == 6
    reasons = (tmp_path / "fixed.reasons.csv").read_text(encoding="utf-8")
    assert "not UTF-8" in reasons
    assert r"caf\udce9.wav" in reasons


def test_two_jobs_write_what_one_does(
    run_cli: Callable[..., Any], corpus_folder: Path, tmp_path: Path
) -> None:
    for jobs in (1, 2):
        found = tmp_path / f"{jobs}.json"
        ran = run_cli("check_data", corpus_folder / "corpus.csv", "--json", found, "--jobs", jobs)
        assert ran.code == 1, ran.err
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_help_teaches_the_exit_codes(run_cli: Callable[..., Any]) -> None:
    out = run_cli("check_data", "--help").out
    assert "exit code is 0 where there is no error, 1 where there is, and 2" in " ".join(
        out.split()
    )
    for option in ("--json", "--html", "--fix", "--leave-out", "--jobs", "--allow-speaker-overlap"):
        assert option in out


@pytest.mark.parametrize(("prefix", "library"), [("hf:", "datasets"), ("wds:", "webdataset")])
def test_audio_that_is_no_file_of_its_own(
    prefix: str,
    library: str,
    run_cli: Callable[..., Any],
    corpus_rows: list[dict[str, str]],
    tmp_path: Path,
) -> None:
    pytest.importorskip(library)
    if prefix == "hf:":
        source = f"hf:{save_splits(corpus_rows, tmp_path / 'saved')}"
    else:
        source = shard_corpus(corpus_rows, tmp_path)
    ran = run_cli("check_data", source, "--json", "check.json")
    assert ran.code in (0, 1), ran.err  # so small a corpus may well have something wrong
    record = json.loads(Path("check.json").read_text(encoding="utf-8"))
    assert "missing" not in json.dumps(record["findings"])
    assert len(record["clips"]) == 25
    ran = run_cli("check_data", source, "--fix", "fixed.csv")
    assert ran.code == 2
    assert "leave --fix out" in ran.err


def test_a_folder_of_classes_has_no_other_labels(
    run_cli: Callable[..., Any], corpus_folder: Path
) -> None:
    ran = run_cli("check_data", corpus_folder, "--label=emotion")
    assert ran.code == 2
    assert "it is a folder of classes, which has no column 'emotion'" in ran.err
