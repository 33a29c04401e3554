# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from voxadapt.backbones import BackboneError, SSLEncoderBackbone, load_backbone
from voxadapt.backbones.checkpoint_loading import read_do_normalize, read_model_type


@pytest.fixture
def folder(ssl_folder, tmp_path):
    return shutil.copytree(ssl_folder("hubert-group"), tmp_path / "checkpoint")


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_read_model_type(folder, bert_folder):
    assert read_model_type(str(folder)) == "hubert"
    assert read_model_type(str(bert_folder)) == "bert"


def test_missing_weights_are_an_error(folder):
    change_weights(folder, lambda weights: weights.pop("encoder.layers.1.final_layer_norm.bias"))
    with pytest.raises(BackboneError, match=r"lacks 1 weights .*layers\.1\.final_layer_norm"):
        SSLEncoderBackbone.from_pretrained(str(folder))


def test_unexpected_weights_are_an_error(folder):
    change_weights(folder, lambda weights: weights.update({"encoder.extra": torch.ones(2)}))
    with pytest.raises(BackboneError, match=r"beyond the model's, 1 weights \(encoder\.extra\)"):
        SSLEncoderBackbone.from_pretrained(str(folder))


def test_weights_of_another_shape_are_an_error(folder):
    name = "feature_projection.projection.bias"
    change_weights(folder, lambda weights: weights.update({name: torch.ones(5)}))
    with pytest.raises(BackboneError, match=rf"has in another shape 1 weights \({name}\)"):
        SSLEncoderBackbone.from_pretrained(str(folder))


def test_the_embedding_of_masked_frames_may_be_missing(folder):
    fingerprint = SSLEncoderBackbone.from_pretrained(str(folder)).fingerprint()
    change_weights(folder, lambda weights: weights.pop("masked_spec_embed"))
    assert SSLEncoderBackbone.from_pretrained(str(folder)).fingerprint() == fingerprint


def test_the_embedding_of_masked_frames_may_be_too_much(folder):
    config = json.loads((folder / "config.json").read_text())
    config["mask_time_prob"] = config["mask_feature_prob"] = 0.0
    fingerprint = SSLEncoderBackbone.from_pretrained(str(folder)).fingerprint()
    (folder / "config.json").write_text(json.dumps(config))
    assert SSLEncoderBackbone.from_pretrained(str(folder)).fingerprint() == fingerprint


def test_old_bin_checkpoints_with_old_names(folder):
    """As most encoders were published: with weight_g and weight_v of the old weight norm."""
    expected = SSLEncoderBackbone.from_pretrained(str(folder)).fingerprint()
    weights = load_file(folder / "model.safetensors")
    prefix = "encoder.pos_conv_embed.conv."
    weights[prefix + "weight_g"] = weights.pop(prefix + "parametrizations.weight.original0")
    weights[prefix + "weight_v"] = weights.pop(prefix + "parametrizations.weight.original1")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert SSLEncoderBackbone.from_pretrained(str(folder)).fingerprint() == expected


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_bin_file_runs_no_code(folder, tmp_path):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    made = str(tmp_path / "made")
    torch.save({**weights, "payload": Payload(made)}, folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="cannot be loaded"):
        SSLEncoderBackbone.from_pretrained(str(folder))
    assert not os.path.exists(made)


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"A folder needs config\.json and model\.safetensors"):
        load_backbone(str(folder))


def test_a_folder_without_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(BackboneError):
        load_backbone(str(folder))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_files(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BackboneError, match="cannot be loaded"):
        load_backbone(str(folder))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["facebook/hubert-base-ls960", "no/such/folder", "./here"])
def test_offline_says_how_to_give_a_folder(name):
    with pytest.raises(BackboneError, match="--local-dir FOLDER") as caught:
        load_backbone(name)
    assert name in str(caught.value)
    assert "fbank" in str(caught.value)


def test_do_normalize(folder):
    path = folder / "preprocessor_config.json"
    assert read_do_normalize(str(folder)) is True
    path.write_text('{"do_normalize": false}')
    assert read_do_normalize(str(folder)) is False
    path.write_text("{}")
    assert read_do_normalize(str(folder)) is None
    path.write_text('{"do_normalize": "yes"}')
    with pytest.raises(BackboneError, match="true or false"):
        read_do_normalize(str(folder))
    path.write_text("{")
    with pytest.raises(BackboneError):
        read_do_normalize(str(folder))
    path.unlink()
    assert read_do_normalize(str(folder)) is None


def test_loading_is_quiet_and_leaves_the_settings_of_transformers(folder):
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    transformers_logging.get_logger().addHandler(handler)
    change_weights(folder, lambda weights: weights.update({"lm_head.bias": torch.ones(2)}))
    try:
        load_backbone(str(folder))
    finally:
        transformers_logging.get_logger().removeHandler(handler)
    assert not records
    assert transformers_logging.get_verbosity() == verbosity
    assert transformers_logging.is_progress_bar_enabled() == bar
