# SPDX-License-Identifier: Apache-2.0
"""The whole way on a corpus made on the spot: pretrain, fine-tune, score, predict.

    python recipes/demo.py

`make demo` installs everything and runs it.
"""

import dataclasses
import json
import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes import finetune, pretrain_adapter
from voxadapt.recipes.corpora.demo_corpus import make_demo_corpus
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.running.command_line import UsageError, flag, leave, parse, run_command
from voxadapt.recipes.running.options import require
from voxadapt.recipes.running.run_folder import make_folder, write_json

logger = logging.getLogger(__name__)

MARK = "demo.json"


@dataclass
class DemoOptions:
    """The whole way on a small corpus made on the spot, in a few minutes on two cores.

    Makes the corpus, pretrains an adapter on it without labels, fine-tunes it with statistical
    attentive pooling, scores the test speakers and classifies one clip.

    Args:
        out: Folder for everything; an earlier demo there is replaced.
        seed: Seed of everything random.
        pretrain_epochs: Passes over the corpus while pretraining.
        finetune_epochs: Passes over the training part while fine-tuning.
    """

    out: str = "runs/demo"
    seed: int = 0
    pretrain_epochs: int = 6
    finetune_epochs: int = 12

    def __post_init__(self) -> None:
        for name in ("pretrain_epochs", "finetune_epochs"):
            require(getattr(self, name) >= 1, flag(name), getattr(self, name), "at least 1")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the recipe and return what ``finetune`` measured."""
    options = parse(DemoOptions, argv, prog="demo.py", page=__doc__)
    started = time.perf_counter()
    out = Path(options.out)
    clear(out)
    make_folder(out, f"--out {out}")
    write_json(out / MARK, dataclasses.asdict(options))

    logger.info("1/3 the corpus: 8 made-up speakers × 4 emotions")
    manifest = make_demo_corpus(out / "corpus")
    common = ["--data", str(manifest), "--features", str(out / "features")]
    common += ["--seed", str(options.seed)]
    logger.info("2/3 pretraining the adapter, without labels")
    epochs = ["--epochs", str(options.pretrain_epochs)]
    pretrain_adapter.main([*common, *epochs, "--out", str(out / "pretrain")])
    logger.info("3/3 fine-tuning with statistical attentive pooling")
    epochs = ["--epochs", str(options.finetune_epochs)]
    adapter = ["--adapter", str(out / "pretrain"), "--pool", "sap"]
    metrics = finetune.main([*common, *epochs, *adapter, "--out", str(out / "finetune")])
    if metrics is None:
        raise UsageError("the fine-tuning did not finish")

    clip = next(clip for clip in read_manifest(manifest).clips if clip.split == "test")
    prediction = SpeechClassifier.from_pretrained(out / "finetune").predict(clip.path)
    print(table(metrics, time.perf_counter() - started))
    print(f"one clip     {out / 'corpus' / clip.id}")
    print(f"  is {clip.label}, heard as {prediction.label}: {probabilities(prediction)}")
    print(f"report       {out / 'finetune' / 'report.html'}")
    print(f"pretraining  {out / 'pretrain' / 'report.html'}")
    print(f"model        {out / 'finetune' / 'model'}")
    words = [program(), "predict", str(out / "finetune"), str(out / "corpus"), "--format", "csv"]
    print(f"try          {shlex.join(words)}")
    return metrics


def program() -> str:
    """``voxadapt`` as it can be typed here: by its path where a shell would not find it."""
    beside = Path(sys.executable).with_name("voxadapt")
    found = shutil.which("voxadapt") is not None or not beside.exists()
    return "voxadapt" if found else os.path.relpath(beside)


def clear(out: Path) -> None:
    """Remove an earlier demo's runs; its corpus and features are made again only if they must be.

    Raises:
        UsageError: The folder holds something that no demo wrote, or is a file.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; give a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / MARK).exists():
        raise UsageError(
            f"--out {out}: is not empty and holds no earlier demo; nothing was written. Give "
            "another folder"
        )
    for name in ("pretrain", "finetune"):
        shutil.rmtree(out / name, ignore_errors=True)


def table(metrics: dict[str, Any], seconds: float) -> str:
    """The result, as a small table."""
    rows = [
        ("UA", f"{100 * metrics['ua']:.1f} %"),
        ("WA", f"{100 * metrics['wa']:.1f} %"),
        ("macro-F1", f"{100 * metrics['macro_f1']:.1f} %"),
        ("test clips", f"{metrics['n']}, of speakers never heard in training"),
        ("trained", f"{metrics['parameters_trained']:,} parameters"),
        ("time", f"{seconds:.0f} s"),
    ]
    return "\n" + "\n".join(f"{name:<12} {value}" for name, value in rows)


def probabilities(prediction: Any) -> str:
    """Probabilities by label, the highest first."""
    pairs = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])
    return json.dumps({label: round(value, 3) for label, value in pairs})


if __name__ == "__main__":
    leave(run_command(main))
