# SPDX-License-Identifier: Apache-2.0
"""``serve`` from the command line: what it refuses, what it says, how it ends."""

import importlib.util
import json
import re
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs pip install -e '.[serve]'")

from voxadapt.recipes import serve

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port=70000"], "--port: found 70000, allowed are 0 to 65535"),
        (["--max-seconds=0"], "--max-seconds: found 0.0, must be above 0"),
        (["--max-megabytes=.inf"], "--max-megabytes: found inf"),
        (["--max-waiting=-1"], "--max-waiting: found -1"),
        (["--timeout=.nan"], "--timeout: found nan"),
        (["--collect-ms=2000"], "--collect-ms: found 2000.0, allowed are 0 to 1000"),
        (["--host=no.such.host.invalid"], "--host no.such.host.invalid: is no name or address"),
        (["--host=192.0.2.1"], "--host 192.0.2.1 --port 7860: cannot listen there"),
        (["--device=cuda"], "--device cuda"),
        (["--max-second=3"], "Did you mean 'max-seconds'"),
    ],
)
def test_wrong_options_are_one_message(
    run_cli: Run, finetuned: Path, options: list[str], told: str
) -> None:
    ran = run_cli("serve", finetuned, *options)
    assert ran.code == 2
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(run_cli: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = run_cli("serve", "./no-model", "--port", port)
    assert ran.code == 2
    assert f"--port {port}: cannot listen there" in ran.err
    assert "--port 0" in ran.err


def test_a_run_that_is_not_there_is_told(run_cli: Run) -> None:
    ran = run_cli("serve", "./no-model", "--port=0")
    assert ran.code == 2
    assert "./no-model: there is no such folder" in ran.err


def test_what_is_not_installed_is_named(
    run_cli: Run, finetuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        serve.importlib.util, "find_spec", lambda name: None if name == "gradio" else find(name)
    )
    ran = run_cli("serve", finetuned, "--port=0")
    assert ran.code == 2
    assert "serve needs gradio" in ran.err
    assert "pip install -e '.[serve]'" in ran.err


def test_it_answers_and_ends_when_told_to(
    start_process: Callable[..., Any], finetuned: Path, corpus: Path
) -> None:
    options = ["--no-page", "--host=0.0.0.0", "--port=0"]
    process = start_process("serve", finetuned, *options)
    told = ""
    while not (found := re.search(r"curl -F file=@clip.wav (http://127\.0\.0\.1:\d+)/", told)):
        line = process.stderr.readline()
        assert line, told
        told += line
    while "WARNING" not in told:
        told += process.stderr.readline()
    assert "--host 0.0.0.0: whoever can reach this machine" in told
    request = urllib.request.Request(
        f"{found[1]}/predict",
        corpus.with_name("hum_3_0.wav").read_bytes(),
        {"Content-Type": "audio/wav"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["label"] in ("hum", "noise", "tone")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err
    assert "interrupted" not in err
    assert process.returncode == 0
