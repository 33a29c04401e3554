# SPDX-License-Identifier: Apache-2.0
"""``predict`` on files and folders; what cannot be read does not stop the rest."""

import csv
import io
import json
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxadapt import SpeechClassifier
from voxadapt.recipes.running import encoder_precision

Run = Callable[..., Any]
LABELS = ["hum", "noise", "tone"]


@pytest.fixture
def recordings(corpus: Path, tmp_path: Path) -> Path:
    """A folder of four clips, one of them deeper, and a file that is no audio."""
    folder = tmp_path / "recordings"
    (folder / "deep").mkdir(parents=True)
    for name in ("hum_3_0", "noise_3_0", "tone_3_0"):
        shutil.copy(corpus.with_name(f"{name}.wav"), folder)
    shutil.copy(corpus.with_name("tone_3_1.wav"), folder / "deep" / "TONE.WAV")
    (folder / "notes.txt").write_text("no audio")
    return folder


def test_json_is_one_object_a_file(run_cli: Run, finetuned: Path, recordings: Path) -> None:
    files = [recordings / "tone_3_0.wav", recordings / "hum_3_0.wav"]
    ran = run_cli("predict", finetuned, *files)
    assert ran.code == 0, ran.err
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [record["path"] for record in records] == [str(file) for file in files]
    model = SpeechClassifier.from_pretrained(finetuned)
    for record in records:
        assert record.keys() == {"path", "predicted", "probabilities"}
        expected = model.predict(record["path"])
        assert record["predicted"] == expected.label
        assert record["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)


def test_csv_is_a_table_of_the_files_in_a_folder(
    run_cli: Run, finetuned: Path, recordings: Path
) -> None:
    ran = run_cli("predict", finetuned, recordings, "--format=csv")
    assert ran.code == 0, ran.err
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert list(rows[0]) == ["path", "predicted", *LABELS]
    names = [Path(row["path"]).name for row in rows]
    assert sorted(names) == ["TONE.WAV", "hum_3_0.wav", "noise_3_0.wav", "tone_3_0.wav"]
    for row in rows:
        shares = {label: float(row[label]) for label in LABELS}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert max(shares, key=lambda label: shares[label]) == row["predicted"]


def test_a_bad_file_is_named_the_others_are_done_and_the_code_is_1(
    run_cli: Run, finetuned: Path, recordings: Path
) -> None:
    (recordings / "a_bad.wav").write_bytes(b"no audio")
    ran = run_cli("predict", finetuned, recordings, "--format=csv")
    assert ran.code == 1
    assert len(ran.out.splitlines()) == 1 + 4
    assert "a_bad.wav cannot be decoded" in ran.err
    assert "1 of 5 files could not be used" in ran.err
    assert "Traceback" not in ran.err


def test_recordings_that_must_be_converted_are_told_of_beside_the_results(
    run_cli: Run, finetuned: Path, recordings: Path
) -> None:
    (recordings / "call.m4a").touch()
    ran = run_cli("predict", finetuned, recordings, "--format=csv")
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 1 + 4
    assert f"{recordings}: 1 of its files left out" in ran.err


def test_bf16_is_close_to_fp32_and_not_the_same(
    run_cli: Run, hubert_run: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_precision, "has_bf16", lambda kind: True)
    shares = []
    for precision in ("fp32", "bf16"):
        ran = run_cli("predict", hubert_run, recordings, "--precision", precision)
        assert ran.code == 0, ran.err
        records = [json.loads(line)["probabilities"] for line in ran.out.splitlines()]
        shares.append([share for record in records for share in record.values()])
    assert shares[0] == pytest.approx(shares[1], abs=0.05)
    assert shares[0] != shares[1]


def test_json_is_a_list_and_has_frame_weights_where_they_are_asked_for(
    run_cli: Run, finetuned: Path, recordings: Path
) -> None:
    ran = run_cli("predict", finetuned, recordings, "--format=json", "--frame-weights")
    assert ran.code == 0, ran.err
    records = json.loads(ran.out)
    assert len(records) == 4
    for record in records:
        heard = record["frame_weights"]
        assert [len(head) for head in heard["weights"]] == [len(heard["times"])]
        assert sum(heard["weights"][0]) == pytest.approx(1, abs=1e-3)


def test_a_table_is_what_a_terminal_shows(
    run_cli: Run, finetuned: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(io, "StringIO", Terminal)
    lines = run_cli("predict", finetuned, recordings / "hum_3_0.wav").out.splitlines()
    assert lines[0].split() == ["path", "predicted", *LABELS]
    assert lines[1].split()[1] in LABELS


def test_results_and_embeddings_go_to_files_whose_rows_are_the_same_clips(
    run_cli: Run, finetuned: Path, recordings: Path, tmp_path: Path
) -> None:
    (recordings / "i_bad.wav").write_bytes(b"no audio")
    files = ["--out", tmp_path / "out.csv", "--embeddings", tmp_path / "vectors.npz"]
    ran = run_cli("predict", finetuned, recordings, *files)
    assert (ran.code, ran.out) == (1, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    model = SpeechClassifier.from_pretrained(finetuned)
    with np.load(tmp_path / "vectors.npz") as arrays:
        assert arrays["paths"].tolist() == [row["path"] for row in rows]
        assert arrays["predicted"].tolist() == [row["predicted"] for row in rows]
        for row, vector in zip(rows, arrays["embeddings"], strict=True):
            expected = model.predict(row["path"])
            assert row["predicted"] == expected.label
            np.testing.assert_allclose(vector, expected.embedding, atol=1e-5)
    bad = json.loads((tmp_path / "out.bad_audio.jsonl").read_text())
    assert (Path(bad["path"]).name, bad["reason"]) == ("i_bad.wav", "unreadable")
    assert str(tmp_path / "out.bad_audio.jsonl") in ran.err

    again = run_cli("predict", finetuned, recordings / "hum_3_0.wav", *files)
    assert again.code == 2
    assert "out.csv: is there already; name another file, or add --overwrite" in again.err
    last = run_cli("predict", finetuned, recordings / "hum_3_0.wav", *files, "--overwrite")
    assert last.code == 0, last.err
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2
    assert not (tmp_path / "out.bad_audio.jsonl").exists()  # that was of other results


def test_files_that_cannot_be_written_are_said(
    run_cli: Run, finetuned: Path, recordings: Path
) -> None:
    clip = recordings / "hum_3_0.wav"
    ran = run_cli("predict", finetuned, clip, "--out=x.npy", "--embeddings=./x.npy")
    assert ran.code == 2
    assert "--embeddings ./x.npy: is --out too; name another file" in ran.err
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    ran = run_cli("predict", finetuned, clip, "--out=/dev/full", "--overwrite")
    assert ran.code == 2
    assert "--out /dev/full: cannot be written (No space left on device). Make room" in ran.err
    assert "Traceback" not in ran.err


def test_a_list_on_standard_input_and_a_pattern(
    run_cli: Run, finetuned: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = f"{recordings / 'tone_3_0.wav'}\n{recordings / 'gone.wav'}\n".encode()
    monkeypatch.setattr(sys, "stdin", Namespace(buffer=io.BytesIO(listed)))
    ran = run_cli("predict", finetuned, "-", recordings / "*_3_0.wav")
    assert ran.code == 1
    names = [Path(json.loads(line)["path"]).name for line in ran.out.splitlines()]
    assert names == ["tone_3_0.wav", "hum_3_0.wav", "noise_3_0.wav"]
    assert "gone.wav does not exist" in ran.err
    assert "1 of 4 files could not be used" in ran.err


def test_of_allowed_labels_the_table_has_only_those(
    run_cli: Run, finetuned: Path, recordings: Path
) -> None:
    allowed = ["--allowed-labels", "tone", "hum"]
    ran = run_cli("predict", finetuned, recordings, "--format=csv", *allowed)
    assert ran.code == 0, ran.err
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert list(rows[0]) == ["path", "predicted", "hum", "tone"]
    for row in rows:
        assert float(row["hum"]) + float(row["tone"]) == pytest.approx(1, abs=1e-5)


def test_the_batch_changes_nothing_and_neither_does_auto(
    run_cli: Run, finetuned: Path, recordings: Path
) -> None:
    found = []
    for options in ([], ["--batch-seconds=0.5"], ["--device=auto"]):
        ran = run_cli("predict", finetuned, recordings, *options)
        assert ran.code == 0, ran.err
        found.append([json.loads(line) for line in ran.out.splitlines()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one["path"] == two["path"]
            assert one["probabilities"] == pytest.approx(two["probabilities"], abs=1e-5)


def test_options_that_cannot_be_are_refused_before_anything_runs(
    run_cli: Run, recordings: Path, tmp_path: Path
) -> None:
    for options, needle in (
        (["--out", "nowhere/out.csv"], "--out nowhere/out.csv: there is no folder nowhere"),
        (["--out", tmp_path], "is a folder; name a file"),
        (["--embeddings", "vectors.csv"], "must end with .npy or .npz"),
        (["--frame-weights", "--format=csv"], "does not fit into --format csv"),
        (["--batch-seconds=0"], "--batch-seconds: found 0.0, must be above 0 and finite"),
        (["--device=gpu"], "--device gpu: is no device; allowed here: auto, cpu"),
        (["--device=cuda:7"], "--device cuda:7: this machine has none; allowed here: auto, cpu"),
        (["--format=xml"], "--format: found 'xml', allowed: "),
    ):
        ran = run_cli("predict", "./no-model", recordings, *options)
        assert (ran.code, ran.out) == (2, ""), options
        assert needle in ran.err, ran.err


def test_labels_that_the_model_does_not_know_are_refused(
    run_cli: Run, finetuned: Path, recordings: Path, tmp_path: Path
) -> None:
    options = ["--allowed-labels", "hun", "--out", tmp_path / "out.csv"]
    ran = run_cli("predict", finetuned, recordings, *options)
    assert ran.code == 2
    assert "--allowed-labels: found label 'hun'" in ran.err
    assert "Did you mean 'hum'?" in ran.err
    assert not (tmp_path / "out.csv").exists()


def test_a_reader_that_goes_away_ends_it_quietly(finetuned: Path, recordings: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "recipes" / "predict.py"
    # Enough lines that they do not fit into what a pipe holds.
    code = f"""
import os, subprocess, sys
reader, writer = os.pipe()
os.close(reader)
command = [sys.executable, {str(script)!r}, {str(finetuned)!r}, {str(recordings)!r}]
ran = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
print(ran.returncode, ran.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.stdout.startswith("1 ")
    assert "Traceback" not in ran.stdout
    assert "BrokenPipe" not in ran.stdout


def test_names_that_lead_nowhere_are_refused_before_anything_runs(
    run_cli: Run, finetuned: Path, recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for names, needle in (
        (["nowhere.wav"], "nowhere.wav: there is no such file or folder"),
        ([recordings / "hum_3_0.wav", "nowhere"], "nowhere: there is no such file"),
        (["empty"], "empty: this folder holds no audio file"),
        ([], "files"),
    ):
        ran = run_cli("predict", finetuned, *names)
        assert (ran.code, ran.out) == (2, "")
        assert needle in ran.err
    ran = run_cli("predict", "./no-model", recordings)
    assert ran.code == 2
    assert "./no-model: there is no such folder" in ran.err


def test_only_results_go_to_standard_output(
    run_process: Run, finetuned: Path, corpus: Path
) -> None:
    ran = run_process("predict", finetuned, corpus.with_name("hum_3_0.wav"))
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["predicted"] in LABELS


def test_the_first_prediction_waits_for_no_package_that_it_does_not_need(
    finetuned: Path, corpus: Path
) -> None:
    clip = corpus.with_name("hum_3_0.wav")
    code = f"""
import json, sys
from voxadapt.cli import main
assert main(["predict", {str(finetuned)!r}, {str(clip)!r}]) == 0
print(json.dumps([*sys.modules]))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    modules = set(json.loads(ran.stdout.splitlines()[-1]))
    heavy = {"transformers", "accelerate", "peft", "sklearn", "scipy", "matplotlib", "faiss"}
    assert "torch" in modules
    assert not heavy & modules
