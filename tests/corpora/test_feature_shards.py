# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from voxadapt.adapters.written_aside import UNFINISHED
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_shards import FeatureStore, Place, read_places, write_shard


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


def test_clips_of_the_same_audio_have_the_same_number(folder):
    places = read_places(folder)
    store = FeatureStore(folder, [places[key] for key in "cabb"], 3)
    one, other, *same = store.audio_numbers().tolist()
    assert {one, other, *same} == {0, 1, 2}
    assert same[0] == same[1]


def test_frames_are_not_to_be_written_to(folder):
    store = FeatureStore(folder, [read_places(folder)["a"]], 3)
    with pytest.raises(ValueError, match="read-only"):
        store.frames(0)[0] = 0


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="not Linux")
def test_no_shard_stays_open_or_mapped(folder):
    places = read_places(folder)
    store = FeatureStore(folder, [places[key] for key in "abc"], 3)
    kept = [store.frames(index) for index in range(3)]
    assert len(kept) == 3
    assert str(folder) not in Path("/proc/self/maps").read_text()
    opened = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    assert not [path for path in opened if path.startswith(str(folder))]


def test_places_are_a_mapping(folder):
    places = read_places(folder)
    assert len(places) == 3
    assert ("b" in places, "z" in places, places.get("z")) == (True, False, None)
    assert places["b"][1:] == (4, 2)  # after the four of `a`
    assert places["a"].shard == places["b"].shard == shard_of(folder, "a").stem
    assert dict(places) == {key: places[key] for key in "abc"}
    with pytest.raises(KeyError):
        places["z"]


def test_places_are_small(tmp_path):
    keys = [f"{number:032}" for number in range(20_000)]
    contents = {"keys": keys, "lengths": [1_000] * len(keys), "bytes": 0}
    (tmp_path / "0.json").write_text(json.dumps(contents))
    (tmp_path / "0.npy").touch()
    del keys, contents
    tracemalloc.start()
    places = read_places(tmp_path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(places) == 20_000
    assert kept < 20_000 * 230


def test_store_is_small():
    # 10,000 hours are 14 million clips of 2.5 s.
    places = (Place(f"shard-{number // 512}", 0, 125) for number in range(50_000))
    tracemalloc.start()
    store = FeatureStore(Path("none"), places, 3)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(store) == 50_000
    assert kept < 50_000 * 36


def test_arrays_that_numpy_saved_are_read(folder):
    array = shard_of(folder, "a").with_suffix(".npy")
    np.save(array, np.load(array))
    store = FeatureStore(folder, [read_places(folder)["b"]], 3)
    np.testing.assert_array_equal(store.frames(0), frames(2, 0.5))


@pytest.mark.parametrize("damage", ["cut", "gone", "other size", "other type", "columns first"])
def test_shard_that_changes_meanwhile_is_an_error(folder, damage):
    places = read_places(folder)
    store = FeatureStore(folder, [places["a"], places["b"]], 3)
    array = shard_of(folder, "a").with_suffix(".npy")
    content = np.load(array)
    if damage == "cut":
        array.write_bytes(array.read_bytes()[:-1])
    elif damage == "gone":
        array.unlink()
    elif damage == "other size":
        np.save(array, np.concatenate([content, content], axis=1))
    elif damage == "other type":
        np.save(array, content.astype(np.float32))
    else:
        np.save(array, np.asfortranarray(content))
    with pytest.raises(DataError, match=f"{array.name} has changed or cannot be read any more"):
        store.frames(1)


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


def test_store_can_be_pickled(folder):
    store = FeatureStore(folder, [read_places(folder)["a"]], 3)
    store.frames(0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).frames(0), frames(4, 1.5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_frames_that_are_not_finite_are_an_error_that_names_the_file(folder, value):
    places = read_places(folder)
    damaged = folder / f"{places['b'].shard}.npy"
    rows = np.load(damaged)
    rows[places["b"].first + 1, 2] = value
    np.save(damaged, rows)
    store = FeatureStore(folder, [places[key] for key in "abc"], 3)
    for index in (0, 2):  # other clips of the shard and of others are as they were
        store.frames(index)
    with pytest.raises(
        DataError, match=r"rows \d to \d, the features of one clip, hold NaN or inf"
    ):
        store.frames(1)
    largest = np.full((1, 3), np.finfo(np.float16).max)
    write_shard(folder, {"large": largest})
    np.testing.assert_array_equal(
        FeatureStore(folder, [read_places(folder)["large"]], 3).frames(0), largest
    )
