# SPDX-License-Identifier: Apache-2.0
"""CSV, JSON and label tracks hold what the timeline says, and can be read back."""

import csv
import io
import json

import numpy as np
import pytest

from voxadapt.timeline import Timeline
from voxadapt.timeline_files import (
    audacity_labels,
    timeline_record,
    write_segments,
    write_windows,
)

NAN = float("nan")
EMOTION = {"emotion": ["angry", "sad"]}
SEVERAL = {**EMOTION, "speaker": ["s1", "s2"]}


def make(columns: dict[str, list[str]], dimensions: list[str], gate: bool = False) -> Timeline:
    """Four windows of 2 s, one each second; the third was not heard."""
    size = sum(map(len, columns.values())) + len(dimensions)
    rows = np.full((4, size), NAN, dtype=np.float32)
    rows[:, 0::2], rows[:, 1::2] = 0.75, 0.25
    rows[3, 0::2], rows[3, 1::2] = 0.125, 0.875
    rows[2] = NAN
    starts = np.arange(4.0)
    edges = np.array([0, 1.5, 2.5, 3.5, 5])
    return Timeline(
        name="call.wav",
        seconds=5.0,
        window=2.0,
        hop=1.0,
        smooth=2.0,
        columns=columns,
        dimensions=dimensions,
        times=np.stack([starts, starts + 2], axis=1),
        stretches=np.stack([edges[:-1], edges[1:]], axis=1),
        speech_share=np.array([1.0, 1.0, 0.0, 1.0]),
        raw=rows,
        smoothed=rows,
        speech=[(0.0, 2.5), (3.5, 4.75)] if gate else None,
        envelope=np.ones(100, dtype=np.float32),
        envelope_step=0.05,
    )


def rows_of(timeline: Timeline) -> list[dict[str, str]]:
    stream = io.StringIO()
    write_windows(timeline, stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_csv_of_windows() -> None:
    first, _, third, last = rows_of(make(EMOTION, []))
    assert first == {
        "path": "call.wav",
        "start": "0.0",
        "end": "2.0",
        "from": "0.0",
        "to": "1.5",
        "speech": "1.0",
        "predicted": "angry",
        "angry": "0.75",
        "sad": "0.25",
    }
    assert (last["predicted"], last["to"]) == ("sad", "5.0")
    assert (third["predicted"], third["angry"], third["sad"], third["speech"]) == (
        "",
        "",
        "",
        "0.0",
    )


def test_csv_of_windows_with_several_columns_or_values() -> None:
    *_, last = rows_of(make(SEVERAL, []))
    assert list(last)[6:] == ["predicted", "angry", "sad", "speaker", "speaker=s1", "speaker=s2"]
    assert (last["predicted"], last["speaker"], last["speaker=s2"]) == ("sad", "s2", "0.875")
    *_, third, last = rows_of(make({}, ["arousal", "valence"]))
    assert list(last)[6:] == ["arousal", "valence"]
    assert (last["arousal"], last["valence"]) == ("0.125", "0.875")
    assert (third["arousal"], third["valence"]) == ("", "")


def test_one_header_for_several_recordings() -> None:
    stream = io.StringIO()
    write_windows(make(EMOTION, []), stream)
    write_windows(make(EMOTION, []), stream, header=False)
    assert len(stream.getvalue().splitlines()) == 9


def test_csv_of_segments() -> None:
    stream = io.StringIO()
    write_segments(make(SEVERAL, [], gate=True), stream)
    assert stream.getvalue().splitlines() == [
        "path,column,start,end,label,probability",
        "call.wav,emotion,0.0,2.5,angry,0.75",
        "call.wav,emotion,3.5,4.75,sad,0.875",
        "call.wav,speaker,0.0,2.5,s1,0.75",
        "call.wav,speaker,3.5,4.75,s2,0.875",
    ]


def test_a_label_track_is_tab_separated() -> None:
    timeline = make({"emotion": ["very\tangry", "sad\n"], "speaker": ["s1", "s2"]}, [])
    assert audacity_labels(timeline) == (
        "0.000000\t2.500000\tvery angry\n3.500000\t5.000000\tsad\n"
    )
    assert audacity_labels(timeline, "speaker").split() == [
        *("0.000000", "2.500000", "s1"),
        *("3.500000", "5.000000", "s2"),
    ]
    with pytest.raises(ValueError, match="'age', allowed: emotion, speaker"):
        audacity_labels(timeline, "age")


def test_values_have_no_segments() -> None:
    timeline = make({}, ["arousal", "valence"])
    with pytest.raises(ValueError, match=r"this model gives values .* no labels"):
        audacity_labels(timeline)
    with pytest.raises(ValueError, match="no segments"):
        write_segments(timeline, io.StringIO())


def test_json() -> None:
    record = json.loads(json.dumps(timeline_record(make(EMOTION, [], gate=True)), allow_nan=False))
    assert record["path"] == "call.wav"
    assert (record["seconds"], record["window"], record["hop"]) == (5.0, 2.0, 1.0)
    assert (record["smooth"], record["latency"]) == (2.0, 2.0)
    assert record["speech"] == [[0.0, 2.5], [3.5, 4.75]]
    assert record["segments"] == [
        {"start": 0.0, "end": 2.5, "label": "angry", "probability": 0.75},
        {"start": 3.5, "end": 4.75, "label": "sad", "probability": 0.875},
    ]
    assert record["overall"]["predicted"] == "angry"
    assert record["overall"]["seconds_by_label"] == {"angry": 2.5, "sad": 1.25}
    assert record["overall"]["speech_seconds"] == 3.75
    assert record["windows"][2] == {
        "start": 2.0,
        "end": 4.0,
        "from": 2.5,
        "to": 3.5,
        "speech": 0.0,
        "predicted": None,
        "probabilities": None,
    }
    assert record["windows"][3]["probabilities"] == {"angry": 0.125, "sad": 0.875}


def test_json_of_several_columns_and_of_values() -> None:
    record = timeline_record(make(SEVERAL, []))
    assert "speech" not in record
    assert record["segments"]["speaker"][1]["label"] == "s2"
    assert record["windows"][0]["columns"]["speaker"] == {
        "predicted": "s1",
        "probabilities": {"s1": 0.75, "s2": 0.25},
    }
    assert record["windows"][2]["columns"]["speaker"] == {
        "predicted": None,
        "probabilities": None,
    }
    assert record["overall"]["seconds_by_label"]["emotion"] == {"angry": 2.5, "sad": 1.5}
    values = timeline_record(make({}, ["arousal", "valence"]))
    assert "segments" not in values
    assert values["windows"][3]["values"] == {"arousal": 0.125, "valence": 0.875}
    assert values["windows"][2]["values"] is None
    assert set(values["overall"]["values"]) == {"arousal", "valence"}


def test_a_name_that_is_no_utf8_can_be_written() -> None:
    import dataclasses

    timeline = dataclasses.replace(make(EMOTION, []), name="call\udcff.wav")
    stream = io.StringIO()
    write_windows(timeline, stream)
    stream.getvalue().encode("utf-8")
    json.dumps(timeline_record(timeline), ensure_ascii=False).encode("utf-8")
