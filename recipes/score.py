# SPDX-License-Identifier: Apache-2.0
"""Score a trained model on one part of a manifest.

    python recipes/score.py runs/finetune --data corpus.csv --split test --out score.json

The test part was scored when the model was trained; this is for other data, or other parts. Data
whose labels have other names needs ``--label-map FILE``.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from voxadapt.backbones import Precision
from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.corpora.batching import padded_budget
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.finetuning.labelled_frames import targets_for
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.encoder_precision import usable_precision
from voxadapt.recipes.running.options import (
    DEMO_CORPUS,
    FEATURES,
    CorpusOptions,
    check_batch_seconds,
)
from voxadapt.recipes.running.prepare import prepare_features
from voxadapt.recipes.running.process_group import join_processes
from voxadapt.recipes.running.run_folder import make_folder, versions, write_json
from voxadapt.recipes.scoring.corpus_names import choose_split, name_corpora
from voxadapt.recipes.scoring.evaluation import classify_clips, write_predictions
from voxadapt.recipes.scoring.heard_clips import count_heard, say_heard
from voxadapt.recipes.scoring.label_map import read_label_map
from voxadapt.recipes.scoring.labelled_for import read_labelled_for
from voxadapt.recipes.scoring.other_corpora import OtherCorpus, map_corpus
from voxadapt.recipes.scoring.part_scores import clip_seconds
from voxadapt.recipes.scoring.run_reading import refuse_pretraining
from voxadapt.recipes.scoring.target_scores import score_outputs, show_scores

logger = logging.getLogger(__name__)


@dataclass
class ScoreOptions:
    """Score a trained model on one part of a manifest.

    Args:
        run: The folder that `finetune` wrote, or a hub id.
        data: Manifest (CSV or JSONL), folder with one sub-folder per class, `hf:NAME:SPLIT`, or
            `wds:PATTERN`. Left out, the demo corpus.
        split: Part to score: `train`, `valid` or `test` of the manifest's `split` column, or `all`.
        out: File for the metrics, JSON; its folder is made if it is not there. A file beside it
            with the ending .predictions.jsonl holds each clip's probabilities, and one with the
            ending .bad_audio.jsonl the clips skipped.
        label: Column that holds the true label. Left out, the column that the model was trained on,
            or `label` where the data lacks it. A model of several label columns or of values reads
            those that it was trained on.
        label_map: YAML file, `their label: the model's label` a line, `null` to leave its clips
            out; how many those are is in the metrics.
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
    label: str | None = None
    label_map: str | None = None
    batch_seconds: float = 60.0
    precision: Precision = "fp32"
    features: str = FEATURES
    on_bad_audio: Literal["error", "skip"] = "error"
    allow_outside: bool = False

    def __post_init__(self) -> None:
        check_batch_seconds(self.batch_seconds)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the recipe and return the metrics."""
    options = parse(ScoreOptions, argv, prog="score.py", positionals=("run",), page=__doc__)
    refuse_pretraining(options.run)
    out = Path(options.out) if options.out else None
    predictions = out.with_suffix(".predictions.jsonl") if out is not None else None
    for file in (out, predictions):
        if file is not None and file.exists():
            raise UsageError(
                f"--out {out}: {file} is there already; nothing was overwritten. Name another file"
            )
    if out is not None:
        make_folder(out.parent, f"--out {out}")
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
    clips, column = read_labelled_for(model, options.label, corpus_options, accelerator)
    other = choose_clips(clips, options, model.labels)
    listing = out.with_suffix(".bad_audio.jsonl") if out is not None else None
    corpus = prepare_features(other.clips, model.backbone, corpus_options, accelerator, listing)
    frame_rate = model.backbone.spec.frame_rate
    activated = classify_clips(
        model.frame_classifier.to(accelerator.device),
        corpus.store,
        range(len(corpus.clips)),
        accelerator,
        budget=padded_budget(options.batch_seconds, frame_rate),
        activation=model.outputs.activate,
    )
    targets = targets_for(model.outputs, corpus.clips)
    speakers = [clip.speaker for clip in corpus.clips]
    seconds = clip_seconds(corpus.store, range(len(corpus.clips)), frame_rate)
    metrics = {
        **score_outputs(model.outputs, targets, activated, speakers, seconds),
        "split": options.split,
        "label_column": column,
        "label_map": other.lines,
        "left_out_labels": other.left_out_labels,
        "left_out": len(corpus.bad),
        "heard": count_heard(options.run, options.data, clips, corpus.clips),
        "config": dataclasses.asdict(options),
        "versions": versions(),
    }
    logger.info("%s: %s (%d clips)", options.split, show_scores(metrics), metrics["n"])
    say_heard(metrics["heard"], len(corpus.clips))
    if out is not None and predictions is not None and accelerator.is_main_process:
        try:
            write_predictions(predictions, corpus.clips, activated, model.outputs, seconds)
            write_json(out, metrics)  # last: a run that was killed has no metrics
        except OSError as error:
            raise UsageError(
                f"--out {out}: cannot be written ({error}). Make room, or name another file"
            ) from error
        logger.info("metrics %s, predictions %s", out, predictions)
    return metrics


def choose_clips(clips: list[Clip], options: ScoreOptions, labels: list[str]) -> OtherCorpus:
    """The clips of one part, with the model's labels.

    Raises:
        UsageError: The part is empty, has labels that the model was not trained on, or a label map
            says of each of several corpora something else.
    """
    source = options.data[0] if options.data else DEMO_CORPUS
    label_map = read_label_map(options.label_map)
    names = name_corpora(options.data or [source])
    label_map.check_corpora(names)
    if len(names) > 1 and label_map.sections:
        raise UsageError(
            f"--label-map {options.label_map}: has sections, each for the labels of one corpus, "
            f"and the clips of {len(names)} are scored together here; score these one by one"
        )
    found = {str(clip.label) for clip in clips}
    label_map.check_lines(found)
    for name in names:
        label_map.check_section(name, found)
    chosen = choose_split(clips, options.split, source, "--split")
    return map_corpus(names[0], source, options.split, chosen, label_map, labels)


if __name__ == "__main__":
    leave(run_command(main))
