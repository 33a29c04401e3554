# SPDX-License-Identifier: Apache-2.0
"""What a report shows beyond the scores: a map of the test clips, and where the pooler listened.

A finished run writes it to ``inspection.json``, so that the report can be made again without the
model, the features, or another pass over the test part.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voxadapt.adapters.written_aside import write_aside
from voxadapt.backbones import AudioError
from voxadapt.frame_classifier import FrameClassifier
from voxadapt.recipes.corpora.batching import plan_batches
from voxadapt.recipes.corpora.clip import Clip
from voxadapt.recipes.corpora.feature_cache import FeatureStore
from voxadapt.recipes.finetuning.labelled_frames import LabelledFrames
from voxadapt.recipes.reporting.clip_pictures import encode_wav, read_beginning
from voxadapt.recipes.reporting.embedding_map import SEEDS, place_in_plane
from voxadapt.recipes.running.frame_batches import load_batch
from voxadapt.recipes.running.run_folder import write_json

logger = logging.getLogger(__name__)

INSPECTION_FILE = "inspection.json"
CLIPS_FOLDER = "clips"
# More could not be told apart on the map, and t-SNE of them takes more than a few seconds.
MAP_CLIPS = 800


def record_inspection(
    out: Path,
    classifier: FrameClassifier,
    data: LabelledFrames,
    *,
    shown: int,
    mapped: bool,
    budget: int,
    seed: int,
) -> None:
    """Write ``inspection.json`` and the recordings that it names, ``clips/*.wav``.

    Call on the main process, once the test part is scored and ``predictions.jsonl`` written.

    Args:
        out: The run's folder.
        classifier: The model that was scored, on the device to run it on.
        data: The clips, their frames and their parts.
        shown: Clips to keep the recording and the pooler's weights of.
        mapped: Whether to make the map.
        budget: Padded frames in one forward pass.
        seed: Seed of the map.
    """
    if not (shown or mapped):
        return
    tested = data.splits.test
    lines = (out / "predictions.jsonl").read_text(encoding="utf-8").split("\n")
    records = [json.loads(line) for line in lines if line]
    chosen = choose_clips(records, shown)
    count = min(MAP_CLIPS, len(tested)) if mapped else 0
    on_map = sorted(np.random.default_rng(seed % SEEDS).permutation(len(tested))[:count].tolist())
    rows = sorted({*on_map, *(row for _, row in chosen)})
    vectors: dict[int, Tensor] = {}
    weights: dict[int, Tensor] = {}
    for row, vector, of_heads in pool_clips(classifier, data.store, tested, rows, budget=budget):
        vectors[row], weights[row] = vector, of_heads
    described = [
        describe_clip(out, number, data.clips[tested[row]], kind, weights[row], data.frame_rate)
        for number, (kind, row) in enumerate(chosen)
    ]
    found: dict[str, Any] = {"clips": described}
    if on_map:
        embeddings = torch.stack([vectors[row] for row in on_map]).numpy()
        ids = [records[row]["id"] for row in on_map]
        found["map"] = {"clips": len(tested), **draw_map(ids, embeddings, seed)}
    write_json(out / INSPECTION_FILE, found)


def draw_map(ids: Sequence[str], embeddings: np.ndarray, seed: int) -> dict[str, Any]:
    """``map`` of ``inspection.json``: how it was drawn, and each clip's place from 0 to 1."""
    places, method = place_in_plane(embeddings, seed=seed)
    points = [
        {"id": name, "x": round(float(x), 4), "y": round(float(y), 4)}
        for name, (x, y) in zip(ids, places, strict=True)
    ]
    return {"method": method, "seed": seed, "points": points}


def describe_clip(
    out: Path, number: int, clip: Clip, kind: str, weights: Tensor, frame_rate: float
) -> dict[str, Any]:
    """One clip of ``inspection.json``, and its recording; `weights` are ``[H, T]``."""
    sound, missing = f"{CLIPS_FOLDER}/{number:02d}.wav", ""
    try:
        waveform = read_beginning(clip)
    except AudioError as error:  # the frames are from the cache
        logger.warning("the report shows clip %s without its audio: %s", clip.id, error)
        sound, missing = "", error.reason
    else:
        (out / CLIPS_FOLDER).mkdir(exist_ok=True)
        wav = encode_wav(waveform)
        write_aside(out / sound, wav)
    return {
        "id": clip.id,
        "kind": kind,
        "sound": sound,
        "missing": missing,
        "speaker": clip.speaker,
        "seconds": round(weights.shape[-1] / frame_rate, 3),
        # Relative to equal weights, so that 1 means the same in long and in short clips.
        "weights": [[round(value, 3) for value in (head * len(head)).tolist()] for head in weights],
    }


@torch.inference_mode()
def pool_clips(
    classifier: FrameClassifier,
    store: FeatureStore,
    tested: Sequence[int],
    rows: Sequence[int],
    *,
    budget: int,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield each row with its pooled vector ``[D]`` and weights ``[H, T]``, both float32, on CPU.

    Args:
        classifier: The model.
        store: The frames.
        tested: The clips that rows count.
        rows: The rows to run.
        budget: Padded frames in one forward pass.
    """
    was_training = classifier.training
    classifier.eval()
    device = classifier.linear.weight.device
    indices = [tested[row] for row in rows]
    for batch in plan_batches(store.lengths[indices], budget, seed=None):
        loaded = load_batch(store, [indices[place] for place in batch], device=device)
        _, pooled, weights = classifier.with_weights(loaded.frames, loaded.padding_mask)
        for place, index, vector, heads in zip(
            batch, loaded.indices, pooled.float().cpu(), weights.float().cpu(), strict=True
        ):
            yield rows[place], vector, heads[:, : int(store.lengths[index])]
    classifier.train(was_training)


def choose_clips(records: Sequence[dict[str, Any]], count: int) -> list[tuple[str, int]]:
    """Choose test clips worth hearing, about as many of each kind.

    Of classes: `best`, right and surest, the classes in turn; `worst`, wrong and surest;
    `confused`, those whose two likeliest classes are nearest to each other. Of values: `best`,
    least missed by; `worst`, most; `typical`, in the middle between.

    Args:
        records: Lines of ``predictions.jsonl``.
        count: How many to choose at most.

    Returns:
        The kind and the row of each, kind by kind.
    """
    queues = _by_error(records) if records and "values" in records[0] else _by_sureness(records)
    return _deal(queues, min(count, len(records)))


def _by_sureness(records: Sequence[dict[str, Any]]) -> dict[str, list[int]]:
    right: dict[str, list[int]] = {}
    wrong: list[int] = []
    top, margin = [], []
    for row, record in enumerate(records):
        shares = sorted(record["probabilities"].values(), reverse=True)
        top.append(shares[0])
        margin.append(shares[0] - shares[1] if len(shares) > 1 else 1.0)
        is_right = record["label"] == record["predicted"]
        (right.setdefault(record["label"], []) if is_right else wrong).append(row)
    surest = [sorted(right[label], key=lambda row: -top[row]) for label in sorted(right)]
    return {
        "best": _in_turns(surest),
        "worst": sorted(wrong, key=lambda row: -top[row]),
        "confused": sorted(range(len(records)), key=lambda row: margin[row]),
    }


def _by_error(records: Sequence[dict[str, Any]]) -> dict[str, list[int]]:
    names = list(records[0]["values"])
    true, predicted = (
        np.array([[record[part][name] for name in names] for record in records])
        for part in ("values", "predicted")
    )
    scale = np.maximum(true.std(axis=0), 1e-9)
    order = np.argsort((np.abs(true - predicted) / scale).mean(axis=1), kind="stable").tolist()
    middle = len(order) // 2
    around = sorted(range(len(order)), key=lambda place: abs(place - middle))
    typical = [order[place] for place in around]
    return {"best": list(order), "worst": order[::-1], "typical": typical}


def _in_turns(lists: Sequence[Sequence[int]]) -> list[int]:
    longest = max(map(len, lists), default=0)
    return [rows[turn] for turn in range(longest) for rows in lists if turn < len(rows)]


def _deal(queues: dict[str, list[int]], count: int) -> list[tuple[str, int]]:
    """Take from the queues in turn, no row twice, and give what was taken kind by kind."""
    taken: dict[int, str] = {}
    while len(taken) < count and any(queues.values()):
        for kind, queue in queues.items():
            while queue and queue[0] in taken:
                queue.pop(0)
            if queue and len(taken) < count:
                taken[queue.pop(0)] = kind
    return [
        (kind, row) for kind in queues for row, kind_taken in taken.items() if kind_taken == kind
    ]
