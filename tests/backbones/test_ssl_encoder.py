# SPDX-License-Identifier: Apache-2.0
import copy
import json

import pytest
import torch
from torch import nn

from voxadapt.backbones import BackboneError, pad_waveforms
from voxadapt.backbones.ssl_encoder import SSLEncoder

LAYERS = 3
MINIMUM_SAMPLES = 30  # kernels 10, 3, 2 with strides 5, 2, 2
SAMPLES = [3_200, 1_111, 500, 50, MINIMUM_SAMPLES]
CHOICES = [*range(LAYERS + 1), "last", "mean", "weighted"]


def choose(expected, layer):
    """A choice of layers from what transformers gave."""
    states, last = expected
    if layer == "mean":
        return torch.stack(states).mean(dim=0)
    if layer == "weighted":
        return torch.cat(states, dim=-1)
    return last if layer == "last" else states[layer]


def normalizes(model):
    return getattr(model.config, "feat_extract_norm", "layer") == "layer"


def test_every_choice_of_layers_equals_transformers_alone_and_in_a_batch(
    ssl_kind, tiny_model, noise, reference, run_encoder, assert_near
):
    model = tiny_model(ssl_kind)
    clips = [noise(samples, seed) for seed, samples in enumerate(SAMPLES)]
    expected = [reference(model, clip, normalize=normalizes(model)) for clip in clips]
    assert len(expected[0][0]) == LAYERS + 1
    for layer in CHOICES:
        encoder = SSLEncoder(copy.deepcopy(model), layer)
        together = run_encoder(encoder, clips)
        assert together[0].std() > 0.1  # the comparison is not one of zeros
        for frames, clip, of_clip in zip(together, clips, expected, strict=True):
            assert_near(frames, choose(of_clip, layer))
            assert_near(run_encoder(encoder, [clip])[0], choose(of_clip, layer))


@pytest.mark.parametrize(
    "kind", ["hubert-group", "mms", "wavlm-stable", "unispeech-sat-group", "data2vec"]
)
def test_thirty_seconds(kind, tiny_model, noise, reference, run_encoder, assert_near):
    """At 25 Hz, to be done in time; the position bias is far beyond its last bucket."""
    model = tiny_model(kind, conv_kernel=(20, 8, 4), conv_stride=(20, 8, 4), num_hidden_layers=2)
    clips = [noise(480_000), noise(20_001, seed=1)]
    expected = [reference(model, clip, normalize=normalizes(model)) for clip in clips]
    encoded = run_encoder(SSLEncoder(model, "mean"), clips)
    assert [len(frames) for frames in encoded] == [750, 31]
    for frames, of_clip in zip(encoded, expected, strict=True):
        assert_near(frames, choose(of_clip, "mean"))


@pytest.mark.parametrize(
    ("kind", "is_exact"),
    [
        ("hubert-group", False),
        ("wav2vec2-group", False),
        ("wavlm-group", False),
        ("unispeech-sat-group", False),
        ("hubert-batch-norm", False),
        ("data2vec", False),
        ("hubert-stable", True),
        ("wav2vec2-stable", True),
        ("mms", True),
        ("wavlm-stable", True),
        ("unispeech-sat-stable", True),
    ],
)
def test_plain_transformers_is_not_exact_for_all(
    kind, is_exact, tiny_model, noise, reference, run_encoder, assert_near
):
    """The reason for our own front end and positions; should this fail one day, they may go."""
    model, clips = tiny_model(kind), [noise(3_200), noise(1_111, seed=1)]
    alone = reference(model, clips[1], normalize=False)[1]
    waveforms, padding_mask = pad_waveforms(clips)
    with torch.no_grad():
        together = model(waveforms, attention_mask=(~padding_mask).long()).last_hidden_state
    difference = (alone - together[1, : len(alone)]).abs().max()
    assert difference < 1e-4 * alone.abs().max() if is_exact else difference > 1e-2
    encoder = SSLEncoder(model, "last", normalize=False)
    assert_near(run_encoder(encoder, clips)[1], alone)


@pytest.mark.parametrize("kind", ["hubert-group", "wavlm-stable", "data2vec"])
def test_frame_counts(kind, tiny_model, noise, run_encoder):
    model = tiny_model(kind)
    lengths = [1, 29, 30, 31, 49, 50, 1_000, 3_201]
    expected = [
        int(model._get_feat_extract_output_lengths(max(n, MINIMUM_SAMPLES))) for n in lengths
    ]
    frames = run_encoder(SSLEncoder(model, 1), [noise(samples) for samples in lengths])
    assert [len(clip) for clip in frames] == expected
    assert expected[:4] == [1, 1, 1, 1]


@pytest.mark.parametrize("normalize", [False, True])
def test_a_clip_below_the_receptive_field_is_padded_up_to_it(
    normalize, tiny_model, noise, reference, run_encoder, assert_near
):
    """After it was normalised, so that the zeros are silence."""
    model, clip = tiny_model("wav2vec2-stable"), noise(21)
    clip_as_read = clip
    if normalize:
        clip_as_read = (clip - clip.mean()) / torch.sqrt(clip.var(correction=0) + 1e-7)
    padded = nn.functional.pad(clip_as_read, (0, 9))
    expected = reference(model, padded, normalize=False)[1]
    encoder = SSLEncoder(model, "last", normalize=normalize)
    assert_near(run_encoder(encoder, [clip])[0], expected)
    assert_near(run_encoder(encoder, [noise(900, seed=1), clip])[1], expected)


def test_normalization_follows_the_front_end_unless_told(ssl_kind, tiny_model):
    model = tiny_model(ssl_kind)
    assert SSLEncoder(copy.deepcopy(model), 1).normalize is normalizes(model)
    for value in (True, False):
        encoder = SSLEncoder(copy.deepcopy(model), 1, normalize=value)
        assert encoder.normalize is value
        assert encoder.normalization == ("zero mean, unit variance per clip" if value else "none")


def test_what_it_tells_of_itself(tiny_model):
    encoder = SSLEncoder(tiny_model("hubert-group"), 2)
    assert (encoder.width, encoder.depth, encoder.frame_rate) == (16, 2, 800.0)
    assert encoder.minimum_samples == encoder.receptive_field == MINIMUM_SAMPLES
    assert json.loads(json.dumps(encoder.description)) == {
        **encoder.description,
        "conv_kernel": [10, 3, 2],
        "conv_stride": [5, 2, 2],
    }


def test_the_published_geometry(tiny_model):
    model = tiny_model(
        "hubert-group",
        conv_dim=(4,) * 7,
        conv_kernel=(10, 3, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 2, 2, 2, 2, 2),
        num_feat_extract_layers=7,
    )
    encoder = SSLEncoder(model, "last")
    assert (encoder.frame_rate, encoder.minimum_samples) == (50.0, 400)


def test_layers_above_are_dropped(ssl_kind, tiny_model):
    model = tiny_model(ssl_kind)
    of_layer = sum(parameter.numel() for parameter in model.encoder.layers[2].parameters())
    encoders = [SSLEncoder(copy.deepcopy(model), layer) for layer in (*range(4), "last")]
    assert [encoder.depth for encoder in encoders] == [0, 1, 2, 3, 3]
    sizes = [sum(p.numel() for p in encoder.parameters()) for encoder in encoders]
    assert sizes[3] - sizes[2] == sizes[2] - sizes[1] == of_layer
    # With the norms first, the one on top is needed for `last` alone: 16 weights and 16 biases.
    pre_norm = bool(getattr(model.config, "do_stable_layer_norm", False))
    assert sizes[4] - sizes[3] == (32 if pre_norm else 0)


def test_states_are_what_forward_reads(ssl_kind, tiny_model, noise):
    """Training the layers from cached frames rests on this."""
    model = tiny_model(ssl_kind)
    bottom = SSLEncoder(copy.deepcopy(model), 0)
    whole = SSLEncoder(copy.deepcopy(model), "last")
    waveforms, padding_mask = pad_waveforms([noise(2_000), noise(700, seed=1)])
    lengths = (~padding_mask).sum(dim=1)
    with torch.no_grad():
        hidden_states, frame_lengths = bottom(waveforms, lengths)
        states = list(whole.states(hidden_states, frame_lengths))
        expected, _ = whole(waveforms, lengths)
        dirty = hidden_states.clone()
        dirty[1, frame_lengths[1] :] = 1e3
        others = list(whole.states(dirty, frame_lengths))
    assert len(states) == LAYERS + 1
    assert states[0] is hidden_states
    real = int(frame_lengths[1])
    torch.testing.assert_close(whole.final(states[-1])[1, :real], expected[1, :real])
    torch.testing.assert_close(others[-1][1, :real], states[-1][1, :real])
    torch.testing.assert_close(others[-1][0], states[-1][0])


@pytest.mark.parametrize("kind", ["hubert-group", "mms", "wavlm-group", "wavlm-stable"])
def test_states_carry_the_gradients_of_transformers(kind, tiny_model):
    model = tiny_model(kind).requires_grad_(True)
    encoder = SSLEncoder(copy.deepcopy(model), LAYERS)
    given = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(1))
    ours, theirs = given.clone().requires_grad_(), given.clone().requires_grad_()
    *_, state = encoder.states(ours, torch.tensor([12, 12]))
    (state * weight).sum().backward()
    hidden_states, position_bias = theirs, None
    for number, layer in enumerate(model.encoder.layers):
        if kind.startswith("wavlm"):
            outputs = layer(hidden_states, position_bias=position_bias, index=number)
            position_bias = outputs[1] if position_bias is None else position_bias
        else:
            outputs = layer(hidden_states)
        hidden_states = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
    (hidden_states * weight).sum().backward()

    def same(first, second):
        scale = float(second.detach().abs().max())
        assert scale > 0
        torch.testing.assert_close(first, second, atol=1e-4 * scale, rtol=0)

    same(state, hidden_states)
    same(ours.grad, theirs.grad)
    reference = dict(model.encoder.layers.named_parameters())
    for name, parameter in encoder.layers.named_parameters():
        if reference[name].grad.abs().max() > 1e-4:  # a key's bias has none: softmax ignores it
            same(parameter.grad, reference[name].grad)


@pytest.mark.parametrize("kind", ["hubert-group", "wavlm-group"])
def test_taking_over_a_copy_leaves_the_model_as_it_was(kind, tiny_model, noise, reference):
    model = tiny_model(kind)
    clip = noise(1_000)
    before = reference(model, clip)[1]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    SSLEncoder(copy.deepcopy(model), 1)
    assert torch.equal(reference(model, clip)[1], before)
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_building_it_draws_no_random_number(ssl_kind, tiny_model):
    model = tiny_model(ssl_kind)
    before = torch.get_rng_state()
    SSLEncoder(model, "last")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_convolutional_adapter_on_top_is_refused(tiny_model):
    with pytest.raises(BackboneError, match=r"tiny has .*add_adapter"):
        SSLEncoder(tiny_model("wav2vec2-stable", add_adapter=True), "last", name="tiny")
