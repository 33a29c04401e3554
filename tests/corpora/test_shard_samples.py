# SPDX-License-Identifier: Apache-2.0
import io
import tarfile

import pytest
import soundfile

from voxadapt.recipes.corpora import shard_samples as module
from voxadapt.recipes.corpora.shard_samples import read_samples

from .wds_corpora import write_shard

pytest.importorskip("webdataset")


def wav_bytes():
    stream = io.BytesIO()
    soundfile.write(stream, [0.25, -0.25] * 4_000, 16_000, format="WAV")
    return stream.getvalue()


def test_samples_of_every_shape(tmp_path):
    shard = write_shard(
        tmp_path / "s.tar",
        [
            {"__key__": "a", "left.wav": wav_bytes(), "right.FLAC": b"x", "cls": 2},
            {"__key__": "b", "speaker.txt": "s1", "emotion.cls": 4, "meta.json": {"age": 3}},
            {"__key__": "c", "json": [1, 2], "npy": bytes(80)},
            {"__key__": "d.e", "mp3": b"no audio"},
        ],
    )
    a, b, c, d = read_samples(shard)
    assert [member.member for member in a.audio] == ["a.left.wav", "a.right.FLAC"]
    assert a.audio[1].seconds is None
    assert b.fields == {"speaker": "s1", "emotion": "4", "meta.age": "3"}
    assert c.fields == {"json": "[1, 2]"}
    # WebDataset cuts names at the first dot.
    assert (d.key, [member.member for member in d.audio]) == ("d", ["d.e.mp3"])


def test_members_that_contradict_each_other(tmp_path):
    samples = [
        {"__key__": "a", "cls": "sad", "json": {"label": "happy", "n": 1}},
        {"__key__": "b", "cls": "sad", "json": {"label": "sad"}},
    ]
    shard = write_shard(tmp_path / "s.tar", samples)
    fault = "its members say two things of 'label'"
    assert [sample.faults for sample in read_samples(shard)] == [[fault], []]


def add(archive, name, content, **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    archive.addfile(info, io.BytesIO(content))


def test_members_that_are_no_samples(tmp_path):
    shard = tmp_path / "s.tar"
    with tarfile.open(shard, "w") as archive:
        add(archive, "folder.wav", b"", type=tarfile.DIRTYPE)
        add(archive, "link.wav", b"", type=tarfile.SYMTYPE, linkname="a.wav")
        add(archive, "__meta__.json", b"{}")
        add(archive, "README", b"no ending")
        add(archive, "./a.wav", wav_bytes())
        add(archive, "./a.cls", b"x")
    (sample,) = read_samples(shard)
    assert (sample.key, sample.fields, sample.faults) == ("a", {"label": "x"}, [])
    assert sample.audio[0].read() == wav_bytes()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.json", b"{broken", "a.json cannot be read (Expecting property name"),
        ("a.json", b"[" * 100_000, "a.json cannot be read (maximum recursion depth"),
        ("a.txt", b"\xff\xfe", "a.txt cannot be read ('utf-8' codec"),
        ("a.txt", b" " * 1_100_000, "a.txt has 1,100,000 bytes, more than"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path, name, content, fault):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        add(archive, name, content)
    (sample,) = read_samples(tmp_path / "s.tar")
    assert sample.fields == {}
    assert [found[: len(fault)] for found in sample.faults] == [fault]


def test_headers_are_not_kept_while_indexing(tmp_path, monkeypatch):
    kept = []
    add_member = module._add_member

    def count(sample, shard, archive, *place):
        kept.append(len(archive.members))
        add_member(sample, shard, archive, *place)

    monkeypatch.setattr(module, "_add_member", count)
    samples = [{"__key__": f"{number}", "cls": number} for number in range(20)]
    assert len(list(read_samples(write_shard(tmp_path / "s.tar", samples)))) == 20
    assert max(kept) <= 1
