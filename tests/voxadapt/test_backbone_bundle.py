# SPDX-License-Identifier: Apache-2.0
"""The encoder inside the model's folder: nothing else is needed, and nothing else is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from voxadapt import SpeechClassifier
from voxadapt.adapters import AdapterFolderError, FeatureStandardizer
from voxadapt.backbones import BackboneError, load_backbone, pad_waveforms
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.pooling import build_pooler

WAVEFORMS = [torch.linspace(-0.5, 0.5, 9_000).sin(), torch.linspace(0, 9, 5_000).sin()]


def make(name: Any, **options: Any) -> SpeechClassifier:
    encoder = load_backbone(name, **options)
    torch.manual_seed(0)
    size = encoder.spec.feature_size
    head = FrameClassifier(FeatureStandardizer(size), build_pooler("sap", size), 2)
    return SpeechClassifier(encoder, head, ["a", "b"]).eval()


def logits(model: SpeechClassifier) -> torch.Tensor:
    with torch.inference_mode():
        return model(*pad_waveforms(WAVEFORMS))


@pytest.fixture
def encoder_folder(hubert_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hubert_folder, tmp_path / "encoder"))


def test_the_folder_needs_nothing_else(encoder_folder: Path, tmp_path: Path) -> None:
    (encoder_folder / "preprocessor_config.json").write_text('{"do_normalize": true}')
    model = make(str(encoder_folder), layer=1)
    expected = logits(model)
    model.save_pretrained(tmp_path / "model", bundle_backbone=True)
    shutil.rmtree(encoder_folder)
    text = (tmp_path / "model" / "config.json").read_text()
    assert str(tmp_path) not in text
    backbone = json.loads(text)["backbone"]
    assert backbone["bundled"] is True
    assert backbone["name_or_path"] == "./encoder"
    moved = tmp_path / "moved"
    (tmp_path / "model").rename(moved)
    loaded = SpeechClassifier.from_pretrained(moved)
    assert torch.equal(logits(loaded), expected)
    # A bundle stays one, wherever the model is saved; also over itself.
    loaded.save_pretrained(tmp_path / "again")
    loaded.save_pretrained(moved)
    for folder in (tmp_path / "again", moved):
        assert torch.equal(logits(SpeechClassifier.from_pretrained(folder)), expected)
        assert json.loads((folder / "config.json").read_text())["backbone"] == backbone


def test_a_tuned_model_with_its_encoder(
    lora_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SpeechClassifier.from_pretrained(lora_run)
    model.save_pretrained(tmp_path / "model", bundle_backbone=True)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    monkeypatch.chdir(tmp_path)  # where ./NAME is nothing
    loaded = SpeechClassifier.from_pretrained("model")
    assert torch.equal(logits(loaded), logits(model))
    loaded.merge().save_pretrained("merged")
    assert json.loads(Path("merged/config.json").read_text())["backbone"] == config["backbone"]
    torch.testing.assert_close(
        logits(SpeechClassifier.from_pretrained("merged")), logits(model), rtol=0, atol=1e-5
    )


def test_of_whisper_the_encoder_is_enough_and_half_precision_stays(tmp_path: Path) -> None:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "vocab_size": 99}
    sizes |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes |= {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "num_mel_bins": 80}
    tokens = {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    whisper = WhisperForConditionalGeneration(WhisperConfig(**sizes, **tokens)).half()
    whisper.save_pretrained(tmp_path / "whisper")
    model = make(str(tmp_path / "whisper"), whisper_context="clip")
    model.save_pretrained(tmp_path / "model", bundle_backbone=True)
    weights = load_file(tmp_path / "model/backbone/model.safetensors")
    assert not any("decoder" in name for name in weights)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    shutil.rmtree(tmp_path / "whisper")
    loaded = SpeechClassifier.from_pretrained(tmp_path / "model")
    assert torch.equal(logits(loaded), logits(model))


def test_the_filterbank_has_nothing_to_bundle(tmp_path: Path) -> None:
    make("fbank").save_pretrained(tmp_path, bundle_backbone=True)
    assert not (tmp_path / "backbone").exists()
    assert SpeechClassifier.from_pretrained(tmp_path).bundle is None


def test_an_encoder_in_memory_cannot_be_bundled(hubert_folder: Path, tmp_path: Path) -> None:
    from transformers import HubertModel

    model = make(HubertModel.from_pretrained(hubert_folder))
    with pytest.raises(BackboneError, match="has no name_or_path, so its checkpoint cannot be"):
        model.save_pretrained(tmp_path / "model", bundle_backbone=True)
    assert not (tmp_path / "model").exists()


def test_another_encoder_than_was_trained_on_is_not_bundled(
    encoder_folder: Path, tmp_path: Path
) -> None:
    model = make(str(encoder_folder))
    path = encoder_folder / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.layers.0.attention.q_proj.weight"] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match="gives other features"):
        model.save_pretrained(tmp_path / "model", bundle_backbone=True)
    assert not (tmp_path / "model" / "backbone").exists()
    assert not (tmp_path / "model" / "config.json").exists()


def test_a_damaged_bundle_is_one_message(encoder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    make(str(encoder_folder)).save_pretrained(folder, bundle_backbone=True)
    weights = folder / "backbone" / "model.safetensors"
    whole = weights.read_bytes()
    tensors = load_file(weights)
    name = "encoder.layers.0.attention.q_proj.weight"
    save_file({**tensors, name: tensors[name] + 1}, weights, metadata={"format": "pt"})
    with pytest.raises(AdapterFolderError, match="another backbone than"):
        SpeechClassifier.from_pretrained(folder)
    weights.write_bytes(whole[:-9])
    with pytest.raises(BackboneError, match="model/backbone cannot be loaded"):
        SpeechClassifier.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(BackboneError, match="model/backbone cannot be loaded"):
        SpeechClassifier.from_pretrained(folder)
    shutil.rmtree(folder / "backbone")
    with pytest.raises(AdapterFolderError, match=r"backbone/config\.json: not there"):
        SpeechClassifier.from_pretrained(folder)
