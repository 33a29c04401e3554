# SPDX-License-Identifier: Apache-2.0
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_export import export_files, export_npy, parts_of


class Store:
    """Features in memory, ``[T, 3]`` float16."""

    feature_size = 3

    def __init__(self, lengths):
        random = np.random.default_rng(0)
        self.lengths = np.array(lengths)
        self.arrays = [random.standard_normal((n, 3)).astype(np.float16) for n in lengths]

    def frames(self, index):
        return self.arrays[index]


def clip(name, split=None, label=None, folder=Path("/audio")):
    return Clip(id=name, path=folder / f"{name}.wav", split=split, label=label)


def read_as_fairseq(path, labels):
    """As `ExtractedFeaturesDataset` of fairseq and `load_dataset` of emotion2vec read.

    Retold from what those do: frames by offsets that are summed lengths, and of a line of labels
    the second word.
    """
    data = np.load(f"{path}.npy", mmap_mode="r")
    lengths = [int(line) for line in Path(f"{path}.lengths").read_text().splitlines()]
    words = [line.split()[1] for line in Path(f"{path}.{labels}").read_text().splitlines()]
    ends = np.cumsum(lengths)
    assert len(data) == ends[-1]
    return [data[end - n : end] for n, end in zip(lengths, ends, strict=True)], words


def test_what_is_read_back_is_what_was_in_the_store(tmp_path):
    splits = ["train", "valid", "train", "test"]
    clips = [clip(f"c{n}", split, "ab"[n % 2]) for n, split in enumerate(splits)]
    store = Store([5, 3, 1, 7])
    parts = parts_of(clips)
    assert parts == {"train": [0, 2], "valid": [1], "test": [3]}
    written = export_npy(tmp_path / "new" / "out", parts, clips, store)
    assert sorted(written) == sorted((tmp_path / "new" / "out").iterdir())
    assert set(written) <= set(export_files(tmp_path / "new" / "out", list(parts)))
    for name, indices in parts.items():
        frames, labels = read_as_fairseq(tmp_path / "new" / "out" / name, "emo")
        assert labels == [clips[index].label for index in indices]
        for found, index in zip(frames, indices, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, store.frames(index).astype(np.float32))


def test_names_of_files_are_written_as_they_are(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    try:
        with path.open("wb") as stream:
            soundfile.write(stream, np.zeros(800), 16_000, format="WAV")
    except OSError:
        pytest.skip("this file system takes no such name")
    clips = [Clip(id="a", path=path), clip("b", folder=tmp_path)]
    export_npy(tmp_path / "out", parts_of(clips), clips, Store([5, 3]))
    lines = (tmp_path / "out" / "all.tsv").read_bytes().splitlines()
    assert lines[1] == b"caf\xe9.wav\t800"


def test_array_is_as_numpy_saves_it(tmp_path):
    store = Store([4, 6])
    export_npy(tmp_path, {"all": [0, 1]}, [clip("a"), clip("b")], store)
    np.save(tmp_path / "expected.npy", np.concatenate(store.arrays).astype(np.float32))
    assert (tmp_path / "all.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_memory_is_needed_for_one_clip_at_a_time(tmp_path):
    class Large(Store):
        def __init__(self):
            self.lengths = np.full(200, 20_000)

        def frames(self, index):
            return np.zeros((20_000, 3), dtype=np.float16)

    clips = [clip(f"c{n}") for n in range(200)]
    tracemalloc.start()
    export_npy(tmp_path, {"all": range(200)}, clips, Large())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "all.npy").stat().st_size == 128 + 200 * 20_000 * 3 * 4  # 48 MB
    assert peak < 2_000_000


def test_labels_and_ids_with_space_in_them(tmp_path):
    clips = [clip("a b/c 1", label="very happy"), clip("d\ne", label="sad")]
    export_npy(tmp_path, {"all": [0, 1]}, clips, Store([2, 2]))
    assert (tmp_path / "all.emo").read_text() == "a_b/c_1\tvery_happy\nd_e\tsad\n"
    assert read_as_fairseq(tmp_path / "all", "emo")[1] == ["very_happy", "sad"]
    assert (tmp_path / "all.ids").read_text() == "a b/c 1\nd e\n"


def test_without_labels_there_is_no_file_of_them(tmp_path):
    export_npy(tmp_path, {"all": [0]}, [clip("a")], Store([2]))
    assert not (tmp_path / "all.emo").exists()


def test_tsv_lists_audio_below_its_folder(tmp_path):
    for name, rate, samples in (("a/b/1", 16_000, 800), ("a/2", 8_000, 800)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", np.ones(samples) / 2, rate)
    clips = [clip("b/1", folder=tmp_path / "a"), clip("2", folder=tmp_path / "a")]
    clips.append(Clip(id="part", path=clips[1].path, start=0.05, end=0.1))
    export_npy(tmp_path / "out", {"all": [0, 1, 2]}, clips, Store([1, 1, 1]))
    lines = (tmp_path / "out" / "all.tsv").read_text().splitlines()
    assert lines == [str(tmp_path / "a"), "b/1.wav\t800", "2.wav\t1600", "2.wav\t800"]


def test_without_splits_all_clips_are_one_part():
    assert parts_of([clip("a"), clip("b")]) == {"all": [0, 1]}


def test_clips_that_cannot_be_named_or_labelled_are_refused():
    clips = [clip("a", "train", "x"), clip("b", "train"), clip("c", None, "y")]
    with pytest.raises(DataError) as caught:
        parts_of(clips)
    no_split, no_label = caught.value.problems
    assert no_split.startswith("1 clips have no split")
    assert "1 of the 2 clips of train have no label, the first of them 'b'" in no_label


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path):
    class Broken(Store):
        def frames(self, index):
            if index == 1:
                raise OSError("No space left on device")
            return super().frames(index)

    with pytest.raises(OSError, match="No space left"):
        export_npy(tmp_path, {"all": [0, 1]}, [clip("a"), clip("b")], Broken([5, 5]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.ids", "all.lengths", "all.tsv"]
