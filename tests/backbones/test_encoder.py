# SPDX-License-Identifier: Apache-2.0
import copy
import gc
import json
import math
import shutil
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from voxadapt.backbones import (
    FAMILIES,
    BackboneError,
    EncoderBackbone,
    attention,
    convolutional_front_end,
    pad_waveforms,
)

LAYERS = 3
CHOICES = [*range(LAYERS + 1), "last", "mean", "weighted"]
# Of one second (a whole window of the tiny Whisper), of a part, of one frame, of less.
SAMPLES = [16_000, 3_333, 560, 7]


@pytest.fixture
def clips(noise):
    return [noise(samples, seed) for seed, samples in enumerate(SAMPLES)]


def choose(expected, layer):
    states, last = expected
    if layer == "mean":
        return torch.stack(states).mean(dim=0)
    if layer == "weighted":
        return torch.cat(states, dim=-1)
    return last if layer == "last" else states[layer]


@pytest.mark.parametrize("layer", CHOICES)
def test_a_checkpoint_gives_what_transformers_gives(
    kind, layer, checkpoint, tiny_model, clips, reference, encode, assert_near
):
    backbone = EncoderBackbone.from_pretrained(str(checkpoint(kind)), layer=layer)
    model = tiny_model(kind)
    for clip, frames in zip(clips[:3], encode(backbone, clips[:3], garbage=True), strict=True):
        assert frames.dtype == torch.float32
        assert_near(frames, choose(reference(model, clip), layer))
    assert frames.shape[1] == backbone.spec.feature_size


@pytest.mark.parametrize("layer", [1, "last", "weighted"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_alone_and_in_a_batch_with_garbage_are_the_same(
    kind, layer, precision, checkpoint, clips, encode
):
    folder = str(checkpoint(kind))
    backbone = EncoderBackbone.from_pretrained(folder, layer=layer, precision=precision)
    together = encode(backbone, clips, garbage=True)
    for clip, frames in zip(clips, together, strict=True):
        (alone,) = encode(backbone, [clip])
        assert len(frames) == len(alone) >= 1
        if precision == "fp32":
            scale = max(1.0, float(alone.abs().max()))
            torch.testing.assert_close(frames, alone, atol=1e-4 * scale, rtol=0)
        else:
            # What is added up in another order may be rounded to the next number.
            assert (frames - alone).norm() < 0.02 * alone.norm()


@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e20])
def test_what_a_neighbour_holds_does_not_matter(kind, garbage, checkpoint, clips, encode):
    backbone = EncoderBackbone.from_pretrained(str(checkpoint(kind)))
    expected = encode(backbone, clips)
    broken = [torch.full_like(clips[0], garbage), *clips[1:]]
    for frames, undisturbed in zip(encode(backbone, broken)[1:], expected[1:], strict=True):
        torch.testing.assert_close(frames, undisturbed, atol=1e-5, rtol=1e-5)


def test_a_clip_below_the_receptive_field_gives_one_frame(kind, checkpoint, noise, encode):
    backbone = EncoderBackbone.from_pretrained(str(checkpoint(kind)))
    minimum = backbone.spec.minimum_samples
    for samples in (1, minimum - 1, minimum):
        (frames,) = encode(backbone, [noise(samples)])
        assert len(frames) == 1
        assert torch.isfinite(frames).all()


def test_bf16_is_near_has_the_same_fingerprint_and_another_cache_key(
    kind, checkpoint, clips, encode
):
    folder = str(checkpoint(kind))
    full = EncoderBackbone.from_pretrained(folder, layer=1)
    half = EncoderBackbone.from_pretrained(folder, layer=1, precision="bf16")
    assert {parameter.dtype for parameter in full.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    for frames, expected in zip(encode(half, clips), encode(full, clips), strict=True):
        assert frames.dtype == torch.float32
        assert not torch.equal(frames, expected)
        assert (frames - expected).norm() < 0.05 * expected.norm()
    assert half.fingerprint() == full.fingerprint()
    assert half.config() == full.config()
    assert half.spec == full.spec
    assert half.cache_key() != full.cache_key()
    assert {len(backbone.cache_key()) for backbone in (full, half)} == {64}
    assert full.cache_key() == EncoderBackbone.from_pretrained(folder, layer=1).cache_key()


@pytest.mark.parametrize("precision", ["fp16", "float32", None])
def test_another_precision_is_refused(precision, tiny_model):
    with pytest.raises(BackboneError, match="'fp32' or 'bf16'"):
        EncoderBackbone.from_model(tiny_model("hubert-group"), precision=precision)


def test_autocast_around_it_changes_nothing(kind, checkpoint, clips, encode):
    backbone = EncoderBackbone.from_pretrained(str(checkpoint(kind)))
    expected = encode(backbone, clips)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        together = encode(backbone, clips)
    assert all(torch.equal(*pair) for pair in zip(together, expected, strict=True))


def test_nothing_is_recorded_for_gradients(kind, checkpoint, noise):
    """Whatever the caller does, so that the kernels without gradients are used."""
    backbone = EncoderBackbone.from_pretrained(str(checkpoint(kind)))
    waveforms, padding_mask = pad_waveforms([noise(1_600)])
    with torch.enable_grad():
        frames, _ = backbone(waveforms.requires_grad_(), padding_mask)
    assert not frames.requires_grad


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_frozen_and_not_changed_by_use(kind, precision, checkpoint, clips, encode):
    backbone = EncoderBackbone.from_pretrained(str(checkpoint(kind)), precision=precision)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    expected = encode(backbone, clips)
    nn.Sequential(backbone, nn.Dropout()).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    # Dropout, layerdrop and masking are all high in the config: any of them would show.
    for first, second in zip(encode(backbone, clips), expected, strict=True):
        assert torch.equal(first, second)
    assert before.keys() == backbone.state_dict().keys()
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_spec(kind, checkpoint, tiny_model):
    folder = str(checkpoint(kind))
    backbone = EncoderBackbone.from_pretrained(folder, layer=2)
    spec, encoder = backbone.spec, backbone.encoder
    assert (spec.name, spec.feature_size, spec.layers, spec.layer_outputs) == (folder, 16, 2, 1)
    assert (spec.frame_rate, spec.minimum_samples) == (encoder.frame_rate, encoder.minimum_samples)
    assert spec.receptive_field == encoder.receptive_field >= spec.minimum_samples
    assert spec.normalization == encoder.normalization != ""
    assert (spec.sample_rate, spec.licence) == (16_000, None)
    assert spec.parameters == sum(parameter.numel() for parameter in backbone.parameters())
    weighted = EncoderBackbone.from_pretrained(folder, layer="weighted").spec
    assert (weighted.feature_size, weighted.layer_outputs, weighted.layers) == (64, 4, 3)
    assert EncoderBackbone.from_pretrained(folder, layer="mean").spec.layer_outputs == 1
    assert EncoderBackbone.from_model(tiny_model(kind)).spec.name == "in memory"


def test_layers_above_are_not_in_memory(kind, tiny_model):
    backbones, parts = [], []
    for layer in range(LAYERS + 1):
        model = tiny_model(kind)
        parts.append([weakref.ref(part) for part in model.encoder.layers])
        backbones.append(EncoderBackbone.from_model(model, layer=layer, precision="bf16"))
        del model
    gc.collect()
    for layer, of_model in enumerate(parts):
        assert [part() is not None for part in of_model[layer:]] == [False] * (LAYERS - layer)
    sizes = [sum(tensor.numel() for tensor in each.state_dict().values()) for each in backbones]
    assert sizes == sorted(set(sizes))


def test_preferred_batches(tiny_model):
    seconds = [
        EncoderBackbone.from_model(tiny_model("whisper"), precision=p).preferred_batch_seconds
        for p in ("fp32", "bf16")
    ]
    assert all(5 <= value <= 120 for value in seconds)
    on_another_device = EncoderBackbone.from_model(tiny_model("whisper")).to("meta")
    assert on_another_device.preferred_batch_seconds > max(seconds)


def fingerprint(model, **options):
    return EncoderBackbone.from_model(model, **options).fingerprint()


def test_the_fingerprint_is_of_the_features_and_not_of_the_name(
    kind, checkpoint, tiny_model, tmp_path
):
    folder = checkpoint(kind)
    expected = EncoderBackbone.from_pretrained(str(folder), layer=2).fingerprint()
    assert len(expected) == 64
    copied = shutil.copytree(folder, tmp_path / "copy")
    assert EncoderBackbone.from_pretrained(str(copied), layer=2).fingerprint() == expected
    model = tiny_model(kind, layerdrop=0.0, encoder_layerdrop=0.0)
    with torch.no_grad():
        for parameter in model.encoder.layers[2].parameters():
            parameter.add_(1.0)  # layer 2 is the output of layers[1]
    in_memory = EncoderBackbone.from_model(model, layer=2, normalize=True, name="another")
    assert in_memory.fingerprint() == expected


def test_the_fingerprint_changes_with_each_weight(kind, tiny_model):
    whole = EncoderBackbone.from_model(tiny_model(kind))
    expected = whole.fingerprint()
    for parameter in whole.parameters():
        at = (0,) * parameter.ndim
        before = float(parameter[at])
        parameter.data[at] = before + 1e-3
        whole._fingerprint = None
        assert whole.fingerprint() != expected
        parameter.data[at] = before
    whole._fingerprint = None
    assert whole.fingerprint() == expected


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("hubert-stable", {"layer_norm_eps": 1e-3}),
        ("hubert-stable", {"num_attention_heads": 4}),
        ("hubert-stable", {"hidden_act": "relu"}),
        ("hubert-stable", {"feat_extract_activation": "relu"}),
        ("hubert-stable", {"do_stable_layer_norm": False}),
        ("wav2vec2-stable", {"conv_stride": (5, 2, 1)}),
        ("hubert-stable", {"conv_stride": (5, 1, 2)}),
        ("hubert-group", {"num_conv_pos_embeddings": 15}),
        ("wavlm-group", {"max_bucket_distance": 50}),
        ("data2vec", {"num_attention_heads": 4}),
        ("wav2vec2-bert", {"left_max_position_embeddings": 5, "right_max_position_embeddings": 3}),
        ("wav2vec2-bert", {"hidden_act": "relu"}),
        ("whisper", {"encoder_attention_heads": 4}),
        ("whisper", {"activation_function": "relu"}),
    ],
)
def test_the_fingerprint_changes_with_each_setting_that_the_features_hang_on(
    kind, changes, tiny_model
):
    assert fingerprint(tiny_model(kind, **changes)) != fingerprint(tiny_model(kind))


def test_the_fingerprint_changes_with_the_choices(kind, tiny_model):
    options = [{"layer": layer} for layer in (0, 1, 2, "last", "mean", "weighted")]
    if FAMILIES[tiny_model(kind).config.model_type].kind == "ssl":
        options.append(
            {"normalize": not EncoderBackbone.from_model(tiny_model(kind)).encoder.normalize}
        )
    if kind == "whisper":
        options.append({"whisper_context": "clip"})
    fingerprints = [fingerprint(tiny_model(kind), **option) for option in options]
    assert len(set(fingerprints)) == len(fingerprints)
    # Where no norm comes on top, the last layer by its number and `last` are the same features.
    same = kind not in ("wav2vec2-stable", "mms", "unispeech-sat-stable")
    assert (fingerprint(tiny_model(kind), layer=LAYERS) == fingerprints[3]) is same


def test_what_does_not_matter_is_not_in_the_fingerprint(tiny_model):
    other = {"hidden_dropout": 0.0, "mask_time_prob": 0.0, "layerdrop": 0.0, "vocab_size": 9}
    expected = fingerprint(tiny_model("hubert-stable"))
    assert fingerprint(tiny_model("hubert-stable", seed=1)) != expected
    model = tiny_model("hubert-stable", **other)
    weights = tiny_model("hubert-stable").state_dict()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    assert fingerprint(model) == expected
    whisper = tiny_model("whisper", decoder_layers=2, dropout=0.1)
    whisper.encoder.load_state_dict(tiny_model("whisper").encoder.state_dict())
    assert fingerprint(whisper) == fingerprint(tiny_model("whisper"))


def test_config(kind, checkpoint):
    folder = str(checkpoint(kind))
    backbone = EncoderBackbone.from_pretrained(folder, layer="weighted")
    config = backbone.config()
    assert json.loads(json.dumps(config)) == config
    common = {"type": "encoder", "name_or_path": folder, "revision": None, "layer": "weighted"}
    own = {"whisper": {"whisper_context": "window"}, "wav2vec2-bert": {}}
    assert config == {**common, **own.get(kind, {"normalize": True})}


def test_normalization_follows_the_checkpoint(
    tiny_model, tmp_path, noise, reference, encode, assert_near
):
    from transformers import Wav2Vec2FeatureExtractor

    clip = noise(1_000)
    for kind, by_default in (("hubert-stable", True), ("hubert-group", False), ("data2vec", True)):
        folder, model = tmp_path / kind, tiny_model(kind)
        model.save_pretrained(folder)
        assert EncoderBackbone.from_pretrained(str(folder)).config()["normalize"] is by_default
        for value in (True, False):
            Wav2Vec2FeatureExtractor(do_normalize=value).save_pretrained(folder)
            backbone = EncoderBackbone.from_pretrained(str(folder))
            assert backbone.config()["normalize"] is value
            chosen = EncoderBackbone.from_pretrained(str(folder), normalize=not value)
            assert chosen.config()["normalize"] is not value
            expected = reference(model, clip, normalize=value)[1]
            assert_near(encode(backbone, [clip])[0], expected)


def test_the_licence_is_read_from_the_card(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("wavlm-group"), tmp_path / "model")
    (folder / "README.md").write_text("---\nlicense: cc-by-sa-3.0\n---\n# A card\n")
    assert EncoderBackbone.from_pretrained(str(folder)).spec.licence == "cc-by-sa-3.0"


def test_a_float16_checkpoint_is_loaded_in_float32(kind, tiny_model, tmp_path):
    model = tiny_model(kind).half()
    model.save_pretrained(tmp_path)
    loaded = EncoderBackbone.from_pretrained(str(tmp_path))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    given = EncoderBackbone.from_model(copy.deepcopy(model), normalize=_normalize(loaded))
    assert {parameter.dtype for parameter in given.parameters()} == {torch.float32}
    assert given.fingerprint() == loaded.fingerprint()
    half = EncoderBackbone.from_model(model, normalize=_normalize(loaded), precision="bf16")
    assert half.fingerprint() == loaded.fingerprint()


def _normalize(backbone):
    return backbone.config().get("normalize")


@pytest.mark.parametrize("layer", [1, "last"])
def test_taking_over_a_copy_leaves_the_model_as_it_was(kind, layer, tiny_model, noise, reference):
    model, clip = tiny_model(kind), noise(1_600)
    before = reference(model, clip)[1]
    EncoderBackbone.from_model(copy.deepcopy(model), layer=layer, precision="bf16")
    assert torch.equal(reference(model, clip)[1], before)
    assert all(parameter.requires_grad for parameter in model.encoder.layers.parameters())


def test_a_copy_of_a_backbone_is_a_backbone(kind, checkpoint, clips, encode):
    backbone = EncoderBackbone.from_pretrained(str(checkpoint(kind)))
    expected, key = encode(backbone, clips), backbone.cache_key()
    copied = copy.deepcopy(backbone)
    assert copied.cache_key() == key
    assert all(torch.equal(*pair) for pair in zip(encode(copied, clips), expected, strict=True))


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operator makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            # A view of what is there already takes no memory.
            if isinstance(output, torch.Tensor) and not output._is_view():
                self.elements = max(self.elements, output.untyped_storage().nbytes() // 4)
        return outputs


@pytest.mark.parametrize("kind", ["wavlm-group", "hubert-group", "wav2vec2-bert", "whisper"])
@pytest.mark.parametrize("companion", [False, True])
def test_ten_minutes_stay_bounded(kind, companion, tiny_model, encode, monkeypatch):
    """No tensor much above the clip itself, so none as large as the square of its frames."""
    if kind == "whisper":
        model = tiny_model(kind, encoder_layers=1, max_source_positions=100)
        frames, rows = 30_000, 1
    elif kind == "wav2vec2-bert":
        model = tiny_model(kind, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16)
        frames, rows = 30_000, 1
    else:
        # 10 Hz: what is tested grows with the square, and so does the test's own time.
        geometry = {"conv_kernel": (40, 10, 4), "conv_stride": (40, 10, 4)}
        model = tiny_model(kind, num_hidden_layers=1, num_attention_heads=2, **geometry)
        frames, rows = 6_000, 2
    monkeypatch.setattr(attention, "_BIAS_ELEMENTS", 1 << 20)
    samples = 16_000 * 600
    if kind == "wav2vec2-bert":
        samples, frames = samples // 4, frames // 4
    backbone = EncoderBackbone.from_model(model, whisper_context="window")
    clip = torch.randn(samples, generator=torch.Generator().manual_seed(0))
    given = [clip, clip[:20_000]] if companion else [clip]
    with Largest() as largest:
        encoded = encode(backbone, given)
    assert abs(len(encoded[0]) - frames) <= 1
    assert torch.isfinite(encoded[0]).all()
    assert largest.elements <= 2.5 * samples * len(given)
    assert largest.elements < rows * frames**2 // 2
    if companion:
        (alone,) = encode(backbone, given[1:])
        torch.testing.assert_close(encoded[1], alone, atol=1e-4, rtol=1e-4)


def test_a_piece_of_the_front_end_is_small(tiny_model, noise):
    """On a CPU the largest tensor of the encoder is never made for the whole of a clip."""
    model = tiny_model("hubert-group", conv_dim=(64, 8, 8))
    backbone = EncoderBackbone.from_model(model, layer=0)
    with Largest() as largest:
        backbone(*pad_waveforms([noise(160_000)]))
    assert largest.elements <= 10 * 2 * 160_000 // 5  # windows of 10 samples, in float64
    assert largest.elements < 64 * 160_000 // 5
    assert convolutional_front_end._CPU_FRAMES < 1_000


@pytest.mark.parametrize("layer", [4, -1, "first", 1.0, True])
def test_a_layer_that_does_not_exist(kind, layer, checkpoint):
    folder = str(checkpoint(kind))
    with pytest.raises(BackboneError, match=r"has 3 layers: give 0 .* to 3, 'last', 'mean'"):
        EncoderBackbone.from_pretrained(folder, layer=layer)


def test_another_context_is_refused(checkpoint):
    with pytest.raises(BackboneError, match=r"'window' .* or 'clip'"):
        EncoderBackbone.from_pretrained(str(checkpoint("whisper")), whisper_context="sentence")


def test_other_models_are_refused(bert_folder):
    from transformers import AutoModel, WhisperConfig, WhisperForCausalLM

    with pytest.raises(BackboneError, match=r"'bert' .* HuBERT, wav2vec 2\.0 .* Whisper"):
        EncoderBackbone.from_pretrained(str(bert_folder))
    with pytest.raises(BackboneError, match="the BertModel given is a 'bert'"):
        EncoderBackbone.from_model(AutoModel.from_pretrained(bert_folder))
    with pytest.raises(BackboneError, match="'Linear'"):
        EncoderBackbone.from_model(nn.Linear(1, 1))
    decoder = WhisperForCausalLM(
        WhisperConfig(
            d_model=8,
            decoder_layers=1,
            decoder_attention_heads=2,
            decoder_ffn_dim=8,
            vocab_size=9,
            pad_token_id=0,
        )
    )
    with pytest.raises(BackboneError, match=r"has no encoder .*: give a WhisperEncoder"):
        EncoderBackbone.from_model(decoder)


@pytest.mark.parametrize(
    ("waveforms", "padding_mask", "message"),
    [
        (torch.ones(4), torch.zeros(4, dtype=torch.bool), r"\[B, S\]"),
        (torch.ones(1, 4), torch.ones(1, 4, dtype=torch.bool), "no real sample"),
    ],
)
def test_a_batch_that_is_none(waveforms, padding_mask, message, tiny_model):
    with pytest.raises(ValueError, match=message):
        EncoderBackbone.from_model(tiny_model("hubert-group"))(waveforms, padding_mask)


@pytest.mark.parametrize("kind", ["hubert-stable", "whisper"])
def test_compiled_layers_give_the_same_frames(kind, tiny_model, noise, monkeypatch):
    import functools

    # As inductor would take the graph, without the compiler that it needs.
    whole = functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    batches = [[noise(9_000), noise(3_000, seed=1)], [noise(5_000)]]
    plain = EncoderBackbone.from_model(tiny_model(kind))
    monkeypatch.setattr(torch, "compile", whole)
    compiled = EncoderBackbone.from_model(tiny_model(kind)).compile_layers()
    for batch in batches:
        expected = plain(*pad_waveforms(batch))[0]
        torch.testing.assert_close(compiled(*pad_waveforms(batch))[0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["wavlm-stable", "wav2vec2-bert"])
def test_layers_with_a_bias_in_the_attention_are_not_compiled(kind, tiny_model):
    with pytest.raises(BackboneError, match="leave --compile out"):
        EncoderBackbone.from_model(tiny_model(kind)).compile_layers()
