# SPDX-License-Identifier: Apache-2.0
"""A folder in which the pages' commands find what they name, and how they become small."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import soundfile
import torch

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000
EMOTIONS = ("angry", "happy", "sad")
# Corpora whose labels a label map on a page speaks of.
LABELS = {
    "iemocap": ("angry", "happy", "sad", "neutral"),
    "msp": ("anger", "frustration", "happy", "sad", "neutral"),
    "emodb": tuple("WFTNLEA"),
    "ravdess": ("anger", "happy", "sad", "neutral"),
}
SPLITS = ("train", "train", "valid", "test")  # of four speakers
SMALL_ADAPTER = {"width": 16, "layers": 2, "heads": 2, "feedforward": 16, "position_groups": 4}
# The sizes and lengths that a recipe's options are overridden by: the last one counts.
SMALL = {
    "pretrain_adapter": [
        "--epochs=1",
        "--batch-seconds=4",
        *(f"--adapter.{name}={size}" for name, size in SMALL_ADAPTER.items()),
        "--objectives.prototypes=8",
        "--objectives.attributes=8",
        *(f"--collapse.{name}=-1" for name in ("std", "effective_rank", "perplexity", "sharpness")),
    ],
    "finetune": ["--epochs=2", "--batch-seconds=4"],
    "demo": ["--pretrain-epochs=1", "--finetune-epochs=1"],
}
SMALL["finetune"] += [f"--size.{name}={size}" for name, size in SMALL_ADAPTER.items()]
SMALL["cross_corpus"] = SMALL["sweep_layers"] = SMALL["finetune"]
CACHED = ("pretrain_adapter", "finetune", "cross_corpus", "sweep_layers", "extract_features")
# Options of which a command has less: folds and seeds are runs, jobs are processes.
FEWER = {"--seeds": "2", "--jobs": "1"}
# Addresses of other machines stand for folders of the world.
OUTSIDE = ("/fast/", "/shared/", "/corpora/")


def sound(label: str, speaker: int, take: int, corpus: str) -> np.ndarray:
    """0.3 to 0.6 s of a tone with noise, ``[S]`` in -1..1: its label tells in the pitch."""
    random = np.random.default_rng([*label.encode(), speaker, take, *corpus.encode()])
    seconds = np.arange(round(RATE * random.uniform(0.3, 0.6))) / RATE
    pitch = (110 + 37 * (sum(label.encode()) % 11)) * (1 + 0.05 * speaker)
    noise = random.uniform(0.005, 0.05) * random.standard_normal(len(seconds))
    return 0.3 * np.sin(2 * np.pi * pitch * seconds) + noise


def write_corpus(folder: Path, name: str) -> None:
    """Write ``name.csv`` and its audio: every label of four speakers, twice."""
    rows = []
    for speaker, split in enumerate(SPLITS):
        for number, label in enumerate(LABELS.get(name, EMOTIONS)):
            for take in range(2):
                path = Path("audio") / name / f"s{speaker}_{label}_{take}.wav"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / path, sound(label, speaker, take, name), RATE)
                row = {"path": path.as_posix(), "label": label, "emotion": label, "split": split}
                row |= {"speaker": f"s{speaker}", "session": str(speaker // 2)}
                values = {"arousal": number + take, "valence": -number, "dominance": take + speaker}
                rows.append(row | {key: str(value) for key, value in values.items()})
    with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_recordings(folder: Path) -> None:
    """Write a folder with one sub-folder per class, and ``clips.csv``, a table of it."""
    lines = ["file,emotion,speaker"]
    for label in EMOTIONS:
        for speaker in range(6):
            for take in range(2):
                path = folder / "recordings" / label / f"s{speaker}_{label}_{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, sound(label, speaker, take, "recordings"), RATE)
                lines.append(f"{path.relative_to(folder / 'recordings')},{label},s{speaker}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_encoders(folder: Path) -> dict[str, Path]:
    """Tiny random encoders, by the beginning of the hub ids that they stand for."""
    from transformers import (
        HubertConfig,
        HubertModel,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperModel,
    )

    torch.manual_seed(0)
    small = {"num_attention_heads": 2, "intermediate_size": 24, "hidden_size": 16}
    convolutions = {"conv_dim": (8, 8, 8), "conv_kernel": (10, 8, 4), "conv_stride": (10, 8, 4)}
    position = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    hubert = HubertConfig(
        num_hidden_layers=2, num_feat_extract_layers=3, **small, **convolutions, **position
    )
    HubertModel(hubert).save_pretrained(folder / "hubert")
    sizes = {f"{side}_layers": 2 for side in ("encoder", "decoder")}
    sizes |= {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
    sizes |= {f"{side}_ffn_dim": 16 for side in ("encoder", "decoder")}
    tokens = ("pad", "bos", "eos", "decoder_start")
    sizes |= {f"{token}_token_id": 1 for token in tokens}
    whisper = WhisperConfig(d_model=16, num_mel_bins=80, vocab_size=20, **sizes)
    WhisperModel(whisper).save_pretrained(folder / "whisper")
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder / "whisper")
    return {"facebook/": folder / "hubert", "openai/": folder / "whisper"}


def fill(folder: Path, names: set[str]) -> None:
    """Put into a folder what commands name: corpora, recordings, a clip, and the recipes."""
    write_recordings(folder)
    for name in sorted(names):
        write_corpus(folder, name)
    for clip in ("new.wav", "clip.wav", "CLIP.wav"):
        shutil.copy(folder / "recordings" / "angry" / "s0_angry_0.wav", folder / clip)
    (folder / "calls" / "monday").mkdir(parents=True)
    for name in ("a.wav", "b.mp3", "calls/monday/1.wav"):
        soundfile.write(folder / name, sound("angry", 0, 0, name), RATE)
    (folder / "ravdess.yaml").write_text("anger: angry\n", encoding="utf-8")
    (folder / "recipes").symlink_to(ROOT / "recipes", target_is_directory=True)


def with_tiny_encoders(source: str, encoders: dict[str, Path]) -> str:
    """Python of a page, in which hub ids are folders of tiny encoders with two layers."""
    for start, encoder in encoders.items():
        source = re.sub(rf'"{start}[^"]*"', f'"{encoder.as_posix()}"', source)
    return re.sub(r"layer=\d+", "layer=2", source)


def made_small(
    recipe: str, arguments: list[str], folder: Path, encoders: dict[str, Path]
) -> list[str]:
    """The arguments of a command, as they are run: tiny encoders, few and short passes."""
    small = []
    for number, word in enumerate(arguments):
        for start, encoder in encoders.items():
            word = str(encoder) if word.startswith(start) else word
        word = str(encoders["facebook/"]) if word == "FOLDER" else word
        for start in OUTSIDE:
            word = str(folder / word.lstrip("/")) if word.startswith(start) else word
        before = arguments[number - 1] if number else ""
        word = FEWER.get(before, word)
        if before in ("--layer", "--layers") and word.isdigit():
            word = str(min(int(word), 2))  # the tiny encoders have two
        small.append(word)
    small += SMALL.get(recipe, [])
    config = small[small.index("--config") + 1] if "--config" in small else ""
    if "whisper" in config:
        small += ["--backbone", str(encoders["openai/"])]
    elif any(name in config for name in ("hubert", "lora", "iemocap")):
        small += ["--backbone", str(encoders["facebook/"])]
    if recipe in CACHED and "--features" not in small:
        small += ["--features", str(folder / "features")]
    if "speaker-disjoint-kfold" in small:
        small += ["--num-folds", "2"]
    return small
