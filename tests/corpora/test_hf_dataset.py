# SPDX-License-Identifier: Apache-2.0
import importlib.util
import pickle
import sys
from pathlib import Path

import pytest
import torch

from voxadapt.backbones.audio import read_audio
from voxadapt.recipes.corpora.clip_keys import clip_keys, clip_seconds
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import read_manifest

from .hf_corpora import make_dataset, save_splits

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """The library's cache, away from the user's, and no network."""
    folder = tmp_path_factory.mktemp("hf_cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()


@pytest.fixture(scope="module")
def saved(corpus_rows, tmp_path_factory):
    """A dataset of three splits, as save_to_disk leaves it."""
    return save_splits(corpus_rows, tmp_path_factory.mktemp("hf") / "saved")


def refusal(source, **options):
    with pytest.raises(DataError) as caught:
        read_manifest(source, **options)
    return str(caught.value)


def test_rows_are_clips(saved, corpus_rows):
    manifest = read_manifest(f"hf:{saved}", require_label=True)
    assert manifest.splits == ["train", "valid", "test"]
    assert manifest.labels == ["hum", "noise", "tone"]
    assert len(manifest.clips) == len(corpus_rows)
    by_name = {Path(row["path"]).name: row for row in corpus_rows}
    for clip in manifest.clips:
        row = by_name[clip.id.partition("/")[2]]
        assert (clip.label, clip.speaker, clip.split) == tuple(
            row[name] for name in ("label", "speaker", "split")
        )
        assert set(clip.columns) == {"take", "text"}
    assert manifest.clips[0].columns == {"take": "0", "text": "clip 0"}
    assert manifest.clips[1].columns == {"take": "1", "text": ""}
    assert len({clip.path for clip in manifest.clips}) == len(corpus_rows)


def test_audio_is_that_of_the_files(saved, corpus_rows):
    clips = read_manifest(f"hf:{saved}").clips
    rows = sorted(corpus_rows, key=lambda row: ("train", "valid", "test").index(row["split"]))
    from voxadapt.recipes.corpora.clip import Clip

    files = [Clip(id=row["id"], path=Path(row["path"])) for row in rows]
    assert clip_keys(clips) == clip_keys(files)
    assert [clip_seconds(clip) for clip in clips] == [clip_seconds(clip) for clip in files]
    for clip, file in zip(clips, files, strict=True):
        assert clip.audio_bytes == file.audio_bytes
        assert torch.equal(read_audio(clip.audio), read_audio(file.audio))
        assert torch.equal(
            read_audio(clip.audio, start=0.1, end=0.2), read_audio(file.audio, start=0.1, end=0.2)
        )


def test_clips_go_to_other_processes(saved):
    clip = read_manifest(f"hf:{saved}:test").clips[1]
    copy = pickle.loads(pickle.dumps(clip))
    assert copy.audio.read() == clip.audio.read()


def test_one_split_and_slices_of_it(saved, corpus_rows):
    test = read_manifest(f"hf:{saved}:test").clips
    assert {clip.split for clip in test} == {"test"}
    assert len(test) == sum(row["split"] == "test" for row in corpus_rows)
    part = read_manifest(f"hf:{saved}:test[1:3]").clips
    assert [clip.id for clip in part] == [clip.id for clip in test[1:3]]
    assert [clip.audio.read() for clip in part] == [clip.audio.read() for clip in test[1:3]]
    assert len(read_manifest(f"hf:{saved}:test[:50%]").clips) == len(test) // 2


def test_of_train_alone_no_split_is_known(saved, corpus_rows, tmp_path):
    assert {clip.split for clip in read_manifest(f"hf:{saved}:train").clips} == {None}
    make_dataset(corpus_rows[:4]).save_to_disk(str(tmp_path / "single"))
    clips = read_manifest(f"hf:{tmp_path / 'single'}").clips
    assert ({clip.split for clip in clips}, len(clips)) == ({None}, 4)


def test_a_split_column_counts_where_the_dataset_has_no_splits(corpus_rows, tmp_path):
    part = make_dataset(corpus_rows[:4])
    part.add_column("split", ["dev", "Train", "test", ""]).save_to_disk(str(tmp_path / "single"))
    clips = read_manifest(f"hf:{tmp_path / 'single'}").clips
    assert [clip.split for clip in clips] == ["valid", "train", "test", None]
    assert all("split" not in clip.columns for clip in clips)
    part.add_column("split", ["dev", "A", "B", "B"]).save_to_disk(str(tmp_path / "other"))
    clips = read_manifest(f"hf:{tmp_path / 'other'}").clips
    assert [clip.split for clip in clips] == [None] * 4
    assert [clip.columns["split"] for clip in clips] == ["dev", "A", "B", "B"]


def test_parquet(corpus_rows, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train", "test"):
        rows = [row for row in corpus_rows if row["split"] == name]
        make_dataset(rows).to_parquet(str(tmp_path / "data" / f"{name}-00000-of-00001.parquet"))
    clips = read_manifest(f"hf:{tmp_path}", require_label=True).clips
    assert {clip.split for clip in clips} == {"train", "test"}
    assert read_audio(clips[0].audio).numel() > 1_000


def test_a_table_without_types(corpus_rows, tmp_path):
    """Parquet that another tool wrote: no Audio, no class names."""
    part = make_dataset(corpus_rows[:3])
    part = part.cast_column(
        "audio", {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    ).cast_column("label", datasets.Value("int64"))
    part.save_to_disk(str(tmp_path / "plain"))
    clips = read_manifest(f"hf:{tmp_path / 'plain'}", require_label=True).clips
    assert [clip.label for clip in clips] == ["0", "0", "0"]
    assert read_audio(clips[2].audio).numel() > 1_000


def write_parquet(part, folder):
    """Write as it is: the library itself puts the bytes of files into what it saves."""
    import pyarrow.parquet

    folder.mkdir()
    pyarrow.parquet.write_table(part.data.table, folder / "train-00000-of-00001.parquet")
    return f"hf:{folder}"


def test_rows_with_paths_are_files(corpus_rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = write_parquet(make_dataset(corpus_rows[:4], with_paths=True), tmp_path / "paths")
    clips = read_manifest(source, require_label=True).clips
    assert [clip.path for clip in clips] == [Path(row["path"]) for row in corpus_rows[:4]]
    assert [clip.source for clip in clips] == [None] * 4
    gone = [dict(corpus_rows[0], path=str(tmp_path / "gone.wav"))]
    text = refusal(write_parquet(make_dataset(gone, with_paths=True), tmp_path / "gone"))
    assert "row 0: it holds no audio, and" in text
    assert "gone.wav' is no absolute path of a file that exists" in text
    Path("near.wav").write_bytes(Path(corpus_rows[0]["path"]).read_bytes())
    near = [dict(corpus_rows[0], path="near.wav")]
    text = refusal(write_parquet(make_dataset(near, with_paths=True), tmp_path / "near"))
    assert "'near.wav' is no absolute path" in text


def test_names_that_occur_twice_give_way_to_rows(corpus_rows, tmp_path):
    make_dataset([corpus_rows[0], corpus_rows[0]]).save_to_disk(str(tmp_path / "twice"))
    clips = read_manifest(f"hf:{tmp_path / 'twice'}:").clips
    assert len({clip.id for clip in clips}) == 2
    assert {clip.id.partition("/")[2] for clip in clips} == {"0", "1"}


def test_another_label_and_hidden_labels(saved, corpus_rows, tmp_path):
    assert read_manifest(f"hf:{saved}", label="speaker_id", require_label=True).labels == [
        "s0",
        "s1",
        "s2",
        "s3",
    ]
    part = make_dataset(corpus_rows[:3])
    hidden = part.cast_column("label", datasets.Value("int64")).map(lambda row: {"label": -1})
    hidden = hidden.cast_column("label", datasets.ClassLabel(names=["a", "b"]))
    hidden.save_to_disk(str(tmp_path / "hidden"))
    assert {clip.label for clip in read_manifest(f"hf:{tmp_path / 'hidden'}").clips} == {None}
    text = refusal(f"hf:{tmp_path / 'hidden'}", require_label=True)
    assert "has 3 problems" in text
    assert "row 0: the label column 'label' is empty" in text


def test_errors_say_what_there_is(saved, corpus_rows, tmp_path):
    assert "has no split 'tset'; its splits are 'train', 'validation', 'test'" in refusal(
        f"hf:{saved}:tset"
    )
    assert "did you mean 'test'?" in refusal(f"hf:{saved}:tset")
    assert "is no slice of a split" in refusal(f"hf:{saved}:test[a:b]")
    assert "column 'words' holds List" in refusal(f"hf:{saved}", label="words")
    assert "no column 'emotion' for the labels; its columns are: 'audio', 'label'" in refusal(
        f"hf:{saved}", label="emotion"
    )
    part = make_dataset(corpus_rows[:2])
    part.rename_column("label", "emotion").save_to_disk(str(tmp_path / "other"))
    text = refusal(f"hf:{tmp_path / 'other'}", require_label=True)
    assert "'emotion' holds classes: --label emotion" in text
    part.remove_columns("audio").save_to_disk(str(tmp_path / "mute"))
    assert "has no column of type Audio; its columns are: 'label'" in refusal(
        f"hf:{tmp_path / 'mute'}"
    )
    two = part.rename_column("audio", "left").add_column("right", list(part["audio"]))
    two.save_to_disk(str(tmp_path / "two"))
    assert "several columns of audio" in refusal(f"hf:{tmp_path / 'two'}")
    assert "it has no row" in refusal(f"hf:{saved}:test[:0]")


def test_a_folder_that_is_no_dataset(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "state.json").write_text("{")
    assert "cannot be read as a dataset" in refusal(f"hf:{tmp_path / 'broken'}")
    (tmp_path / "parquet").mkdir()
    (tmp_path / "parquet" / "train.parquet").write_bytes(b"PAR1 and then nothing")
    assert "Parquet magic bytes not found" in refusal(f"hf:{tmp_path / 'parquet'}")


@pytest.mark.skipif(importlib.util.find_spec("torchcodec") is not None, reason="it is here")
def test_a_folder_of_audio_needs_torchcodec_and_the_error_says_so(corpus_rows, tmp_path):
    for row in corpus_rows[:4]:
        file = tmp_path / row["label"] / Path(row["path"]).name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(Path(row["path"]).read_bytes())
    text = refusal(f"hf:{tmp_path}")
    assert "only where torchcodec is installed" in text
    assert "--data FOLDER" in text


def test_what_is_not_here_offline():
    text = refusal("hf:nobody/nothing:train")
    assert "'hf:nobody/nothing'" in text
    assert "hub cannot be reached" in text


def test_without_the_library(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install -e '.[hf]'" in refusal(f"hf:{saved}")
