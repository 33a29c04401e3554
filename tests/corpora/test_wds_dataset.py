# SPDX-License-Identifier: Apache-2.0
import pickle
from pathlib import Path

import pytest
import torch

from voxadapt.backbones.audio import read_audio
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import clip_keys, clip_seconds
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.manifest import read_manifest

from .wds_corpora import sample_of, shard_corpus, write_shard

pytest.importorskip("webdataset")


@pytest.fixture(scope="module")
def source(corpus_rows, tmp_path_factory):
    return shard_corpus(corpus_rows, tmp_path_factory.mktemp("wds"))


def refusal(source, **options):
    with pytest.raises(DataError) as caught:
        read_manifest(source, **options)
    return str(caught.value)


def test_samples_are_clips(source, corpus_rows):
    manifest = read_manifest(source, require_label=True)
    assert len(manifest.clips) == len(corpus_rows)
    for clip, row in zip(manifest.clips, corpus_rows, strict=True):
        assert clip.id.partition("/")[2] == row["id"]
        found = (clip.label, clip.speaker, clip.split, clip.fold)
        assert found == tuple(row[name] for name in ("label", "speaker", "split", "fold"))
    assert manifest.clips[7].id == f"clips-001/{corpus_rows[7]['id']}"
    assert manifest.clips[0].columns == {}


def test_audio_is_that_of_the_files(source, corpus_rows):
    clips = read_manifest(source).clips
    files = [Clip(id=row["id"], path=Path(row["path"])) for row in corpus_rows]
    assert clip_keys(clips) == clip_keys(files)
    assert [clip_seconds(clip) for clip in clips] == [clip_seconds(clip) for clip in files]
    assert [clip.audio_bytes for clip in clips] == [clip.audio_bytes for clip in files]
    assert len({clip.path for clip in clips}) == len(files)
    for clip, file in zip(clips, files, strict=True):
        assert torch.equal(read_audio(clip.audio), read_audio(file.audio))
    assert pickle.loads(pickle.dumps(clips[3])) == clips[3]


def test_splits_by_the_names_of_shards(corpus_rows, tmp_path):
    for name in ("train-000", "train-001", "valid-000", "test"):
        sample = sample_of(corpus_rows[0], json={"speaker": "s"})
        write_shard(tmp_path / f"{name}.tar", [sample])
    clips = read_manifest(f"wds:{tmp_path}/{{train-000,train-001,valid-000,test}}.tar").clips
    assert [clip.split for clip in clips] == ["train", "train", "valid", "test"]
    odd = sample_of(corpus_rows[0], json={"split": "A"})
    write_shard(tmp_path / "odd" / "test-0.tar", [odd])
    (clip,) = read_manifest(f"wds:{tmp_path}/odd/test-0.tar").clips
    assert (clip.split, clip.columns) == ("test", {"split": "A"})
    clips = read_manifest(f"wds:{tmp_path}/train-*.tar").clips
    assert [(clip.id[:9], clip.split) for clip in clips] == [
        ("train-000", None),
        ("train-001", None),
    ]


def test_every_bad_sample_is_named(corpus_rows, tmp_path):
    row = corpus_rows[0]
    samples = [
        sample_of(row),
        {"__key__": "mute", "cls": "x"},
        {"__key__": "two", "a.wav": b"1", "b.wav": b"2", "cls": "x"},
        {"__key__": "unlabelled", "wav": b"1"},
        {"__key__": "both", "wav": b"1", "cls": "x", "json": {"label": "y"}},
        sample_of(row),
    ]
    write_shard(tmp_path / "s.tar", samples)
    text = refusal(f"wds:{tmp_path}/s.tar", require_label=True)
    assert "have 5 problems" in text
    assert "s.tar, sample 'mute': it holds no audio" in text
    assert "sample 'two': it holds 2 audio members ('two.a.wav', 'two.b.wav')" in text
    assert "sample 'unlabelled': 'label' is empty" in text
    assert "sample 'both': its members say two things of 'label'" in text
    assert f"'s/{row['id']}' (shard and key) is there 2 times" in text


def test_labels_are_optional_until_required(corpus_rows, tmp_path):
    write_shard(tmp_path / "s.tar", [sample_of(corpus_rows[0], json={"emotion": "joy"}, cls=3)])
    source = f"wds:{tmp_path}/s.tar"
    assert read_manifest(source, label="emotion", require_label=True).labels == ["joy"]
    text = refusal(source, label="mood")
    assert "no sample of" in text
    assert "'emotion', 'label'" in text


def test_shards_without_samples(tmp_path):
    write_shard(tmp_path / "s.tar", [])
    assert "hold no sample" in refusal(f"wds:{tmp_path}/s.tar")
