# SPDX-License-Identifier: Apache-2.0
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from voxadapt.adapters import AdapterFolderError, WAPTransformer, WAPTransformerConfig
from voxadapt.adapters.saving import (
    add_file,
    build_config,
    load_folder,
    save_folder,
    update_extras,
)
from voxadapt.adapters.written_aside import UNFINISHED


@pytest.fixture
def folder(make_adapter: Callable, tmp_path: Path) -> Path:
    make_adapter().save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def expect_refusal(source: Any, message: str) -> None:
    with pytest.raises(AdapterFolderError, match=message) as caught:
        WAPTransformer.from_pretrained(source)
    assert str(source) in str(caught.value)


def test_folder_holds_two_plain_files(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    config = json.loads((folder / "config.json").read_text())
    assert config["class"] == "WAPTransformer"
    assert config["format_version"] == 1
    assert config["config"]["width"] == 16


def test_both_files_can_be_read_by_whom_the_umask_allows(folder: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_missing_tensor(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop("layer_weights"))
    expect_refusal(folder, "missing layer_weights")


def test_unexpected_tensor(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update(head=torch.zeros(1)))
    expect_refusal(folder, "unexpected head")


def test_tensor_of_another_shape(folder: Path) -> None:
    # Shapes that would broadcast are refused as well.
    change_tensors(folder, lambda tensors: tensors.update(layer_weights=torch.zeros(1)))
    expect_refusal(folder, r"layer_weights is \[1\] instead of \[3\]")


def test_many_wrong_tensors_are_counted(folder: Path) -> None:
    total = len(load_file(folder / "model.safetensors"))
    change_tensors(folder, lambda tensors: tensors.clear())
    expect_refusal(folder, f"missing .* and {total - 5} more")


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights(folder: Path, kept: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    expect_refusal(folder, "truncated or damaged")


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    expect_refusal(folder, "the folder is incomplete")


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    expect_refusal(folder, "there is no config.json in it")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'class': 1}"])
def test_config_that_is_not_json(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    expect_refusal(folder, "not valid JSON")


@pytest.mark.parametrize("content", ["[]", "3", "{}"])
def test_json_that_is_no_config(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    expect_refusal(folder, "'class' is None, expected 'WAPTransformer'")


def test_another_class(folder: Path) -> None:
    change_config(folder, **{"class": "SpeechClassifier"})
    expect_refusal(folder, "'class' is 'SpeechClassifier', expected 'WAPTransformer'")


@pytest.mark.parametrize("version", [2, None, "1"])
def test_another_format(folder: Path, version: Any) -> None:
    change_config(folder, format_version=version)
    expect_refusal(folder, f"'format_version' is {version!r}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, r"unknown fields \['colour'\]; allowed: \['dropout', "),
        ({"width": "16"}, "width: found '16'"),
        ({"heads": 5}, "heads: found 5"),
        ({"dropout": "much"}, "a value of its 'config' does not fit"),
    ],
)
def test_bad_field(folder: Path, changes: dict[str, Any], message: str) -> None:
    config = json.loads((folder / "config.json").read_text())["config"]
    change_config(folder, config={**config, **changes})
    expect_refusal(folder, message)


@pytest.mark.parametrize("config", [None, [1], "small"])
def test_config_without_fields(folder: Path, config: Any) -> None:
    change_config(folder, config=config)
    expect_refusal(folder, "instead of its fields")


@pytest.mark.parametrize("extras", [None, [1], "notes"])
def test_extras_that_are_no_notes_by_name(folder: Path, extras: Any) -> None:
    change_config(folder, extras=extras)
    expect_refusal(folder, "'extras' is .* instead of notes by name")


def test_a_size_that_does_not_fit_the_tensors(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())["config"]
    change_config(folder, config={**config, "layers": 4})
    expect_refusal(folder, "missing layers.3")


def test_build_config() -> None:
    config = build_config(WAPTransformerConfig, {"width": 32})
    assert config == WAPTransformerConfig(width=32)
    with pytest.raises(AdapterFolderError, match=r"config.json: unknown fields \['wide'\]"):
        build_config(WAPTransformerConfig, {"wide": 32})


@pytest.mark.parametrize("name", ["./not/there", "/not/there", "~/there", "a/b/c"])
def test_folder_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)  # is not even asked
    expect_refusal(name, "there is no such folder")


def test_file_instead_of_its_folder(folder: Path) -> None:
    expect_refusal(folder / "model.safetensors", "is a file; point at the folder")


def test_hub_id_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expect_refusal("somebody/adapter", "no such folder, .* hub id .* point at a local folder")


def test_hub_error_without_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> str:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    expect_refusal("somebody/adapter", "ConnectionError")


def test_hub_id_is_downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def download(name: str, **options: Any) -> str:
        asked.append((name, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    WAPTransformer.from_pretrained("somebody/adapter", revision="v1", token="secret")
    assert asked == [("somebody/adapter", {"revision": "v1", "token": "secret"})]


def test_values_that_were_changed(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors["layer_weights"].add_(1))
    expect_refusal(folder, r"model\.safetensors: was changed after it was saved")


def test_a_config_that_was_changed_and_still_fits(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())["config"]
    change_config(folder, config={**config, "dropout": 0.5})
    expect_refusal(folder, r"config\.json: was changed after it was saved: .*take 'sha256' out")
    described = json.loads((folder / "config.json").read_text())
    del described["sha256"]
    (folder / "config.json").write_text(json.dumps(described))
    assert WAPTransformer.from_pretrained(folder).config.dropout == 0.5


def test_digests_that_are_none(folder: Path) -> None:
    change_config(folder, sha256="0")
    expect_refusal(folder, r"config\.json: 'sha256' is '0'")


def test_notes_may_be_added(folder: Path) -> None:
    assert update_extras(folder, {"note": [1.5]})["extras"] == {"note": [1.5]}
    update_extras(folder, {"more": "é"})
    assert WAPTransformer.from_pretrained(folder).extras == {"note": [1.5], "more": "é"}


def test_a_further_file_belongs_to_the_model(folder: Path) -> None:
    add_file(folder, "codebook.safetensors", b"centroids")
    WAPTransformer.from_pretrained(folder)
    path = folder / "codebook.safetensors"
    path.write_bytes(b"Centroids")
    expect_refusal(folder, r"codebook\.safetensors: was changed after it was saved")
    path.unlink()
    expect_refusal(folder, r"codebook\.safetensors: not there, but config\.json tells of it")


def test_saving_again_replaces(folder: Path, make_adapter: Callable, make_batch: Callable) -> None:
    other = make_adapter(seed=1)
    other.save_pretrained(folder)
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    batch = make_batch([5])
    assert torch.equal(WAPTransformer.from_pretrained(folder)(*batch), other(*batch))


def test_interrupted_saving_leaves_the_old_model(
    folder: Path, make_adapter: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def die(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        make_adapter(seed=1).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_killed_process_left_unfinished_goes(folder: Path, make_adapter: Callable) -> None:
    left = folder / f"model.safetensors.7{UNFINISHED}"
    left.touch()
    make_adapter(seed=1).save_pretrained(folder)
    assert not left.exists()


def test_extras_that_json_cannot_hold_write_nothing(make_adapter: Callable, tmp_path: Path) -> None:
    adapter = make_adapter()
    adapter.extras = {"tensor": torch.zeros(1)}
    with pytest.raises(TypeError, match="JSON"):
        adapter.save_pretrained(tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_any_layout_of_tensors_can_be_saved(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    save_folder(tmp_path, {"t": tensor.T.requires_grad_()}, {"class": "Thing", "more": [1]})
    config, tensors = load_folder(tmp_path, "Thing")
    assert config.pop("sha256").keys() == {"config.json", "model.safetensors"}
    assert config == {"format_version": 1, "class": "Thing", "more": [1]}
    assert torch.equal(tensors.tensors["t"], tensor.T)
