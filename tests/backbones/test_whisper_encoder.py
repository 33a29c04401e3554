# SPDX-License-Identifier: Apache-2.0
import copy
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from voxadapt.backbones import BackboneError, WhisperEncoderBackbone, pad_waveforms
from voxadapt.backbones.whisper_log_mel import WhisperLogMel

CONTEXTS = ["window", "clip"]
LAYERS = 2


def encode(backbone, clips, *, garbage=False):
    """The real frames of each clip."""
    waveforms, padding_mask = pad_waveforms(clips)
    if garbage:
        waveforms = waveforms.masked_fill(padding_mask, math.nan)
        waveforms[:, -1] = torch.where(padding_mask[:, -1], 1e20, waveforms[:, -1])
    frames, frame_padding_mask = backbone(waveforms, padding_mask)
    assert not frames[frame_padding_mask].any()
    return [
        clip[~padding] for clip, padding in zip(frames.detach(), frame_padding_mask, strict=True)
    ]


def assert_same(first, second):
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_mels", [80, 128])
def test_every_layer_equals_huggingface(num_mels, tiny_whisper, noise):
    from transformers import WhisperFeatureExtractor

    model = tiny_whisper(num_mel_bins=num_mels, max_source_positions=1_500)
    clip = noise(16_100)
    extractor = WhisperFeatureExtractor(feature_size=num_mels)
    features = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        expected = model.encoder(features, output_hidden_states=True)
    for layer in [*range(LAYERS + 1), "last"]:
        backbone = WhisperEncoderBackbone.from_model(copy.deepcopy(model), layer=layer)
        (frames,) = encode(backbone, [clip])
        whole = expected.last_hidden_state if layer == "last" else expected.hidden_states[layer]
        assert frames.shape == (50, 16)
        assert frames.std() > 0.1
        assert_same(frames, whole[0, :50])
    assert torch.equal(expected.hidden_states[LAYERS], expected.last_hidden_state)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("layer", [1, "last"])
def test_alone_and_in_a_padded_batch_are_the_same(context, layer, tiny_whisper, noise):
    # Windows of one second here: clips of one window, of two and a bit, of parts, of next to none.
    backbone = WhisperEncoderBackbone.from_model(tiny_whisper(), layer=layer, context=context)
    lengths = [36_111, 16_000, 16_319, 9_999, 1_279, 320, 100]
    clips = [noise(samples, seed) for seed, samples in enumerate(lengths)]
    together = encode(backbone, clips, garbage=True)
    for clip, frames in zip(clips, together, strict=True):
        assert_same(frames, encode(backbone, [clip])[0])


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    ("seconds", "frames"),
    [(0.01, 1), (0.02, 1), (0.04, 2), (1, 50), (29.99, 1_499), (30, 1_500), (30.01, 1_500)],
)
def test_frame_counts(context, seconds, frames, tiny_whisper, noise):
    model = tiny_whisper(max_source_positions=1_500, encoder_layers=0, d_model=4)
    backbone = WhisperEncoderBackbone.from_model(model, context=context)
    assert len(encode(backbone, [noise(round(seconds * 16_000))])[0]) == frames


def test_long_clips_are_windows_joined(tiny_whisper, noise):
    """Windows of one second: 2.5 s are the first, the second, and the end of the last second."""
    backbone = WhisperEncoderBackbone.from_model(tiny_whisper())
    clip = noise(40_000)
    (frames,) = encode(backbone, [clip])
    assert len(frames) == 125
    assert_same(frames[:50], encode(backbone, [clip[:16_000]])[0])
    assert_same(frames[50:100], encode(backbone, [clip[16_000:32_000]])[0])
    assert_same(frames[100:], encode(backbone, [clip[24_000:]])[0][25:])


def test_a_clip_of_45_s(tiny_whisper, noise):
    model = tiny_whisper(max_source_positions=1_500, encoder_layers=1, d_model=8)
    backbone = WhisperEncoderBackbone.from_model(model)
    clip = noise(45 * 16_000)
    (frames,) = encode(backbone, [clip])
    assert len(frames) == 2_250
    assert_same(frames[1_500:], encode(backbone, [clip[15 * 16_000 :]])[0][750:])


def test_many_windows_are_run_in_parts(tiny_whisper, noise, monkeypatch):
    backbone = WhisperEncoderBackbone.from_model(tiny_whisper())
    clips = [noise(40_000), noise(16_000, seed=1), noise(100, seed=2)]
    expected = encode(backbone, clips)
    monkeypatch.setattr("voxadapt.backbones.whisper_encoder._WINDOWS_AT_ONCE", 2)
    for frames, whole in zip(encode(backbone, clips), expected, strict=True):
        assert_same(frames, whole)


def test_clip_context_is_an_encoder_with_fewer_positions(tiny_whisper, noise):
    """The same as transformers' encoder whose position table ends with the clip."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    model = tiny_whisper()
    samples = 20 * 320
    clip = noise(samples)
    backbone = WhisperEncoderBackbone.from_model(copy.deepcopy(model), context="clip")
    config = copy.deepcopy(model.config)
    config.max_source_positions = 20
    weights = model.encoder.state_dict()
    weights["embed_positions.weight"] = weights["embed_positions.weight"][:20]
    shorter = WhisperEncoder(config).eval()
    shorter.load_state_dict(weights)
    padded = nn.functional.pad(clip, (0, 320))[None]
    mels = WhisperLogMel(80)(padded, torch.tensor([40]))[..., :40]
    with torch.no_grad():
        expected = shorter(mels).last_hidden_state[0]
    assert_same(encode(backbone, [clip])[0], expected)
    window = WhisperEncoderBackbone.from_model(copy.deepcopy(model))
    assert (encode(window, [clip])[0] - expected).abs().max() > 1e-2  # other features


def test_clip_context_with_eager_attention(tiny_whisper, noise):
    clips = [noise(9_999), noise(3_200, seed=1)]
    expected = encode(WhisperEncoderBackbone.from_model(tiny_whisper(), context="clip"), clips)
    model = tiny_whisper()
    model.set_attn_implementation("eager")
    eager = encode(WhisperEncoderBackbone.from_model(model, context="clip"), clips)
    for first, second in zip(eager, expected, strict=True):
        assert_same(first, second)


@pytest.mark.parametrize("context", CONTEXTS)
def test_frozen_and_not_changed_by_use(context, tiny_whisper, noise):
    backbone = WhisperEncoderBackbone.from_model(tiny_whisper(), context=context)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    clips = [noise(5_000), noise(900, seed=1)]
    expected = encode(backbone, clips)
    nn.Sequential(backbone, nn.Dropout()).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    for first, second in zip(encode(backbone, clips), expected, strict=True):
        assert torch.equal(first, second)
    assert before.keys() == backbone.state_dict().keys()
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_only_the_encoder_up_to_the_layer_is_kept(whisper_folder):
    backbone = WhisperEncoderBackbone.from_pretrained(str(whisper_folder), layer=1)
    assert len(backbone.layers) == backbone.spec.layers == 1
    assert not any("decoder" in name for name in backbone.state_dict())
    assert not any("layer_norm" in name.split(".")[0] for name in backbone.state_dict())
    spec = backbone.spec
    assert (spec.feature_size, spec.frame_rate, spec.minimum_samples) == (16, 50.0, 320)
    assert spec.parameters == sum(parameter.numel() for parameter in backbone.parameters())


def test_checkpoints_of_every_task_are_loaded(tiny_whisper, tmp_path, noise):
    from transformers import WhisperForAudioClassification, WhisperForConditionalGeneration

    whole = tiny_whisper()
    fingerprint = WhisperEncoderBackbone.from_model(copy.deepcopy(whole)).fingerprint()
    transcription = WhisperForConditionalGeneration(whole.config)
    transcription.model.load_state_dict(whole.state_dict())
    classification = WhisperForAudioClassification(whole.config)
    classification.encoder.load_state_dict(whole.encoder.state_dict())
    for model in (whole, transcription, classification):
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder)
        assert WhisperEncoderBackbone.from_pretrained(str(folder)).fingerprint() == fingerprint


def test_missing_and_unexpected_weights_are_errors(tiny_whisper, tmp_path):
    tiny_whisper().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "encoder.more": torch.ones(1)}, path, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match="more"):
        WhisperEncoderBackbone.from_pretrained(str(tmp_path))
    (missing,) = (name for name in weights if name.endswith("encoder.embed_positions.weight"))
    del weights[missing]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"lacks 1 weights \(embed_positions"):
        WhisperEncoderBackbone.from_pretrained(str(tmp_path))


def test_the_fingerprint_changes_with_weights_layer_and_context(tiny_whisper):
    def of(seed=0, layer="last", context="window", **changes):
        model = tiny_whisper(seed=seed, **changes)
        return WhisperEncoderBackbone.from_model(
            model, layer=layer, context=context, name=str(seed + 7)
        ).fingerprint()

    fingerprints = [
        of(),
        of(seed=1),
        of(layer=0),
        of(layer=1),
        of(context="clip"),
        of(encoder_attention_heads=4),
        of(activation_function="relu"),
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    assert of(layer=LAYERS) == of(layer="last")
    assert of(decoder_layers=2, dropout=0.1) == of()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 3}, "has 2 layers"),
        ({"context": "sentence"}, "'window' .* or 'clip'"),
    ],
)
def test_wrong_options(options, message, tiny_whisper):
    with pytest.raises(BackboneError, match=message):
        WhisperEncoderBackbone.from_model(tiny_whisper(), **options)


def test_other_families_are_refused(bert_folder, ssl_folder, tiny_ssl):
    for folder in (bert_folder, ssl_folder("hubert-group")):
        with pytest.raises(BackboneError, match="a Whisper one is needed"):
            WhisperEncoderBackbone.from_pretrained(str(folder))
    with pytest.raises(BackboneError, match="a Whisper one is needed"):
        WhisperEncoderBackbone.from_model(tiny_ssl("hubert-group"))
