# SPDX-License-Identifier: Apache-2.0
import math
import shutil

import pytest
import torch
from torch import nn

from voxadapt.backbones import BackboneError, SSLEncoderBackbone, pad_waveforms

LAYERS = 3
MINIMUM_SAMPLES = 30  # kernels 10, 3, 2 with strides 5, 2, 2


def huggingface_outputs(folder, clips):
    """What transformers gives for a batch, with its own feature extractor."""
    from transformers import AutoModel, Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    inputs = extractor(
        [clip.numpy() for clip in clips],
        sampling_rate=16_000,
        padding=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**inputs, output_hidden_states=True)


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


@pytest.fixture
def clips(noise):
    return [noise(samples, seed) for seed, samples in enumerate([3_200, 1_111, 500, 30, 7])]


def test_every_layer_equals_huggingface(ssl_kind, ssl_folder, noise):
    folder, clip = ssl_folder(ssl_kind), noise(2_000)
    expected = huggingface_outputs(folder, [clip])
    assert len(expected.hidden_states) == LAYERS + 1
    for layer in range(LAYERS + 1):
        backbone = SSLEncoderBackbone.from_pretrained(str(folder), layer=layer)
        (frames,) = encode(backbone, [clip])
        assert frames.std() > 0.1  # the comparison is not one of zeros
        assert_same(frames, expected.hidden_states[layer][0])
    (frames,) = encode(SSLEncoderBackbone.from_pretrained(str(folder)), [clip])
    assert_same(frames, expected.last_hidden_state[0])


@pytest.mark.parametrize("layer", [1, "last"])
def test_alone_and_in_a_padded_batch_are_the_same(ssl_kind, layer, ssl_folder, clips):
    backbone = SSLEncoderBackbone.from_pretrained(str(ssl_folder(ssl_kind)), layer=layer)
    together = encode(backbone, clips, garbage=True)
    for clip, frames in zip(clips, together, strict=True):
        assert_same(frames, encode(backbone, [clip])[0])


@pytest.mark.parametrize(
    ("kind", "is_exact"),
    [
        ("hubert-group", False),
        ("wav2vec2-group", False),
        ("wavlm-group", False),
        ("hubert-batch-norm", False),
        ("hubert-stable", True),
        ("wav2vec2-stable", True),
        ("wavlm-stable", True),
    ],
)
def test_plain_huggingface_is_not_exact_for_group_norm(kind, is_exact, ssl_folder, noise):
    """The reason for our own front end; should this fail one day, it may go."""
    folder, clips = ssl_folder(kind), [noise(3_200), noise(1_111, seed=1)]
    alone = huggingface_outputs(folder, clips[1:]).last_hidden_state[0]
    together = huggingface_outputs(folder, clips).last_hidden_state[1, : len(alone)]
    difference = (alone - together).abs().max()
    assert difference < 1e-4 if is_exact else difference > 1e-2
    backbone = SSLEncoderBackbone.from_pretrained(str(folder))
    assert_same(encode(backbone, clips)[1], alone)


def test_batch_norm_alone_breaks_huggingface_too(tiny_ssl, noise):
    """`conv_pos_batch_norm` carries padding into real frames even behind layer-normed features."""
    options = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    model = tiny_ssl("hubert-batch-norm", **options)
    long, short = noise(3_200), noise(1_111, seed=1)
    waveforms, padding_mask = pad_waveforms([long, short])
    with torch.no_grad():
        alone = model(short[None]).last_hidden_state[0]
        mask = (~padding_mask).long()
        together = model(waveforms, attention_mask=mask).last_hidden_state[1, : len(alone)]
    assert (together - alone).abs().max() > 1e-3
    backbone = SSLEncoderBackbone.from_model(model, normalize=False)
    assert_same(encode(backbone, [long, short])[1], alone)


@pytest.mark.parametrize("kind", ["hubert-group", "wavlm-stable"])
def test_frame_counts(kind, tiny_ssl, noise):
    model = tiny_ssl(kind)
    lengths = [1, 29, 30, 31, 49, 50, 1_000, 3_201]
    expected = [
        int(model._get_feat_extract_output_lengths(max(n, MINIMUM_SAMPLES))) for n in lengths
    ]
    backbone = SSLEncoderBackbone.from_model(model)
    frames = encode(backbone, [noise(samples) for samples in lengths])
    assert [len(clip) for clip in frames] == expected
    assert expected[:3] == [1, 1, 1]


def test_spec(tiny_ssl, ssl_folder):
    folder = str(ssl_folder("hubert-group"))
    spec = SSLEncoderBackbone.from_pretrained(folder, layer=2).spec
    assert (spec.name, spec.feature_size, spec.layers) == (folder, 16, 2)
    assert (spec.frame_rate, spec.minimum_samples) == (800.0, MINIMUM_SAMPLES)
    assert spec.sample_rate == 16_000


def test_the_published_geometry(tiny_ssl):
    model = tiny_ssl(
        "hubert-group",
        conv_dim=(4,) * 7,
        conv_kernel=(10, 3, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 2, 2, 2, 2, 2),
        num_feat_extract_layers=7,
    )
    spec = SSLEncoderBackbone.from_model(model).spec
    assert (spec.frame_rate, spec.minimum_samples) == (50.0, 400)


def test_normalization_follows_the_checkpoint(tiny_ssl, tmp_path, noise):
    from transformers import Wav2Vec2FeatureExtractor

    clip = noise(1_000)
    for kind, by_default in (("hubert-stable", True), ("hubert-group", False)):
        folder = tmp_path / kind
        tiny_ssl(kind).save_pretrained(folder)
        assert SSLEncoderBackbone.from_pretrained(str(folder)).normalize is by_default
        for value in (True, False):
            Wav2Vec2FeatureExtractor(do_normalize=value).save_pretrained(folder)
            assert SSLEncoderBackbone.from_pretrained(str(folder)).normalize is value
            chosen = SSLEncoderBackbone.from_pretrained(str(folder), normalize=not value)
            assert chosen.normalize is not value
            expected = huggingface_outputs(folder, [clip]).last_hidden_state[0]
            assert_same(
                encode(SSLEncoderBackbone.from_pretrained(str(folder)), [clip])[0], expected
            )


def test_layers_above_are_not_in_memory(ssl_folder):
    folder = str(ssl_folder("wav2vec2-group"))
    backbones = [SSLEncoderBackbone.from_pretrained(folder, layer=layer) for layer in range(4)]
    assert [len(backbone.encoder.layers) for backbone in backbones] == [0, 1, 2, 3]
    sizes = [backbone.spec.parameters for backbone in backbones]
    assert sizes == sorted(set(sizes))
    assert sizes[0] == sum(parameter.numel() for parameter in backbones[0].parameters())


def test_frozen_survives_train(ssl_kind, ssl_folder, clips):
    backbone = SSLEncoderBackbone.from_pretrained(str(ssl_folder(ssl_kind)))
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    expected = encode(backbone, clips)
    nn.Sequential(backbone, nn.Dropout()).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    # Dropout, layerdrop and masking are all high in the config: any of them would show.
    for first, second in zip(encode(backbone, clips), expected, strict=True):
        assert torch.equal(first, second)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_fingerprint_is_of_the_features_and_not_of_the_name(ssl_folder, tiny_ssl, tmp_path):
    folder = ssl_folder("hubert-stable")
    fingerprint = SSLEncoderBackbone.from_pretrained(str(folder), layer=2).fingerprint()
    copied = shutil.copytree(folder, tmp_path / "copy")
    assert SSLEncoderBackbone.from_pretrained(str(copied), layer=2).fingerprint() == fingerprint
    in_memory = tiny_ssl("hubert-stable", layerdrop=0.0)
    assert SSLEncoderBackbone.from_model(in_memory, layer=2).fingerprint() == fingerprint
    above = tiny_ssl("hubert-stable")
    with torch.no_grad():
        above.encoder.layers[2].layer_norm.weight.add_(1.0)  # layer 2 is the output of layers[1]
    assert SSLEncoderBackbone.from_model(above, layer=2).fingerprint() == fingerprint


def test_the_fingerprint_changes_with_weights_layer_and_settings(tiny_ssl, ssl_folder):
    def of(kind="hubert-stable", layer=2, normalize=True, seed=0, **changes):
        model = tiny_ssl(kind, seed=seed, **changes)
        return SSLEncoderBackbone.from_model(model, layer=layer, normalize=normalize).fingerprint()

    changed = tiny_ssl("hubert-stable")
    with torch.no_grad():
        changed.feature_projection.projection.bias[0] += 1e-6
    fingerprints = {
        "as it is": of(),
        "one weight": SSLEncoderBackbone.from_model(changed, layer=2).fingerprint(),
        "all weights": of(seed=1),
        "layer": of(layer=1),
        "top layer": of(layer=3),
        "last": of(layer="last"),
        "normalization": of(normalize=False),
        "epsilon": of(layer_norm_eps=1e-3),
        "heads": of(num_attention_heads=4),
        "activation": of(hidden_act="relu"),
    }
    assert len(set(fingerprints.values())) == len(fingerprints)
    # Without a LayerNorm on top, the last layer and `last` are the same features.
    assert of("hubert-group", layer=3) == of("hubert-group", layer="last")


def test_a_float16_checkpoint_is_loaded_in_float32(tiny_ssl, tmp_path, noise):
    tiny_ssl("hubert-group").half().save_pretrained(tmp_path)
    backbone = SSLEncoderBackbone.from_pretrained(str(tmp_path))
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


def test_half_precision_on_request(tiny_ssl, noise):
    backbone = SSLEncoderBackbone.from_model(tiny_ssl("hubert-group")).bfloat16()
    (frames,) = encode(backbone, [noise(1_000)])
    assert frames.dtype == torch.bfloat16
    assert torch.isfinite(frames).all()


def test_gradients_reach_modules_that_are_opened(tiny_ssl, noise):
    """LoRA, or a top layer, may be trained later on: nothing may cut the graph."""
    backbone = SSLEncoderBackbone.from_model(tiny_ssl("wav2vec2-stable"))
    top = backbone.encoder.layers[-1].requires_grad_(True)
    backbone(*pad_waveforms([noise(1_000), noise(300)]))[0].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in top.feed_forward.parameters())


@pytest.mark.parametrize("layer", [4, -1, "first", 1.0, True])
def test_a_layer_that_does_not_exist(ssl_folder, layer):
    with pytest.raises(BackboneError, match=r"has 3 layers: give 0 .* to 3, or 'last'"):
        SSLEncoderBackbone.from_pretrained(str(ssl_folder("hubert-group")), layer=layer)


def test_other_families_are_refused(bert_folder, tiny_whisper, whisper_folder):
    for folder in (bert_folder, whisper_folder):
        with pytest.raises(BackboneError, match="hubert, wav2vec2, wavlm"):
            SSLEncoderBackbone.from_pretrained(str(folder))
    with pytest.raises(BackboneError, match="hubert, wav2vec2, wavlm"):
        SSLEncoderBackbone.from_model(tiny_whisper())


def test_a_convolutional_adapter_on_top_is_refused(tiny_ssl):
    with pytest.raises(BackboneError, match="add_adapter"):
        SSLEncoderBackbone.from_model(tiny_ssl("wav2vec2-stable", add_adapter=True))


def heads():
    import transformers

    return {
        "wav2vec2-group": [
            transformers.Wav2Vec2ForPreTraining,
            transformers.Wav2Vec2ForCTC,
            transformers.Wav2Vec2ForSequenceClassification,
            transformers.Wav2Vec2ForXVector,
        ],
        "hubert-stable": [
            transformers.HubertForCTC,
            transformers.HubertForSequenceClassification,
        ],
        "wavlm-group": [
            transformers.WavLMForCTC,
            transformers.WavLMForSequenceClassification,
            transformers.WavLMForXVector,
        ],
    }


@pytest.mark.parametrize("kind", ["wav2vec2-group", "hubert-stable", "wavlm-group"])
def test_checkpoints_with_a_head_are_loaded(kind, tiny_ssl, tmp_path, noise):
    encoder = tiny_ssl(kind, use_weighted_layer_sum=True)
    clip = noise(1_000)
    for head_class in heads()[kind]:
        model = head_class(encoder.config)
        getattr(model, model.base_model_prefix).load_state_dict(encoder.state_dict())
        folder = tmp_path / head_class.__name__
        model.save_pretrained(folder)
        (frames,) = encode(SSLEncoderBackbone.from_pretrained(str(folder)), [clip])
        expected = huggingface_outputs_of(encoder, clip, normalize=kind == "hubert-stable")
        assert_same(frames, expected)


def huggingface_outputs_of(model, clip, *, normalize):
    if normalize:
        clip = (clip - clip.mean()) / torch.sqrt(clip.var(correction=0) + 1e-7)
    with torch.no_grad():
        return model(clip[None]).last_hidden_state[0]
