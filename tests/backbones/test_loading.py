# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from voxadapt.backbones import (
    BackboneError,
    FilterbankBackbone,
    SSLEncoderBackbone,
    WhisperEncoderBackbone,
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


def test_ssl_encoders(ssl_kind, ssl_folder):
    backbone = load_backbone(str(ssl_folder(ssl_kind)), layer="2")
    assert isinstance(backbone, SSLEncoderBackbone)
    assert backbone.layer == 2


def test_whisper(whisper_folder):
    backbone = load_backbone(str(whisper_folder), layer=1, whisper_context="clip")
    assert isinstance(backbone, WhisperEncoderBackbone)
    assert (backbone.layer, backbone.context) == (1, "clip")


def test_a_text_model_lists_the_families(bert_folder):
    with pytest.raises(BackboneError, match=r"'bert' .* hubert, wav2vec2, wavlm, whisper, or"):
        load_backbone(str(bert_folder))


@pytest.fixture(params=["fbank", "hubert-stable", "wavlm-group", "whisper"])
def backbone(request, ssl_folder, whisper_folder):
    if request.param == "fbank":
        return load_backbone("fbank")
    if request.param == "whisper":
        return load_backbone(str(whisper_folder), layer=1, whisper_context="clip")
    folder = str(ssl_folder(request.param))
    return SSLEncoderBackbone.from_pretrained(folder, layer=2, normalize=False)


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


def test_other_weights_under_the_same_name_are_noticed(tiny_ssl, tmp_path):
    tiny_ssl("hubert-group").save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path))
    config = {**backbone.config(), "fingerprint": backbone.fingerprint()}
    tiny_ssl("hubert-group", seed=1).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="other features"):
        backbone_from_config(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "has type None"),
        ({"type": "mfcc"}, "fbank, ssl or whisper"),
        ({"type": "fbank", "num_mel": 40}, "'num_mels' is the closest"),
        ({"type": "ssl", "name_or_path": "x", "context": "clip"}, "unknown key 'context'"),
        ({"type": "whisper", "layer": 1}, "name_or_path"),
    ],
)
def test_configs_that_are_none(config, message):
    with pytest.raises(BackboneError, match=message):
        backbone_from_config(config)
