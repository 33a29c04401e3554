# SPDX-License-Identifier: Apache-2.0
"""Saved models by transformers' own calls: the same results, and the same strictness."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

from voxadapt import SpeechClassifier
from voxadapt.adapters import AdapterFolderError, FeatureStandardizer
from voxadapt.backbones import load_backbone
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.outputs import LabelOutputs, ValueOutputs
from voxadapt.pooling import build_pooler


@pytest.fixture
def waveforms(corpus: Path) -> list[np.ndarray]:
    names = ("hum_3_0", "noise_3_0", "tone_3_0", "tone_2_1")
    return [soundfile.read(corpus.with_name(f"{n}.wav"), dtype="float32")[0] for n in names]


def make(outputs: Any, backbone: str = "fbank") -> SpeechClassifier:
    encoder = load_backbone(backbone)
    torch.manual_seed(0)
    size = encoder.spec.feature_size
    head = FrameClassifier(FeatureStandardizer(size), build_pooler("sap", size), outputs.size)
    return SpeechClassifier(encoder, head, outputs).eval()


@pytest.mark.parametrize("run", ["finetuned", "lora_run"])
def test_the_pipeline_says_what_the_classifier_says(
    run: str, waveforms: list[np.ndarray], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(run) / "model"
    expected = SpeechClassifier.from_pretrained(folder).predict(waveforms, 16_000)
    # One by one, and in padded batches.
    for batch_size in (1, 3):
        classify = pipeline("audio-classification", model=str(folder), batch_size=batch_size)
        for clip, prediction in zip(classify(waveforms), expected, strict=True):
            found = {entry["label"]: entry["score"] for entry in clip}
            assert found == pytest.approx(prediction.probabilities, abs=1e-5)
            assert clip[0]["label"] == prediction.label


def test_the_pipeline_says_nothing_alarming(
    finetuned: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline("audio-classification", model=str(finetuned / "model"))
    assert "not supported" not in capfd.readouterr().err + caplog.text


def test_the_pipeline_resamples(finetuned: Path, waveforms: list[np.ndarray]) -> None:
    classify = pipeline("audio-classification", model=str(finetuned / "model"))
    doubled = np.repeat(waveforms[0], 2)
    assert len(classify({"array": doubled, "sampling_rate": 32_000})) == 3


@pytest.mark.parametrize("backbone", ["fbank", "hubert"])
def test_padding_changes_nothing(
    backbone: str, waveforms: list[np.ndarray], hubert_folder: Path, tmp_path: Path
) -> None:
    name = "fbank" if backbone == "fbank" else str(hubert_folder)
    make(LabelOutputs({"label": ["a", "b"]}), name).save_pretrained(tmp_path)
    model = AutoModelForAudioClassification.from_pretrained(tmp_path)
    extract = AutoFeatureExtractor.from_pretrained(tmp_path)
    options = {"sampling_rate": 16_000, "return_tensors": "pt"}
    with torch.inference_mode():
        batch = extract(waveforms, padding=True, **options)
        together = model(**batch).logits
        for row, waveform in enumerate(waveforms):
            alone = model(**extract(waveform, **options)).logits[0]
            torch.testing.assert_close(alone, together[row], rtol=0, atol=1e-5)
        # Without a mask all is taken for sound, as by transformers' own models.
        assert not torch.allclose(model(batch["input_values"]).logits, together, atol=1e-5)


def test_temperature_columns_and_values(waveforms: list[np.ndarray], tmp_path: Path) -> None:
    columns = {"emotion": ["a", "b", "c"], "speaker": ["x", "y"]}
    for number, outputs in enumerate(
        (
            LabelOutputs({"label": ["a", "b"]}, {"label": 0.3}),
            LabelOutputs(columns, {"emotion": 2.0}),
            ValueOutputs(["arousal", "valence"], [3.0, 2.0], [0.5, 0.7]),
        )
    ):
        folder, own = tmp_path / str(number), make(outputs)
        own.save_pretrained(folder)
        classify = pipeline("audio-classification", model=str(folder))
        # Releases of transformers differ in what they do to values if they are not told.
        told = {"function_to_apply": "none"} if isinstance(outputs, ValueOutputs) else {}
        clip = classify(waveforms[0], **told)
        found = {entry["label"]: entry["score"] for entry in clip}
        prediction = own.predict(waveforms[0], 16_000)
        expected = prediction.probabilities or prediction.values
        assert found == pytest.approx(expected, abs=1e-5)


def test_loss_and_tuple(finetuned: Path, waveforms: list[np.ndarray]) -> None:
    model = AutoModelForAudioClassification.from_pretrained(finetuned / "model")
    clip = torch.from_numpy(waveforms[0])[None]
    labels = torch.tensor([1])
    outputs = model(clip, labels=labels)
    expected = -outputs.logits.log_softmax(-1)[0, 1]
    torch.testing.assert_close(outputs.loss, expected)
    assert model(clip).loss is None
    loss, logits = model(clip, labels=labels, return_dict=False)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits, outputs.logits)


def test_the_loss_reaches_what_trains_and_nothing_else(
    finetuned: Path, waveforms: list[np.ndarray]
) -> None:
    model = AutoModelForAudioClassification.from_pretrained(finetuned / "model").train()
    model(torch.from_numpy(waveforms[0])[None], labels=torch.tensor([1])).loss.backward()
    linear = model.classifier.frame_classifier.linear
    assert linear.weight.grad is not None
    assert linear.weight.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in model.classifier.backbone.parameters())


def test_saved_again_it_is_the_same_folder(finetuned: Path, tmp_path: Path) -> None:
    model = AutoModelForAudioClassification.from_pretrained(finetuned / "model")
    model.save_pretrained(tmp_path / "again", state_dict={}, safe_serialization=True)
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (
            finetuned / "model" / name
        ).read_bytes(), name
    model.save_pretrained(tmp_path / "other", is_main_process=False)
    assert not (tmp_path / "other").exists()


@pytest.fixture
def copied(finetuned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finetuned / "model", tmp_path / "model"))


def drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["linear.weight"]


def add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["more"] = torch.zeros(1)


def widen(tensors: dict[str, torch.Tensor]) -> None:
    tensors["linear.weight"] = torch.zeros(9, 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [(drop, "missing linear.weight"), (add, "unexpected more"), (widen, "linear.weight is")],
)
def test_weights_that_do_not_fit_are_an_error_and_no_random_head(
    change: Any, message: str, copied: Path
) -> None:
    path = copied / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    for options in ({}, {"ignore_mismatched_sizes": True}):
        with pytest.raises(AdapterFolderError, match=message):
            AutoModelForAudioClassification.from_pretrained(copied, **options)
    with pytest.raises(ValueError, match=message):
        pipeline("audio-classification", model=str(copied))
    path.unlink()
    with pytest.raises(AdapterFolderError, match="incomplete"):
        AutoModelForAudioClassification.from_pretrained(copied)


def test_other_labels_than_it_was_trained_for(copied: Path) -> None:
    with pytest.raises(ValueError, match=r"found 2 names for 3 outputs|num_labels"):
        AutoModelForAudioClassification.from_pretrained(copied, num_labels=2)
    config = json.loads((copied / "config.json").read_text())
    config["labels"] = config["labels"][:2]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(AdapterFolderError, match="found 2 names for 3 classes"):
        AutoModelForAudioClassification.from_pretrained(copied)


def test_options_that_would_change_the_model(finetuned: Path) -> None:
    folder, load = finetuned / "model", AutoModelForAudioClassification.from_pretrained
    assert load(folder, dtype="float32", device_map="cpu").device.type == "cpu"
    assert load(folder, dtype=torch.bfloat16).dtype == torch.float32
    model, lists = load(folder, output_loading_info=True)
    assert not model.training
    assert lists["missing_keys"] == []
    with pytest.raises(ValueError, match=r"dtype: found torch\.float16, allowed: float32"):
        load(folder, dtype=torch.float16)
    with pytest.raises(ValueError, match="'tp_plan'"):
        load(folder, tp_plan="auto")
    with pytest.raises(ValueError, match="device_map: found"):
        load(folder, device_map={"a": 0, "b": 1})
    with pytest.raises(ValueError, match="random weights"):
        AutoModelForAudioClassification.from_config(model.config)


def test_a_folder_inside(finetuned: Path) -> None:
    folder = finetuned.parent
    config = AutoModelForAudioClassification.from_pretrained(finetuned / "model").config
    model = AutoModelForAudioClassification.from_pretrained(
        folder, config=config, subfolder=f"{finetuned.name}/model"
    )
    assert model.config.num_labels == 3


def test_a_hub_id_is_downloaded(
    finetuned: Path, monkeypatch: pytest.MonkeyPatch, waveforms: list[np.ndarray]
) -> None:
    import huggingface_hub

    from voxadapt.transformers_model import VoxadaptForAudioClassification

    asked: list[Any] = []

    def download(name: str, **options: Any) -> str:
        asked.append((name, options))
        return str(finetuned / "model")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    hub = {"revision": "v1", "token": "secret", "cache_dir": "cache"}
    VoxadaptForAudioClassification.from_pretrained("somebody/model", **hub)
    assert asked == [("somebody/model", hub)]


def test_a_hub_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    from voxadapt.transformers_model import VoxadaptForAudioClassification

    def fail(*_arguments: Any, **_options: Any) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    every: list[dict[str, Any]] = [{}, {"revision": "v1"}, {"local_files_only": True}]
    for options in every:
        with pytest.raises(AdapterFolderError, match=r"somebody/model: there is no such folder"):
            VoxadaptForAudioClassification.from_pretrained("somebody/model", **options)
