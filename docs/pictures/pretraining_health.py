# SPDX-License-Identifier: Apache-2.0
"""One healthy pretraining run and three ill ones, and the pictures of docs/pretraining_health.md.

    python docs/pictures/pretraining_health.py urdu/urdu.csv    # 4 runs of a minute or two, draw
    python docs/pictures/pretraining_health.py                  # draw again what was measured

The runs go into --runs, and those that are finished there are not run again; what is drawn stands
in pretraining_health.json.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from health_panels import PANELS, draw_panel
from health_probe import probe

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MEASURED = HERE / "pretraining_health.json"
# So small and short that a run is a minute on one core; the monitors are logged, and stop nothing,
# so that the curves go on.
COMMON = [
    "--adapter.width=96",
    "--adapter.feedforward=384",
    "--epochs=12",
    "--log-steps=5",
    # The student sees its frames as they are, so that each ill is to be seen alone.
    "--objectives.denoising=0",
    "--masking.feature_masks=0",
    *(f"--frame_augment.{name}=0" for name in ("level", "channel", "warp", "noise")),
    *(f"--collapse.{name}=-1" for name in ("std", "effective_rank", "perplexity", "sharpness")),
]
RUNS: dict[str, list[str]] = {
    "healthy": [],
    # No centering, a teacher that is the student of the step before, ten times the learning rate.
    "collapse": [
        "--objectives.reconstruction=0",
        "--objectives.mask_prediction=0",
        "--objectives.local_attributes=0",
        "--objectives.utterance_distillation=0",
        "--objectives.frame_distillation=1",
        "--objectives.center_momentum=1",
        "--optimizer.ema_start=0",
        "--optimizer.ema_end=0",
        "--optimizer.learning_rate=0.01",
    ],
    # The codebook is fitted to a teacher that has hardly begun, and never again.
    "codebook": [
        "--objectives.reconstruction=0",
        "--objectives.mask_prediction=1",
        "--objectives.frame_distillation=0.1",
        "--objectives.local_attributes=0.5",
        "--codebook.refit_at=[0.0,0.05]",
        "--optimizer.ema_start=0.9",
    ],
    # Single frames are hidden, whose neighbours overlap with them.
    "leakage": ["--masking.span_length=1", "--masking.ratio=0.15"],
}
LOGGED = (
    "frame_distillation",
    "local_attributes",
    "reconstruction",
    "teacher_effective_rank",
    "prototype_perplexity",
    "attribute_perplexity",
    "student_std",
)


def run(name: str, corpus: Path, folder: Path, extra: list[str]) -> None:
    """Pretrain one of the adapters, unless it is there."""
    out = folder / name
    if (out / "adapter").is_dir():
        return
    command = [sys.executable, str(ROOT / "recipes" / "pretrain_adapter.py"), "--data", str(corpus)]
    command += ["--features", str(folder / "features"), "--out", str(out)]
    resume = ["--resume"] if out.is_dir() else []
    subprocess.run([*command, *COMMON, *RUNS[name], *extra, *resume], check=True)


def curves(folder: Path) -> dict[str, list[float]]:
    """Steps and values of what is drawn, from a run's log."""
    log = json.loads((folder / "log.json").read_text(encoding="utf-8"))
    entries = [entry for entry in log if "loss" in entry]
    found = {"step": [entry["step"] for entry in entries]}
    for name in LOGGED:
        if all(name in entry for entry in entries):
            found[name] = [round(entry[name], 4) for entry in entries]
    return found


def measure(corpus: Path, folder: Path, extra: list[str]) -> dict[str, Any]:
    """Run what has not been run, and collect curves and probes."""
    for name in RUNS:
        run(name, corpus, folder, extra)
    adapters = {name: folder / name / "adapter" for name in RUNS}
    return {
        "corpus": corpus.stem,
        "curves": {name: curves(folder / name) for name in RUNS},
        "probe": probe(corpus, adapters),
    }


def main() -> None:
    """Measure where a corpus is given, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("corpus", type=Path, nargs="?", help="manifest with labels and speakers")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "pretraining_health")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the pictures")
    parser.add_argument("--extra", default="", help="further options of every run, in one string")
    options = parser.parse_args()
    measured = options.out / MEASURED.name
    if options.corpus:
        found = measure(options.corpus.resolve(), options.runs, shlex.split(options.extra))
        measured.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found = json.loads((measured if measured.exists() else MEASURED).read_text(encoding="utf-8"))
    for panel in PANELS:
        path = options.out / f"{panel.file}.svg"
        path.write_text(draw_panel(panel, found["curves"]), encoding="utf-8")
    for name, score in found["probe"].items():
        print(f"{name:<10} UA {100 * score['mean']:.1f} ± {100 * score['std']:.1f}")


if __name__ == "__main__":
    main()
