# SPDX-License-Identifier: Apache-2.0
"""The benchmark of extraction: what it counts, compares and prints, on tiny models."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
PARTS = ("models", "rows", "peers", "timing", "measuring", "accuracy", "tables")


@pytest.fixture
def parts(load_benchmark: Callable[..., Namespace]) -> Namespace:
    """The modules of the benchmark: `parts.models` is `extraction_models`."""
    return load_benchmark("extraction", PARTS)


@pytest.fixture
def without_peers(parts: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    for peer in ("S3PRL", "SpeechBrain"):
        monkeypatch.setitem(parts.peers._PACKAGES, peer, "no_such_package")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `urdu/urdu.csv`: 20 clips of noise, 40 s in all."""
    import soundfile

    folder = tmp_path_factory.mktemp("corpora")
    random = np.random.default_rng(0)
    (folder / "urdu").mkdir()
    lines = ["path,label,split"]
    for number in range(20):
        samples = 0.1 * random.standard_normal(
            16_000 + 1_600 * (number % 7) + 16_000 * (number % 3)
        )
        soundfile.write(folder / "urdu" / f"{number:02}.wav", samples, 16_000)
        split = "test" if number % 4 == 0 or number == 1 else "train"
        lines.append(f"{number:02}.wav,{number % 2},{split}")
    (folder / "urdu" / "urdu.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_models_have_the_sizes_of_the_checkpoints(parts: Namespace) -> None:
    # Of HubertModel, and of the encoder in WhisperModel, for the checkpoints of these names.
    sizes = {
        "whisper-tiny": 8_208_384,
        "whisper-small": 88_154_112,
        "hubert-base": 94_371_712,
        "hubert-large": 315_438_720,
    }
    for name, size in sizes.items():
        with torch.device("meta"):
            model = parts.models.make_model(name)
        assert sum(parameter.numel() for parameter in model.parameters()) == size, name


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large"])
def test_operations_of_hubert_are_those_that_torch_counts(parts: Namespace, name: str) -> None:
    model = parts.models.make_model(name, tiny=True)
    model.set_attn_implementation("eager")  # the counter does not know every fused attention
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, 20_000))
    config = model.config
    # The position convolution has an even kernel, and its last frame is dropped.
    per_group = config.hidden_size // config.num_conv_pos_embedding_groups
    dropped = 2 * config.hidden_size * per_group * config.num_conv_pos_embeddings
    expected = counter.get_total_flops() - dropped
    assert parts.models.clip_flops(config, 20_000, config.num_hidden_layers, "clip") == expected


@pytest.mark.parametrize("context", ["clip", "window"])
def test_operations_of_whisper_are_those_that_torch_counts(
    parts: Namespace, context: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = parts.models.make_model("whisper-tiny", tiny=True).config
    frames = 40 if context == "clip" else 1500
    # transformers runs whole windows only, so this one has a window as long as the clip.
    monkeypatch.setitem(parts.models._WHISPER, "max_source_positions", frames)
    model = parts.models.make_model("whisper-tiny", tiny=True)
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, 80, 2 * frames))
    layers = whole.num_hidden_layers
    assert parts.models.clip_flops(whole, 40 * 320, layers, context) == counter.get_total_flops()


def test_cut_clips_follow_each_other_and_have_their_lengths(parts: Namespace) -> None:
    clips = [torch.arange(start, start + 100_000) for start in range(0, 2_000_000, 100_000)]
    pieces = parts.main.cut_clips(clips, seed=3)
    joined = torch.cat(pieces)
    assert torch.equal(joined, torch.arange(len(joined)))
    assert 2_000_000 - len(joined) < 15 * 16_000
    seconds = [len(piece) / 16_000 for piece in pieces]
    assert min(seconds) >= 0.6
    assert max(seconds) <= 15
    assert max(seconds) - min(seconds) > 5
    assert [len(piece) for piece in parts.main.cut_clips(clips, seed=3)] == [*map(len, pieces)]
    assert [len(piece) for piece in parts.main.cut_clips(clips, seed=4)] != [*map(len, pieces)]


def test_draws_keep_the_order(parts: Namespace) -> None:
    drawn = parts.measuring.draw(range(100), 20, seed=1)
    assert len(drawn) == 20
    assert drawn == sorted(set(drawn))
    assert drawn == parts.measuring.draw(range(100), 20, seed=1)
    assert drawn != parts.measuring.draw(range(100), 20, seed=2)
    assert parts.measuring.draw(range(3), 20, seed=1) == [0, 1, 2]


def test_methods_take_turns(parts: Namespace) -> None:
    turns = parts.measuring.take_turns(["a", "b"], ["1", "2", "3", "4"])
    assert turns == ["a", "1", "2", "b", "3", "4"]


def test_a_pass_is_repeated_until_its_time_is_up(parts: Namespace) -> None:
    seen = []
    clips = [torch.zeros(4)]
    parts.timing.time_pass(lambda clips: seen.append(len(clips)), clips, CPU, least=0)
    assert seen == [1]
    assert parts.timing.time_pass(lambda clips: seen.append(0), clips, CPU, least=0.01) < 0.01
    assert len(seen) > 2


def test_the_ratio_is_to_the_best_peer_of_the_row(parts: Namespace) -> None:
    medians = {"HF batch 8": 2.0, "HF one by one": 4.0, "S3PRL": 100.0}
    medians |= {"HF one by one, autocast bf16": 50.0, "lengths fp32": 4.4, "lengths bf16": 7.9}
    result = parts.measuring.compare("lengths", medians)
    assert result["best_peer"] == "HF one by one"
    assert result["peers"] == {"HF batch 8": 2.0, "HF one by one": 4.0}
    assert result["peers_autocast"] == {"HF one by one": 50.0}
    assert result["fp32"] == {"speed": 4.4, "ratio": 1.1, "target": 1.1, "met": True}
    assert (result["bf16"]["ratio"], result["bf16"]["met"]) == (1.975, False)


def test_no_peer_no_ratio(parts: Namespace) -> None:
    medians = {"hubert-base-half fp32": 3.0, "hubert-base-half bf16": 5.0, "HF batch 8": 1.0}
    result = parts.measuring.compare("hubert-base-half", medians)
    assert result["best_peer"] is None
    assert result["fp32"] == {"speed": 3.0, "ratio": None, "target": 1.4, "met": None}


def test_efficiency_is_the_share_of_the_fastest_product(parts: Namespace) -> None:
    model = parts.models.make_model("hubert-base", tiny=True)
    clips = [torch.zeros(16_000), torch.zeros(48_000)]
    medians = {"hubert-base fp32": 10.0, "hubert-base bf16": 20.0}
    peak = {"fp32": {"torch.matmul": 1e9, "other": 2e9}, "bf16": {"torch.matmul": 4e9}}
    result = parts.measuring.efficiency("hubert-base", model, clips, medians, peak)
    layers = model.config.num_hidden_layers
    flops = sum(parts.models.clip_flops(model.config, len(c), layers, "clip") for c in clips)
    assert result["flops_per_audio_second"] == pytest.approx(flops / 4)
    fp32 = result["fp32_efficiency"]
    assert fp32["best_matrix_way"] == "other"
    assert fp32["share"] == pytest.approx(10 * flops / 4 / 2e9)
    assert fp32["share_of_torch_matmul"] == pytest.approx(10 * flops / 4 / 1e9)
    assert fp32["target"] == 0.8
    half = {"hubert-base-half fp32": 1.0, "hubert-base-half bf16": 1.0}
    half_result = parts.measuring.efficiency("hubert-base-half", model, clips, half, peak)
    assert half_result["flops_per_audio_second"] < result["flops_per_audio_second"]
    assert half_result["fp32_efficiency"]["met"] is None


def test_a_peer_with_other_frames_is_refused(parts: Namespace) -> None:
    clip = torch.randn(8)
    peers = {"right": lambda clips: [clips[0]], "also right": lambda clips: [clips[0] * 1.000001]}
    parts.measuring.check_agreement(peers, clip)
    with pytest.raises(RuntimeError, match="wrong gives other frames than right"):
        parts.measuring.check_agreement(peers | {"wrong": lambda clips: [clips[0] * 1.1]}, clip)
    with pytest.raises(RuntimeError, match="other frames"):
        parts.measuring.check_agreement(peers | {"wrong": lambda clips: [clips[0] / 0]}, clip)


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large", "whisper-tiny"])
def test_ours_and_transformers_run_the_same_network(
    parts: Namespace, name: str, tmp_path: Path
) -> None:
    model = parts.models.make_model(name, tiny=True)
    row = parts.rows.Row("", (name,), (), (0, 0), context="window")
    clips = [torch.randn(samples) for samples in (16_000, 9_000)]
    ours = parts.measuring.make_ours(model, row, "fp32", CPU)
    theirs = parts.peers.make_peer("HF one by one", model, tmp_path, CPU)
    with torch.inference_mode():
        for clip in clips:
            frames = ours([clip])[0]
            assert torch.allclose(frames, theirs([clip])[0][:, : frames.shape[1]], atol=1e-4)
        assert sum(len(batch) for batch in ours(clips)) == 2


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large"])
@pytest.mark.parametrize("peer", ["S3PRL", "SpeechBrain"])
def test_peers_that_are_installed_run_the_same_network(
    parts: Namespace, peer: str, name: str, tmp_path: Path
) -> None:
    if not parts.peers.is_installed(peer):
        pytest.skip(f"{peer} is not installed")
    model = parts.models.make_model(name, tiny=True)
    names = (peer, "HF batch 8", "HF one by one")
    methods = {name: parts.peers.make_peer(name, model, tmp_path, CPU) for name in names}
    parts.measuring.check_agreement(methods, 0.1 * torch.randn(20_000))
    batches = methods[peer]([0.1 * torch.randn(4_000 + 100 * i) for i in range(9)])
    assert [len(batch) for batch in batches] == [8, 1]


@pytest.mark.usefixtures("without_peers")
def test_tables_and_json(
    parts: Namespace, corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sub" / "results.json"
    command = [str(corpora), "--tiny", "--threads", "1", "--repeats", "1", "--clips", "12"]
    command += ["--seconds-per-pass", "0", "--accuracy", "--out", str(out)]
    parts.main.main([*command, "--rows", "lengths", "hubert-base-half", "whisper-window"])
    printed = capsys.readouterr()
    results = json.loads(out.read_text())
    assert [(row["row"], row["model"]) for row in results["rows"]] == [
        ("whisper-window", "whisper-tiny"),
        ("whisper-window", "whisper-small"),
        ("hubert-base-half", "hubert-base"),
        ("lengths", "hubert-base"),
    ]
    assert results["skipped"] == ["S3PRL", "SpeechBrain"]
    window, _, half, lengths = results["rows"]
    assert window["clips"] == 8
    assert set(window["peers"]) == {"HF batch 8", "HF one by one"}
    assert set(lengths["rounds"]) == {*window["peers"], "lengths fp32", "lengths bf16"}
    assert half["peers"] == {}
    assert half["fp32"]["ratio"] is None
    errors = {(row["model"], row["context"]): row for row in results["accuracy"]}
    assert set(errors) == {
        ("whisper-tiny", "window"),
        ("whisper-small", "window"),
        ("hubert-base", "clip"),
    }
    for row in errors.values():
        assert row["fp32_error"] < 1e-4 < row["bf16_error"] < 0.1
    for row in results["scores"]:
        assert row["tested"] == 6
        # A head on noise may score anything, but hardly anything hangs on the precision.
        assert 0 <= row["changed"] <= 2
        assert 0 <= row["fp32"] <= 1
    for text in ("| hubert-base, half the layers |", "S3PRL was skipped", "no peer (≥ 1.4)"):
        assert text in printed.out
    assert "round 1: lengths fp32" in printed.err
    tables = [line for line in printed.out.splitlines() if line.startswith("|")]
    columns = [line.count("|") for line in tables]
    # Four tables, whose lines have as many cells as their heads.
    assert len(tables) == (2 + 4) + (2 + 4) + (2 + 3) + (2 + 3)
    for start, stop in ((0, 6), (6, 12), (12, 17), (17, 22)):
        assert len({*columns[start:stop]}) == 1


def test_rows_must_be_known(parts: Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parts.main.parse(["corpora", "--rows", "hubert"])
    assert "hubert-base-half" in capsys.readouterr().err


def test_every_row_has_its_models_and_peers(parts: Namespace) -> None:
    module: ModuleType = parts.rows
    for row in module.ROWS.values():
        assert set(row.models) <= set(parts.models.MODELS)
        assert set(row.peers) <= set(parts.peers.PEERS)
        assert len(row.targets) == len(module.PRECISIONS)
