# SPDX-License-Identifier: Apache-2.0
"""``extract_features`` on bad input: one clear message, or the right answer."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, HubertConfig, HubertModel

from voxadapt.backbones import read_audio

Run = Callable[..., Any]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE=1, also where huggingface_hub was imported before."""
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def model(hubert_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint of one's own, to spoil."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in hubert_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def change_weights(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def refused(ran: Any, *needles: str) -> None:
    """One message of one line, and nothing written."""
    assert ran.code == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for needle in needles:
        assert needle in ran.err
    assert not Path("runs").exists()


def test_a_hub_id_that_cannot_be_had_offline(run_cli: Run, corpus: Path, offline: None) -> None:
    name = "nobody/there-is-no-such-encoder"
    ran = run_cli("extract_features", "--data", corpus, "--backbone", name)
    refused(ran, name, f"`hf download {name} --local-dir FOLDER`", "give FOLDER instead")


def test_a_folder_without_weights(run_cli: Run, corpus: Path, model: Path) -> None:
    (model / "model.safetensors").unlink()
    ran = run_cli("extract_features", "--data", corpus, "--backbone", model)
    refused(ran, str(model), "A folder needs config.json and model.safetensors")


def test_a_folder_without_anything(run_cli: Run, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    ran = run_cli("extract_features", "--data", corpus, "--backbone=./nothing")
    refused(ran, "./nothing", "A folder needs config.json")


def test_weights_that_were_cut_off(run_cli: Run, corpus: Path, model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    ran = run_cli("extract_features", "--data", corpus, "--backbone", model)
    refused(ran, f"{model} cannot be loaded")


def test_a_text_model(run_cli: Run, corpus: Path, tmp_path: Path) -> None:
    sizes = {"vocab_size": 10, "hidden_size": 8, "intermediate_size": 8}
    config = BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=1)
    BertModel(config).save_pretrained(tmp_path / "text")
    ran = run_cli("extract_features", "--data", corpus, "--backbone=text")
    refused(ran, "text is a 'bert' checkpoint", "HuBERT, wav2vec 2.0", "Whisper")


def test_weights_that_are_missing(run_cli: Run, corpus: Path, model: Path) -> None:
    name = "encoder.layers.1.attention.q_proj.weight"
    change_weights(model, lambda weights: weights.pop(name))
    ran = run_cli("extract_features", "--data", corpus, "--backbone", model)
    refused(ran, "lacks 1 weights", name)


def test_weights_that_nobody_expects(run_cli: Run, corpus: Path, model: Path) -> None:
    extra = {"encoder.layers.2.attention.q_proj.weight": torch.zeros(16, 16)}
    change_weights(model, lambda weights: weights.update(extra))
    ran = run_cli("extract_features", "--data", corpus, "--backbone", model)
    refused(ran, "has, beyond the model's, 1 weights", *extra)


@pytest.mark.parametrize("layer", ["3", "-1", "lats", "1.5"])
def test_a_layer_that_is_not_there(
    layer: str, run_cli: Run, corpus: Path, hubert_folder: Path
) -> None:
    given = ["--data", corpus, "--backbone", hubert_folder, f"--layer={layer}"]
    refused(run_cli("extract_features", *given), "layer is", layer, "has 2 layers", "0 (the input")


def test_options_that_do_not_go_together(run_cli: Run, corpus: Path) -> None:
    for given, needle in (
        (["--export=npy"], "they go together"),
        (["--out=out"], "they go together"),
        (["--export=hdf5", "--out=out"], "found 'hdf5', allowed: 'none', 'npy'"),
        (["--batch-seconds=0"], "--batch-seconds: found 0.0, must be above 0"),
        (["--precision=fp16"], "'bf16'"),
        (["--label=mood"], "mood"),
    ):
        ran = run_cli("extract_features", "--data", corpus, *given)
        assert ran.code == 2
        assert needle in ran.err
        assert "Traceback" not in ran.err
    assert not Path("runs").exists()


def write(path: Path, samples: Any) -> Path:
    soundfile.write(path, np.asarray(samples, dtype=np.float32), 16_000, subtype="FLOAT")
    return path


@pytest.fixture
def extract(
    run_cli: Run, write_rows: Callable[..., Path], hubert_folder: Path
) -> Callable[..., Any]:
    """Run on these files: ``extract("a.wav", "b.wav")``, with layer 1 of the tiny HuBERT."""

    def run(*paths: str, backbone: Path = hubert_folder) -> Any:
        data = write_rows([{"path": path} for path in paths])
        given = ["--backbone", backbone, "--layer=1", "--export=npy", "--out=out"]
        return run_cli("extract_features", "--data", data, *given)

    return run


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([], "has no samples"),
        ([0.1, float("nan"), *[0.2] * 900], "NaN or infinite samples"),
        ([0.1] * 900, "is silent"),
        ([0.1, 0.2] * 79, "at least 0.01 s is needed"),
    ],
)
def test_audio_that_cannot_be_used(
    samples: list[float], reason: str, extract: Run, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    write(tmp_path / "good.wav", random.uniform(-0.5, 0.5, 8_000))
    write(tmp_path / "bad.wav", samples)
    ran = extract("good.wav", "bad.wav")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "the audio of 1 of 2 clips cannot be used" in ran.err
    assert "--on-bad-audio skip" in ran.err
    assert f"bad.wav: {tmp_path / 'bad.wav'}" in ran.err
    assert reason in ran.err
    assert not (tmp_path / "out").exists()


def test_ten_milliseconds_are_one_frame(extract: Run, hubert_folder: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    write(tmp_path / "short.wav", random.uniform(-0.5, 0.5, 160))
    write(tmp_path / "long.wav", random.uniform(-0.5, 0.5, 16_000))
    ran = extract("short.wav", "long.wav")
    assert ran.code == 0, ran.err
    assert (tmp_path / "out" / "all.lengths").read_text().split() == ["1", "50"]
    frames = np.load(tmp_path / "out" / "all.npy")
    padded = torch.nn.functional.pad(read_audio(tmp_path / "short.wav"), (0, 160))
    with torch.inference_mode():
        model = HubertModel.from_pretrained(hubert_folder).eval()
        expected = model(padded[None], output_hidden_states=True).hidden_states[1][0]
    np.testing.assert_allclose(frames[:1], expected, atol=2e-3)


MEASURED = """
import json, resource, sys
from voxadapt.recipes import extract_features
from voxadapt.recipes.running.command_line import run_command

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

code = run_command(extract_features.main, [*sys.argv[2:], "--data", "warm.csv"])
before = peak()
code = code or run_command(extract_features.main, [*sys.argv[2:], "--data", sys.argv[1],
                                                   "--export=npy", "--out=out"])
print(json.dumps({"code": code, "before": before, "after": peak()}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no resource module")
def test_ten_minutes_are_right_and_bounded_in_memory(
    write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 8),
        conv_stride=(10, 8, 8),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    model = HubertModel(config).eval()
    model.save_pretrained(tmp_path / "model")
    random = np.random.default_rng(0)
    samples = random.uniform(-0.5, 0.5, 600 * 16_000)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    soundfile.write(tmp_path / "short.wav", samples[:16_000], 16_000)
    write_rows([{"path": "short.wav"}], name="warm.csv")
    data = write_rows([{"path": "short.wav"}, {"path": "long.wav"}])
    (tmp_path / "measured.py").write_text(MEASURED)
    command = [sys.executable, "measured.py", data, "--backbone=model", "--layer=1"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    measured = json.loads(ran.stdout.splitlines()[-1])
    assert measured["code"] == 0, ran.stderr
    lengths = [int(line) for line in (tmp_path / "out" / "all.lengths").read_text().split()]
    assert lengths[1] == 15_000
    # 15,000 × 15,000 attention weights of two heads alone would be 1.8 GB.
    assert measured["after"] - measured["before"] < 900  # MB

    frames = np.load(tmp_path / "out" / "all.npy", mmap_mode="r")[lengths[0] :][:15_000]
    with torch.inference_mode():
        waveform = read_audio(tmp_path / "long.wav")
        expected = model(waveform[None], output_hidden_states=True).hidden_states[1][0]
    np.testing.assert_allclose(frames, expected, atol=3e-3)
