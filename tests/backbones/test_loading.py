# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
import torch

from voxadapt.backbones import (
    BackboneError,
    EncoderBackbone,
    FilterbankBackbone,
    backbone_from_config,
    load_backbone,
    pad_waveforms,
)


def test_fbank():
    assert isinstance(load_backbone("fbank"), FilterbankBackbone)


@pytest.mark.parametrize("options", [{"layer": 3}, {"revision": "main"}])
def test_fbank_has_no_layers_or_revisions(options):
    with pytest.raises(BackboneError, match="neither layers nor revisions"):
        load_backbone("fbank", **options)


def test_every_family(kind, checkpoint):
    backbone = load_backbone(str(checkpoint(kind)), layer="2", precision="bf16")
    assert isinstance(backbone, EncoderBackbone)
    assert (backbone.layer, backbone.precision, backbone.spec.layers) == (2, "bf16", 2)


def test_a_folder_may_be_a_path(checkpoint):
    folder = checkpoint("hubert-group")
    by_path, by_name = load_backbone(Path(folder)), load_backbone(str(folder))
    assert by_path.config() == by_name.config()
    assert by_path.fingerprint() == by_name.fingerprint()


def test_whisper_context(checkpoint):
    backbone = load_backbone(str(checkpoint("whisper")), layer=1, whisper_context="clip")
    assert backbone.config()["whisper_context"] == "clip"


def test_a_model_in_memory(kind, tiny_model, noise):
    backbone = load_backbone(
        tiny_model(kind), layer="mean", whisper_context="clip", precision="bf16"
    )
    assert (backbone.layer, backbone.precision, backbone.name) == ("mean", "bf16", None)
    if kind == "whisper":
        assert backbone.config()["whisper_context"] == "clip"
    frames, padding_mask = backbone(*pad_waveforms([noise(3_000)]))
    assert frames.shape[2] == 16
    assert not padding_mask.any()


def test_a_model_in_memory_has_no_revision(tiny_model):
    with pytest.raises(BackboneError, match="'main' goes with a hub id, but a HubertModel"):
        load_backbone(tiny_model("hubert-group"), revision="main")


def test_a_model_in_memory_without_a_name_cannot_be_built_again(tiny_model):
    config = load_backbone(tiny_model("hubert-group")).config()
    with pytest.raises(BackboneError, match=r"no name_or_path: .* give it as `backbone`"):
        backbone_from_config(config)


def test_a_text_model_lists_the_families(bert_folder):
    with pytest.raises(BackboneError, match=r"'bert' .* HuBERT, .* Whisper\. fbank"):
        load_backbone(str(bert_folder))


@pytest.fixture(params=["fbank", "hubert-stable", "wavlm-group", "whisper", "wav2vec2-bert"])
def backbone(request, checkpoint):
    if request.param == "fbank":
        return load_backbone("fbank")
    folder = str(checkpoint(request.param))
    if request.param == "whisper":
        return load_backbone(folder, layer=1, whisper_context="clip")
    return EncoderBackbone.from_pretrained(folder, layer="weighted", normalize=False)


def test_a_config_brings_the_backbone_back(backbone, noise):
    config = json.loads(json.dumps(backbone.config()))
    again = backbone_from_config({**config, "fingerprint": backbone.fingerprint()})
    assert type(again) is type(backbone)
    assert again.config() == backbone.config()
    assert again.spec == backbone.spec
    assert again.fingerprint() == backbone.fingerprint()
    batch = pad_waveforms([noise(3_000), noise(500, seed=1)])
    for first, second in zip(again(*batch), backbone(*batch), strict=True):
        assert torch.equal(first, second)


def test_the_precision_is_no_part_of_a_config(checkpoint):
    """The same model may be trained in one and used in another."""
    backbone = load_backbone(str(checkpoint("hubert-group")), precision="bf16")
    config = {**backbone.config(), "fingerprint": backbone.fingerprint()}
    for precision in ("fp32", "bf16"):
        again = backbone_from_config(config, precision=precision)
        assert again.precision == precision
        assert (again.cache_key() == backbone.cache_key()) is (precision == "bf16")


def test_other_weights_under_the_same_name_are_noticed(tiny_model, tmp_path):
    tiny_model("hubert-group").save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path))
    config = {**backbone.config(), "fingerprint": backbone.fingerprint()}
    tiny_model("hubert-group", seed=1).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="other features"):
        backbone_from_config(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "has type None"),
        ({"type": "mfcc"}, "type 'mfcc', but fbank or encoder"),
        ({"type": "ssl", "name_or_path": "x"}, "type 'ssl', but fbank or encoder"),
        ({"type": "fbank", "num_mel": 40}, "'num_mels' is the closest"),
        ({"type": "encoder", "name_or_path": "x", "context": "clip"}, "unknown key 'context'"),
        ({"type": "encoder", "name_or_path": "x", "precision": "bf16"}, "unknown key 'precision'"),
        ({"type": "encoder", "layer": 1}, "name_or_path"),
    ],
)
def test_configs_that_are_none(config, message):
    with pytest.raises(BackboneError, match=message):
        backbone_from_config(config)
