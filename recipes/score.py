# SPDX-License-Identifier: Apache-2.0
"""Score a trained model on one part of a manifest.

    python recipes/score.py runs/finetune --data corpus.csv --split test --out score.json

The test part was scored when the model was trained; this is for other data, or other parts.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from voxadapt.backbones import Precision
from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.encoder_precision import usable_precision
from voxadapt.recipes.evaluation import classify_clips, write_predictions
from voxadapt.recipes.metrics import score_probabilities
from voxadapt.recipes.options import FEATURES, CorpusOptions
from voxadapt.recipes.prepare import prepare_features, read_clips
from voxadapt.recipes.process_group import join_processes
from voxadapt.recipes.run_folder import versions, write_json

logger = logging.getLogger(__name__)


@dataclass
class ScoreOptions:
    """Score a trained model on one part of a manifest.

    Args:
        run: The folder that `finetune` wrote, or a hub id.
        data: Manifest (CSV or JSONL) or folder with one sub-folder per class. Left out, the demo
            corpus.
        split: Part to score: `train`, `valid` or `test` of the manifest's `split` column, or `all`.
        out: File for the metrics, JSON; a file beside it with the ending .predictions.jsonl holds
            each clip's probabilities, and one with the ending .bad_audio.jsonl the clips skipped.
        label: Column that holds the true label.
        batch_seconds: Seconds of audio, padding included, in one forward pass of what follows the
            backbone.
        precision: What the backbone is computed in. `bf16` is about twice as fast where the machine
            has it, and close to `fp32`; where the machine lacks it, `fp32` is used.
        features: Folder of the feature cache.
        on_bad_audio: What to do with clips that cannot be used: `error` stops, `skip` lists them.
        allow_outside: Accept manifest paths outside the manifest's folder.
    """

    run: str
    data: list[str] = field(default_factory=list)
    split: Literal["train", "valid", "test", "all"] = "test"
    out: str | None = None
    label: str = "label"
    batch_seconds: float = 60.0
    precision: Precision = "fp32"
    features: str = FEATURES
    on_bad_audio: Literal["error", "skip"] = "error"
    allow_outside: bool = False


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the recipe and return the metrics."""
    options = parse(ScoreOptions, argv, prog="score.py", positionals=("run",))
    out = Path(options.out) if options.out else None
    predictions = out.with_suffix(".predictions.jsonl") if out is not None else None
    for file in (out, predictions):
        if file is not None and file.exists():
            raise UsageError(
                f"--out {out}: {file} is there already; nothing was overwritten. Name another file"
            )
    accelerator = join_processes()
    corpus_options = CorpusOptions(
        data=options.data,
        features=options.features,
        on_bad_audio=options.on_bad_audio,
        allow_outside=options.allow_outside,
    )
    model = SpeechClassifier.from_pretrained(
        options.run, precision=usable_precision(options.precision)
    )
    clips = read_clips(corpus_options, accelerator, label=options.label)
    chosen = choose_clips(clips, options.split, model.labels)
    listing = out.with_suffix(".bad_audio.jsonl") if out is not None else None
    corpus = prepare_features(chosen, model.backbone, corpus_options, accelerator, listing)
    probabilities = classify_clips(
        model.frame_classifier.to(accelerator.device),
        corpus.store,
        range(len(corpus.clips)),
        accelerator,
        budget=max(1, round(options.batch_seconds * model.backbone.spec.frame_rate)),
    )
    true = np.array([model.labels.index(str(clip.label)) for clip in corpus.clips])
    speakers = [clip.speaker for clip in corpus.clips]
    metrics = {
        **score_probabilities(model.labels, true, probabilities, speakers),
        "split": options.split,
        "left_out": len(corpus.bad),
        "config": dataclasses.asdict(options),
        "versions": versions(),
    }
    logger.info(
        "%s: UA %.2f, WA %.2f, macro-F1 %.2f (%d clips)",
        options.split,
        *(100 * metrics[name] for name in ("ua", "wa", "macro_f1")),
        metrics["n"],
    )
    if out is not None and predictions is not None and accelerator.is_main_process:
        write_json(out, metrics)
        write_predictions(predictions, corpus.clips, probabilities, model.labels)
        logger.info("metrics %s, predictions %s", out, predictions)
    return metrics


def choose_clips(clips: list[Clip], split: str, labels: list[str]) -> list[Clip]:
    """The clips of one part, all of whose labels the model must know.

    Raises:
        UsageError: The part is empty, or has labels that the model was not trained on.
    """
    chosen = [clip for clip in clips if split == "all" or clip.split == split]
    if not chosen:
        found = sorted({clip.split for clip in clips if clip.split})
        holds = f"its `split` column holds {found}" if found else "it has no `split` column"
        raise UsageError(
            f"--split {split}: no clip of the manifest is in it; {holds}. `--split all` scores "
            "every clip"
        )
    unknown = sorted({str(clip.label) for clip in chosen} - set(labels))
    if unknown:
        raise UsageError(
            f"--data: labels {unknown[:5]} are not among the model's {labels}; leave these clips "
            "out, rename their labels, or name another column with --label"
        )
    return chosen


if __name__ == "__main__":
    leave(run_command(main))
