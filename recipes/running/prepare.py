# SPDX-License-Identifier: Apache-2.0
"""From options to clips and cached frames: what every recipe does before its own work."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from voxadapt.backbones import (
    Backbone,
    BackboneError,
    EncoderBackbone,
    FilterbankBackbone,
    load_backbone,
)
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.feature_cache import BadClip, FeatureStore, extract_features
from voxadapt.recipes.corpora.manifest import is_container, read_manifest
from voxadapt.recipes.corpora.online_frames import OnlineFrames
from voxadapt.recipes.running.command_line import UsageError
from voxadapt.recipes.running.corpus_places import corpus_places
from voxadapt.recipes.running.encoder_precision import usable_precision
from voxadapt.recipes.running.options import DEMO_CORPUS, ONLINE, CorpusOptions

logger = logging.getLogger(__name__)

BAD_AUDIO_FILE = "bad_audio.jsonl"


@dataclass
class PreparedCorpus:
    """Clips and their frames, aligned.

    Attributes:
        clips: The clips that have frames.
        store: Their frames, in the same order.
        bad: The clips that were left out because of their audio.
    """

    clips: list[Clip]
    store: FeatureStore
    bad: list[BadClip]


def read_clips(
    options: CorpusOptions, accelerator: Accelerator, *, label: str | None = None
) -> list[Clip]:
    """Read and check all manifests; without any, make the demo corpus.

    Args:
        options: Where the data is.
        accelerator: The process group; the main process makes the demo corpus.
        label: The column that must be there as label; None when labels are not needed.

    Raises:
        DataError: With every problem of a manifest at once.
        UsageError: A corpus is named twice, or frames are to be computed online by a recipe that
            reads them from the cache.
    """
    if options.features == ONLINE and not options.may_be_online:
        raise UsageError(
            "--features online: this recipe reads each clip's frames from the cache; only "
            "pretrain_adapter runs the backbone at every step. Give a folder, as "
            "./online where it is called online"
        )
    sources = list(options.data)
    corpus_places(sources)  # refuses what is named twice
    if not sources:
        from voxadapt.recipes.corpora.demo_corpus import make_demo_corpus

        with accelerator.main_process_first():
            sources = [str(make_demo_corpus(Path(DEMO_CORPUS)))]
        logger.info(
            "no --data given: using the demo corpus in %s. For your own, give --data with a CSV or "
            "JSONL manifest (columns path, label, speaker, split) or a folder with one sub-folder "
            "per class.",
            DEMO_CORPUS,
        )
    clips: list[Clip] = []
    for number, source in enumerate(sources):
        if is_container(source):
            _let_first_read(source, accelerator)
        manifest = read_manifest(
            source,
            label=label or "label",
            require_label=label is not None,
            allow_outside=options.allow_outside,
        )
        if len(sources) > 1:  # ids need only be unique within a manifest
            for clip in manifest.clips:
                clip.id = f"{number}:{clip.id}"
        clips += manifest.clips
    return clips


def _let_first_read(source: str, accelerator: Accelerator) -> None:
    """Let one process index shards, or build a dataset, so that the others find it done.

    What is wrong with it is said by each when it reads: one that fails here would leave the others
    waiting.
    """
    if accelerator.num_processes == 1:
        return
    if accelerator.is_main_process:
        with suppress(DataError):
            read_manifest(source)
    accelerator.wait_for_everyone()


def build_backbone(options: CorpusOptions) -> Backbone:
    """Load the backbone that the options name, in the precision that they ask for.

    Where the machine lacks that precision it is loaded in float32, and the log says so.

    Raises:
        BackboneError: It cannot be had, has no such layer, or cannot be compiled.
    """
    precision = options.precision
    if options.backbone != "fbank":  # which has one precision only
        precision = usable_precision(precision)
    backbone = load_backbone(
        options.backbone,
        layer=options.layer,
        revision=options.revision,
        whisper_context=options.whisper_context,
        precision=precision,
    )
    if not options.compile:
        return backbone
    if not isinstance(backbone, EncoderBackbone):
        raise BackboneError(
            f"--compile: {backbone.spec.name} has no layers to compile; leave --compile out."
        )
    return backbone.compile_layers()


def prepare_features(
    clips: Sequence[Clip],
    backbone: Backbone,
    options: CorpusOptions,
    accelerator: Accelerator,
    listing: Path | None,
    *,
    batch_seconds: float | None = None,
) -> PreparedCorpus:
    """Compute the frames of all clips, or find them in the cache.

    Args:
        clips: The clips.
        backbone: The frozen encoder.
        options: Where the cache is, and what to do with bad audio.
        accelerator: The process group, which shares the work.
        listing: With ``--on-bad-audio skip``, the JSONL file for the clips left out; without one,
            each is logged.
        batch_seconds: Seconds of audio, padding included, that the backbone sees at once; None
            takes what is fast for it on this device.

    Raises:
        DataError: Bad audio, unless it is to be skipped.
    """
    store, kept, bad = extract_features(
        clips,
        backbone,
        Path(options.features),
        batch_seconds=batch_seconds,
        device=accelerator.device,
        on_bad_audio=options.on_bad_audio,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        barrier=accelerator.wait_for_everyone,
        gather=lambda found: gather_object([found]),
    )
    if bad and accelerator.is_main_process:
        list_bad_clips(bad, listing)
    return PreparedCorpus([clips[index] for index in kept], store, bad)


def list_bad_clips(bad: Sequence[BadClip], listing: Path | None) -> None:
    """Say which clips were left out and why."""
    if listing is None:
        for clip in bad:
            logger.warning("left out: %s: %s", clip.id, clip.message)
        return
    listing.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(dataclasses.asdict(clip), ensure_ascii=False) for clip in bad]
    text = "".join(f"{line}\n" for line in lines)
    # Bytes of a file's name that is no UTF-8 become JSON's own way to write them.
    listing.write_text(text, encoding="utf-8", errors="backslashreplace")
    logger.warning("%d bad clips left out, listed in %s", len(bad), listing)


def feature_period(backbone: Backbone) -> int:
    """Features after which frequency bands repeat: the Mels of stacked log-Mel frames, or all."""
    if isinstance(backbone, FilterbankBackbone):
        return backbone.filterbank_config.num_mels
    return backbone.spec.feature_size


def frequency_bands(backbone: Backbone) -> int | None:
    """Frequency bands that a frame holds side by side, or None where its features are none."""
    return feature_period(backbone) if isinstance(backbone, FilterbankBackbone) else None


def hours(store: FeatureStore | OnlineFrames, frame_rate: float) -> float:
    """Hours of audio behind the frames."""
    return float(store.lengths.sum()) / frame_rate / 3600.0
