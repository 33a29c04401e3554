# SPDX-License-Identifier: Apache-2.0
"""One pass over the audio for the caches of all layers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxadapt.backbones import load_backbone
from voxadapt.recipes.corpora.feature_cache import extract_features, features_folder_of, open_folder
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.sweeping import layer_caches
from voxadapt.recipes.sweeping.layer_caches import SCRATCH, fill_layer_caches

LAYERS = (0, 1, 2)
Fill = Callable[..., None]


@pytest.fixture
def clips(corpus: Path) -> list[Any]:
    return read_manifest(corpus, label="label", allow_outside=True).clips


@pytest.fixture
def fill(hubert_folder: Path, tmp_path: Path) -> Fill:
    """Fill the caches of layers of the tiny HuBERT, in ``tmp_path``."""

    def run(clips: Sequence[Any], layers: Sequence[int] = LAYERS, keep_whole: bool = False) -> None:
        folders = {
            layer: open_folder(tmp_path, load_backbone(str(hubert_folder), layer=layer))
            for layer in layers
        }
        whole = load_backbone(str(hubert_folder), layer="weighted")
        device = torch.device("cpu")
        fill_layer_caches(clips, whole, folders, tmp_path, device=device, keep_whole=keep_whole)

    return run


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the clips that went through the encoder, as often as they did."""
    ids: list[str] = []
    extract = layer_caches.extract_features

    def spy(clips: Any, *arguments: Any, **options: Any) -> Any:
        ids.extend(clip.id for clip in clips)
        return extract(clips, *arguments, **options)

    monkeypatch.setattr(layer_caches, "extract_features", spy)
    return ids


def read_layer(clips: list[Any], folder: Path, layer: int | str, cache: Path) -> list[np.ndarray]:
    """Frames of a layer, with an encoder that may not run."""
    backbone = load_backbone(str(folder), layer=layer)

    def refuse(*arguments: Any) -> Any:
        raise AssertionError("the encoder was run")

    backbone.forward = refuse  # type: ignore[method-assign, assignment, union-attr]
    store, kept, _ = extract_features(clips, backbone, cache, progress=False)
    assert kept == list(range(len(clips)))
    return [store.frames(row) for row in range(len(clips))]


def test_each_layer_is_what_its_own_extraction_gives(
    clips: list[Any], fill: Fill, hubert_folder: Path, tmp_path: Path
) -> None:
    fill(clips)
    different = []
    for layer in LAYERS:
        found = read_layer(clips, hubert_folder, layer, tmp_path)
        backbone = load_backbone(str(hubert_folder), layer=layer)
        store, _, _ = extract_features(clips, backbone, tmp_path / "own", progress=False)
        for row, frames in enumerate(found):
            np.testing.assert_allclose(frames, store.frames(row), atol=2e-3, rtol=2e-3)
        different.append(found[0])
    assert np.abs(different[0] - different[1]).max() > 0.01
    assert np.abs(different[1] - different[2]).max() > 0.01


def test_chunks_do_not_change_what_is_found(
    clips: list[Any],
    fill: Fill,
    hubert_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoded: list[str],
) -> None:
    monkeypatch.setattr(layer_caches, "CHUNK_SECONDS", 1.0)
    fill(clips)
    assert sorted(encoded) == sorted(clip.id for clip in clips)
    assert len(read_layer(clips, hubert_folder, 2, tmp_path)) == len(clips)
    assert not list(tmp_path.glob(f"{SCRATCH}*"))


def test_only_what_is_missing_is_encoded(clips: list[Any], fill: Fill, encoded: list[str]) -> None:
    fill(clips[:5])
    encoded.clear()
    fill(clips)
    assert encoded == [clip.id for clip in clips[5:]]
    encoded.clear()
    fill(clips)
    assert encoded == []
    fill(clips, layers=(1,))
    assert encoded == []


def test_a_pass_that_broke_off_goes_on_and_leaves_no_scratch(
    clips: list[Any],
    fill: Fill,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoded: list[str],
) -> None:
    monkeypatch.setattr(layer_caches, "CHUNK_SECONDS", 1.0)
    write = layer_caches.write_shard
    written = []

    def break_off(folder: Path, frames: Any) -> None:
        if len(written) == 7:  # within the third chunk
            raise KeyboardInterrupt
        written.append(folder)
        write(folder, frames)

    monkeypatch.setattr(layer_caches, "write_shard", break_off)
    with pytest.raises(KeyboardInterrupt):
        fill(clips)
    (tmp_path / f"{SCRATCH}killed").mkdir()
    monkeypatch.setattr(layer_caches, "write_shard", write)
    before = list(encoded)
    encoded.clear()
    fill(clips)
    done = set(before) - set(encoded)
    assert done  # the first chunks were not encoded again
    assert done | set(encoded) == {clip.id for clip in clips}
    assert not list(tmp_path.glob(f"{SCRATCH}*"))


def test_all_layers_side_by_side_stay_only_when_asked_and_are_then_used(
    clips: list[Any], fill: Fill, hubert_folder: Path, tmp_path: Path, encoded: list[str]
) -> None:
    whole = features_folder_of(tmp_path, load_backbone(str(hubert_folder), layer="weighted"))
    fill(clips, layers=(1,))
    assert not whole.exists()
    fill(clips, layers=(1,), keep_whole=True)
    assert whole.exists()
    side_by_side = read_layer(clips, hubert_folder, "weighted", tmp_path)
    fill(clips, layers=(0, 2))
    for layer in LAYERS:
        found = read_layer(clips, hubert_folder, layer, tmp_path)
        columns = slice(16 * layer, 16 * (layer + 1))
        np.testing.assert_array_equal(found[3], side_by_side[3][:, columns])


def test_unusable_audio_is_passed_over(
    clips: list[Any], fill: Fill, hubert_folder: Path, tmp_path: Path
) -> None:
    clips[0].path = tmp_path / "gone.wav"
    clips[1].path = tmp_path / "broken.wav"
    clips[1].path.write_bytes(b"no audio")
    fill(clips)
    fill(clips[:2])
    assert len(read_layer(clips[2:], hubert_folder, 1, tmp_path)) == len(clips) - 2
