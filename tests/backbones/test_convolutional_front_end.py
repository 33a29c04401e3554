# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from voxadapt.backbones import convolutional_front_end as module
from voxadapt.backbones import pad_waveforms
from voxadapt.backbones.convolutional_front_end import ConvolutionalFrontEnd, normalize_waveforms
from voxadapt.backbones.widest_type import widest_type

# Of one frame, of a few, and of more than are computed in one piece.
SAMPLES = [3_210, 30, 31, 49, 50, 777, 2_000]
PUBLISHED = {
    "conv_dim": (4,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "num_feat_extract_layers": 7,
}
KINDS = {
    "group norm": ("wav2vec2-group", {}),
    "group norm and a bias": ("hubert-group", {"conv_bias": True}),
    "layer norm": ("wav2vec2-stable", {}),
    "layer norm and a bias": ("wavlm-stable", {"conv_bias": True}),
    "another activation": ("hubert-group", {"feat_extract_activation": "relu"}),
    "data2vec": ("data2vec", {}),
    "seven layers": ("hubert-group", PUBLISHED),
}


def front_end_of(model):
    config = model.config
    return ConvolutionalFrontEnd(
        model.feature_extractor.conv_layers,
        config.conv_kernel,
        config.conv_stride,
        normalized_over_time=getattr(config, "feat_extract_norm", "layer") == "group",
    )


@pytest.fixture(params=list(KINDS))
def model(request, tiny_model):
    kind, changes = KINDS[request.param]
    return tiny_model(kind, **changes)


@torch.no_grad()
def features_of(front_end, clips):
    """The real features of each clip of a batch."""
    waveforms, padding_mask = pad_waveforms(clips)
    features = front_end(waveforms, (~padding_mask).sum(dim=1))
    lengths = front_end.frame_lengths(torch.tensor([len(clip) for clip in clips]))
    assert features.shape[:2] == (len(clips), int(lengths.max()))
    return [clip[:length] for clip, length in zip(features, lengths, strict=True)]


def near(actual, expected):
    scale = float(expected.abs().max())
    assert scale > 0
    torch.testing.assert_close(actual, expected, atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize("frames_at_once", [1, 7, 50])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_clip_of_a_batch_equals_transformers(
    model, frames_at_once, device, noise, monkeypatch
):
    """In pieces of one row for a CPU, and of all rows for a GPU."""
    pieces = module._pieces
    monkeypatch.setattr(module, "_pieces", lambda lengths, _: pieces(lengths, device))
    monkeypatch.setattr(module, "_CPU_FRAMES", frames_at_once)
    monkeypatch.setattr(module, "_GPU_FRAMES", frames_at_once * len(SAMPLES))
    samples = [n for n in SAMPLES if n >= front_end_of(model).minimum_samples]
    clips = [noise(n, seed) * 10.0 ** -(seed % 3) for seed, n in enumerate(samples)]
    with torch.no_grad():
        expected = [model.feature_extractor(clip[None])[0].T for clip in clips]
    for features, alone in zip(features_of(front_end_of(model), clips), expected, strict=True):
        near(features, alone)


class NoFloat64(TorchDispatchMode):
    """Fails as a device does that has no float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        assert all(
            leaf.dtype != torch.float64
            for leaf in tree_leaves(results)
            if isinstance(leaf, torch.Tensor)
        ), f"{func} gave float64"
        return results


def test_a_device_without_float64_computes_in_float32(model, noise, monkeypatch):
    clips = [noise(n, seed) for seed, n in enumerate([3_210, 777])]
    with torch.no_grad():
        expected = [model.feature_extractor(clip[None])[0].T for clip in clips]
    monkeypatch.setattr(module, "widest_type", lambda device: widest_type(torch.device("mps")))
    with NoFloat64():
        found = features_of(front_end_of(model), clips)
    for features, alone in zip(found, expected, strict=True):
        near(features, alone)


def test_what_lies_on_the_padding_stays_there(model, noise):
    front_end = front_end_of(model)
    waveforms, lengths = torch.stack([noise(3_000), noise(3_000, 1)]), torch.tensor([3_000, 1_111])
    dirty = waveforms.clone()
    waveforms[1, 1_111:], dirty[1, 1_111:] = 0.0, 1e6
    real = int(front_end.frame_lengths(lengths)[1])
    with torch.no_grad():
        clean, other = front_end(waveforms, lengths), front_end(dirty, lengths)
    assert torch.equal(other[0], clean[0])
    assert torch.equal(other[1, :real], clean[1, :real])


def test_minimum_samples_is_where_the_first_frame_begins(model, noise):
    front_end = front_end_of(model)
    minimum = front_end.minimum_samples
    assert front_end.frame_lengths(torch.tensor([minimum - 1, minimum])).tolist() == [0, 1]
    assert len(features_of(front_end, [noise(minimum)])[0]) == 1


def test_the_published_geometry(tiny_model):
    front_end = front_end_of(tiny_model("hubert-group", **PUBLISHED))
    assert (front_end.minimum_samples, front_end.hop) == (400, 320)
    lengths = torch.tensor([400, 719, 720, 16_000, 480_000])
    assert front_end.frame_lengths(lengths).tolist() == [1, 1, 2, 49, 1_499]


@pytest.mark.parametrize("clip", [torch.zeros(500), torch.full((500,), 0.25)])
def test_silence_and_a_constant(clip, tiny_model, noise):
    model = tiny_model("hubert-group")
    with torch.no_grad():
        expected = model.feature_extractor(clip[None])[0].T
    alone = features_of(front_end_of(model), [clip])[0]
    torch.testing.assert_close(alone, expected, atol=1e-3, rtol=0)
    near(features_of(front_end_of(model), [noise(900), clip])[1], alone)


def test_an_offset_far_above_the_signal_costs_no_more_than_it_must(tiny_model, noise):
    """Channels' means are taken in float64: in float32 a variance would all but vanish."""
    model = tiny_model("hubert-group")
    clip = 1e-3 * noise(20_000).double() + 0.5
    with torch.no_grad():
        exact = model.double().feature_extractor(clip[None])[0].T.float()
    features = features_of(front_end_of(model.float()), [clip.float()])[0]
    torch.testing.assert_close(features, exact, atol=0.01, rtol=0)


def test_bfloat16_is_near_and_its_first_layer_is_in_float32(model, noise):
    clips = [noise(3_000), noise(500, seed=1)]
    expected = features_of(front_end_of(model), clips)
    front_end = front_end_of(model.bfloat16())
    seen = []
    first = front_end._filter
    front_end._filter = lambda *given: seen.append(first(*given)) or seen[-1]
    for features, reference in zip(features_of(front_end, clips), expected, strict=True):
        assert features.dtype == torch.bfloat16
        assert (features.float() - reference).norm() < 0.03 * reference.norm()
    assert {tensor.dtype for tensor in seen} == {torch.float32}


def test_it_holds_the_weights_of_the_checkpoint(model):
    held = {parameter.data_ptr() for parameter in front_end_of(model).parameters()}
    assert held == {parameter.data_ptr() for parameter in model.feature_extractor.parameters()}


def test_pieces_cover_each_frame_once(monkeypatch):
    monkeypatch.setattr(module, "_CPU_FRAMES", 3)
    monkeypatch.setattr(module, "_GPU_FRAMES", 8)
    lengths = [7, 3, 1]
    for device in ("cpu", "cuda"):
        count = torch.zeros(3, 7, dtype=torch.int64)
        for rows, first, last in module._pieces(lengths, device):
            assert 0 < last - first <= 3
            assert last <= max(lengths[rows])
            count[rows, first:last] += 1
        assert int(count.max()) == 1
        for row, length in enumerate(lengths):
            assert bool((count[row, :length] == 1).all())


def test_normalized_waveforms_are_those_of_the_extractor(noise):
    from transformers import Wav2Vec2FeatureExtractor

    clips = [3 * noise(2_000), 1e-4 * noise(500, seed=1) + 0.3, noise(1, seed=2)]
    extracted = Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = [extracted(clip.numpy(), sampling_rate=16_000).input_values[0] for clip in clips]
    waveforms, padding_mask = pad_waveforms(clips)
    normalized = normalize_waveforms(waveforms, (~padding_mask).sum(dim=1), 1e-7)
    for clip, reference, real in zip(normalized, expected, ~padding_mask, strict=True):
        torch.testing.assert_close(clip[real], torch.from_numpy(reference), atol=1e-4, rtol=1e-4)
        assert not clip[~real].any()


def test_gradients_are_not_cut(tiny_model, noise):
    front_end = front_end_of(tiny_model("hubert-group"))
    front_end(noise(500)[None], torch.tensor([500])).square().sum().backward()
    assert all(parameter.grad.any() for parameter in front_end.parameters())
    assert isinstance(front_end.conv_layers, nn.ModuleList)
