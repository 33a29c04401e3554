# SPDX-License-Identifier: Apache-2.0
import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from voxadapt.backbones.base import BackboneError, pad_waveforms
from voxadapt.backbones.wav2vec2_bert import Wav2Vec2BertEncoder

LAYERS = 3
# One to three frames, with an even and an odd number of windows, and up to a few seconds.
SAMPLES = [1, 560, 720, 880, 1_040, 1_200, 16_000, 16_160, 40_001]


def tiny_model(seed: int = 0, **changes: Any) -> Any:
    """A tiny model whose weights have a size at which a wrong answer shows."""
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

    settings = {
        "hidden_size": 16,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "conv_depthwise_kernel_size": 5,
        "left_max_position_embeddings": 6,
        "right_max_position_embeddings": 2,
        # Off in eval mode; an encoder that left it would be seen at once.
        "layerdrop": 0.9,
        "hidden_dropout": 0.5,
        "mask_time_prob": 0.9,
        "mask_time_length": 2,
        **changes,
    }
    model = Wav2Vec2BertModel(Wav2Vec2BertConfig(**settings))
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if "norm.weight" in name:
            tensor.normal_(1.0, 0.1, generator=generator)
        else:
            tensor.normal_(0.0, 0.3, generator=generator)
    return model.eval()


@torch.no_grad()
def hidden_states_of(model: Any, clip: Tensor) -> tuple[list[Tensor], Tensor]:
    """What transformers gives for a clip alone: each hidden state `[T, D]`, and the last."""
    from transformers import SeamlessM4TFeatureExtractor

    clip = F.pad(clip, (0, max(0, 560 - len(clip))))
    inputs = SeamlessM4TFeatureExtractor()(clip.numpy(), sampling_rate=16_000, return_tensors="pt")
    outputs = model(**inputs, output_hidden_states=True)
    real = int(inputs.attention_mask.sum())
    return [state[0, :real] for state in outputs.hidden_states], outputs.last_hidden_state[0, :real]


@torch.no_grad()
def encode(encoder: Wav2Vec2BertEncoder, clips: list[Tensor]) -> list[Tensor]:
    """The real frames of each clip of a batch."""
    waveforms, mask = pad_waveforms(clips)
    waveforms = F.pad(waveforms, (0, max(0, encoder.minimum_samples - waveforms.shape[1])))
    frames, lengths = encoder(waveforms, (~mask).sum(dim=1))
    assert torch.isfinite(frames).all()
    return [frame[:length] for frame, length in zip(frames, lengths.tolist(), strict=True)]


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("position_embeddings_type", ["relative_key", None])
def test_every_layer_equals_transformers_alone_and_in_a_batch(position_embeddings_type, noise):
    model = tiny_model(position_embeddings_type=position_embeddings_type)
    clips = [noise(samples, seed) for seed, samples in enumerate(SAMPLES)]
    expected = [hidden_states_of(model, clip) for clip in clips]
    for layer in range(LAYERS + 1):
        encoder = Wav2Vec2BertEncoder(copy.deepcopy(model), layer)
        together = encode(encoder, clips)
        for index, clip in enumerate(clips):
            close(together[index], expected[index][0][layer])
            close(encode(encoder, [clip])[0], expected[index][0][layer])


def test_last_mean_and_weighted_equal_transformers(noise):
    model = tiny_model()
    clips = [noise(samples, seed) for seed, samples in enumerate(SAMPLES)]
    together = {
        layer: encode(Wav2Vec2BertEncoder(copy.deepcopy(model), layer), clips)
        for layer in ("last", "mean", "weighted")
    }
    for index, clip in enumerate(clips):
        states, last = hidden_states_of(model, clip)
        close(together["last"][index], last)
        close(together["mean"][index], torch.stack(states).mean(dim=0))
        close(together["weighted"][index], torch.cat(states, dim=-1))


@pytest.mark.parametrize(
    "changes",
    [
        {"left_max_position_embeddings": 64, "right_max_position_embeddings": 8},
        {"left_max_position_embeddings": 0, "right_max_position_embeddings": 3},
        {"num_attention_heads": 4},
        {"conv_depthwise_kernel_size": 31},
        {"hidden_act": "gelu"},
        {"layer_norm_eps": 0.1},
        {"mask_time_prob": 0.0},
    ],
)
def test_each_setting_is_heeded(changes, noise):
    model = tiny_model(**changes)
    clips = [noise(30_000), noise(9_000, seed=1)]
    encoded = encode(Wav2Vec2BertEncoder(copy.deepcopy(model)), clips)
    for frames, clip in zip(encoded, clips, strict=True):
        close(frames, hidden_states_of(model, clip)[1])


def test_thirty_seconds_equal_transformers_in_blocks_of_queries(noise, monkeypatch):
    monkeypatch.setattr("voxadapt.backbones.attention._BIAS_ELEMENTS", 1 << 20)
    model = tiny_model(num_hidden_layers=2)
    clips = [noise(480_000), noise(5_000, seed=1)]
    encoded = encode(Wav2Vec2BertEncoder(copy.deepcopy(model)), clips)
    assert len(encoded[0]) == 1_499
    for frames, clip in zip(encoded, clips, strict=True):
        close(frames, hidden_states_of(model, clip)[1])


def test_what_lies_on_the_padding_stays_there(noise):
    encoder = Wav2Vec2BertEncoder(tiny_model())
    lengths = torch.tensor([16_000, 3_000, 560])
    waveforms = torch.stack([noise(16_000, seed) for seed in range(3)])
    dirty = waveforms.clone()
    dirty[1, 3_000:], dirty[2, 560:] = 1e4, -1e4
    with torch.no_grad():
        frames, frame_lengths = encoder(waveforms, lengths)
        others, _ = encoder(dirty, lengths)
    for clip, length in enumerate(frame_lengths.tolist()):
        close(others[clip, :length], frames[clip, :length])


def test_states_do_not_read_the_padding():
    encoder = Wav2Vec2BertEncoder(tiny_model())
    hidden_states = torch.randn(2, 30, 16, generator=torch.Generator().manual_seed(0))
    dirty = hidden_states.clone()
    dirty[1, 20:] = 1e3
    lengths = torch.tensor([30, 20])
    with torch.no_grad():
        *_, expected = encoder.states(hidden_states, lengths)
        *_, state = encoder.states(dirty, lengths)
        *_, alone = encoder.states(hidden_states[1:, :20], lengths[1:])
    close(state[0], expected[0])
    close(state[1, :20], expected[1, :20])
    close(state[1, :20], alone[0])


def test_layers_above_are_dropped():
    encoder = Wav2Vec2BertEncoder(tiny_model(), 1)
    assert encoder.depth == len(encoder.layers) == 1
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    whole = Wav2Vec2BertEncoder(tiny_model())
    assert whole.depth == LAYERS
    layer = sum(parameter.numel() for parameter in whole.layers[0].parameters())
    assert parameters + 2 * layer == sum(parameter.numel() for parameter in whole.parameters())
    # Layer 0 is what the first layer reads.
    assert len(Wav2Vec2BertEncoder(tiny_model(), 0).layers) == 0


def test_it_holds_every_weight_once_and_leaves_the_model_as_it_was(noise):
    model = tiny_model(mask_time_prob=0.0)
    clip = noise(16_000)
    before = hidden_states_of(model, clip)[1]
    encoder = Wav2Vec2BertEncoder(model)
    held = sum(parameter.numel() for parameter in encoder.parameters())
    assert held == sum(parameter.numel() for parameter in model.parameters())
    pointers = {parameter.data_ptr() for parameter in encoder.parameters()}
    assert pointers == {parameter.data_ptr() for parameter in model.parameters()}
    torch.testing.assert_close(hidden_states_of(model, clip)[1], before, atol=0, rtol=0)


def test_building_it_draws_no_random_number():
    model = tiny_model()
    state = torch.get_rng_state()
    Wav2Vec2BertEncoder(model)
    assert torch.equal(torch.get_rng_state(), state)


def test_states_carry_the_same_gradients_as_transformers():
    model = tiny_model().requires_grad_(True)
    encoder = Wav2Vec2BertEncoder(copy.deepcopy(model))
    generator = torch.Generator().manual_seed(0)
    hidden_states = torch.randn(2, 12, 16, generator=generator)
    lengths = torch.tensor([12, 7])
    mask = torch.arange(12) < lengths[:, None]
    hidden_states = hidden_states * mask[..., None]
    weight = torch.randn(2, 12, 16, generator=generator) * mask[..., None]
    ours = hidden_states.clone().requires_grad_()
    theirs = hidden_states.clone().requires_grad_()
    *_, state = encoder.states(ours, lengths)
    (state * weight).sum().backward()
    output = model.encoder(theirs, attention_mask=mask).last_hidden_state
    (output * weight).sum().backward()
    close(state[mask], output[mask])
    close(ours.grad[mask], theirs.grad[mask])
    for index, layer in enumerate(encoder.layers):
        reference = model.encoder.layers[index]
        close(
            layer.self_attn.distance_embedding.weight.grad,
            reference.self_attn.distance_embedding.weight.grad,
        )
        close(layer.self_attn.linear_q.weight.grad, reference.self_attn.linear_q.weight.grad)
        close(
            layer.pointwise_conv1.weight.grad,
            reference.conv_module.pointwise_conv1.weight.grad[..., 0],
        )
        close(layer.ffn2.output_dense.weight.grad, reference.ffn2.output_dense.weight.grad)


def test_states_give_the_input_first_and_a_layer_at_a_time():
    encoder = Wav2Vec2BertEncoder(tiny_model())
    hidden_states = torch.randn(1, 5, 16)
    states = list(encoder.states(hidden_states, torch.tensor([5])))
    assert len(states) == LAYERS + 1
    assert states[0] is hidden_states


def test_half_precision_is_near(noise):
    model = tiny_model()
    clips = [noise(16_000), noise(5_000, seed=1)]
    expected = encode(Wav2Vec2BertEncoder(copy.deepcopy(model), 1), clips)
    encoded = encode(Wav2Vec2BertEncoder(model.to(torch.bfloat16), 1), clips)
    for frames, reference in zip(encoded, expected, strict=True):
        assert frames.dtype == torch.bfloat16
        assert (frames.float() - reference).norm() < 0.05 * reference.norm()


def test_it_says_what_it_is():
    import json

    encoder = Wav2Vec2BertEncoder(tiny_model(), 2)
    assert (encoder.minimum_samples, encoder.receptive_field) == (560, 560)
    assert (encoder.frame_rate, encoder.width, encoder.depth) == (50.0, 16, 2)
    description = json.loads(json.dumps(encoder.description))
    assert description["left_max_position_embeddings"] == 6
    changed = Wav2Vec2BertEncoder(tiny_model(layer_norm_eps=0.1), 2).description
    assert changed != encoder.description


def test_two_choices_share_a_description_exactly_when_they_share_their_features():
    def described(layer: int | str) -> dict[str, Any]:
        return Wav2Vec2BertEncoder(tiny_model(), layer).description

    assert described("last") == described(LAYERS) != described(LAYERS - 1)
    assert described("last") != described("mean") != described("weighted") != described("last")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"add_adapter": True}, r"tiny has .*add_adapter is true"),
        ({"position_embeddings_type": "rotary"}, "position_embeddings_type 'rotary', but"),
        ({"position_embeddings_type": "relative"}, "position_embeddings_type 'relative', but"),
        ({"feature_projection_input_dim": 80}, "feature_projection_input_dim 80, but 160"),
    ],
)
def test_what_it_cannot_run_is_refused(changes, message):
    with pytest.raises(BackboneError, match=message):
        Wav2Vec2BertEncoder(tiny_model(**changes), name="tiny")


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(BackboneError, match="has 3 layers"):
        Wav2Vec2BertEncoder(tiny_model(), 4)
