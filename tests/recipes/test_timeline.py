# SPDX-License-Identifier: Apache-2.0
"""`timeline` as a user types it: what is printed and written, what is refused, and how it ends."""

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from voxadapt import SpeechClassifier
from voxadapt.adapters import FeatureStandardizer
from voxadapt.backbones import load_backbone
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.outputs import LabelOutputs, Outputs, ValueOutputs
from voxadapt.pooling import build_pooler

RATE = 16_000


def save_model(folder: Path, outputs: Outputs) -> Path:
    encoder = load_backbone("fbank")
    torch.manual_seed(0)
    size = encoder.spec.feature_size
    head = FrameClassifier(FeatureStandardizer(size), build_pooler("sap", size), outputs.size)
    torch.nn.init.normal_(head.linear.weight, std=0.05)
    SpeechClassifier(encoder, head, outputs).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("one"), LabelOutputs({"label": ["hum", "tone"]}))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = LabelOutputs({"emotion": ["angry", "sad"], "speaker": ["s1", "s2"]})
    return save_model(tmp_path_factory.mktemp("several"), outputs)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = ValueOutputs(["arousal", "valence"], [0.0, 0.0], [1.0, 1.0])
    return save_model(tmp_path_factory.mktemp("values"), outputs)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two recordings, 12 s of stereo at 44.1 kHz and 5 s at 8 kHz with a pause."""
    folder = tmp_path_factory.mktemp("calls")
    times = np.arange(12 * 44_100) / 44_100
    sound = 0.3 * np.sin(2 * np.pi * (200 + 90 * np.sin(times)) * times)
    soundfile.write(folder / "long.flac", np.stack([sound, sound], axis=1), 44_100)
    (folder / "team").mkdir()
    short = 0.3 * np.sin(np.arange(5 * 8_000) / 5)
    short[14_400:33_600] = 0  # from 1.8 to 4.2 s
    soundfile.write(folder / "team" / "short.wav", short, 8_000)
    return folder


def test_a_table_is_printed(model: Path, calls: Path, run_cli: Callable[..., Any]) -> None:
    ran = run_cli("timeline", model, calls)
    assert ran.code == 0, ran.err
    first, second = ran.out.strip().split("\n\n")
    assert first.startswith(f"{calls / 'long.flac'}  0:12.0 (10 of 10 windows heard)")
    assert second.startswith(f"{calls / 'team/short.wav'}  0:05.0 (")
    assert "over all" in first
    assert first.splitlines()[3].split()[0] == "0:00.0"


def test_csv_has_a_row_for_each_window(
    model: Path, calls: Path, run_cli: Callable[..., Any]
) -> None:
    ran = run_cli("timeline", model, calls, "--format=csv", "--window=2", "--hop=0.5", "--smooth=0")
    assert ran.code == 0, ran.err
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert len(rows) == 21 + 7
    assert list(rows[0])[-3:] == ["predicted", "hum", "tone"]
    loaded = SpeechClassifier.from_pretrained(model)
    timeline = loaded.timeline(calls / "long.flac", window=2, hop=0.5, smooth=0)
    found = [float(row["hum"]) for row in rows[:21]]
    assert found == pytest.approx(timeline.raw[:, 0].tolist(), abs=1e-5)
    pauses = [row for row in rows[21:] if not row["predicted"]]
    assert [(row["start"], row["hum"]) for row in pauses] == [("2.0", "")]


def test_json_is_an_object_a_line(model: Path, calls: Path, run_cli: Callable[..., Any]) -> None:
    ran = run_cli(
        "timeline", model, calls, "--format=json", "--vad=energy", "--allowed-labels", "hum"
    )
    assert ran.code == 0, ran.err
    first, second = (json.loads(line) for line in ran.out.splitlines())
    assert first["path"] == str(calls / "long.flac")
    assert second["speech"]
    assert second["overall"]["probabilities"] == {"hum": 1.0}
    # A tone of one loudness is nothing that stands out.
    assert first["speech"] == []
    assert first["overall"]["predicted"] is None


def test_a_label_track_is_printed(model: Path, calls: Path, run_cli: Callable[..., Any]) -> None:
    ran = run_cli("timeline", model, calls / "long.flac", "--format=audacity")
    assert ran.code == 0, ran.err
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert float(lines[0][0]) == 0
    assert float(lines[-1][1]) == 12
    assert {line[2] for line in lines} <= {"hum", "tone"}


def test_files_are_written_beside_one_another(
    model: Path, calls: Path, run_cli: Callable[..., Any], tmp_path: Path
) -> None:
    ran = run_cli("timeline", model, calls, "--out=out")
    assert ran.code == 0, ran.err
    endings = (".json", ".labels.txt", ".png", ".segments.csv", ".windows.csv")
    found = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.*"))
    assert found == sorted(
        f"out/{name}{ending}" for name in ("long", "team/short") for ending in endings
    )
    assert "written: out/team/short.png" in ran.err
    again = run_cli("timeline", model, calls, "--out=out")
    assert again.code == 2
    assert "nothing was overwritten" in again.err
    (tmp_path / "out/long.json").write_text("old")
    over = run_cli("timeline", model, calls, "--out=out", "--overwrite")
    assert over.code == 0, over.err
    assert json.loads((tmp_path / "out/long.json").read_text())["seconds"] == 12
    more = run_cli("timeline", model, calls, "--out=out", "--write", "svg")
    assert more.code == 0, more.err
    assert (tmp_path / "out/long.svg").exists()


def test_several_columns_have_a_track_each(
    several: Path, calls: Path, run_cli: Callable[..., Any], tmp_path: Path
) -> None:
    ran = run_cli("timeline", several, calls / "long.flac", "--out=out")
    assert ran.code == 0, ran.err
    assert "over all emotion" in ran.out
    for column, labels in (("emotion", {"angry", "sad"}), ("speaker", {"s1", "s2"})):
        track = (tmp_path / "out" / f"long.{column}.labels.txt").read_text()
        assert {line.split("\t")[2] for line in track.splitlines()} <= labels
    refused = run_cli("timeline", several, calls / "long.flac", "--format=audacity")
    assert refused.code == 2
    assert "one column of labels, and this model has columns emotion, speaker" in refused.err


def test_values_have_windows_and_a_picture(
    values: Path, calls: Path, run_cli: Callable[..., Any], tmp_path: Path
) -> None:
    ran = run_cli("timeline", values, calls / "long.flac", "--out=out")
    assert ran.code == 0, ran.err
    assert "over all  arousal" in ran.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "long.json",
        "long.png",
        "long.windows.csv",
    ]
    for options in (["--format=audacity"], ["--out=new", "--write", "segments"]):
        refused = run_cli("timeline", values, calls / "long.flac", *options)
        assert refused.code == 2
        assert "values" in refused.err


def test_bad_recordings_are_named_and_the_rest_is_done(
    model: Path, calls: Path, run_cli: Callable[..., Any], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    files = [tmp_path / "empty.wav", calls / "long.flac", tmp_path / "nan.wav"]
    ran = run_cli("timeline", model, *files, "--format=json", "--out=out")
    assert ran.code == 1
    assert len(ran.out.splitlines()) == 1
    assert "empty.wav has no samples" in ran.err
    assert "nan.wav has NaN" in ran.err
    assert "2 of 3 recordings could not be used" in ran.err
    assert (tmp_path / "out" / "long.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window=0"], "--window: found 0"),
        (["--window=0.03", "--hop=0.03"], "--window: found 0.03 s, but one frame of fbank"),
        (["--hop=4"], "--hop: found 4"),
        (["--smooth=-1"], "--smooth: found -1"),
        (["--min-speech=2"], "--min-speech: found 2"),
        (["--batch-seconds=0"], "--batch-seconds: found 0"),
        (["--vad=webrtc"], "allowed: 'none', 'energy', 'silero'"),
        (["--allowed-labels", "humm"], "--allowed-labels: found label 'humm'"),
        (["--write", "png"], "give --out"),
        (["--out=o", "--write", "gif"], "gif"),
        (["--device=tpu9"], "--device tpu9"),
        (["--hopp=1"], "Did you mean 'hop'"),
    ],
)
def test_wrong_options_are_one_message(
    options: list[str], message: str, model: Path, calls: Path, run_cli: Callable[..., Any]
) -> None:
    ran = run_cli("timeline", model, calls / "long.flac", *options)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_file_is_no_folder_for_timelines(
    model: Path, calls: Path, run_cli: Callable[..., Any]
) -> None:
    Path("out").write_text("mine")
    ran = run_cli("timeline", model, calls / "long.flac", "--out=out")
    assert (ran.code, ran.out) == (2, "")  # before the recording is heard
    assert "--out out: the folder out cannot be made" in ran.err


def test_a_track_of_two_recordings(model: Path, calls: Path, run_cli: Callable[..., Any]) -> None:
    ran = run_cli("timeline", model, calls, "--format=audacity")
    assert ran.code == 2
    assert "a track holds one recording, not 2" in ran.err


def test_a_gate_that_is_not_installed_is_named(
    model: Path, calls: Path, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    ran = run_cli("timeline", model, calls / "long.flac", "--vad=silero")
    assert ran.code == 2
    assert "pip install -e '.[vad]'" in ran.err


def test_a_reader_that_has_gone_ends_it_quietly(model: Path, calls: Path) -> None:
    command = [sys.executable, "-m", "voxadapt.cli", "timeline", model, calls, "--format=json"]
    ran = subprocess.run(
        f"{shlex.join(map(str, command))} | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(ran.stdout) == 10
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


def test_a_reader_that_never_read_ends_it_quietly(model: Path, calls: Path) -> None:
    command = [sys.executable, "-m", "voxadapt.cli", "timeline", model, calls, "--format=csv"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = subprocess.run(
            list(map(str, command)), stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert ran.returncode == 1
    assert "BrokenPipe" not in ran.stderr
    assert "Traceback" not in ran.stderr


PEAK = """
import resource, sys
from voxadapt.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_three_hours_stay_under_a_gigabyte(model: Path, tmp_path: Path) -> None:
    """Stereo at 44.1 kHz, with the gate, and with all files written: 1.9 GB if it were decoded."""
    minute = np.zeros((60 * 44_100, 2), dtype=np.int16)
    random = np.random.default_rng(0)
    for start in range(0, 55, 5):
        part = slice(start * 44_100, (start + 3) * 44_100)
        minute[part] = random.integers(-2_000, 2_000, (3 * 44_100, 1))
    peaks = {}
    for hours in (0.05, 3):
        path = tmp_path / f"{hours}.flac"
        with soundfile.SoundFile(path, "w", 44_100, 2, compression_level=0) as file:
            for _ in range(round(hours * 60)):
                file.write(minute)
        command = [sys.executable, "-c", PEAK, "timeline", str(model), str(path)]
        out = tmp_path / f"out-{hours}"
        ran = subprocess.run(
            [*command, "--vad=energy", f"--out={out}"], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        peaks[hours] = int(ran.stderr.splitlines()[-1]) / 1024  # MiB
        windows = (out / f"{hours}.windows.csv").read_text().count("\n")
        assert windows == 1 + hours * 3_600 - 2
        path.unlink()
    assert peaks[3] < 1_000, peaks
    assert peaks[3] - peaks[0.05] < 200, peaks
