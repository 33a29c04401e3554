# SPDX-License-Identifier: Apache-2.0
"""The whole model: saved, loaded by another process, and asked in every way it can be asked."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from voxadapt import Prediction, SpeechClassifier
from voxadapt.adapters import FeatureStandardizer
from voxadapt.adapters.saving import AdapterFolderError
from voxadapt.backbones import (
    AudioError,
    BackboneError,
    load_backbone,
    pad_waveforms,
    read_audio,
)
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.outputs import LabelOutputs
from voxadapt.pooling import build_pooler


@pytest.fixture(scope="module")
def model(finetuned: Path) -> SpeechClassifier:
    return SpeechClassifier.from_pretrained(finetuned / "model")


@pytest.fixture
def clips(corpus: Path) -> list[Path]:
    """Three clips of different lengths."""
    return [corpus.with_name(f"{name}_3_0.wav") for name in ("hum", "noise", "tone")]


def close(one: Prediction, other: Prediction, tolerance: float = 1e-6) -> bool:
    assert one.probabilities == pytest.approx(other.probabilities, abs=tolerance)
    torch.testing.assert_close(one.embedding, other.embedding, rtol=0, atol=10 * tolerance)
    return one.label == other.label


def test_a_prediction_has_a_share_for_every_label(
    model: SpeechClassifier, clips: list[Path]
) -> None:
    prediction = model.predict(clips[0])
    assert list(prediction.probabilities) == model.labels == ["hum", "noise", "tone"]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.probabilities[prediction.label] == max(prediction.probabilities.values())
    assert prediction.seconds == pytest.approx(soundfile.info(clips[0]).duration)
    assert prediction.embedding.shape == (32,)
    assert "embedding" not in repr(prediction)


def test_paths_bytes_and_samples_say_the_same(model: SpeechClassifier, clips: list[Path]) -> None:
    expected = model.predict(clips[0])
    samples, rate = soundfile.read(clips[0], dtype="float32")
    integers, _ = soundfile.read(clips[0], dtype="int16")
    assert close(model.predict(str(clips[0])), expected)
    assert close(model.predict(clips[0].read_bytes()), expected)
    assert close(model.predict(samples, rate), expected)
    assert close(model.predict(torch.from_numpy(samples), rate), expected)
    assert close(model.predict(integers, rate), expected)
    assert close(model.predict(np.stack([samples, samples]), sample_rate=rate), expected)
    assert close(model.predict(samples.astype(np.float64), rate), expected)


def test_another_rate_is_resampled(model: SpeechClassifier, clips: list[Path]) -> None:
    samples, _ = soundfile.read(clips[0], dtype="float32")
    doubled = np.repeat(samples, 2)
    prediction = model.predict(doubled, 32_000)
    assert prediction.seconds == pytest.approx(len(samples) / 16_000, abs=1e-3)


@pytest.mark.parametrize("batch_seconds", [60.0, 0.9, 0.01])
def test_a_list_keeps_its_order_and_the_batch_changes_nothing(
    batch_seconds: float, model: SpeechClassifier, clips: list[Path]
) -> None:
    sources: list[Any] = [clips[2], str(clips[0]), clips[1].read_bytes(), clips[2], clips[0]]
    predictions = model.predict(sources, batch_seconds=batch_seconds)
    assert len(predictions) == 5
    for source, prediction in zip(sources, predictions, strict=True):
        assert close(model.predict(source), prediction, 1e-5)
    lengths = [prediction.seconds for prediction in predictions]
    assert len(set(lengths)) == 3
    assert model.predict([]) == []
    (only,) = model.predict((clips[0],))
    assert close(only, predictions[1])


def test_a_list_may_mix_all_forms_and_a_pair_is_one_clip(
    model: SpeechClassifier, clips: list[Path]
) -> None:
    expected = model.predict(clips[0])
    samples, rate = soundfile.read(clips[0], dtype="float32")
    assert close(model.predict((samples, rate)), expected)
    with clips[0].open("rb") as stream:
        found = model.predict([clips[0], (samples, rate), stream, clips[0].read_bytes()])
    assert len(found) == 4
    for prediction in found:
        assert close(prediction, expected, 1e-5)
    assert len(model.predict([samples, samples[:4_000]], rate)) == 2


def test_a_bad_clip_in_a_list_stops_it_or_stands_in_its_place(
    model: SpeechClassifier, clips: list[Path]
) -> None:
    sources: list[Any] = [clips[0], "nowhere.wav", clips[1], b"no audio"]
    with pytest.raises(AudioError, match=r"nowhere\.wav does not exist"):
        model.predict(sources)
    found = model.predict(sources, on_error="return")
    assert close(found[0], model.predict(clips[0]), 1e-5)
    assert close(found[2], model.predict(clips[1]), 1e-5)
    assert isinstance(found[1], AudioError)
    assert (found[1].path, found[1].reason) == ("nowhere.wav", "missing")
    assert isinstance(found[3], AudioError)
    assert "item 4 of the list cannot be decoded" in str(found[3])
    bad = model.predict(["nowhere.wav"], on_error="return")
    assert [error.reason for error in bad] == ["missing"]
    with pytest.raises(AudioError):  # one clip has no place in a list
        model.predict("nowhere.wav", on_error="return")
    with pytest.raises(ValueError, match="sample_rate: missing"):  # wrong use is no bad clip
        model.predict([np.zeros(16_000)], on_error="return")


def test_options_that_cannot_be_are_refused_before_anything_is_read(
    model: SpeechClassifier,
) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"on_error": "skip"}, "on_error: found 'skip', allowed: 'raise', 'return'"),
        ({"batch_seconds": 0}, "batch_seconds: found 0, must be above 0"),
        ({"batch_seconds": math.inf}, "batch_seconds: found inf, must be above 0 and finite"),
        ({"allowed_labels": ["hun"]}, "found label 'hun', .* Did you mean 'hum'"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            model.predict(["nowhere.wav"], **options)
        with pytest.raises(ValueError, match=message):
            model.predict_each(iter(["nowhere.wav"]), **options)


def test_of_allowed_labels_the_scores_are_renormalised(
    model: SpeechClassifier, clips: list[Path]
) -> None:
    free = model.predict(clips)
    bound = model.predict(clips, allowed_labels=["tone", "noise"])
    for before, after in zip(free, bound, strict=True):
        kept = {label: before.probabilities[label] for label in ("noise", "tone")}
        expected = {label: share / sum(kept.values()) for label, share in kept.items()}
        assert after.probabilities == pytest.approx(expected, abs=1e-6)
        assert list(after.probabilities) == ["noise", "tone"]
        assert after.label == max(kept, key=lambda label: kept[label])
        assert torch.equal(after.logits, before.logits)


def test_frame_weights_say_when_and_are_those_of_the_pooler(
    model: SpeechClassifier, clips: list[Path]
) -> None:
    assert model.predict(clips[0]).frame_weights is None
    found = model.predict(clips, frame_weights=True)
    lengths = set()
    for clip, prediction in zip(clips, found, strict=True):
        weights, times = prediction.frame_weights.weights, prediction.frame_weights.times
        assert weights.shape == (1, len(times))
        assert weights.sum().item() == pytest.approx(1, abs=1e-5)
        assert (weights > 0).all()  # no frame of the padding
        frames, mask = model.backbone(*pad_waveforms([read_audio(clip)]))
        alone = model.frame_classifier.with_weights(frames, mask)[2][0]
        torch.testing.assert_close(weights, alone, rtol=0, atol=1e-5)
        assert 0 < times[0] < times[-1] < prediction.seconds
        assert prediction.seconds - times[-1] < 3 / model.backbone.spec.frame_rate
        lengths.add(len(times))
    assert len(lengths) == 3


def test_the_temperature_is_saved_and_changes_probabilities_alone(
    finetuned: Path, clips: list[Path], tmp_path: Path
) -> None:
    fitted = SpeechClassifier.from_pretrained(finetuned)
    plain = SpeechClassifier(fitted.backbone, fitted.frame_classifier, fitted.labels).eval()
    hot = LabelOutputs({"label": fitted.labels}, {"label": 2.5})
    SpeechClassifier(fitted.backbone, fitted.frame_classifier, hot).save_pretrained(tmp_path)
    loaded = SpeechClassifier.from_pretrained(tmp_path)
    assert loaded.outputs == hot
    for before, after in zip(plain.predict(clips), loaded.predict(clips), strict=True):
        assert after.label == before.label
        assert torch.equal(after.logits, before.logits)
        assert torch.equal(after.embedding, before.embedding)
        shares = (before.logits.double() / 2.5).softmax(dim=-1).tolist()
        assert list(after.probabilities.values()) == pytest.approx(shares)
        assert after.confidence < before.confidence
        torch.testing.assert_close(loaded.calibrated(after.logits), after.logits / 2.5)
        assert torch.equal(plain.calibrated(after.logits), after.logits)


def test_the_device_is_where_the_model_is(finetuned: Path, clips: list[Path]) -> None:
    model = SpeechClassifier.from_pretrained(finetuned, device="cpu")
    assert model.device == torch.device("cpu")
    assert model.to("meta").device == torch.device("meta")


@pytest.mark.parametrize("backbone", ["fbank", "hubert"])
def test_alone_or_in_a_padded_batch_the_logits_agree(
    backbone: str, clips: list[Path], hubert_folder: Path
) -> None:
    encoder = load_backbone("fbank" if backbone == "fbank" else str(hubert_folder))
    torch.manual_seed(0)
    size = encoder.spec.feature_size
    head = FrameClassifier(FeatureStandardizer(size), build_pooler("qkv", size), 3)
    model = SpeechClassifier(encoder, head, ["a", "b", "c"]).eval()
    waveforms = [read_audio(clip) for clip in clips]
    waveforms.append(waveforms[0][:200])  # shorter than a frame
    with torch.inference_mode():
        together = model(*pad_waveforms(waveforms))
        for row, waveform in enumerate(waveforms):
            alone = model(*pad_waveforms([waveform]))
            torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


NEW_PROCESS = """
import json, sys, torch
torch.set_num_threads(1)
from voxadapt import SpeechClassifier
from voxadapt.backbones import pad_waveforms, read_audio
model = SpeechClassifier.from_pretrained(sys.argv[1])
with torch.inference_mode():
    logits = model(*pad_waveforms([read_audio(path) for path in sys.argv[2:]]))
print(json.dumps([[value.hex() for value in row] for row in logits.double().tolist()]))
"""


@pytest.mark.parametrize("backbone", ["fbank", "hubert"])
def test_saved_and_loaded_by_a_new_process_the_logits_are_identical(
    backbone: str,
    finetuned: Path,
    clips: list[Path],
    hubert_folder: Path,
    tmp_path: Path,
) -> None:
    folder = finetuned
    model = SpeechClassifier.from_pretrained(folder)
    if backbone == "hubert":
        folder = tmp_path / "model"
        encoder = load_backbone(str(hubert_folder), layer=1)
        torch.manual_seed(0)
        head = FrameClassifier(FeatureStandardizer(16), build_pooler("attentive", 16), 3)
        model = SpeechClassifier(encoder, head, ["a", "b", "c"]).eval()
        model.save_pretrained(folder)
    with torch.inference_mode():
        logits = model(*pad_waveforms([read_audio(clip) for clip in clips]))
    ran = subprocess.run(
        [sys.executable, "-c", NEW_PROCESS, str(folder), *map(str, clips)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=tmp_path,
    )
    found = torch.tensor(
        [[float.fromhex(value) for value in row] for row in json.loads(ran.stdout)]
    )
    assert torch.equal(found, logits.double())


def test_what_is_saved_is_what_was_there(model: SpeechClassifier, tmp_path: Path) -> None:
    model.extras = {"note": "kept"}
    model.save_pretrained(tmp_path)
    beside = {"README.md", "preprocessor_config.json"}
    assert {path.name for path in tmp_path.iterdir()} - beside == {
        "config.json",
        "model.safetensors",
    }
    loaded = SpeechClassifier.from_pretrained(tmp_path)
    assert loaded.labels == model.labels
    assert loaded.extras == {"note": "kept"}
    assert not loaded.training
    state = loaded.frame_classifier.state_dict()
    for name, tensor in model.frame_classifier.state_dict().items():
        assert torch.equal(state[name], tensor)


def test_a_run_s_folder_will_do_and_a_backbone_may_be_given(
    model: SpeechClassifier, finetuned: Path, clips: list[Path]
) -> None:
    expected = model.predict(clips[0])
    assert close(SpeechClassifier.from_pretrained(finetuned).predict(clips[0]), expected)
    backbone = load_backbone("fbank")
    loaded = SpeechClassifier.from_pretrained(str(finetuned), backbone=backbone)
    assert loaded.backbone is backbone


def test_prediction_leaves_mode_and_gradients_as_they_were(
    finetuned: Path, clips: list[Path]
) -> None:
    model = SpeechClassifier.from_pretrained(finetuned)
    expected = model.predict(clips[0])
    model.train()
    assert not model.backbone.training  # frozen is frozen
    assert close(model.predict(clips[0]), expected)
    assert model.training
    assert model.frame_classifier.training
    assert not model.predict(clips[0]).embedding.requires_grad


def test_wrong_input_is_said(model: SpeechClassifier, clips: list[Path], tmp_path: Path) -> None:
    samples = np.zeros(16_000, dtype=np.float32)
    with pytest.raises(ValueError, match="sample_rate: missing"):
        model.predict(samples)
    with pytest.raises(ValueError, match="a file says its own rate"):
        model.predict(clips[0], 16_000)
    with pytest.raises(AudioError, match="silent"):
        model.predict(samples, 16_000)
    with pytest.raises(AudioError, match="does not exist"):
        model.predict("nowhere.wav")
    with pytest.raises(AudioError, match="NaN"):
        model.predict(samples + np.nan, 16_000)
    with pytest.raises(ValueError, match="labels: found 2 names for 3 classes"):
        SpeechClassifier(model.backbone, model.frame_classifier, ["a", "b"])


@pytest.fixture
def copied(finetuned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finetuned / "model", tmp_path / "model"))


GONE = object()


def change(folder: Path, place: str, value: object) -> None:
    """Put ``value`` at a dotted place of the config, or take away what is there."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    *groups, name = place.split(".")
    holder = config
    for group in groups:
        holder = holder[group]
    if value is GONE:
        del holder[name]
    else:
        holder[name] = value
    path.write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("labels", GONE, "labels"),
        ("labels", ["a", "b"], "found 2 names for 3 classes"),
        ("labels", 3, "config.json"),
        ("temperatures", {"label": 0}, "must be above 0"),
        ("temperatures", {"label": "1"}, "config.json"),
        ("temperatures", {"speaker": 1.0}, "found 'speaker', the columns are label"),
        ("frame_classifier", GONE, "frame_classifier"),
        ("frame_classifier", [], "config.json"),
        ("frame_classifier.classes", 4, "found 3 names for 4 classes"),
        ("frame_classifier.pooler.name", "os.system", "os.system"),
        ("frame_classifier.adapter.class", "eval", "'eval'"),
        ("frame_classifier.adapter.config.width", 32, "takes 16 features"),
        ("frame_classifier.adapter.config.feedforward", 64, "its tensors do not fit"),
        ("frame_classifier.adapter.config.widht", 16, "unknown field"),
        ("backbone", GONE, "backbone"),
        ("backbone", None, "config.json"),
        ("backbone.type", "pickle", "'pickle'"),
        ("backbone.num_mels", 40, "another backbone"),
        ("backbone_fingerprint", "0" * 64, "another backbone"),
        ("class", "WAPTransformer", "another kind of model"),
        ("format_version", 99, "Upgrade voxadapt"),
    ],
)
def test_a_config_that_was_tampered_with_is_refused(
    place: str, value: object, message: str, copied: Path
) -> None:
    change(copied, place, value)
    with pytest.raises((AdapterFolderError, BackboneError), match=message):
        SpeechClassifier.from_pretrained(copied)


def test_weights_that_were_tampered_with_are_refused(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = copied / "model.safetensors"
    tensors = load_file(path)
    name = "linear.weight"
    for changed, message in (
        ({key: value for key, value in tensors.items() if key != name}, f"missing {name}"),
        ({**tensors, "evil": torch.zeros(1)}, "unexpected evil"),
        ({**tensors, name: tensors[name][:2].contiguous()}, f"{name} is"),
    ):
        save_file(changed, path)
        with pytest.raises(AdapterFolderError, match=message):
            SpeechClassifier.from_pretrained(copied)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AdapterFolderError, match="truncated or damaged"):
        SpeechClassifier.from_pretrained(copied)
    path.unlink()
    with pytest.raises(AdapterFolderError, match="incomplete"):
        SpeechClassifier.from_pretrained(copied)


def test_a_folder_without_a_model_says_so(pretrained: Path, tmp_path: Path) -> None:
    for folder, message in (
        (tmp_path, "holds no saved SpeechClassifier"),
        (tmp_path / "nowhere", "there is no such folder"),
        (pretrained / "adapter", "another kind of model"),
        (pretrained / "run.json", "is a file"),
    ):
        with pytest.raises(AdapterFolderError, match=message):
            SpeechClassifier.from_pretrained(folder)


@pytest.fixture
def lora_copied(lora_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lora_run / "model", tmp_path / "model"))


def test_of_a_tuned_encoder_only_what_was_trained_is_saved(
    lora_run: Path, clips: list[Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    model = SpeechClassifier.from_pretrained(lora_run)
    names = load_file(lora_run / "model" / "model.safetensors").keys()
    assert sum("lora_" in name for name in names) == 8
    assert all("lora_" in name for name in names if name.startswith("tuned_layers."))
    assert not model.predict(clips[0]).embedding.requires_grad
    model.save_pretrained(tmp_path / "again")
    again = SpeechClassifier.from_pretrained(tmp_path / "again")
    assert close(again.predict(clips[0]), model.predict(clips[0]), 0)
    config = json.loads((tmp_path / "again" / "config.json").read_text(encoding="utf-8"))
    assert config == json.loads((lora_run / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["backbone"]["layer"] == "last"
    assert config["tuning"] == {"method": "lora", "r": 2, "alpha": 4.0, "dropout": 0.0}


def test_a_tuned_model_takes_the_whole_backbone_and_leaves_it_alone(
    lora_run: Path, hubert_folder: Path, clips: list[Path]
) -> None:
    whole: Any = load_backbone(str(hubert_folder))
    fingerprint = whole.fingerprint()
    model = SpeechClassifier.from_pretrained(lora_run, backbone=whole)
    expected = SpeechClassifier.from_pretrained(lora_run).predict(clips[0])
    assert close(model.predict(clips[0]), expected, 0)
    assert model.backbone.spec.layers == 0
    assert whole._hash() == fingerprint
    with pytest.raises(ValueError, match="runs 2 layers, but the trained layers stand on 0"):
        SpeechClassifier(whole, model.frame_classifier, model.labels)
    half = load_backbone(str(hubert_folder), precision="bf16")
    with pytest.raises(BackboneError, match="loaded in bf16"):
        SpeechClassifier.from_pretrained(lora_run, backbone=half)
    rounded = SpeechClassifier.from_pretrained(lora_run, precision="bf16")
    assert getattr(rounded.backbone, "precision", None) == "bf16"
    assert close(rounded.predict(clips[0]), expected, 0.05)
    tuned_layers = rounded.frame_classifier.tuned_layers
    assert tuned_layers is not None
    assert {parameter.dtype for parameter in tuned_layers.parameters()} == {torch.float32}
    other = load_backbone(str(hubert_folder), layer=1)
    with pytest.raises(AdapterFolderError, match="another backbone"):
        SpeechClassifier.from_pretrained(lora_run, backbone=other)


def test_merged_the_logits_are_the_same_and_the_model_stays(
    lora_run: Path, clips: list[Path], tmp_path: Path
) -> None:
    model = SpeechClassifier.from_pretrained(lora_run)
    batch = pad_waveforms([read_audio(clip) for clip in clips])
    with torch.inference_mode():
        expected = model(*batch)
        untuned = SpeechClassifier.from_pretrained(lora_run)
        for name, tensor in untuned.frame_classifier.named_parameters():
            if "lora_B" in name:
                tensor.zero_()
        # So that there is something to merge.
        assert not torch.allclose(untuned(*batch), expected, atol=1e-3)
        merged = model.merge()
        assert not merged.training
        torch.testing.assert_close(merged(*batch), expected, rtol=0, atol=1e-5)
        assert torch.equal(model(*batch), expected)
        merged.save_pretrained(tmp_path / "merged")
        loaded = SpeechClassifier.from_pretrained(tmp_path / "merged")
        assert torch.equal(loaded(*batch), merged(*batch))
    assert loaded.extras["merged"]["method"] == "lora"
    assert not any("lora" in name for name in loaded.state_dict())
    merged.frame_classifier.linear.weight.data.zero_()  # a copy, all of it
    assert model.frame_classifier.linear.weight.any()
    with pytest.raises(BackboneError, match="opened layers are trained and saved whole already"):
        merged.merge()


def test_a_model_with_nothing_tuned_cannot_be_merged(model: SpeechClassifier) -> None:
    with pytest.raises(BackboneError, match="nothing of the encoder was trained"):
        model.merge()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("tuning", GONE, "unexpected tuned_layers"),
        ("tuning", {"method": "dora"}, "'dora'"),
        ("tuning", "lora", "config.json"),
        ("tuning.r", 4, "lora_A.default.weight is"),
        ("tuning.r", 0, "r is 0"),
        ("tuning.rank", 4, "rank"),
        ("tuning", {"method": "layers", "top": 1}, "tensors do not fit"),
        ("backbone.layer", 1, "another backbone"),
        ("frame_classifier.layer_mix", {"layers": 2, "size": 8}, "takes 16 features, but gets 8"),
        ("frame_classifier.layer_mix", {"layers": 1}, "config.json"),
    ],
)
def test_a_tuned_model_that_was_tampered_with_is_refused(
    place: str, value: object, message: str, lora_copied: Path
) -> None:
    change(lora_copied, place, value)
    with pytest.raises((AdapterFolderError, BackboneError), match=message):
        SpeechClassifier.from_pretrained(lora_copied)


def test_a_tuned_model_s_weights_are_read_strictly_both_ways(lora_copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = lora_copied / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if "lora_A" in name)
    frozen = "tuned_layers.encoder.layers.0.attention.q_proj.base_layer.weight"
    for changed, message in (
        ({key: value for key, value in tensors.items() if key != name}, f"missing {name}"),
        ({**tensors, frozen: torch.zeros(16, 16)}, f"unexpected {frozen}"),
        ({**tensors, name: tensors[name][:1].contiguous()}, f"{name} is"),
    ):
        save_file(changed, path)
        with pytest.raises(AdapterFolderError, match=message):
            SpeechClassifier.from_pretrained(lora_copied)
