# SPDX-License-Identifier: Apache-2.0
"""The comparison of a file with torch: what it must let pass and what it must not."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from voxadapt.recipes.exporting import parity
from voxadapt.recipes.exporting.model_graph import ModelGraph

Make = Callable[..., Any]


class Graph:
    """In the place of a file: the graph in torch, with a fault of one's choice."""

    def __init__(self, model: Any, fault: Callable[[dict[str, np.ndarray]], None]) -> None:
        self.graph, self.fault = ModelGraph(model), fault
        self.batches: list[tuple[int, int]] = []

    @torch.no_grad()
    def run(self, clips: Sequence[Tensor], filler: float) -> dict[str, np.ndarray]:
        lengths = torch.tensor([len(clip) for clip in clips])
        waveforms = torch.full((len(clips), int(lengths.max())), filler)
        for row, clip in zip(waveforms, clips, strict=True):
            row[: len(clip)] = clip
        self.batches.append(tuple(waveforms.shape))
        found = self.graph(waveforms, lengths)
        names = ("probabilities", "logits", "embedding")
        outputs = {name: part.numpy() for name, part in zip(names, found, strict=True)}
        self.fault(outputs)
        return outputs


def check(model: Any, fault: Callable[[dict[str, np.ndarray]], None]) -> tuple[Any, Graph]:
    graph: Any = Graph(model, fault)
    return parity.check_parity(model, graph, progress=False), graph


def test_what_agrees_does_so_at_five_lengths_and_three_batch_sizes(tiny_classifier: Make) -> None:
    rows, graph = check(tiny_classifier(), lambda outputs: None)
    assert len({row.seconds for row in rows}) == 5
    assert len({row.batch for row in rows}) == 3
    assert len(rows) == 15
    assert [batch for batch, _ in graph.batches] == [row.batch for row in rows]
    assert [samples for _, samples in graph.batches] == [
        round(16_000 * row.seconds) for row in rows
    ]
    assert 0 < max(row.worst for row in rows) < 1e-5
    assert "too large" not in parity.parity_table(rows)


@pytest.mark.parametrize(
    ("name", "change"), [("probabilities", 2e-4), ("logits", 5e-3), ("embedding", math.nan)]
)
def test_one_wrong_number_of_one_clip_is_found(
    name: str, change: float, tiny_classifier: Make
) -> None:
    def fault(outputs: dict[str, np.ndarray]) -> None:
        if len(outputs[name]) == 4:
            outputs[name][3, 1] += change

    rows, _ = check(tiny_classifier(), fault)
    assert {row.batch for row in rows if row.worst > parity.LIMIT} == {4}
    table = parity.parity_table(rows)
    assert table.count("too large") == 5
    assert name in table


def test_whisper_is_compared_beyond_its_window(tiny_classifier: Make) -> None:
    assert parity.lengths_for(tiny_classifier("fbank")) == parity.SECONDS
    # Of the tiny one, a second.
    lengths = parity.lengths_for(tiny_classifier("whisper"))
    assert len(lengths) == 5
    assert lengths[-1] == pytest.approx(1.1)


def test_clips_differ_in_length_level_and_sound() -> None:
    clips = list(parity.draw_clips(1.0, 4, seed=0))
    assert len(clips[0]) == 16_000
    assert len({len(clip) for clip in clips}) == 4
    levels = [float(clip.std()) for clip in clips]
    assert max(levels) > 20 * min(levels)
    assert all(torch.isfinite(clip).all() for clip in clips)
