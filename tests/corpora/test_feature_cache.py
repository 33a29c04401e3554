# SPDX-License-Identifier: Apache-2.0
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from voxadapt.backbones.audio import read_audio
from voxadapt.backbones.filterbank import FilterbankBackbone
from voxadapt.recipes.corpora import feature_cache, feature_extraction
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_cache import extract_features, features_folder_of
from voxadapt.recipes.corpora.manifest import read_manifest

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"


@dataclass
class Spec:
    feature_size: int = 4
    frame_rate: float = 50.0


class FakeBackbone(torch.nn.Module):
    """Frames of 320 samples, seen through a fixed matrix; counts its calls and clips."""

    precision = "fp32"
    preferred_batch_seconds = 60.0

    def __init__(self, seed=0, fail_at=None):
        super().__init__()
        self.seed = seed
        self.fail_at = fail_at
        self.calls = self.clips = 0
        self.spec = Spec()
        weight = torch.randn(320, 4, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("weight", weight)

    def config(self):
        return {"type": "fake", "seed": self.seed}

    def fingerprint(self):
        return f"{self.seed:064x}"[::-1]

    def cache_key(self):
        return f"{self.precision}{self.fingerprint()}"

    def forward(self, waveforms, padding_mask):
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        self.clips += len(waveforms)
        count = waveforms.shape[1] // 320
        frames = waveforms[:, : count * 320].unflatten(1, (count, 320)) @ self.weight
        return frames, padding_mask[:, 319 : count * 320 : 320]


@pytest.fixture
def corpus(tmp_path):
    """Twelve clips of 0.1 to 0.4 s, the second half of them parts of one file."""
    random = np.random.default_rng(0)
    clips = []
    for number in range(6):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, random.uniform(-0.5, 0.5, 1_600 * (number % 4 + 1)), 16_000)
        clips.append(Clip(id=f"c{number}", path=path))
    soundfile.write(tmp_path / "long.wav", random.uniform(-0.5, 0.5, 32_000), 16_000)
    for number in range(6):
        segment = {"start": number * 0.25, "end": number * 0.25 + 0.2}
        clips.append(Clip(id=f"s{number}", path=tmp_path / "long.wav", **segment))
    return clips


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(feature_extraction, "SHARD_CLIPS", 3)


def extract(clips, backbone, folder, **options):
    return extract_features(clips, backbone, folder, progress=False, **options)


def contents(folder):
    """Bytes of every file below a folder."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_values_are_those_of_a_direct_forward(corpus, tmp_path):
    backbone = FakeBackbone()
    store, kept, bad = extract(corpus, backbone, tmp_path / "cache")
    assert (kept, bad, len(store), store.feature_size) == (list(range(12)), [], 12, 4)
    for index, clip in enumerate(corpus):
        wave = read_audio(clip.path, start=clip.start, end=clip.end)
        mask = torch.zeros(1, len(wave), dtype=torch.bool)
        direct, _ = backbone(wave[None], mask)
        assert store.frames(index).dtype == np.float16
        np.testing.assert_allclose(store.frames(index), direct[0].half().numpy(), rtol=2e-3)
        assert store.lengths[index] == len(wave) // 320


def test_real_backbone(corpus, tmp_path):
    backbone = FilterbankBackbone()
    store, _, _ = extract(corpus, backbone, tmp_path / "cache", batch_seconds=0.8)
    for index, clip in enumerate(corpus):
        wave = read_audio(clip.path, start=clip.start, end=clip.end)
        direct, _ = backbone(wave[None], torch.zeros(1, len(wave), dtype=torch.bool))
        np.testing.assert_allclose(store.frames(index), direct[0].numpy(), rtol=2e-3, atol=2e-3)


def test_second_call_does_not_run_the_backbone(corpus, tmp_path):
    first, _, _ = extract(corpus, FakeBackbone(), tmp_path / "cache")
    before = contents(tmp_path / "cache")
    backbone = FakeBackbone()
    second, kept, _ = extract(corpus[::-1], backbone, tmp_path / "cache")
    assert backbone.calls == 0
    assert kept == list(range(12))
    assert contents(tmp_path / "cache") == before
    for index in range(12):
        np.testing.assert_array_equal(second.frames(index), first.frames(11 - index))


def test_lists_of_a_complete_cache_are_read_once(corpus, tmp_path, monkeypatch):
    reads = []
    read = feature_cache.read_places
    monkeypatch.setattr(
        feature_cache, "read_places", lambda folder: reads.append(folder) or read(folder)
    )
    for expected in (2, 1):  # before and after the extraction; then only before
        extract(corpus, FakeBackbone(), tmp_path / "cache")
        assert len(reads) == expected
        reads.clear()


def test_only_what_is_new_is_computed(corpus, tmp_path):
    extract(corpus[:7], FakeBackbone(), tmp_path / "cache")
    backbone = FakeBackbone()
    extract(corpus, backbone, tmp_path / "cache")
    assert backbone.clips == 5


def test_changed_audio_is_computed_anew(corpus, tmp_path):
    old, _, _ = extract(corpus, FakeBackbone(), tmp_path / "cache")
    soundfile.write(corpus[2].path, np.random.default_rng(9).uniform(-0.5, 0.5, 4_800), 16_000)
    backbone = FakeBackbone()
    new, _, _ = extract(corpus, backbone, tmp_path / "cache")
    assert backbone.clips == 1
    assert not np.array_equal(new.frames(2), old.frames(2))
    np.testing.assert_array_equal(new.frames(3), old.frames(3))


def test_same_audio_under_two_names_is_computed_once(corpus, tmp_path):
    copy = tmp_path / "copy.wav"
    copy.write_bytes(corpus[0].path.read_bytes())
    backbone = FakeBackbone()
    store, _, _ = extract([corpus[0], Clip(id="x", path=copy)], backbone, tmp_path / "cache")
    assert backbone.clips == 1
    np.testing.assert_array_equal(store.frames(0), store.frames(1))


def test_another_backbone_has_another_folder(corpus, tmp_path):
    one, other = FakeBackbone(0), FakeBackbone(1)
    first, _, _ = extract(corpus, one, tmp_path / "cache")
    second, _, _ = extract(corpus, other, tmp_path / "cache")
    assert other.clips == 12
    assert not np.array_equal(first.frames(0), second.frames(0))
    folders = {path.name for path in (tmp_path / "cache").iterdir()}
    assert folders == {one.cache_key()[:16], other.cache_key()[:16]}
    spec = json.loads((features_folder_of(tmp_path / "cache", one) / "spec.json").read_text())
    assert (spec["fingerprint"], spec["precision"]) == (one.fingerprint(), "fp32")
    assert spec["config"] == one.config()
    assert (spec["feature_size"], spec["frame_rate"]) == (4, 50.0)


def test_another_precision_has_another_folder(corpus, tmp_path):
    extract(corpus, FakeBackbone(), tmp_path / "cache")
    half = FakeBackbone()
    half.precision = "bf16"
    extract(corpus, half, tmp_path / "cache")
    assert half.clips == 12
    specs = [json.loads(path.read_text()) for path in (tmp_path / "cache").rglob("spec.json")]
    assert {spec["precision"] for spec in specs} == {"fp32", "bf16"}
    assert len({spec["fingerprint"] for spec in specs}) == 1


def test_a_cache_from_before_precision_was_written_down_is_used(corpus, tmp_path):
    extract(corpus, FakeBackbone(), tmp_path / "cache")
    (spec_file,) = tmp_path.rglob("spec.json")
    spec = json.loads(spec_file.read_text())
    del spec["precision"]
    spec_file.write_text(json.dumps(spec))
    backbone = FakeBackbone()
    extract(corpus, backbone, tmp_path / "cache")
    assert backbone.calls == 0


OTHER = {"format": 1, "fingerprint": FakeBackbone().fingerprint(), "precision": "bf16"}


@pytest.mark.parametrize(
    "text", ['{"format": 1, "fingerprint": "other"}', json.dumps(OTHER), "{}", "[]", "no json"]
)
def test_folder_of_another_kind_is_refused(corpus, tmp_path, text):
    folder = features_folder_of(tmp_path / "cache", FakeBackbone())
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(text)
    with pytest.raises(DataError, match="delete the folder"):
        extract(corpus, FakeBackbone(), tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(corpus, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="give another folder with --features"):
        extract(corpus, FakeBackbone(), tmp_path / "file")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(feature_extraction, "write_shard", full)
    with pytest.raises(DataError, match=r"No space left on device.*What is done is kept"):
        extract(corpus, FakeBackbone(), tmp_path / "cache")


def test_batches_are_as_the_backbone_prefers_unless_told(corpus, tmp_path):
    calls = []
    for name, batch_seconds in (("preferred", None), ("large", 60.0), ("small", 0.5)):
        backbone = FakeBackbone()
        backbone.preferred_batch_seconds = 0.5
        extract(corpus, backbone, tmp_path / name, batch_seconds=batch_seconds)
        calls.append(backbone.calls)
    assert calls[0] == calls[2] > calls[1] == 1


@pytest.mark.usefixtures("small_shards")
def test_killed_extraction_goes_on_and_ends_with_the_same_bytes(corpus, tmp_path):
    whole = FakeBackbone()
    extract(corpus, whole, tmp_path / "whole", batch_seconds=0.5)
    with pytest.raises(KeyboardInterrupt):
        extract(corpus, FakeBackbone(fail_at=whole.calls), tmp_path / "cut", batch_seconds=0.5)
    done = len(list((tmp_path / "cut").rglob("*.npy")))
    assert done == 3  # of four shards of three clips
    rest = FakeBackbone()
    extract(corpus, rest, tmp_path / "cut", batch_seconds=0.5)
    assert rest.clips == 3
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_torn_files_are_ignored(corpus, tmp_path):
    extract(corpus, FakeBackbone(), tmp_path / "cache")
    (shard,) = (tmp_path / "cache").rglob("*.npy")
    whole = shard.read_bytes()
    listing = shard.with_suffix(".json")
    # What kill -9 leaves behind: the parts that were being written, and an array without listing.
    shard.with_name(f"{shard.name}.0a.unfinished").write_bytes(whole[:99])
    shard.with_name(f"{listing.name}.0b.unfinished").write_bytes(listing.read_bytes()[:9])
    listing.unlink()
    backbone = FakeBackbone()
    store, _, _ = extract(corpus, backbone, tmp_path / "cache")
    assert backbone.clips == 12
    assert len(store) == 12
    assert shard.read_bytes() == whole


@pytest.mark.usefixtures("small_shards")
def test_truncated_shard_is_made_again(corpus, tmp_path, caplog):
    extract(corpus, FakeBackbone(), tmp_path / "cache")
    before = contents(tmp_path / "cache")
    shard = sorted((tmp_path / "cache").rglob("*.npy"))[1]
    shard.write_bytes(shard.read_bytes()[:-8])
    backbone = FakeBackbone()
    with caplog.at_level(logging.WARNING):
        extract(corpus, backbone, tmp_path / "cache")
    assert backbone.clips == 3
    assert "damaged" in caplog.text
    assert contents(tmp_path / "cache") == before


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("world", [2, 3, 7])
def test_several_processes_write_the_same_bytes_as_one(corpus, tmp_path, world):
    corpus[1].path.write_bytes(b"no audio")
    corpus[4].path.unlink()
    one = extract(corpus, FakeBackbone(), tmp_path / "one", on_bad_audio="skip")
    barrier = threading.Barrier(world, timeout=60)
    backbones = [FakeBackbone() for _ in range(world)]
    results = [None] * world

    def work(rank):
        results[rank] = extract(
            corpus,
            backbones[rank],
            tmp_path / "many",
            on_bad_audio="skip",
            rank=rank,
            world=world,
            barrier=barrier.wait,
        )

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert sum(backbone.clips for backbone in backbones) == 10  # none twice
    assert max(backbone.clips for backbone in backbones) < 10  # and not all by one
    for store, kept, bad in results:
        assert (kept, bad) == one[1:]
        np.testing.assert_array_equal(store.lengths, one[0].lengths)


@pytest.mark.usefixtures("small_shards")
def test_processes_that_do_not_wait_are_found_out(corpus, tmp_path):
    # One after the other: the first cannot have the second's clips yet.
    def part(rank):
        return extract(
            corpus, FakeBackbone(), tmp_path / "c", rank=rank, world=2, barrier=lambda: None
        )

    with pytest.raises(RuntimeError, match="another process stopped"):
        part(0)
    assert part(1)[1] == list(range(12))
    extract(corpus, FakeBackbone(), tmp_path / "one")
    assert contents(tmp_path / "c") == contents(tmp_path / "one")


def spoil(corpus):
    corpus[1].path.write_bytes(b"no audio")
    corpus[2].path.unlink()
    soundfile.write(corpus[3].path, np.zeros(1_600), 16_000)
    corpus[11].start, corpus[11].end = 30.0, 31.0


def test_bad_audio_is_an_error_that_names_all_of_it(corpus, tmp_path):
    spoil(corpus)
    backbone = FakeBackbone()
    with pytest.raises(DataError) as caught:
        extract(corpus, backbone, tmp_path / "cache")
    message = str(caught.value)
    assert "4 of 12 clips" in message
    assert "--on-bad-audio skip" in message
    for reason in ("1 unreadable", "1 missing", "1 silent", "1 out of range"):
        assert reason in caught.value.headline
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["c1", "c2", "c3", "s5"]
    # The good clips are done and need not be done again.
    assert backbone.clips == 8
    again = FakeBackbone()
    extract(corpus, again, tmp_path / "cache", on_bad_audio="skip")
    assert again.clips == 0


def test_bad_audio_is_skipped_by_name(corpus, tmp_path):
    good, _, _ = extract(corpus, FakeBackbone(), tmp_path / "good")
    spoil(corpus)
    for _ in range(2):  # the second time from the cache
        store, kept, bad = extract(corpus, FakeBackbone(), tmp_path / "cache", on_bad_audio="skip")
        assert kept == [0, 4, 5, 6, 7, 8, 9, 10]
        assert [(clip.id, clip.reason) for clip in bad] == [
            ("c1", "unreadable"),
            ("c2", "missing"),
            ("c3", "silent"),
            ("s5", "out of range"),
        ]
        assert bad[0].path == str(corpus[1].path)
        assert "1.wav" in bad[0].message
        for position, index in enumerate(kept):
            np.testing.assert_array_equal(store.frames(position), good.frames(index))


def test_repaired_audio_is_taken_up(corpus, tmp_path):
    content = corpus[1].path.read_bytes()
    corpus[1].path.write_bytes(b"no audio")
    extract(corpus, FakeBackbone(), tmp_path / "cache", on_bad_audio="skip")
    corpus[1].path.write_bytes(content)
    backbone = FakeBackbone()
    _, kept, bad = extract(corpus, backbone, tmp_path / "cache")
    assert (backbone.clips, len(kept), bad) == (1, 12, [])


def test_no_good_clip_is_an_error_even_if_skipped(corpus, tmp_path):
    corpus[1].path.write_bytes(b"no audio")
    with pytest.raises(DataError, match="No clip is left"):
        extract(corpus[1:2], FakeBackbone(), tmp_path / "cache", on_bad_audio="skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_bad_audio": "ignore"}, "'error' and 'skip'"),
        ({"batch_seconds": 0}, "batch_seconds is 0"),
        ({"rank": 2, "world": 2, "barrier": lambda: None}, "rank is 2 of 2"),
        ({"world": 2}, "barrier is None"),
    ],
)
def test_wrong_arguments(corpus, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        extract(corpus, FakeBackbone(), tmp_path / "cache", **options)
    with pytest.raises(ValueError, match="clips is empty"):
        extract([], FakeBackbone(), tmp_path / "cache")


@pytest.mark.parametrize("name", ["urdu", "fsdd", "baved"])
def test_real_speech(name, tmp_path):
    path = CORPORA / name / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{name} is not in {CORPORA}")
    clips = read_manifest(path).clips[::97]
    store, kept, _ = extract(clips, FilterbankBackbone(), tmp_path / "cache")
    assert kept == list(range(len(clips)))
    seconds = [float(clip.columns["seconds"]) for clip in clips]
    np.testing.assert_allclose(store.lengths / 50.0, seconds, atol=0.05)
