# SPDX-License-Identifier: Apache-2.0
import copy
import json

import pytest
import torch
from torch import nn

from voxadapt.backbones import BackboneError, whisper_encoder
from voxadapt.backbones.whisper_encoder import WhisperEncoder
from voxadapt.backbones.whisper_log_mel import WhisperLogMel

CONTEXTS = ["window", "clip"]
LAYERS = 3
CHOICES = [*range(LAYERS + 1), "last", "mean", "weighted"]
# Windows of one second here: clips of one window, all but one, of a part, of next to none.
SAMPLES = [16_000, 15_981, 15_700, 9_999, 1_279, 320, 100]


def encoder_of(model, layer="last", **options):
    return WhisperEncoder(model.encoder, layer, **options)


def choose(expected, layer):
    """A choice of layers from what transformers gave."""
    states, last = expected
    if layer == "mean":
        return torch.stack(states).mean(dim=0)
    if layer == "weighted":
        return torch.cat(states, dim=-1)
    return last if layer == "last" else states[layer]


def test_every_choice_of_layers_equals_transformers_alone_and_in_a_batch(
    tiny_model, noise, reference, run_encoder, assert_near
):
    model = tiny_model("whisper")
    clips = [noise(samples, seed) * 10.0 ** -(seed % 3) for seed, samples in enumerate(SAMPLES)]
    expected = [reference(model, clip) for clip in clips]
    for layer in CHOICES:
        encoder = encoder_of(copy.deepcopy(model), layer)
        together = run_encoder(encoder, clips)
        assert together[0].std() > 0.1
        for frames, clip, of_clip in zip(together, clips, expected, strict=True):
            assert_near(frames, choose(of_clip, layer))
            assert_near(run_encoder(encoder, [clip])[0], choose(of_clip, layer))


@pytest.mark.parametrize("num_mels", [80, 128])
def test_thirty_seconds(num_mels, tiny_model, noise, reference, run_encoder, assert_near):
    model = tiny_model(
        "whisper", num_mel_bins=num_mels, max_source_positions=1_500, encoder_layers=1
    )
    clips = [noise(480_000), noise(479_990, seed=1), noise(16_100, seed=2)]
    encoded = run_encoder(encoder_of(model), clips)
    assert [len(frames) for frames in encoded] == [1_500, 1_499, 50]
    for frames, clip in zip(encoded, clips, strict=True):
        assert_near(frames, reference(model, clip)[1])


@pytest.mark.parametrize("layer", CHOICES)
def test_clip_context_alone_and_in_a_batch(layer, tiny_model, noise, run_encoder, assert_near):
    encoder = encoder_of(tiny_model("whisper"), layer, context="clip")
    clips = [noise(samples, seed) for seed, samples in enumerate([36_111, *SAMPLES])]
    for clip, frames in zip(clips, run_encoder(encoder, clips), strict=True):
        assert_near(frames, run_encoder(encoder, [clip])[0])


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    ("samples", "frames"),
    [(1, 1), (320, 1), (639, 1), (640, 2), (15_999, 49), (16_000, 50), (16_319, 50), (16_320, 51)],
)
def test_frame_counts(context, samples, frames, tiny_model, noise, run_encoder):
    encoder = encoder_of(tiny_model("whisper"), 0, context=context)
    assert len(run_encoder(encoder, [noise(samples)])[0]) == frames


@pytest.mark.parametrize("layer", ["last", "mean"])
def test_long_clips_are_windows_joined(layer, tiny_model, noise, run_encoder, assert_near):
    """Windows of one second: 2.5 s are the first, the second, and the end of the last second."""
    encoder = encoder_of(tiny_model("whisper"), layer)
    clip = noise(40_000)
    (frames,) = run_encoder(encoder, [clip])
    assert len(frames) == 125
    assert_near(frames[:50], run_encoder(encoder, [clip[:16_000]])[0])
    assert_near(frames[50:100], run_encoder(encoder, [clip[16_000:32_000]])[0])
    assert_near(frames[100:], run_encoder(encoder, [clip[24_000:]])[0][25:])
    together = run_encoder(encoder, [noise(700, seed=1), clip, noise(16_500, seed=2)])
    assert_near(together[1], frames)


def test_a_clip_of_45_s(tiny_model, noise, run_encoder, assert_near):
    encoder = encoder_of(tiny_model("whisper", max_source_positions=1_500, encoder_layers=1))
    clip = noise(45 * 16_000)
    (frames,) = run_encoder(encoder, [clip])
    assert len(frames) == 2_250
    assert_near(frames[1_500:], run_encoder(encoder, [clip[15 * 16_000 :]])[0][750:])


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("at_once", [1, 2])
def test_many_windows_are_run_in_parts(
    context, at_once, tiny_model, noise, run_encoder, assert_near, monkeypatch
):
    encoder = encoder_of(tiny_model("whisper"), context=context)
    clips = [noise(40_000), noise(16_000, seed=1), noise(100, seed=2)]
    expected = run_encoder(encoder, clips)
    monkeypatch.setattr(whisper_encoder, "_CPU_WINDOWS", at_once)
    for frames, whole in zip(run_encoder(encoder, clips), expected, strict=True):
        assert_near(frames, whole)


def test_clip_context_is_an_encoder_with_fewer_positions(
    tiny_model, noise, run_encoder, assert_near
):
    """The same as transformers' encoder whose position table ends with the clip."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as TheirEncoder

    model = tiny_model("whisper")
    clip = noise(20 * 320)
    config = copy.deepcopy(model.config)
    config.max_source_positions = 20
    weights = model.encoder.state_dict()
    weights["embed_positions.weight"] = weights["embed_positions.weight"][:20]
    shorter = TheirEncoder(config).eval()
    shorter.load_state_dict(weights)
    padded = nn.functional.pad(clip, (0, 320))[None]
    mels = WhisperLogMel(80)(padded, torch.tensor([40]))[..., :40]
    with torch.no_grad():
        expected = shorter(mels).last_hidden_state[0]
    window = encoder_of(copy.deepcopy(model))
    assert_near(run_encoder(encoder_of(model, context="clip"), [clip])[0], expected)
    assert (run_encoder(window, [clip])[0] - expected).abs().max() > 1e-2  # other features


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_attention_chosen_in_transformers_does_not_matter(
    implementation, tiny_model, noise, run_encoder
):
    clips = [noise(9_999), noise(3_200, seed=1)]
    expected = run_encoder(encoder_of(tiny_model("whisper"), context="clip"), clips)
    model = tiny_model("whisper")
    model.set_attn_implementation(implementation)
    encoded = run_encoder(encoder_of(model, context="clip"), clips)
    assert all(torch.equal(*pair) for pair in zip(encoded, expected, strict=True))


def test_other_activations(tiny_model, noise, reference, run_encoder, assert_near):
    model = tiny_model("whisper", activation_function="relu")
    clip = noise(9_999)
    assert_near(run_encoder(encoder_of(copy.deepcopy(model)), [clip])[0], reference(model, clip)[1])


def test_layers_above_are_dropped(tiny_model):
    model = tiny_model("whisper")
    of_layer = sum(parameter.numel() for parameter in model.encoder.layers[2].parameters())
    encoders = [encoder_of(copy.deepcopy(model), layer) for layer in (*range(4), "last")]
    assert [encoder.depth for encoder in encoders] == [0, 1, 2, 3, 3]
    sizes = [sum(p.numel() for p in encoder.parameters()) for encoder in encoders]
    assert sizes[2] - sizes[1] == of_layer
    # The top layer comes with the norm after it: 16 weights and 16 biases.
    assert sizes[3] - sizes[2] == of_layer + 32
    assert sizes[3] == sizes[4]
    whole = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert sizes[4] == whole


def test_of_the_last_layer_only_the_clip_is_computed(tiny_model, noise, run_encoder):
    model = tiny_model("whisper")
    widths = []
    for layer in model.encoder.layers:
        layer.final_layer_norm.register_forward_hook(
            lambda _module, _inputs, output: widths.append(output.shape[1])
        )
    run_encoder(encoder_of(model, 2), [noise(3_200), noise(900, seed=1)])
    assert widths == [50, 10]


@pytest.mark.parametrize("context", CONTEXTS)
def test_states_are_what_forward_reads(context, tiny_model, noise):
    """Training the layers from cached frames rests on this."""
    model = tiny_model("whisper")
    bottom = encoder_of(copy.deepcopy(model), 0, context=context)
    whole = encoder_of(model, context=context)
    waveforms, lengths = torch.stack([noise(16_000), noise(16_000, seed=1)]), [16_000, 6_500]
    waveforms[1, 6_500:] = 0.0
    with torch.no_grad():
        hidden_states, frame_lengths = bottom(waveforms, torch.tensor(lengths))
        expected, _ = whole(waveforms, torch.tensor(lengths))
        states = list(whole.states(hidden_states, frame_lengths))
    assert len(states) == LAYERS + 1
    assert states[0] is hidden_states
    torch.testing.assert_close(whole.final(states[-1])[0], expected[0], atol=1e-4, rtol=1e-4)
    if context == "clip":
        torch.testing.assert_close(states[-1][1, :20], expected[1, :20], atol=1e-4, rtol=1e-4)


def test_states_carry_the_gradients_of_transformers(tiny_model):
    model = tiny_model("whisper").requires_grad_(True)
    encoder = encoder_of(copy.deepcopy(model))
    given = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(1))
    ours, theirs = given.clone().requires_grad_(), given.clone().requires_grad_()
    *_, state = encoder.states(ours, torch.tensor([12, 12]))
    (state * weight).sum().backward()
    hidden_states = theirs
    for layer in model.encoder.layers:
        outputs = layer(hidden_states, attention_mask=None)
        hidden_states = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
    (model.encoder.layer_norm(hidden_states) * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-3)
    reference = dict(model.encoder.layers.named_parameters())
    for name, parameter in encoder.layers.named_parameters():
        torch.testing.assert_close(parameter.grad, reference[name].grad, atol=1e-3, rtol=1e-3)


def test_what_it_tells_of_itself(tiny_model):
    encoder = encoder_of(tiny_model("whisper"), 2)
    assert (encoder.width, encoder.depth, encoder.frame_rate) == (16, 2, 50.0)
    assert encoder.minimum_samples == 320
    assert json.loads(json.dumps(encoder.description)) == encoder.description


def test_the_receptive_field(tiny_model, noise):
    """A sample just inside it is seen by a frame, and one just outside is not."""
    encoder = encoder_of(tiny_model("whisper"), 0)
    clip = noise(16_000)
    clip[0] = 50.0  # the loudest point, which the log-Mel is relative to, stays what it is
    frame, half = 25, encoder.receptive_field // 2  # Mel windows lie around their frames
    seen = []
    for distance in (-half - 1, 20 - half, half - 20, half + 1):
        other = clip.clone()
        other[frame * 320 + distance] += 5.0
        waveforms = torch.stack([clip, other])
        with torch.no_grad():
            frames, _ = encoder(waveforms, torch.tensor([16_000, 16_000]))
        seen.append(bool((frames[0, frame] - frames[1, frame]).abs().max() > 1e-6))
    assert seen == [False, True, True, False]


def test_another_context_is_refused(tiny_model):
    with pytest.raises(BackboneError, match=r"'window' .* or 'clip'"):
        encoder_of(tiny_model("whisper"), context="sentence")
