# SPDX-License-Identifier: Apache-2.0
"""The papers' configs run to their end on corpora of the same layout and encoders of the same kind.

Each test follows the commands in the header of its YAML, with tiny random encoders and few epochs.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from voxadapt.recipes.pretraining.options import PretrainOptions
from voxadapt.recipes.running.command_line import parse

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "recipes" / "configs"
Run = Callable[..., Any]
WriteWav = Callable[..., Path]
CODES = {"ang": 300, "hap": 900, "exc": 1000, "neu": 150, "sad": 500, "fru": 700, "xxx": 200}


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def tone(pitch: float, seed: int) -> np.ndarray:
    """0.3 to 0.5 s of a tone with noise, ``[S]`` in -1..1."""
    random = np.random.default_rng(seed)
    seconds = np.arange(round(16_000 * random.uniform(0.3, 0.5))) / 16_000
    sound = 0.3 * np.sin(2 * np.pi * pitch * random.uniform(0.9, 1.1) * seconds)
    return sound + 0.02 * random.standard_normal(len(seconds))


@pytest.fixture
def iemocap(run_cli: Run, write_samples: WriteWav) -> str:
    """The release tree with five sessions of two speakers, made into a manifest."""
    root = Path("IEMOCAP_full_release")
    for session in range(1, 6):
        dialogue, lines = f"Ses0{session}F_impro01", []
        for number in range(28):
            code, gender = list(CODES)[number % 7], "FM"[number // 7 % 2]
            name = f"{dialogue}_{gender}{number:03d}"
            folder = root / f"Session{session}" / "sentences" / "wav" / dialogue
            write_samples(folder / f"{name}.wav", tone(CODES[code], 100 * session + number))
            lines.append(f"[6.2901 - 8.2357]\t{name}\t{code}\t[2.5000, 2.5000, 2.5000]")
        labels = root / f"Session{session}" / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
        labels.parent.mkdir(parents=True)
        labels.write_text("\n".join(lines))
    ran = run_cli("init_data", root, "--corpus", "iemocap")
    assert ran.code == 0, ran.err
    return str(root / "iemocap.manifest.csv")


@pytest.fixture
def shemo(run_cli: Run, write_samples: WriteWav) -> str:
    """The release tree with twelve speakers and six emotions, made into a manifest."""
    for speaker in range(12):
        gender, folder = ("M", "male") if speaker % 2 else ("F", "female")
        for number, code in enumerate("AAFHHNNSSWW"):
            pitch = 200 + 150 * "AFHNSW".index(code)
            name = f"{gender}{speaker + 1:02d}{code}{number + 1:02d}.wav"
            write_samples(Path("ShEMO", folder, name), tone(pitch, 100 * speaker + number))
    ran = run_cli("init_data", "ShEMO", "--corpus", "shemo", "--classes", "5")
    assert ran.code == 0, ran.err
    return "ShEMO/shemo-5.manifest.csv"


@pytest.fixture(scope="session")
def hubert_ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random HuBERT of the large kind, as the 960 h checkpoint is saved: with a CTC head."""
    import torch
    from transformers import HubertConfig, HubertForCTC

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hubert_ctc")
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 4),
        conv_stride=(10, 8, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        vocab_size=20,
    )
    HubertForCTC(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Whisper as it is saved: encoder and decoder."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("whisper")
    config = WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        vocab_size=20,
        max_source_positions=50,  # windows of one second
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
    )
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


SIZES = {"width": 16, "heads": 2, "feedforward": 32, "position_groups": 4}


@pytest.mark.slow
def test_iemocap_pretraining_and_leave_one_session_out(
    run_cli: Run, iemocap: str, hubert_ctc: Path
) -> None:
    signs = ("std", "effective_rank", "perplexity", "sharpness")
    tiny = [f"--adapter.{name}={size}" for name, size in SIZES.items()]
    tiny += [f"--collapse.{sign}=-1" for sign in signs]
    tiny += ["--objectives.prototypes=8", "--objectives.attributes=8", "--epochs=2"]
    config = CONFIGS / "pretrain_adapter_iemocap.yaml"
    common = ["--data", iemocap, "--backbone", hubert_ctc]
    ran = run_cli("pretrain_adapter", "--config", config, *common, *tiny)
    assert ran.code == 0, ran.err

    config = CONFIGS / "finetune_iemocap.yaml"
    given = ["--config", config, *common, "--epochs=1", "--seeds=2", "--report-clips=0"]
    ran = run_cli("finetune", *given)
    assert ran.code == 0, ran.err
    metrics = read("runs/iemocap/pretrained/metrics.json")
    assert metrics["protocol_name"] == "leave-one-session-out-v1"
    assert [entry["fold"] for entry in metrics["by_fold"]] == ["01", "02", "03", "04", "05"]
    assert metrics["adapter"] == "runs/iemocap/adapter/adapter"
    assert metrics["labels"] == ["angry", "happy", "neutral", "sad"]
    assert metrics["n"] == 2 * 5 * 20
    assert metrics["speaker_overlap"] is False
    for run in metrics["runs"]:
        counts = read(f"runs/iemocap/pretrained/{run['folder']}/metrics.json")["speaker_counts"]
        assert counts["test"] == 2
        assert sum(counts.values()) == 10

    tiny = [f"--size.{name}={size}" for name, size in SIZES.items()]
    control = ["--adapter=random", "--out=runs/iemocap/random", *tiny]
    ran = run_cli("finetune", *given, *control)
    assert ran.code == 0, ran.err
    ran = run_cli("compare", "runs/iemocap/random", "runs/iemocap/pretrained", "--json=c.json")
    assert ran.code == 0, ran.err
    found = read("c.json")
    assert (found["clips"], found["unit"], found["warnings"]) == (100, "speaker", [])
    trained = [run["parameters_trained"] for run in found["runs"]]
    assert trained[0] == trained[1]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("corpus", ["iemocap", "shemo"])
def test_whisper_layers_and_poolers(
    corpus: str, size: str, run_cli: Run, whisper: Path, request: pytest.FixtureRequest
) -> None:
    manifest = request.getfixturevalue(corpus)
    config = CONFIGS / f"sweep_layers_{corpus}_whisper_{size}.yaml"
    out = Path(yaml.safe_load(config.read_text())["out"])
    given = ["--config", config, "--data", manifest, "--backbone", whisper, "--epochs=1"]
    # One fold of the protocol: the other four would be the same again.
    fold = "03" if corpus == "iemocap" else "3"
    ran = run_cli("sweep_layers", *given, "--fold", fold)
    assert ran.code == 0, ran.err
    protocol = {"iemocap": "leave-one-session-out-v1", "shemo": "speaker-disjoint-kfold-v1"}
    for layer in range(3):
        for pool in ("mean", "attentive", "qkv"):
            metrics = read(out / f"layer-{layer:02d}" / pool / "metrics.json")
            assert metrics["protocol_name"] == protocol[corpus]
            assert metrics["fold"] == fold
            assert metrics["config"]["head"]["output_size"] == 256
            assert metrics["adapter"] == "none"
    assert (out / "report.html").exists()
    assert len(read(out / "sweep.json")["cells"]) == 9


def test_headers_name_the_corpora_that_init_data_knows() -> None:
    known = ROOT / "recipes" / "corpora" / "known"
    for name in ("pretrain_adapter_iemocap", "sweep_layers_iemocap_whisper_tiny"):
        assert "init-data IEMOCAP_full_release --corpus iemocap" in header(name)
    for size in ("tiny", "small"):
        assert "init-data ShEMO --corpus shemo" in header(f"sweep_layers_shemo_whisper_{size}")
    assert (known / "iemocap.yaml").exists()
    assert (known / "shemo.yaml").exists()


@pytest.mark.parametrize("name", ["iemocap", "hubert_large"])
def test_students_of_the_paper_see_frames_with_nothing_but_spans_hidden(name: str) -> None:
    argv = ["--config", str(CONFIGS / f"pretrain_adapter_{name}.yaml"), "--data", "corpus.csv"]
    options = parse(PretrainOptions, argv, prog="pretrain_adapter")
    assert not options.frame_augment.is_on
    assert options.masking.feature_masks == 0
    on = [name for name, weight in options.objectives.weights().items() if weight]
    assert on[:2] == ["mask_prediction", "frame_distillation"]
    assert on[2:] == ["utterance_distillation", "local_attributes"]


def header(name: str) -> str:
    return (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").split("\n\n")[0]
