# SPDX-License-Identifier: Apache-2.0
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from voxadapt.recipes.corpora import feature_extraction
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_extraction import KeyedClip, extract_shards, plan_shards
from voxadapt.recipes.corpora.feature_shards import FeatureStore, read_places
from voxadapt.recipes.corpora.tar_member import TarMember


def keyed(key, seconds=1.0):
    return KeyedClip(key, Clip(id=key, path=Path(f"{key}.wav")), seconds)


def keys(shards):
    return ["".join(keyed.key for keyed in shard) for shard in shards]


def test_shards_are_full_by_seconds_and_by_clips(monkeypatch):
    monkeypatch.setattr(feature_extraction, "SHARD_SECONDS", 10.0)
    monkeypatch.setattr(feature_extraction, "SHARD_CLIPS", 3)
    clips = [keyed(key, seconds) for key, seconds in zip("abcdefgh", [1, 1, 1, 1, 9, 1, 99, 1])]  # noqa: B905
    assert keys(plan_shards(clips)) == ["abc", "de", "f", "g", "h"]


def test_plan_does_not_depend_on_the_order_of_the_clips():
    clips = [keyed(f"{number:03}", seconds=7.0) for number in range(200)]
    assert plan_shards(clips[::-1]) == plan_shards(clips)
    assert sum(len(shard) for shard in plan_shards(clips)) == 200


def test_what_lies_in_containers_goes_by_its_place():
    def member(key, shard, offset):
        clip = Clip(id=key, path=Path(key), source=TarMember(shard, key, offset, 9, 0))
        return KeyedClip(key, clip, 1.0)

    clips = [member("a", "2.tar", 512), member("b", "1.tar", 2_048), member("c", "1.tar", 512)]
    assert keys(plan_shards([*clips, keyed("y"), keyed("x")])) == ["xycba"]


def test_no_clip_no_shard():
    assert plan_shards([]) == []


class Halves:
    """Frames of 80 samples: their mean and its half. Whoever writes into padding is found out."""

    def __init__(self, scale=1.0):
        self.scale = scale
        self.batches = []

    def __call__(self, waveforms, padding_mask):
        self.batches.append(list(waveforms.shape))
        count = waveforms.shape[1] // 80
        mean = waveforms[:, : count * 80].unflatten(1, (count, 80)).mean(dim=2) * self.scale
        frame_mask = padding_mask[:, 79 : count * 80 : 80]
        frames = torch.stack([mean, mean / 2], dim=2)
        return frames.masked_fill(frame_mask[..., None], torch.nan), frame_mask


@pytest.fixture
def recorded(tmp_path):
    def make(*seconds):
        clips = []
        for number, length in enumerate(seconds):
            path = tmp_path / f"{number}.wav"
            wave = np.sin(np.arange(round(length * 16_000)) / (9 + number)) / 2
            soundfile.write(path, wave, 16_000, subtype="FLOAT")
            clips.append(KeyedClip(f"k{number}", Clip(id=f"c{number}", path=path), length))
        return clips

    return make


def extract(shards, backbone, folder, batch_seconds=10.0):
    folder.mkdir(exist_ok=True)
    extract_shards(
        shards, backbone, folder, batch_seconds=batch_seconds, device="cpu", progress=False
    )


def test_values_lengths_and_batches(recorded, tmp_path):
    clips = recorded(0.5, 0.1, 0.2, 0.5, 0.3)
    backbone = Halves()
    extract([clips[:3], clips[3:]], backbone, tmp_path, batch_seconds=0.5)
    # A batch holds 0.5 s of padded audio, and none holds clips of two shards.
    assert backbone.batches == [[1, 8_000], [2, 3_200], [1, 8_000], [1, 4_800]]
    places = read_places(tmp_path)
    store = FeatureStore(tmp_path, [places[clip.key] for clip in clips], 2)
    assert store.lengths.tolist() == [100, 20, 40, 100, 60]
    for index, clip in enumerate(clips):
        wave = torch.from_numpy(soundfile.read(clip.clip.path, dtype="float32")[0])
        expected, _ = Halves()(wave[None], torch.zeros(1, len(wave), dtype=torch.bool))
        np.testing.assert_array_equal(store.frames(index), expected[0].half().numpy())


def test_a_batch_fits_the_budget_whatever_the_headers_say(recorded, tmp_path):
    clips = recorded(0.5, 0.2, 0.3)
    wrong = [KeyedClip(keyed.key, keyed.clip, 0.0) for keyed in clips]
    backbone = Halves()
    extract([wrong], backbone, tmp_path / "wrong", batch_seconds=0.6)
    assert backbone.batches == [[1, 8_000], [2, 4_800]]
    extract([clips], Halves(), tmp_path / "right", batch_seconds=0.6)
    wrongs, rights = (
        [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]
        for name in ("wrong", "right")
    )
    assert wrongs == rights


def test_a_clip_longer_than_the_budget_is_alone(recorded, tmp_path):
    clips = recorded(0.1, 2.0, 0.1)
    backbone = Halves()
    extract([clips], backbone, tmp_path, batch_seconds=0.5)
    assert backbone.batches == [[1, 32_000], [2, 1_600]]


def test_decoding_and_padding_go_on_while_the_backbone_works(recorded, tmp_path, monkeypatch):
    clips = recorded(*[0.1] * 6)
    read, padded = [], []
    real_read, real_pad = feature_extraction.read_audio, feature_extraction.pad_waveforms
    ahead = threading.Event()

    def read_audio(path, **segment):
        read.append(path)
        return real_read(path, **segment)

    def pad_waveforms(waveforms):
        padded.append(len(waveforms))
        if len(padded) == 3:
            ahead.set()
        return real_pad(waveforms)

    monkeypatch.setattr(feature_extraction, "read_audio", read_audio)
    monkeypatch.setattr(feature_extraction, "pad_waveforms", pad_waveforms)
    backbone = Halves()
    main = threading.current_thread()

    def encode(waveforms, padding_mask):
        assert threading.current_thread() is main
        assert ahead.wait(30)  # the third batch is ready while the first is encoded
        return Halves.__call__(backbone, waveforms, padding_mask)

    extract([clips], encode, tmp_path, batch_seconds=0.1)
    assert (len(read), padded) == (6, [1] * 6)


def test_a_shard_is_written_while_the_next_is_encoded(recorded, tmp_path, monkeypatch):
    clips = recorded(0.1, 0.1, 0.1)
    second = threading.Event()
    real = feature_extraction.write_shard

    def write_shard(folder, features):
        assert "k0" not in features or second.wait(30)
        real(folder, features)

    monkeypatch.setattr(feature_extraction, "write_shard", write_shard)
    backbone = Halves()

    def encode(waveforms, padding_mask):
        if len(backbone.batches) == 1:
            second.set()
        return Halves.__call__(backbone, waveforms, padding_mask)

    extract([[clip] for clip in clips], encode, tmp_path)
    assert set(read_places(tmp_path)) == {"k0", "k1", "k2"}


@pytest.mark.parametrize("failing", ["k0", "k2"])
def test_a_shard_that_cannot_be_written_is_an_error(recorded, tmp_path, monkeypatch, failing):
    real = feature_extraction.write_shard

    def write_shard(folder, features):
        if failing in features:
            raise OSError("disk full")
        real(folder, features)

    monkeypatch.setattr(feature_extraction, "write_shard", write_shard)
    with pytest.raises(OSError, match="disk full"):
        extract([[clip] for clip in recorded(0.1, 0.1, 0.1)], Halves(), tmp_path)
    assert failing not in read_places(tmp_path)


def test_segments_are_read(recorded, tmp_path):
    (whole,) = recorded(0.5)
    part = KeyedClip("part", Clip(id="p", path=whole.clip.path, start=0.1, end=0.3), 0.2)
    extract([[whole, part]], Halves(), tmp_path)
    places = read_places(tmp_path)
    store = FeatureStore(tmp_path, [places["k0"], places["part"]], 2)
    np.testing.assert_array_equal(store.frames(1), store.frames(0)[20:60])


def test_unreadable_audio_is_left_out(recorded, tmp_path):
    clips = recorded(0.1, 0.1, 0.1)
    clips[1].clip.path.write_bytes(b"no audio")
    clips[2].clip.path.unlink()
    extract([clips[:2], clips[2:]], Halves(), tmp_path)
    assert set(read_places(tmp_path)) == {"k0"}


@pytest.mark.parametrize(
    ("scale", "message"),
    [(1e6, r"values up to \d.*e\+05.*65504"), (float("nan"), "NaN"), (float("inf"), "infinite")],
)
def test_features_that_cannot_be_stored(recorded, tmp_path, scale, message):
    clips = recorded(0.1)
    with pytest.raises(DataError, match=message) as caught:
        extract([clips], Halves(scale), tmp_path)
    assert "'c0'" in str(caught.value)
    assert read_places(tmp_path) == {}
