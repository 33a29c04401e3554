# SPDX-License-Identifier: Apache-2.0
"""A tiny labelled corpus, runs of the recipes on it, and ways to start more."""

import os

# Before torch and faiss read it: the sums of this process and of those that tests start are bit for
# bit the same only with the same number of threads.
os.environ["OMP_NUM_THREADS"] = "1"
# Tests are about the CPU, where results are bit for bit the same; set it to test on a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import contextlib
import csv
import dataclasses
import importlib
import importlib.util
import io
import logging
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
LABELS = ("hum", "noise", "tone")
# The split of each of four speakers.
SPLITS = ("train", "train", "valid", "test")
# Each is followed by the number of processes.
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node"],
    # --multi_gpu: with --cpu, or without either, Accelerate starts one process on a CPU, whatever
    # number is asked.
    "accelerate": [
        "accelerate.commands.launch",
        "--multi_gpu",
        "--main_process_port=0",
        "--num_processes",
    ],
}
SIZES = {"width": 16, "layers": 2, "heads": 2, "feedforward": 32, "position_groups": 4}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the slow tier")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow tier: run with --slow"))


@pytest.fixture(scope="session")
def zoo() -> Any:
    """The module that makes good and bad audio files: ``zoo.build_zoo(folder)``."""
    spec = importlib.util.spec_from_file_location("audio_zoo", ROOT / "tests" / "audio_zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audio_zoo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def animals(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The files of the zoo, by what is special about each; not to be written to."""
    found: dict[str, Any] = zoo.build_zoo(tmp_path_factory.mktemp("zoo"))
    return found


def draw_samples(label: str, speaker: int, take: int) -> np.ndarray:
    """0.3 to 0.6 s of one of three sounds, ``[S]`` in -1..1; speakers differ in pitch."""
    random = np.random.default_rng([LABELS.index(label), speaker, take])
    seconds = np.arange(round(16_000 * random.uniform(0.3, 0.6))) / 16_000
    pitch = {"hum": 120, "noise": 0, "tone": 2_000}[label] * (1 + 0.1 * speaker)
    sound = 0.3 * np.sin(2 * np.pi * pitch * seconds)
    return sound + (0.2 if label == "noise" else 0.01) * random.standard_normal(len(seconds))


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """Write samples ``[S]`` in -1..1 as 16-bit WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())
    return path


def write_manifest(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write rows as CSV with the columns of the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def corpus_rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Rows of a manifest, paths absolute: 3 sounds × 4 speakers × 2 takes, and one more."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for speaker, split in enumerate(SPLITS):
        for label in LABELS:
            # An odd number of clips: two processes cannot share it evenly.
            for take in range(3 if (speaker, label) == (0, "hum") else 2):
                # What is drawn for a clip depends on its id, so that must not change with tmp_path.
                name = f"{label}_{speaker}_{take}"
                path = write_wav(folder / f"{name}.wav", draw_samples(label, speaker, take))
                row = {"id": name, "path": str(path), "label": label, "speaker": f"s{speaker}"}
                rows.append({**row, "split": split, "fold": str(1 + speaker // 2)})
    return rows


@pytest.fixture(scope="session")
def corpus(corpus_rows: list[dict[str, str]]) -> Path:
    """The manifest of the tiny corpus: id, path, label, speaker, split, fold."""
    return write_manifest(Path(corpus_rows[0]["path"]).with_name("corpus.csv"), corpus_rows)


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One feature cache for all tests, so that each clip is encoded once."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def pretrain_options(corpus: Path, features: Path) -> list[str]:
    """Options of a tiny ``pretrain_adapter``: 2 epochs of 5 steps, every one logged."""
    sizes = [f"--adapter.{name}={size}" for name, size in SIZES.items()]
    sizes += ["--objectives.prototypes=8", "--objectives.attributes=8"]
    # So small a corpus uses few attributes: that is no collapse here.
    signs = ("std", "effective_rank", "perplexity", "sharpness")
    healthy = [f"--collapse.{name}=-1" for name in signs]
    data = ["--data", str(corpus), "--features", str(features)]
    return [*data, "--epochs=2", "--batch-seconds=3", "--log-steps=1", *sizes, *healthy]


@pytest.fixture(scope="session")
def finetune_options(corpus: Path, features: Path) -> list[str]:
    """Options of a tiny ``finetune``: 2 epochs of a few steps, a random adapter if any."""
    sizes = [f"--size.{name}={size}" for name, size in SIZES.items()]
    data = ["--data", str(corpus), "--features", str(features)]
    return [*data, "--epochs=2", "--batch-seconds=3", *sizes]


@dataclasses.dataclass
class Ran:
    """How a command ended; ``err`` has what it logged too, as on a terminal."""

    code: int
    out: str
    err: str


def run_in_process(recipe: str, *arguments: Any) -> Ran:
    """Run a recipe as the command line does, in this process."""
    from voxadapt.recipes.running.command_line import run_command

    main = importlib.import_module(f"voxadapt.recipes.{recipe}").main
    forget_processes()
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)
    logger = logging.getLogger("voxadapt")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_command(main, [str(argument) for argument in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        forget_processes()
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def write_samples() -> Callable[..., Path]:
    """Write samples ``[S]`` in -1..1 as 16-bit WAV: ``write_samples(path, samples)``."""
    return write_wav


@pytest.fixture(scope="session")
def run_recipe() -> Callable[..., Ran]:
    """Run a recipe in this process, for fixtures that outlive a test; paths must be absolute."""
    return run_in_process


def forget_processes() -> None:
    """Let the next ``Accelerator`` of this Python process have another precision."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def run_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a recipe in this process, in ``tmp_path``: ``run_cli("finetune", "--pool", "sap")``."""
    monkeypatch.chdir(tmp_path)
    return run_in_process


def child_environment() -> dict[str, str]:
    """The environment of processes that tests start: offline, and without a launcher's traces."""
    launcher = ("ACCELERATE_", "LOCAL_", "MASTER_", "TORCHELASTIC_", "RANK", "WORLD_SIZE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(launcher)}
    return {**kept, "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a recipe, or a script by its path, in a new process, in ``tmp_path``.

    It is killed with the test. With ``processes=2``, through ``torchrun`` or ``accelerate launch``.
    """
    started: list[subprocess.Popen[str]] = []

    def start(
        recipe: str | Path, *arguments: Any, processes: int = 1, launcher: str = "torchrun"
    ) -> subprocess.Popen[str]:
        path = recipe if isinstance(recipe, Path) else ROOT / "recipes" / f"{recipe}.py"
        command = [str(path), *map(str, arguments)]
        if processes > 1:
            command = ["-m", *LAUNCHERS[launcher], str(processes), *command]
        started.append(
            subprocess.Popen(
                [sys.executable, *command],
                cwd=tmp_path,
                env=child_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.terminate()  # and not kill: torchrun would leave its processes behind
        process.communicate(timeout=60)


@pytest.fixture
def run_process(start_process: Callable[..., subprocess.Popen[str]]) -> Callable[..., Ran]:
    """Run a recipe by its path in a new process, to its end."""

    def run(recipe: str | Path, *arguments: Any, **launch: Any) -> Ran:
        process = start_process(recipe, *arguments, **launch)
        out, err = process.communicate(timeout=240)
        return Ran(process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def pretrained(pretrain_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ``pretrain_adapter``; not to be written to."""
    out = tmp_path_factory.mktemp("pretrained") / "run"
    ran = run_in_process("pretrain_adapter", *pretrain_options, "--out", out)
    assert ran.code == 0, ran.err
    return out


@pytest.fixture(scope="session")
def finetuned(finetune_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ``finetune`` with a random adapter and SAP; not to be written to."""
    out = tmp_path_factory.mktemp("finetuned") / "run"
    ran = run_in_process("finetune", *finetune_options, "--adapter=random", "--out", out)
    assert ran.code == 0, ran.err
    return out


@pytest.fixture(scope="session")
def hubert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random HuBERT, for ``--backbone``: 16 features, 50 frames a second."""
    import torch
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hubert")
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 4),
        conv_stride=(10, 8, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    HubertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def lora_run(
    finetune_options: list[str], hubert_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run of ``finetune --lora`` on the tiny HuBERT; not to be written to."""
    out = tmp_path_factory.mktemp("lora") / "run"
    options = [*finetune_options, "--backbone", hubert_folder, "--adapter=none", "--lora=r=2"]
    # So high a rate, and no averaging, that the updates are not next to nothing.
    options += ["--optimizer.encoder_factor=50", "--optimizer.averaging=0"]
    ran = run_in_process("finetune", *options, "--out", out)
    assert ran.code == 0, ran.err
    return out


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Write a manifest of one's own in ``tmp_path``: ``write_rows(rows)``."""

    def write(rows: Sequence[dict[str, str]], name: str = "manifest.csv") -> Path:
        return write_manifest(tmp_path / name, rows)

    return write
