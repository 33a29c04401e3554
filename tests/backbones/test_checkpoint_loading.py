# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from voxadapt.backbones import BackboneError, EncoderBackbone, load_backbone
from voxadapt.backbones.checkpoint_loading import (
    read_licence,
    read_model_type,
    read_preprocessor,
)


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint("hubert-group"), tmp_path / "checkpoint")


@pytest.fixture
def whisper_folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint("whisper"), tmp_path / "whisper")


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
        EncoderBackbone.from_pretrained(str(folder))


def test_unexpected_weights_are_an_error(folder):
    change_weights(folder, lambda weights: weights.update({"encoder.extra": torch.ones(2)}))
    with pytest.raises(BackboneError, match=r"beyond the model's, 1 weights \(encoder\.extra\)"):
        EncoderBackbone.from_pretrained(str(folder))


def test_weights_of_another_shape_are_an_error(folder):
    name = "feature_projection.projection.bias"
    change_weights(folder, lambda weights: weights.update({name: torch.ones(5)}))
    with pytest.raises(BackboneError, match=rf"has in another shape 1 weights \({name}\)"):
        EncoderBackbone.from_pretrained(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.update({"encoder.more": torch.ones(1)}), r"1 weights \(more\)"),
        (
            lambda weights: weights.pop("encoder.embed_positions.weight"),
            r"lacks 1 weights \(embed_positions",
        ),
    ],
)
def test_weights_of_a_whisper_encoder_that_do_not_fit(change, message, whisper_folder):
    change_weights(whisper_folder, change)
    with pytest.raises(BackboneError, match=message):
        load_backbone(str(whisper_folder))


def test_many_problems_are_named_up_to_five(folder):
    more = {f"encoder.extra{number}": torch.ones(2) for number in range(7)}
    change_weights(folder, lambda weights: weights.update(more) or weights.pop("masked_spec_embed"))
    with pytest.raises(BackboneError, match=r"7 weights \(.*extra4 and 2 more\)\. Give a complete"):
        load_backbone(str(folder))


def test_the_embedding_of_masked_frames_may_be_missing(folder):
    fingerprint = EncoderBackbone.from_pretrained(str(folder)).fingerprint()
    change_weights(folder, lambda weights: weights.pop("masked_spec_embed"))
    assert EncoderBackbone.from_pretrained(str(folder)).fingerprint() == fingerprint


def test_the_embedding_of_masked_frames_may_be_too_much(folder):
    config = json.loads((folder / "config.json").read_text())
    config["mask_time_prob"] = config["mask_feature_prob"] = 0.0
    fingerprint = EncoderBackbone.from_pretrained(str(folder)).fingerprint()
    (folder / "config.json").write_text(json.dumps(config))
    assert EncoderBackbone.from_pretrained(str(folder)).fingerprint() == fingerprint


def test_old_bin_checkpoints_with_old_names(folder):
    """As most encoders were published: with weight_g and weight_v of the old weight norm."""
    expected = EncoderBackbone.from_pretrained(str(folder)).fingerprint()
    weights = load_file(folder / "model.safetensors")
    prefix = "encoder.pos_conv_embed.conv."
    weights[prefix + "weight_g"] = weights.pop(prefix + "parametrizations.weight.original0")
    weights[prefix + "weight_v"] = weights.pop(prefix + "parametrizations.weight.original1")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert EncoderBackbone.from_pretrained(str(folder)).fingerprint() == expected


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
        EncoderBackbone.from_pretrained(str(folder))
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
def test_a_file_in_place_of_its_folder(folder, name, monkeypatch):
    monkeypatch.setattr("transformers.utils.cached_file", pytest.fail)  # the hub is not asked
    with pytest.raises(BackboneError, match="is a file, but a hub id or a folder") as caught:
        load_backbone(str(folder / name))
    assert str(caught.value).endswith(f"give its folder, {folder}.")


def test_a_file_that_is_no_part_of_a_checkpoint(tmp_path):
    (tmp_path / "weights.pt").touch()
    with pytest.raises(BackboneError, match=r"weights\.pt is a file.* folder with config\.json"):
        load_backbone(tmp_path / "weights.pt")


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


@pytest.mark.usefixtures("offline")
def test_a_hub_id_that_was_downloaded_before_is_loaded_offline(folder, tmp_path, monkeypatch):
    """With neither a card nor a feature extractor, which nothing may go and look for."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "cache" / "models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    (folder / "preprocessor_config.json").unlink()
    shutil.copytree(folder, cached / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    backbone = load_backbone("someone/tiny")
    assert backbone.config()["name_or_path"] == "someone/tiny"
    assert backbone.config()["revision"] == commit
    assert backbone.spec.licence is None
    assert backbone.fingerprint() == load_backbone(str(folder)).fingerprint()
    (cached / "snapshots" / commit / "README.md").write_text("---\nlicense: mit\n---\n")
    assert load_backbone("someone/tiny", revision=commit).spec.licence == "mit"


def test_read_preprocessor(folder):
    path = folder / "preprocessor_config.json"
    assert read_preprocessor(str(folder))["do_normalize"] is True
    for content in ({"do_normalize": False, "sampling_rate": 16_000}, {}):
        path.write_text(json.dumps(content))
        assert read_preprocessor(str(folder)) == content
    path.unlink()
    assert read_preprocessor(str(folder)) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"do_normalize": "yes"}', "do_normalize 'yes', but true or false"),
        ('{"sampling_rate": 8000}', "sampling_rate 8000, but .* 16000 Hz"),
        ("[1]", "holds a list"),
        ("{", "cannot be loaded"),
    ],
)
def test_a_preprocessor_that_does_not_go(content, message, folder):
    (folder / "preprocessor_config.json").write_text(content)
    for load in (read_preprocessor, load_backbone):
        with pytest.raises(BackboneError, match=message):
            load(str(folder))


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\nlanguage: en\n---\n# Title\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: fair-use\n---\n", "fair-use"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlanguage: en\n---\n", None),
        ("# No header\nlicense: mit\n", None),
        ("---\nlicense: [unclosed\n---\n", None),
        ("", None),
    ],
)
def test_read_licence(card, licence, folder):
    (folder / "README.md").write_text(card)
    assert read_licence(str(folder)) == licence
    assert load_backbone(str(folder)).spec.licence == licence


def test_no_card_no_licence(folder):
    assert not (folder / "README.md").exists()
    assert read_licence(str(folder)) is None


def test_loading_is_quiet_and_leaves_the_settings_of_transformers(folder):
    from transformers.utils import logging as transformers_logging

    # Not what loading sets, nor what an earlier test may have left.
    verbosity, bar = transformers_logging.WARNING, True
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(verbosity)
    transformers_logging.enable_progress_bar()
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    transformers_logging.get_logger().addHandler(handler)
    change_weights(folder, lambda weights: weights.update({"lm_head.bias": torch.ones(2)}))
    try:
        load_backbone(str(folder))
    finally:
        transformers_logging.get_logger().removeHandler(handler)
    after = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(before)
    assert not records
    assert after == (verbosity, bar)
