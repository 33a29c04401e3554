# SPDX-License-Identifier: Apache-2.0
import os
import shutil

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora import clip_keys as module
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.clip_keys import clip_keys, clip_seconds, map_in_threads


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
