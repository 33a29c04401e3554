# SPDX-License-Identifier: Apache-2.0
"""A timeline's segments and means, against ones that were worked out by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from voxadapt import timeline as timeline_module
from voxadapt.timeline import Segment, Timeline

NAN = float("nan")


def make(
    rows: Sequence[Sequence[float]],
    columns: dict[str, list[str]] | None = None,
    dimensions: Sequence[str] = (),
    speech: list[tuple[float, float]] | None = None,
    borders: Sequence[float] | None = None,
) -> Timeline:
    """One window a second, hop and window of a second, nothing smoothed."""
    numbers = np.array(rows, dtype=np.float32)
    count = len(numbers)
    edges = np.array(borders if borders is not None else range(count + 1), dtype=float)
    stretches = np.stack([edges[:-1], edges[1:]], axis=1)
    heard = ~np.isnan(numbers).any(axis=1)
    share = heard.astype(float)
    if speech is not None:
        inside = [
            sum(max(0.0, min(end, b) - max(start, a)) for a, b in speech)
            for start, end in stretches
        ]
        share = np.array(inside) / (stretches[:, 1] - stretches[:, 0])
    return Timeline(
        name="call.wav",
        seconds=float(edges[-1]),
        window=1.0,
        hop=1.0,
        smooth=0.0,
        columns=columns if columns is not None else {"emotion": ["angry", "sad"]},
        dimensions=dimensions,
        times=stretches,
        stretches=stretches,
        speech_share=share,
        raw=numbers,
        smoothed=numbers,
        speech=speech,
        envelope=np.ones(20 * count, dtype=np.float32),
        envelope_step=0.05,
    )


A, S, N = (0.8, 0.2), (0.3, 0.7), (NAN, NAN)


def test_windows_of_one_label_are_one_segment() -> None:
    timeline = make([A, A, S, S, S, A])
    assert timeline.segments() == [
        Segment(0.0, 2.0, "angry", pytest.approx(0.8)),
        Segment(2.0, 5.0, "sad", pytest.approx(0.7)),
        Segment(5.0, 6.0, "angry", pytest.approx(0.8)),
    ]
    assert timeline.segments("emotion") == timeline.segments()


def test_what_was_not_heard_lies_between_segments() -> None:
    spans = [(one.start, one.end, one.label) for one in make([N, A, N, N, A, S, N]).segments()]
    assert spans == [(1, 2, "angry"), (4, 5, "angry"), (5, 6, "sad")]
    assert make([N, N]).segments() == []
    assert len(make([A]).segments()) == 1


def test_segments_end_where_speech_does() -> None:
    timeline = make([A, A, N, S, S], speech=[(0.25, 0.5), (0.75, 1.5), (3.25, 4.0), (4.5, 9.0)])
    spans = [(one.start, one.end) for one in timeline.segments()]
    assert spans == [(0.25, 1.5), (3.25, 5.0)]


def test_a_segments_probability_counts_each_window_by_its_length() -> None:
    timeline = make([(0.9, 0.1), (0.6, 0.4)], borders=[0, 1, 4])
    assert timeline.segments()[0].probability == pytest.approx((0.9 + 3 * 0.6) / 4)


def test_overall_counts_each_window_by_its_speech() -> None:
    timeline = make([(0.9, 0.1), (0.6, 0.4), N], borders=[0, 1, 4, 9])
    overall = timeline.overall()
    assert overall.label == "angry"
    assert overall.probabilities["angry"] == pytest.approx((0.9 + 3 * 0.6) / 4)
    assert overall.speech_seconds == 4
    assert overall.seconds_by_label == {"emotion": {"angry": 4, "sad": 0}}
    gated = make([(0.9, 0.1), (0.6, 0.4), N], borders=[0, 1, 4, 9], speech=[(0, 2.5)]).overall()
    assert gated.probabilities["angry"] == pytest.approx((0.9 + 1.5 * 0.6) / 2.5)
    assert gated.speech_seconds == 2.5
    assert gated.seconds_by_label == {"emotion": {"angry": 2.5, "sad": 0}}


def test_overall_is_of_the_raw_and_segments_of_the_smoothed() -> None:
    import dataclasses

    timeline = dataclasses.replace(make([A, S, A]), smoothed=make([A, A, A]).raw)
    assert len(timeline.segments()) == 1
    assert timeline.overall().probabilities["angry"] == pytest.approx((0.8 + 0.3 + 0.8) / 3)


def test_several_columns() -> None:
    timeline = make(
        [(0.8, 0.2, 0.1, 0.9), (0.8, 0.2, 0.6, 0.4), (0.1, 0.9, 0.6, 0.4)],
        {"emotion": ["angry", "sad"], "speaker": ["s1", "s2"]},
    )
    emotions = [(one.start, one.end, one.label) for one in timeline.segments()]
    speakers = [(one.start, one.end, one.label) for one in timeline.segments("speaker")]
    assert emotions == [(0, 2, "angry"), (2, 3, "sad")]
    assert speakers == [(0, 1, "s2"), (1, 3, "s1")]
    overall = timeline.overall()
    assert overall.label == "angry"
    assert overall.probabilities == overall.columns["emotion"]
    assert overall.columns["speaker"]["s2"] == pytest.approx((0.9 + 0.4 + 0.4) / 3)
    with pytest.raises(ValueError, match="'age', allowed: emotion, speaker"):
        timeline.segments("age")


def test_values() -> None:
    timeline = make([(0.5, 3.0), (NAN, NAN), (1.5, 5.0)], {}, ["arousal", "valence"])
    assert timeline.segments() == []
    overall = timeline.overall()
    assert overall.values == {"arousal": 1.0, "valence": 4.0}
    assert overall.label is None
    assert overall.probabilities == overall.columns == overall.seconds_by_label == {}
    first, second, _ = timeline.windows()
    assert first.values == {"arousal": 0.5, "valence": 3.0}
    assert second.values == {}


def test_windows_have_names() -> None:
    first, second = make([S, N]).windows()
    assert (first.start, first.end, first.stretch_end, first.speech) == (0, 1, 1, 1)
    assert first.label == "sad"
    assert first.probabilities == pytest.approx({"angry": 0.3, "sad": 0.7})
    assert first.columns == {"emotion": first.probabilities}
    assert second.label is None
    assert second.probabilities == {}
    assert second.speech == 0


def test_nothing_heard() -> None:
    overall = make([N, N]).overall()
    assert overall.label is None
    assert overall.probabilities == {}
    assert overall.columns == {"emotion": {}}
    assert overall.speech_seconds == 0


def test_latency_is_half_a_window_and_half_the_mean() -> None:
    import dataclasses

    timeline = dataclasses.replace(make([A] * 10), window=3.0, smooth=5.0)
    assert timeline.latency == 4.0


@pytest.mark.parametrize("name", ["raw", "envelope", "speech"])
def test_numbers_stay_out_of_its_repr(name: str) -> None:
    assert f"{name}=" not in repr(make([A]))
    fields: Any = timeline_module.Timeline.__dataclass_fields__
    assert name in fields
