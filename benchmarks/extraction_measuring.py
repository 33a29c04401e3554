# SPDX-License-Identifier: Apache-2.0
"""All methods side by side over the same clips, for `extraction.py`."""

import argparse
import copy
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from extraction_models import clip_flops, half_depth
from extraction_peers import BATCH_CLIPS, PEERS, SAMPLE_RATE, Encode, is_installed, make_peer
from extraction_rows import PRECISIONS, ROWS, Row
from extraction_timing import matrix_rates, time_pass
from torch import Tensor

from voxadapt.backbones import pad_waveforms
from voxadapt.recipes.corpora.batching import padded_budget, plan_batches

# Fewer clips of varied lengths would say little about batches of them.
LEAST_CUT_CLIPS = 3 * BATCH_CLIPS
# A pass that is over sooner is repeated, and its time divided.
LEAST_SECONDS = 1.0
# How far peers may be from each other on a clip alone: float32, summed in another order.
AGREEMENT = 1e-3
AUTOCAST = ", autocast bf16"


def measure_group(
    model_name: str,
    model: Any,
    rows: Sequence[str],
    clips: Sequence[Tensor],
    device: torch.device,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Measure the rows that share a model and clips, so that their peers run once.

    Args:
        model_name: One of `extraction_models.MODELS`.
        model: The transformers model.
        rows: Keys of `ROWS`.
        clips: To draw from, each `[S]`.
        device: Where everything runs.
        options: The command line.

    Returns:
        One dictionary a row.
    """
    peers = [peer for peer in PEERS if any(peer in ROWS[row].peers for row in rows)]
    peers = [peer for peer in peers if is_installed(peer)]
    with tempfile.TemporaryDirectory() as folder:
        theirs = {peer: make_peer(peer, model, Path(folder), device) for peer in peers}
    check_agreement(theirs, clips[0])
    if options.peers_bf16:
        theirs |= {peer + AUTOCAST: autocast(theirs[peer], device) for peer in peers}
    ours = {
        f"{row} {precision}": make_ours(model, ROWS[row], precision, device)
        for row in rows
        for precision in PRECISIONS
    }
    methods = {name: (ours | theirs)[name] for name in take_turns(list(ours), list(theirs))}
    fewest = LEAST_CUT_CLIPS if ROWS[rows[0]].cut else BATCH_CLIPS
    heard = choose_clips(methods, clips, fewest, device, options)
    least = min(LEAST_SECONDS, options.seconds_per_pass / 4)
    seconds = sum(len(clip) for clip in heard) / SAMPLE_RATE
    say(f"{model_name}: {', '.join(rows)}: {len(heard)} clips, {seconds:.0f} s of audio")
    speeds: dict[str, list[float]] = {name: [] for name in methods}
    rates = []
    for number in range(1, options.repeats + 1):
        rates.append(matrix_rates(device, 64 if options.tiny else None))
        for name, encode in methods.items():
            speeds[name].append(seconds / time_pass(encode, heard, device, least))
            say(f"  round {number}: {name}: {speeds[name][-1]:.4g} audio seconds a second")
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    # Measured in the same rounds: whatever else the machine does slows the products as well.
    peak = {
        precision: {way: statistics.median(rate[precision][way] for rate in rates) for way in ways}
        for precision, ways in rates[0].items()
    }
    results = []
    for row in rows:
        result = {"row": row, "model": model_name, "clips": len(heard), "audio_seconds": seconds}
        result |= compare(row, medians) | efficiency(row, model, heard, medians, peak)
        result["rounds"] = {name: speeds[name] for name in speeds if _belongs(name, row)}
        results.append(result)
    return results


def _belongs(method: str, row: str) -> bool:
    peer = method.removesuffix(AUTOCAST)
    return peer in ROWS[row].peers if peer in PEERS else method.rsplit(" ", 1)[0] == row


def make_ours(model: Any, row: Row, precision: str, device: torch.device) -> Encode:
    """Build the backbone, with the batches of alike lengths in which it runs."""
    from voxadapt.backbones.encoder import EncoderBackbone

    backbone = EncoderBackbone.from_model(
        copy.deepcopy(model),
        layer=half_depth(model) if row.half else "last",
        normalize=None if model.config.model_type == "whisper" else True,  # as the peers do
        precision=precision,
        whisper_context=row.context,
    ).to(device)

    def encode(clips: Sequence[Tensor]) -> list[Tensor]:
        budget = padded_budget(backbone.preferred_batch_seconds, SAMPLE_RATE)
        frames = []
        for batch in plan_batches([len(clip) for clip in clips], budget, seed=None):
            waveforms, padding_mask = pad_waveforms([clips[index] for index in batch])
            frames.append(backbone(waveforms.to(device), padding_mask.to(device))[0])
        return frames

    return encode


def autocast(encode: Encode, device: torch.device) -> Encode:
    """Run a peer in bf16, as far as autocast takes it there."""

    def encode_in_bf16(clips: Sequence[Tensor]) -> list[Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            return encode(clips)

    return encode_in_bf16


def check_agreement(peers: dict[str, Encode], clip: Tensor) -> None:
    """See that all peers run the same network.

    Raises:
        RuntimeError: One gives other frames for a clip alone.
    """
    with torch.inference_mode():
        frames = {peer: encode([clip])[0] for peer, encode in peers.items()}
    first = next(iter(frames), "")
    for peer in frames:
        error = relative_error([frames[peer]], [frames[first]])
        if not error <= AGREEMENT:
            raise RuntimeError(
                f"{peer} gives other frames than {first} (relative error {error:.2g}), so their "
                "speeds cannot be compared: check which versions are installed."
            )


def relative_error(frames: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """Norm of the difference over the norm of the reference."""
    pairs = zip(frames, reference, strict=True)
    difference = torch.cat([(ours.double() - theirs.double()).flatten() for ours, theirs in pairs])
    whole = torch.cat([theirs.double().flatten() for theirs in reference])
    return float(difference.norm() / whole.norm())


def take_turns(first: list[str], second: list[str]) -> list[str]:
    """Merge two lists evenly, each in its order."""
    places = [(i / len(names), name) for names in (first, second) for i, name in enumerate(names)]
    return [name for _, name in sorted(places, key=lambda place: place[0])]


def draw(items: Sequence[Any], count: int, seed: int) -> list[Any]:
    """Draw `count` of the items, or all there are, and leave them in their order."""
    chosen = random.Random(seed).sample(range(len(items)), min(count, len(items)))
    return [items[index] for index in sorted(chosen)]


def choose_clips(
    methods: dict[str, Encode],
    clips: Sequence[Tensor],
    fewest: int,
    device: torch.device,
    options: argparse.Namespace,
) -> list[Tensor]:
    """Warm every method up, and draw so many clips that the slowest takes the time of a pass."""
    tried = draw(clips, BATCH_CLIPS, options.seed + 1)
    slowest = 0.0  # seconds a clip
    for encode in methods.values():
        time_pass(encode, tried[:1], device, least=0)
        slowest = max(slowest, time_pass(encode, tried, device, least=0) / len(tried))
    batches = int(options.seconds_per_pass / slowest / BATCH_CLIPS)
    return draw(clips, max(batches * BATCH_CLIPS, fewest), options.seed + 2)


def compare(row: str, medians: dict[str, float]) -> dict[str, Any]:
    """Speeds of a row in audio seconds per second, and their ratios to the best peer.

    Args:
        row: A key of `ROWS`.
        medians: Speeds by method.
    """
    peers = {peer: medians[peer] for peer in ROWS[row].peers if peer in medians}
    best = max(peers, key=peers.__getitem__) if peers else None
    named = {peer: medians[peer + AUTOCAST] for peer in peers if peer + AUTOCAST in medians}
    result: dict[str, Any] = {"peers": peers, "best_peer": best, "peers_autocast": named}
    for precision, target in zip(PRECISIONS, ROWS[row].targets, strict=True):
        speed = medians[f"{row} {precision}"]
        ratio = speed / peers[best] if best else None
        met = None if ratio is None else ratio >= target
        result[precision] = {"speed": speed, "ratio": ratio, "target": target, "met": met}
    return result


def efficiency(
    row: str,
    model: Any,
    clips: Sequence[Tensor],
    medians: dict[str, float],
    peak: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """Share of the matrix-multiply rate that a row attains.

    Args:
        row: A key of `ROWS`.
        model: The transformers model.
        clips: The clips of a pass.
        medians: Speeds by method.
        peak: Operations per second of matrix products, by precision and way.
    """
    config = model.config
    layers = half_depth(model) if ROWS[row].half else config.num_hidden_layers
    flops = sum(clip_flops(config, len(clip), layers, ROWS[row].context) for clip in clips)
    flops_per_second = flops / (sum(len(clip) for clip in clips) / SAMPLE_RATE)  # of audio
    result: dict[str, Any] = {"flops_per_audio_second": flops_per_second}
    for index, precision in enumerate(PRECISIONS):
        rate = medians[f"{row} {precision}"] * flops_per_second
        best = max(peak[precision], key=peak[precision].__getitem__)
        share = rate / peak[precision]["torch.matmul"]
        target = ROWS[row].shares[index] if ROWS[row].shares else None
        result[f"{precision}_efficiency"] = {
            "flops_per_second": rate,
            "matrix_rates": peak[precision],
            "best_matrix_way": best,
            "share": rate / peak[precision][best],
            "share_of_torch_matmul": share,
            "target": target,
            "met": None if target is None else share >= target,
        }
    return result


def say(line: str) -> None:
    """Report progress."""
    print(line, file=sys.stderr, flush=True)
