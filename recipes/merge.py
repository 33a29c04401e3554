# SPDX-License-Identifier: Apache-2.0
"""Fold a fine-tuned encoder's LoRA into its weights.

    python recipes/merge.py runs/finetune --out runs/merged

The model gives the same logits, is as fast as one that was not tuned, and needs no peft; its folder
holds the encoder's layers whole.
"""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.run_folder import make_folder
from voxadapt.recipes.scoring.run_reading import refuse_pretraining

logger = logging.getLogger(__name__)


@dataclass
class MergeOptions:
    """Fold a fine-tuned encoder's LoRA into its weights.

    Args:
        run: The folder that `finetune --lora` wrote, or a hub id.
        out: Folder for the merged model; made, and refused if it holds anything.
    """

    run: str
    out: str | None = None


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the recipe and return the merged model's folder."""
    options = parse(MergeOptions, argv, prog="merge.py", positionals=("run",), page=__doc__)
    refuse_pretraining(options.run)
    if options.out is None:
        raise UsageError("--out: missing; name a folder for the merged model")
    out = Path(options.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: is there already; nothing was overwritten. Name another")
    make_folder(out.parent, f"--out {out}")
    SpeechClassifier.from_pretrained(options.run).merge().save_pretrained(out)
    size = sum(file.stat().st_size for file in out.iterdir())
    logger.info(
        "merged model %s, %.1f MB; use it:  voxadapt predict %s CLIP.wav",
        out,
        size / 1e6,
        shlex.quote(str(out)),
    )
    return out


if __name__ == "__main__":
    leave(run_command(main))
