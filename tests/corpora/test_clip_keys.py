# SPDX-License-Identifier: Apache-2.0
import os
import shutil

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora import clip_keys as module
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import (
    clip_keys,
    clip_seconds,
    content_digest,
    map_in_threads,
)
from voxadapt.recipes.corpora.tar_member import TarMember


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.sin(np.arange(12_000) / 9) / 2, 8_000)
    return path


def key_of(path, start=None, end=None):
    (key,) = clip_keys([Clip(id="any", path=path, start=start, end=end)])
    return key


def test_key_never_changes(tmp_path):
    # Caches that were made by an older version are found by this key.
    path = tmp_path / "a.wav"
    path.write_bytes(b"content")
    assert key_of(path) == "00a6d2f51c920b9652f7800b3f802007"
    assert key_of(path, 0.5, 2.0) == "abb3b6e31cfc548e66600c2ac9924228"


def test_key_is_of_the_content_and_not_of_the_name(wav, tmp_path):
    copy = tmp_path / "elsewhere.wav"
    shutil.copy(wav, copy)
    assert key_of(copy) == key_of(wav)


def test_same_size_and_date_do_not_hide_a_change(wav):
    before, stat = key_of(wav), wav.stat()
    content = bytearray(wav.read_bytes())
    content[-1] ^= 1
    wav.write_bytes(content)
    os.utime(wav, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert key_of(wav) != before


def test_segments_have_their_own_keys(wav):
    segments = [(None, None), (0.5, None), (None, 0.5), (0.5, 1.0), (0.25, 1.0)]
    assert len({key_of(wav, *segment) for segment in segments}) == 5
    assert key_of(wav, 0.0, 0.5) == key_of(wav, None, 0.5)  # the same stretch


def test_unreadable_file_has_no_key(wav, tmp_path):
    clips = [Clip(id="gone", path=tmp_path / "gone.wav"), Clip(id="a", path=wav)]
    assert clip_keys(clips) == [None, key_of(wav)]


def test_what_is_known_of_a_source_is_not_read_for(wav):
    """An index has the digest and the length of what lies in a shard."""
    digest = content_digest(wav)
    member = TarMember("gone.tar", "a.wav", 512, 9, 0, seconds=1.5, digest=digest)
    clip = Clip(id="a", path=wav.with_name("gone.tar") / "a.wav", start=0.5, source=member)
    assert clip_keys([clip]) == [key_of(wav, 0.5)]
    assert clip_seconds(clip) == 1.0
    member.digest = member.seconds = None
    assert (clip_keys([clip]), clip_seconds(clip)) == ([None], 0.0)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_processes_share_the_files(tmp_path, monkeypatch, world):
    """Each file is read by one process, also where several clips are parts of it."""
    for number in range(5):
        (tmp_path / f"{number}.wav").write_bytes(bytes([number]))
    clips = [
        Clip(id=f"{number}", path=tmp_path / f"{number % 6}.wav", start=float(number))
        for number in range(12)  # of which two are of a file that is not there
    ]
    read = []
    digest = module.content_digest
    monkeypatch.setattr(module, "content_digest", lambda path: read.append(path) or digest(path))
    alone = clip_keys(clips)
    assert [key is None for key in alone] == [number % 6 == 5 for number in range(12)]
    assert sorted(read) == sorted({clip.path for clip in clips})
    read.clear()
    shares = []

    def keep(found):
        shares.append(found)
        return [[None] * 6] * world

    for rank in range(world):
        clip_keys(clips, rank=rank, world=world, gather=keep)
    assert sorted(read) == sorted({clip.path for clip in clips})
    for rank in range(world):
        assert clip_keys(clips, rank=rank, world=world, gather=lambda _: shares) == alone


@pytest.mark.parametrize("count", [0, 1, 3, 6, 8])
def test_threads_keep_the_order_and_are_told_of_a_part_at_a_time(monkeypatch, count):
    monkeypatch.setattr(module, "_PART", 3)
    asked = []

    class Pool(module.ThreadPoolExecutor):
        def map(self, function, items):
            asked.append(len(items))
            return super().map(function, items)

    monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)
    assert list(map_in_threads(lambda number: number**2, range(count))) == [
        number**2 for number in range(count)
    ]
    assert sum(asked) == count
    assert max(asked, default=0) <= 3


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [(None, None, 1.5), (0.5, None, 1.0), (0.5, 0.75, 0.25), (None, 9.0, 1.5), (2.0, None, 0.0)],
)
def test_seconds_by_the_header(wav, start, end, seconds):
    assert clip_seconds(Clip(id="a", path=wav, start=start, end=end)) == pytest.approx(seconds)


def test_seconds_of_what_is_no_audio(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    assert clip_seconds(Clip(id="a", path=tmp_path / "a.wav")) == 0.0
    assert clip_seconds(Clip(id="a", path=tmp_path / "gone.wav")) == 0.0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    assert clip_keys([Clip(id="a", path=tmp_path / "a.wav")]) == [None]
