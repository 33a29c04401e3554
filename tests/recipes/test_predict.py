# SPDX-License-Identifier: Apache-2.0
"""``predict`` on files and folders; what cannot be read does not stop the rest."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
