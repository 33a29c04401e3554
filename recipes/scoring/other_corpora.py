# SPDX-License-Identifier: Apache-2.0
"""Other corpora that a model is tested on (``--test-data``), and the labels that theirs stand for.

They are read before anything is computed, and scored once, by the model that was saved and loaded
back: nothing of them is seen in training or in the choice of the epoch.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from voxadapt.backbones import Backbone
from voxadapt.classifier import SpeechClassifier
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import some_of
from voxadapt.recipes.corpora.manifest import read_manifest
from voxadapt.recipes.corpora.shared_audio import HEARD, heard_shares
from voxadapt.recipes.finetuning.label_columns import column_values, first_column, label_names
from voxadapt.recipes.finetuning.labelled_frames import targets_for
from voxadapt.recipes.finetuning.options import FinetuneOptions
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.prepare import PreparedCorpus, prepare_features, read_clips
from voxadapt.recipes.scoring.corpus_names import choose_split, corpus_names
from voxadapt.recipes.scoring.evaluation import classify_clips, write_predictions
from voxadapt.recipes.scoring.label_map import LabelMap, Lines, apply_lines, read_label_map
from voxadapt.recipes.scoring.part_scores import clip_seconds
from voxadapt.recipes.scoring.target_scores import score_outputs, show_scores

logger = logging.getLogger(__name__)


@dataclass
class OtherCorpus:
    """A corpus that is only tested on.

    Attributes:
        name: What it is called in results.
        source: The manifest.
        split: The part of it that is scored, or ``all``.
        clips: Its clips, with our labels.
        lines: Our label, or None, by theirs, where they differ.
        left_out_labels: Clips left out by the label map, by their label.
        corpus: Clips and frames; None before they are computed.
    """

    name: str
    source: str
    split: str
    clips: list[Clip]
    lines: Lines
    left_out_labels: dict[str, int]
    corpus: PreparedCorpus | None = None


def read_labelled(
    options: FinetuneOptions, accelerator: Accelerator
) -> tuple[list[Clip], dict[str, int]]:
    """The clips to learn from; a section of the label map that bears their manifest's name holds.

    Returns:
        The clips, and how many the label map left out, by their label.
    """
    clips = read_clips(options, accelerator, label=first_column(options.label))
    if options.label_map is None:
        return clips, {}
    label_map = read_label_map(options.label_map)
    own = corpus_names(options)[0]
    if not options.test_data:
        label_map.check_corpora(own)
        if label_map.lines:
            raise UsageError(
                f"--label-map {options.label_map}: its lines are for --test-data, which is not "
                "given; for --data, put them into a section with the manifest's name, as in "
                f"`{next(iter(own), 'corpus')}: {{anger: angry}}`"
            )
    lines: Lines = {}
    for name in own:
        label_map.check_section(name, {str(clip.label) for clip in clips})
        lines |= label_map.sections.get(name, {})
    if not lines:
        return clips, {}
    kept, left_out = apply_lines(clips, lines, None, options.data[0], options.label_map)
    _say_left_out(options.data[0], left_out)
    return kept, left_out


def read_others(
    options: FinetuneOptions, clips: Sequence[Clip], accelerator: Accelerator
) -> list[OtherCorpus]:
    """Read ``--test-data`` and check it against what is trained on.

    Args:
        options: The options.
        clips: What is trained and tested on.
        accelerator: The process group.

    Raises:
        DataError: With every problem of a manifest at once.
        UsageError: A label is unknown to the model, a part is empty, or audio is also trained on.
    """
    if not options.test_data:
        return []
    label_map = read_label_map(options.label_map)
    own, names = corpus_names(options)
    label_map.check_corpora([*names, *own])
    labels = sorted({str(clip.label) for clip in clips})
    others: list[OtherCorpus] = []
    found: set[str] = set()
    for name, source in zip(names, options.test_data, strict=True):
        everyone = read_manifest(
            source,
            label=first_column(options.label),
            require_label=True,
            allow_outside=options.allow_outside,
        ).clips
        found |= {str(clip.label) for clip in everyone}
        chosen = choose_split(everyone, options.test_split, source, "--test-split")
        _refuse_heard(chosen, clips, source)
        if options.task == "regression":
            column_values(chosen, label_names(options.label))  # refuses what is no number
            others.append(OtherCorpus(name, source, options.test_split, chosen, {}, {}))
            continue
        label_map.check_section(name, {str(clip.label) for clip in everyone})
        others.append(map_corpus(name, source, options.test_split, chosen, label_map, labels))
    label_map.check_lines(found)
    return others


def map_corpus(
    name: str,
    source: str,
    split: str,
    clips: list[Clip],
    label_map: LabelMap,
    labels: Sequence[str],
) -> OtherCorpus:
    """Give a corpus the model's labels; a model of values, which has none, takes it as it is.

    Raises:
        UsageError: A label is none of the model's and has no line.
    """
    lines = label_map.of_corpus(name)
    # Of a map for several corpora, each has its own labels.
    there = {str(clip.label) for clip in clips}
    # Of values there are no labels to compare with.
    kept, left_out = apply_lines(clips, lines, labels or None, source, label_map.path)
    _say_left_out(source, left_out)
    used = {theirs: ours for theirs, ours in lines.items() if theirs in there}
    return OtherCorpus(name, source, split, kept, used, left_out)


def prepare_others(
    others: Sequence[OtherCorpus],
    backbone: Backbone,
    options: FinetuneOptions,
    accelerator: Accelerator,
    out: Path | None,
) -> list[OtherCorpus]:
    """Compute or find the frames of other corpora, and return them.

    Args:
        others: The corpora.
        backbone: The frozen encoder.
        options: Where the cache is, and what to do with bad audio.
        accelerator: The process group.
        out: Folder for the lists of clips left out; None writes none.
    """
    for other in others:
        listing = None if out is None else out / f"cross-{other.name}.bad_audio.jsonl"
        other.corpus = prepare_features(other.clips, backbone, options, accelerator, listing)
    return list(others)


def score_others(
    others: Sequence[OtherCorpus],
    model: SpeechClassifier,
    accelerator: Accelerator,
    budget: int,
    out: Path,
) -> list[dict[str, Any]]:
    """Score a model on other corpora, and write its predictions there.

    Args:
        others: The corpora, with frames.
        model: The model, saved and loaded back.
        accelerator: The process group.
        budget: Padded frames in one forward pass.
        out: The run's folder.
    """
    results = []
    for other in others:
        if other.corpus is None:
            raise ValueError(f"{other.name}: has no frames yet; call prepare_others first.")
        clips, store = other.corpus.clips, other.corpus.store
        everyone = range(len(clips))
        activated = classify_clips(
            model.frame_classifier,
            store,
            everyone,
            accelerator,
            budget=budget,
            activation=model.outputs.activate,
        )
        seconds = clip_seconds(store, everyone, model.backbone.spec.frame_rate)
        file = f"cross-{other.name}.predictions.jsonl"
        if accelerator.is_main_process:
            write_predictions(out / file, clips, activated, model.outputs, seconds)
        targets = targets_for(model.outputs, clips)
        speakers = [clip.speaker for clip in clips]
        scores = score_outputs(model.outputs, targets, activated, speakers, seconds)
        logger.info("%s: %s (%d clips)", other.name, show_scores(scores), len(clips))
        results.append(
            {
                "name": other.name,
                "data": other.source,
                "split": other.split,
                **scores,
                "label_map": other.lines,
                "left_out_labels": other.left_out_labels,
                "left_out": len(other.corpus.bad),
                "predictions": file,
            }
        )
    return results


def _refuse_heard(clips: Sequence[Clip], heard: Sequence[Clip], source: str) -> None:
    both = [
        clips[index].id for index, share in heard_shares(heard, clips).items() if share >= HEARD
    ]
    if both:
        raise UsageError(
            f"--test-data {source}: {len(both):,} of its {len(clips):,} clips are also in --data: "
            f"{some_of(both)}; a score on clips that were trained on says nothing. Name other "
            "data, or leave it out: the test part of --data is scored in any case"
        )


def _say_left_out(source: str, left_out: dict[str, int]) -> None:
    if left_out:
        told = ", ".join(f"{count} of {label!r}" for label, count in left_out.items())
        logger.info("%s: clips left out by the label map: %s", source, told)
