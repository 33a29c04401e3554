# SPDX-License-Identifier: Apache-2.0
import csv
import hashlib
import multiprocessing
import os
import signal
import time
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from voxadapt.recipes.corpora import demo_corpus
from voxadapt.recipes.corpora.demo_corpus import make_demo_corpus
from voxadapt.recipes.corpora.demo_voices import EMOTIONS, SPEAKERS
from voxadapt.recipes.corpora.errors import DataError


def read_rows(manifest: Path) -> list[dict[str, str]]:
    with open(manifest, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a corpus of one clip per speaker and emotion; not to be written to."""
    return make_demo_corpus(
        tmp_path_factory.mktemp("demo") / "corpus", clips_per_speaker_emotion=1
    ).parent


def test_the_manifest_has_its_columns_and_all_clips(small: Path):
    rows = read_rows(small / "demo.csv")
    assert list(rows[0]) == ["path", "label", "speaker", "split", "seconds"]
    assert len(rows) == len({row["path"] for row in rows}) == 8 * 4
    assert Counter(row["label"] for row in rows) == dict.fromkeys(EMOTIONS, 8)
    assert set(EMOTIONS) == {"angry", "happy", "neutral", "sad"}
    assert {row["path"] for row in rows} == {
        path.relative_to(small).as_posix() for path in small.rglob("*.wav")
    }


def test_speakers_are_in_one_split_each_with_low_and_high_voices_in_train_and_test(small: Path):
    splits: dict[str, set[str]] = {}
    for row in read_rows(small / "demo.csv"):
        splits.setdefault(row["speaker"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert Counter(found.pop() for found in splits.values()) == {"train": 5, "valid": 1, "test": 2}
    for split in ("train", "test"):
        pitches = [pitch for pitch, part in SPEAKERS if part == split]
        assert min(pitches) < 140
        assert max(pitches) > 180


def test_clips_are_mono_16_bit_wav_at_16_khz_and_as_long_as_said(small: Path):
    for row in read_rows(small / "demo.csv"):
        with wave.open(str(small / row["path"])) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
            seconds = file.getnframes() / 16_000
        assert seconds == pytest.approx(float(row["seconds"]), abs=0.006)
        assert 1.2 <= seconds <= 3.0


def test_clips_are_neither_silent_nor_clipped(small: Path):
    for path in small.rglob("*.wav"):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0
        assert np.abs(samples).max() < 0.96
        assert np.sqrt(np.mean(samples**2)) > 0.005
        # No stretch of digital silence either, which the audio checks would take for a fault.
        tenths = samples[: len(samples) // 1600 * 1600].reshape(-1, 1600)
        assert np.all(tenths.std(axis=1) > 0)


def test_the_same_seed_gives_the_same_bytes(small: Path, tmp_path: Path):
    make_demo_corpus(tmp_path / "again", clips_per_speaker_emotion=1)
    assert contents(tmp_path / "again") == contents(small)


def test_another_seed_gives_other_clips(small: Path, tmp_path: Path):
    make_demo_corpus(tmp_path / "other", seed=1, clips_per_speaker_emotion=1)
    first, other = contents(small), contents(tmp_path / "other")
    sounds = [name for name in first if name.endswith(".wav")]
    assert all(first[name] != other[name] for name in sounds)


def test_more_clips_leave_the_first_ones_as_they_are(small: Path, tmp_path: Path):
    make_demo_corpus(tmp_path / "more", clips_per_speaker_emotion=2)
    more = contents(tmp_path / "more")
    first = {name: digest for name, digest in contents(small).items() if name.endswith(".wav")}
    assert len(first) == 32
    assert first.items() <= more.items()


def test_the_same_corpus_is_not_written_twice(tmp_path: Path):
    manifest = make_demo_corpus(tmp_path / "demo", clips_per_speaker_emotion=1)
    before = times(tmp_path / "demo")
    assert make_demo_corpus(tmp_path / "demo", clips_per_speaker_emotion=1) == manifest
    assert times(tmp_path / "demo") == before


@pytest.mark.parametrize("change", ["seed", "version", "lost clip"])
def test_a_corpus_that_is_not_the_one_asked_for_is_replaced(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
):
    folder = tmp_path / "demo"
    with monkeypatch.context() as patch:
        patch.setattr(demo_corpus, "VERSION", 0 if change == "version" else demo_corpus.VERSION)
        seed = 1 if change == "seed" else 0
        make_demo_corpus(folder, seed=seed, clips_per_speaker_emotion=1)
    if change == "lost clip":
        next(folder.rglob("*.wav")).unlink()
    assert contents(folder) != contents(small)
    make_demo_corpus(folder, clips_per_speaker_emotion=1)
    assert contents(folder) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize("name", ["notes.txt", "demo.csv", "audio"])
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path, name: str):
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=f"something else: '{name}'.*another folder"):
        make_demo_corpus(tmp_path, clips_per_speaker_emotion=1)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_what_a_user_put_into_an_old_corpus_is_not_lost(tmp_path: Path):
    make_demo_corpus(tmp_path / "demo", seed=1, clips_per_speaker_emotion=1)
    (tmp_path / "demo" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"notes\.txt"):
        make_demo_corpus(tmp_path / "demo", seed=0, clips_per_speaker_emotion=1)
    assert (tmp_path / "demo" / "notes.txt").exists()


def test_an_empty_folder_and_missing_parents_are_fine(small: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "not" / "yet" / "there"):
        make_demo_corpus(folder, clips_per_speaker_emotion=1)
        assert contents(folder) == contents(small)


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"clips_per_speaker_emotion": 0}])
def test_arguments_out_of_range(tmp_path: Path, arguments: dict[str, int]):
    with pytest.raises(ValueError, match="must be 0 or more"):
        make_demo_corpus(tmp_path / "demo", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_process_leaves_nothing_that_is_taken_for_a_corpus(small: Path, tmp_path: Path):
    folder = tmp_path / "demo"
    options = {"clips_per_speaker_emotion": 1000}
    process = multiprocessing.get_context("spawn").Process(
        target=make_demo_corpus, args=(folder,), kwargs=options
    )
    process.start()
    patience = time.monotonic() + 60
    while not list(tmp_path.rglob("*.wav")) and time.monotonic() < patience:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(tmp_path.rglob("*.wav"))
    assert not folder.exists()
    make_demo_corpus(folder, clips_per_speaker_emotion=1)
    assert contents(folder) == contents(small)
