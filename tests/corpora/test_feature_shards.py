# SPDX-License-Identifier: Apache-2.0
import json
import logging
import pickle
import tracemalloc

import numpy as np
import pytest

from voxadapt.recipes.corpora.feature_shards import FeatureStore, read_places, write_shard
from voxadapt.recipes.corpora.written_aside import UNFINISHED


def frames(length, value):
    return np.full((length, 3), value, dtype=np.float16)


@pytest.fixture
def folder(tmp_path):
    write_shard(tmp_path, {"b": frames(2, 0.5), "a": frames(4, 1.5)})
    write_shard(tmp_path, {"c": frames(1, 2.5)})
    return tmp_path


def test_round_trip_in_any_order(folder):
    places = read_places(folder)
    store = FeatureStore(folder, [places[key] for key in "cabb"], 3)
    assert len(store) == 4
    assert store.lengths.tolist() == [1, 4, 2, 2]
    assert store.lengths.dtype == np.int64
    for index, expected in enumerate([frames(1, 2.5), frames(4, 1.5), *[frames(2, 0.5)] * 2]):
        assert store.frames(index).dtype == np.float16
        np.testing.assert_array_equal(store.frames(index), expected)


def test_frames_are_views_of_the_file(folder):
    store = FeatureStore(folder, [read_places(folder)["a"]], 3)
    assert isinstance(store.frames(0), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.frames(0)[0] = 0


def test_same_clips_give_the_same_bytes(folder, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    write_shard(again, {"a": frames(4, 1.5), "b": frames(2, 0.5)})
    for file in again.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


def test_array_is_as_numpy_saves_it(tmp_path):
    clips = {"b": frames(2, 0.5), "a": frames(4, 1.5)}
    write_shard(tmp_path, clips)
    (shard,) = tmp_path.glob("*.npy")
    np.save(tmp_path / "expected.npy", np.concatenate([clips["a"], clips["b"]]))
    assert shard.read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_a_shard_is_not_copied_to_be_written(tmp_path):
    clips = {str(number): frames(100_000, 1.0) for number in range(20)}  # 12 MB
    tracemalloc.start()
    write_shard(tmp_path, clips)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_array_without_listing_does_not_count(folder):
    for listing in folder.glob("*.json"):
        listing.unlink()
    assert read_places(folder) == {}


def test_unfinished_files_and_the_spec_are_no_shards(folder):
    (folder / f"0123.json.77{UNFINISHED}").write_text('{"keys": ["z"')
    (folder / "spec.json").write_text("{}")
    assert set(read_places(folder)) == {"a", "b", "c"}


def shard_of(folder, key):
    return next(
        path for path in folder.glob("*.json") if key in json.loads(path.read_text())["keys"]
    )


@pytest.mark.parametrize("damage", ["cut", "gone", "grown", "listing"])
def test_damaged_shard_is_passed_over_with_a_warning(folder, damage, caplog):
    listing = shard_of(folder, "a")
    array = listing.with_suffix(".npy")
    if damage == "cut":
        array.write_bytes(array.read_bytes()[:-1])
    elif damage == "gone":
        array.unlink()
    elif damage == "grown":
        array.write_bytes(array.read_bytes() + b"x")
    else:
        listing.write_text('{"keys": ["a", "b"], "leng')
    with caplog.at_level(logging.WARNING):
        assert set(read_places(folder)) == {"c"}
    assert listing.name in caplog.text


def test_pickling_leaves_the_arrays_on_disk(folder):
    store = FeatureStore(folder, [read_places(folder)["a"]], 3)
    store.frames(0)
    text = pickle.dumps(store)
    assert b"memmap" not in text
    np.testing.assert_array_equal(pickle.loads(text).frames(0), frames(4, 1.5))
