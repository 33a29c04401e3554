# SPDX-License-Identifier: Apache-2.0
import gzip
import io
import json
import os
import tarfile
import time
import tracemalloc

import pytest
import soundfile

from voxadapt.recipes.corpora import shard_index as module
from voxadapt.recipes.corpora.clip_keys import content_digest
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.shard_index import INDEX_ENDING, index_shard

from .wds_corpora import write_shard

pytest.importorskip("webdataset")


DAMAGES = ["gzip", "cut", "cut between members", "joined by cat", "no tar", "empty"]
DAMAGES += ["folder", "gone"]


def wav_bytes(seconds=0.5, value=0.25):
    stream = io.BytesIO()
    soundfile.write(stream, [value, -value] * round(8_000 * seconds), 16_000, format="WAV")
    return stream.getvalue()


@pytest.fixture
def shard(tmp_path, monkeypatch):
    """A shard of two samples, which counts as settled, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_SETTLED_SECONDS", -60)
    samples = [
        {"__key__": "x/one", "wav": wav_bytes(), "cls": "3", "txt": " said "},
        {"__key__": "x/two", "wav": wav_bytes(1.5), "json": {"label": "sad", "n": [1], "o": None}},
        {"__key__": "x/odd", "cls": "a", "label.txt": "b"},
    ]
    return write_shard(tmp_path / "shards" / "s.tar", samples)


@pytest.fixture
def readings(monkeypatch):
    """Shards that were read through, by their names."""
    found = []
    samples = module.read_samples
    monkeypatch.setattr(
        module, "read_samples", lambda path: found.append(path.name) or samples(path)
    )
    return found


def index_of(shard):
    return shard.with_name(shard.name + INDEX_ENDING)


def test_samples(shard):
    one, two, odd = index_shard(shard)
    assert (odd.audio, odd.faults) == ([], ["its members say two things of 'label'"])
    assert (one.key, one.fields) == ("x/one", {"label": "3", "text": "said"})
    assert two.fields == {"label": "sad", "n": "[1]", "o": ""}
    (audio,) = two.audio
    assert audio.read() == wav_bytes(1.5)
    assert (audio.member, audio.seconds) == ("x/two.wav", 1.5)
    assert audio.digest == content_digest(wav_bytes(1.5))


def test_the_index_is_used_and_says_the_same(shard, readings):
    first = index_shard(shard)
    assert index_of(shard).is_file()
    assert index_shard(shard) == first
    assert readings == ["s.tar"]


def test_a_digest_from_the_index_is_the_digest_of_the_content(shard):
    index_shard(shard)
    for sample in index_shard(shard):
        for member in sample.audio:
            assert content_digest(member) == content_digest(member.read())


def test_a_shard_that_was_just_written_is_hashed_again(shard, monkeypatch):
    """Within the grain of the clock, a change could leave all times as they are."""
    monkeypatch.setattr(module, "_SETTLED_SECONDS", 60)
    assert all(sample.audio[0].digest for sample in index_shard(shard)[:2])
    assert [sample.audio[0].digest for sample in index_shard(shard)[:2]] == [None, None]


def test_where_no_time_of_change_is_kept_audio_is_hashed_again(shard, monkeypatch):
    monkeypatch.setattr(module, "_keeps_change_times", lambda folder: False)
    assert all(sample.audio[0].digest for sample in index_shard(shard)[:2])
    assert [sample.audio[0].digest for sample in index_shard(shard)[:2]] == [None, None]


def test_a_file_system_is_tried_and_left_as_it_was(tmp_path, monkeypatch):
    assert module._keeps_change_times(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not module._keeps_change_times(tmp_path / "gone")
    stat = os.stat

    def with_set_times(path, **options):
        """As of a file system whose time of change is that of the content, which one can set."""
        found = stat(path, **options)
        return os.stat_result(list(found), {"st_ctime_ns": found.st_mtime_ns})

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "stat", with_set_times)
        kept = module._keeps_change_times(tmp_path)
    assert not kept


@pytest.mark.parametrize("how", ["content", "restored times", "replaced", "touched"])
def test_another_file_is_read_again(shard, readings, how):
    index_shard(shard)
    time.sleep(0.02)  # past the grain of the file system's clock
    stat = shard.stat()
    changed = shard.read_bytes().replace(b" said ", b" sad. ")
    if how == "replaced":
        other = shard.with_name("other.tar")
        other.write_bytes(changed)
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        other.replace(shard)
    elif how == "touched":
        os.utime(shard)
    else:
        shard.write_bytes(changed)
        if how == "restored times":
            os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    samples = index_shard(shard)
    assert samples[0].fields["text"] == ("said" if how == "touched" else "sad.")
    assert readings == ["s.tar", "s.tar"]
    assert index_shard(shard) == samples
    assert len(readings) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1, "state": [], "samples": 3}'])
def test_a_damaged_index_is_made_again(shard, readings, content):
    first = index_shard(shard)
    index_of(shard).write_bytes(content)
    assert index_shard(shard) == first
    assert json.loads(index_of(shard).read_bytes())["format"] == 1
    assert readings == ["s.tar", "s.tar"]


def test_where_the_folder_may_not_be_written_to(shard, readings, monkeypatch, caplog):
    write = module.write_aside

    def refuse(path, content):
        if path.parent == shard.parent:
            raise PermissionError(13, "Permission denied")
        write(path, content)

    monkeypatch.setattr(module, "write_aside", refuse)
    first = index_shard(shard)
    assert not index_of(shard).exists()
    assert index_shard(shard) == first
    assert readings == ["s.tar"]
    monkeypatch.setattr(module, "OTHER_PLACE", shard)  # a file: nothing can be made in it
    assert index_shard(shard) == first
    assert "no index of" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_shard(shard, tmp_path, damage):
    content = shard.read_bytes()
    path = tmp_path / "bad.tar"
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        with tarfile.open(shard) as archive:
            second = archive.getmembers()[-2].offset
        damaged = {
            "gzip": gzip.compress(content),
            "cut": content[:9_000],
            "cut between members": content[:second],
            "joined by cat": content + content,
            "no tar": b"x" * 2_000,
        }
        path.write_bytes(damaged.get(damage, b""))
    with pytest.raises(DataError, match="cannot be read as a tar file"):
        index_shard(path)
    assert not index_of(path).exists()


def test_a_shard_that_is_being_written(shard, monkeypatch):
    samples = module.read_samples

    def grow(path):
        yield from samples(path)
        path.write_bytes(path.read_bytes() + bytes(10_240))

    monkeypatch.setattr(module, "read_samples", grow)
    with pytest.raises(DataError, match="changes while it is read"):
        index_shard(shard)


def test_indexing_and_reading_keep_one_member_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    megabyte = wav_bytes(32.0)
    samples = ({"__key__": f"{number:03}", "wav": megabyte} for number in range(48))
    shard = write_shard(tmp_path / "s.tar", samples)
    assert shard.stat().st_size > 48 * 1_000_000
    index_shard(write_shard(tmp_path / "warm.tar", [{"__key__": "a", "wav": wav_bytes()}]))
    for _ in range(2):  # read through, and from the index
        tracemalloc.start()
        members = [sample.audio[0] for sample in index_shard(shard)]
        assert sum(len(member.read()) for member in members) == 48 * len(megabyte)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4_500_000
