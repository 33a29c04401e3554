# SPDX-License-Identifier: Apache-2.0
"""From clips to predictions: read, put into batches of alike length, and back into order."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from .audio_source import Audio, read_source
from .backbones import SAMPLE_RATE, AudioError, pad_waveforms
from .frame_weights import FrameWeights
from .prediction import Prediction, describe_clip

if TYPE_CHECKING:
    from .classifier import SpeechClassifier

OnError = Literal["raise", "return"]

# Batches that are read before the first of them is computed. More of them have more clips of alike
# length among them and take more memory: 8 batches of 60 s are 30 MB of samples.
_BATCHES_AHEAD = 8
# Clips that are read at most, however short they are, so that results do not keep one waiting.
_CLIPS_AHEAD = 1_024


def seconds_per_batch(model: "SpeechClassifier", asked: float | None) -> float:
    """Seconds of audio in one forward pass: as asked, or what the backbone is fast with.

    Raises:
        ValueError: It is not above 0, or not finite.
    """
    if asked is None:
        return model.backbone.preferred_batch_seconds
    if not 0 < asked < math.inf:
        raise ValueError(f"batch_seconds: found {asked}, must be above 0 and finite")
    return asked


def predict_sources(
    model: "SpeechClassifier",
    sources: Iterable[Audio],
    sample_rate: int | None,
    *,
    batch_seconds: float,
    frame_weights: bool,
    allowed: Tensor | None,
    on_error: OnError,
) -> Iterator[Prediction | AudioError]:
    """Yield what the model says of each clip, in order; see `SpeechClassifier.predict_each`."""
    numbered = enumerate(sources, start=1)
    while True:
        read = list(_read_ahead(numbered, sample_rate, _BATCHES_AHEAD * batch_seconds, on_error))
        if not read:
            return
        waveforms = [waveform for waveform in read if isinstance(waveform, Tensor)]
        predictions = predict_batches(
            model,
            waveforms,
            batch_seconds=batch_seconds,
            frame_weights=frame_weights,
            allowed=allowed,
        )
        in_order = iter(predictions)
        for found in read:
            yield next(in_order) if isinstance(found, Tensor) else found


def _read_ahead(
    numbered: Iterator[tuple[int, Audio]],
    sample_rate: int | None,
    seconds: float,
    on_error: OnError,
) -> Iterator[Tensor | AudioError]:
    """Read clips until they last `seconds` together, or are as many as are read at once."""
    total = 0.0
    for number, source in islice(numbered, _CLIPS_AHEAD):
        try:
            waveform = read_source(source, sample_rate, name=f"item {number} of the list")
        except AudioError as error:
            if on_error == "raise":
                raise
            yield error
            continue
        yield waveform
        total += len(waveform) / SAMPLE_RATE
        if total >= seconds:
            return


def predict_batches(
    model: "SpeechClassifier",
    waveforms: Sequence[Tensor],
    *,
    batch_seconds: float,
    frame_weights: bool,
    allowed: Tensor | None,
) -> list[Prediction]:
    """What the model says of waveforms ``[S]``, in their order, computed longest first."""
    predictions: dict[int, Prediction] = {}
    lengths = [len(waveform) for waveform in waveforms]
    with _evaluating(model):
        for rows in plan_rows(lengths, batch_seconds * SAMPLE_RATE):
            batch = [waveforms[row] for row in rows]
            found = _predict_batch(model, batch, frame_weights, allowed)
            predictions.update(zip(rows, found, strict=True))
    return [predictions[row] for row in range(len(waveforms))]


@contextmanager
def _evaluating(model: "SpeechClassifier") -> Iterator[None]:
    """Put a model that trains in eval mode for a while; one in eval mode is not written to."""
    if not model.training:
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train()


def plan_rows(lengths: Sequence[int], budget: float) -> Iterator[list[int]]:
    """Divide clips into batches of alike length, so that little is computed on padding.

    Args:
        lengths: Samples of each clip.
        budget: Samples of a batch, padding included; a clip that is longer is a batch of its own.

    Yields:
        Rows of ``lengths``, each once; batches of long clips come first, so that what does not fit
        into memory shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True)
    start = 0
    while start < len(order):
        count = max(1, int(min(budget / max(1, lengths[order[start]]), len(order))))
        yield order[start : start + count]
        start += count


def _predict_batch(
    model: "SpeechClassifier",
    waveforms: list[Tensor],
    frame_weights: bool,
    allowed: Tensor | None,
) -> list[Prediction]:
    padded, padding_mask = pad_waveforms(waveforms)
    with torch.inference_mode():
        frames, frame_mask = model.backbone(padded.to(model.device), padding_mask.to(model.device))
        logits, pooled, weights = model.frame_classifier.with_weights(frames, frame_mask)
        counts = (~frame_mask).sum(dim=1).tolist()
        logits, pooled = logits.float().cpu(), pooled.float().cpu()
        # Of a long batch, the weights of all frames are as large as its spectrogram.
        heard = weights.float().cpu() if frame_weights else None
    frame_rate = model.backbone.spec.frame_rate
    # Copies: a row of a batch would keep all of the batch in memory, and what was made in inference
    # mode could not be trained on.
    return [
        describe_clip(
            model.outputs,
            logits[row].clone(),
            len(waveform) / SAMPLE_RATE,
            pooled[row].clone(),
            allowed=allowed,
            frame_weights=None
            if heard is None
            else FrameWeights(heard[row, :, : counts[row]].clone(), frame_rate),
        )
        for row, waveform in enumerate(waveforms)
    ]
