# SPDX-License-Identifier: Apache-2.0
import io
import logging
import re
import time

import pytest
import tqdm.std

from voxadapt.recipes.corpora import audio_progress
from voxadapt.recipes.corpora.audio_progress import AudioProgress, speed_text


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, for our own code and for tqdm's."""
    now = [1_000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    return now


@pytest.fixture
def written(clock, monkeypatch):
    """What bars write to a terminal that is wide enough."""
    terminal = io.StringIO()

    class Bar(audio_progress._HoursBar):
        def __init__(self, **options):
            super().__init__(**{**options, "ncols": 120, "ascii": True, "file": terminal})

    monkeypatch.setattr(audio_progress, "_HoursBar", Bar)
    return terminal


def test_bar_shows_hours_speed_and_what_is_left(written, clock):
    with AudioProgress(7_200.0) as progress:
        clock[0] += 2.0
        progress.update(720.0)
        assert written.getvalue() == ""  # what is over in seconds needs no bar
        clock[0] += 8.0
        progress.update(2_880.0)
        shown = written.getvalue()
    assert re.search(
        r"features:  50%\|#+\d? +\| 1\.00/2\.00 h \[00:10<00:10, 0\.1 audio-hours/s\]", shown
    )


def test_speed_is_logged_at_the_end(clock, caplog):
    with caplog.at_level(logging.INFO), AudioProgress(720.0) as progress:
        for _ in range(2):
            clock[0] += 10.0
            progress.update(360.0)
    assert caplog.messages == [
        "features of 0.200 h of audio in 20.0 s: 0.01 audio-hours per second, 36 times real time"
    ]


def test_one_of_several_processes_says_so(written, clock, caplog):
    with caplog.at_level(logging.INFO), AudioProgress(10.0, processes=2) as progress:
        clock[0] += 5.0
        progress.update(10.0)
    assert "features (1 of 2 processes): 100%" in written.getvalue()
    assert caplog.text.rstrip().endswith("(1 of 2 processes)")


def stop_halfway(clock):
    with AudioProgress(10.0) as progress:
        clock[0] += 1.0
        progress.update(5.0)
        raise KeyboardInterrupt


def test_nothing_is_said_of_nothing_nor_of_what_failed(written, clock, caplog):
    with caplog.at_level(logging.INFO):
        with AudioProgress(10.0, shown=False) as progress:
            clock[0] += 10.0
            progress.update(10.0)
        assert written.getvalue() == ""
        with AudioProgress(0.0):
            pass
        with pytest.raises(KeyboardInterrupt):
            stop_halfway(clock)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (9.04, "0.0025 audio-hours per second, 9 times real time"),
        (0.5, "0.00014 audio-hours per second, 0.5 times real time"),
        (1_543.2, "0.43 audio-hours per second, 1,543 times real time"),
    ],
)
def test_speed_in_words(rate, text):
    assert speed_text(rate) == text
