# SPDX-License-Identifier: Apache-2.0
"""Bad audio is found before a training that decodes as it goes, once for a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from voxadapt.backbones import load_backbone
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.corpora.online_frames import OnlineFrames
from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.running import prepare_online
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.prepare_online import OnlineCorpus, prepare_frames

Prepare = Callable[..., OnlineCorpus]


@pytest.fixture
def clips(corpus_rows: list[dict[str, str]], tmp_path: Path) -> list[Clip]:
    """Three clips, the second of which is bad."""
    found = [Clip(id=row["id"], path=Path(row["path"])) for row in corpus_rows[:3]]
    found[1] = Clip(id="bad", path=tmp_path / "bad.wav")
    found[1].path.write_bytes(b"")
    return found


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the clips that were decoded by the check."""
    asked: list[str] = []
    decode = prepare_online.decode_clips

    def spy(clips: Any, **options: Any) -> Any:
        asked.extend(clip.id for clip in clips)
        return decode(clips, **options)

    monkeypatch.setattr(prepare_online, "decode_clips", spy)
    return asked


@pytest.fixture
def prepare(accelerator: Accelerator, clips: list[Clip], tmp_path: Path) -> Prepare:
    """Prepare the clips in a run's folder: ``prepare(on_bad_audio="skip")``."""

    def run(**changes: Any) -> Any:
        options = PretrainOptions(**{"features": "online", **changes})
        out = tmp_path / "run"
        out.mkdir(exist_ok=True)
        return prepare_frames(clips, load_backbone("fbank"), options, accelerator, out)

    return run


def test_bad_audio_is_an_error_or_listed(
    prepare: Prepare, clips: list[Clip], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"1 of 3 clips cannot be used \(1 empty\)(.|\n)*bad.wav"):
        prepare()
    assert not (tmp_path / "run" / "bad_audio.jsonl").exists()
    corpus = prepare(on_bad_audio="skip")
    assert [clip.id for clip in corpus.clips] == [clips[0].id, clips[2].id]
    assert len(corpus.store) == 2
    assert [bad.id for bad in corpus.bad] == ["bad"]
    (line,) = (tmp_path / "run" / "bad_audio.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "bad"


def test_a_resumed_run_keeps_the_clips_that_were_left_out_on_the_way(
    prepare: Prepare, clips: list[Clip], tmp_path: Path
) -> None:
    sound = clips[2].path.read_bytes()
    clips[2] = Clip(id="gone", path=tmp_path / "gone.wav")
    clips[2].path.write_bytes(sound)
    corpus = prepare(on_bad_audio="skip")
    listing = tmp_path / "run" / "bad_audio.jsonl"

    def listed() -> list[str]:
        return [json.loads(line)["id"] for line in listing.read_text().splitlines()]

    clips[2].path.unlink()
    for epoch in range(3):  # is listed once
        assert corpus.store.load([0, 1], epoch).usable.tolist() == [True, False]
    assert listed() == ["bad", "gone"]
    with listing.open("a") as file:
        file.write('{"id": "cut o')  # by a kill
    clips[2].path.write_bytes(sound)
    resumed = prepare(on_bad_audio="skip", resume=True)
    assert sorted(listed()) == sorted(["bad", "gone"])
    clips[2].path.unlink()
    resumed.store.load([1], 0)
    assert len(listed()) == 2
    listing.write_text("[]\n")
    with pytest.raises(UsageError, match=r"bad_audio.jsonl: not a list of clips"):
        prepare(on_bad_audio="skip", resume=True)


def test_a_corpus_of_bad_audio_alone_is_an_error(prepare: Prepare, clips: list[Clip]) -> None:
    del clips[2], clips[0]
    with pytest.raises(DataError, match="No clip is left"):
        prepare(on_bad_audio="skip")


def test_a_run_checks_its_audio_once(
    prepare: Prepare, clips: list[Clip], decoded: list[str]
) -> None:
    prepare(on_bad_audio="skip")
    assert sorted(decoded) == sorted(clip.id for clip in clips)
    decoded.clear()
    again = prepare(on_bad_audio="skip", resume=True)
    assert decoded == []
    assert len(again.store) == 2
    clips.pop()
    prepare(on_bad_audio="skip", resume=True)
    assert decoded == [clips[0].id, "bad"]


def test_a_clip_that_was_repaired_is_found_good(
    prepare: Prepare, clips: list[Clip], decoded: list[str]
) -> None:
    content = clips[0].path.read_bytes()
    clips[1].path.write_bytes(b"\0" * len(content))  # a size that the repair will keep
    with pytest.raises(DataError, match="unreadable"):
        prepare()
    clips[1].path.write_bytes(content)
    decoded.clear()
    assert len(prepare().store) == 3
    assert decoded == []  # the good ones were not decoded again
    assert len(prepare(resume=True).store) == 3


def test_what_is_found_is_written_or_the_error_says_where_it_could_not_be(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare_online, "write_check", full)
    with pytest.raises(UsageError, match=r"audio_check.json: cannot be written .*No space left"):
        prepare(on_bad_audio="skip")


def test_frames_come_from_the_cache_unless_they_are_to_be_online(
    prepare: Prepare, tmp_path: Path
) -> None:
    assert isinstance(prepare(on_bad_audio="skip").store, OnlineFrames)
    cached = prepare(on_bad_audio="skip", features=str(tmp_path / "features"))
    assert isinstance(cached.store, FeatureStore)
