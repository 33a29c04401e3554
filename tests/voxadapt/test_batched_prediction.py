# SPDX-License-Identifier: Apache-2.0
"""Clips are read a little ahead, computed by length, and come back in order."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from voxadapt import SpeechClassifier, batched_prediction
from voxadapt.backbones import read_audio
from voxadapt.batched_prediction import plan_rows


@pytest.fixture(scope="module")
def model(finetuned: Path) -> SpeechClassifier:
    return SpeechClassifier.from_pretrained(finetuned)


@pytest.fixture
def clips(corpus: Path) -> list[Path]:
    return sorted(corpus.parent.glob("*_3_*.wav"))


def test_batches_hold_alike_lengths_and_no_more_than_their_budget() -> None:
    lengths = [10, 40, 20, 39, 100, 11, 9]
    batches = list(plan_rows(lengths, 80))
    assert batches == [[4], [1, 3], [2, 5, 0, 6]]
    assert list(plan_rows([], 80)) == []
    assert list(plan_rows([5, 5], 1)) == [[0], [1]]
    assert list(plan_rows([5, 5], 1e308 * 16_000)) == [[0, 1]]


def test_no_more_is_read_than_what_comes_next_needs(
    model: SpeechClassifier, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched_prediction, "_BATCHES_AHEAD", 2)
    read: list[Path] = []

    def sources() -> Iterator[Path]:
        for clip in clips * 3:
            read.append(clip)
            yield clip

    found = model.predict_each(sources(), batch_seconds=1.0)
    assert read == []
    first = next(found)
    few = len(read)
    assert 2 <= few <= len(clips)  # two seconds of clips of 0.3 to 0.6 s
    rest = list(found)
    assert len(read) == 1 + len(rest) == 3 * len(clips)
    for clip, prediction in zip(clips * 3, [first, *rest], strict=True):
        assert prediction.seconds == pytest.approx(len(read_audio(clip)) / 16_000)


def test_short_clips_do_not_keep_results_waiting(
    model: SpeechClassifier, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched_prediction, "_CLIPS_AHEAD", 2)
    sources = iter(clips)
    next(model.predict_each(sources))
    assert len(list(sources)) == len(clips) - 2


def test_waveforms_are_not_checked_so_silence_is_predicted(
    model: SpeechClassifier, clips: list[Path]
) -> None:
    loud = read_audio(clips[0])
    silent, heard = model.predict_waveforms([torch.zeros(8_000), loud])
    assert sum(silent.probabilities.values()) == pytest.approx(1)
    assert silent.seconds == 0.5
    expected = model.predict(clips[0])
    torch.testing.assert_close(heard.logits, expected.logits, rtol=0, atol=1e-5)
    assert model.predict_waveforms([]) == []


def test_a_prediction_holds_no_more_than_its_own_row(
    model: SpeechClassifier, clips: list[Path]
) -> None:
    found = model.predict(clips, frame_weights=True)
    for prediction in found:
        for tensor in (prediction.embedding, prediction.logits, prediction.frame_weights.weights):
            assert tensor.untyped_storage().nbytes() == tensor.numel() * 4


def test_what_was_predicted_can_be_trained_on(model: SpeechClassifier, clips: list[Path]) -> None:
    prediction = model.predict(clips[0], frame_weights=True)
    assert prediction.frame_weights is not None
    for tensor in (prediction.embedding, prediction.logits, prediction.frame_weights.weights):
        assert not tensor.requires_grad
        layer = torch.nn.Linear(tensor.shape[-1], 2)
        layer(tensor).sum().backward()  # torch refuses tensors of its inference mode
        assert layer.weight.grad is not None
