# SPDX-License-Identifier: Apache-2.0
"""The endpoint, asked over a real connection."""

import concurrent.futures
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs pip install -e '.[serve]'")
httpx = pytest.importorskip("httpx")

Start = Callable[..., Any]
WAV = {"Content-Type": "audio/wav"}


@pytest.fixture(scope="module")
def server(start_server: Start) -> Any:
    return start_server(max_seconds=3.0, max_timeline_seconds=20.0, max_megabytes=2.0)


@pytest.fixture(scope="module")
def clip(corpus: Path) -> bytes:
    return corpus.with_name("tone_3_0.wav").read_bytes()


def error_of(answer: Any) -> dict[str, str]:
    """The error of an answer; it is of the one form that errors have."""
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message"}
    return dict(body["error"])


def predict(server: Any, content: bytes, **query: Any) -> Any:
    return httpx.post(f"{server.address}/predict", params=query, content=content, headers=WAV)


def connect(server: Any) -> socket.socket:
    host, _, port = server.address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def head_of(length: int) -> bytes:
    lines = ["POST /predict HTTP/1.1", "Host: x", "Content-Type: audio/wav"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def test_a_clip_is_answered_as_the_library_does(server: Any, clip: bytes) -> None:
    expected = server.model.predict(clip, frame_weights=True)
    answer = predict(server, clip).json()
    assert answer.keys() == {"label", "probabilities", "seconds"}
    assert answer["label"] == expected.label
    assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
    assert answer["seconds"] == pytest.approx(expected.seconds, abs=1e-5)
    answer = predict(server, clip, embedding=True, frames=True).json()
    assert answer["embedding"] == pytest.approx(expected.embedding.tolist(), abs=1e-4)
    assert np.allclose(answer["frames"]["weights"], expected.frame_weights.weights, atol=1e-5)
    assert np.allclose(answer["frames"]["times"], expected.frame_weights.times, atol=1e-5)


def test_a_form_and_a_raw_body_are_the_same(server: Any, clip: bytes) -> None:
    form = httpx.post(f"{server.address}/predict", files={"file": ("any name.xyz", clip)})
    assert form.json() == predict(server, clip).json()


def test_what_it_is_and_knows(server: Any) -> None:
    labels = httpx.get(f"{server.address}/labels").json()
    assert labels["labels"] == labels["columns"]["label"] == ["hum", "noise", "tone"]
    health = httpx.get(f"{server.address}/health").json()
    assert (health["status"], health["model"], health["backbone"]) == ("ok", "run", "fbank")
    assert health["limits"]["seconds"] == 3
    assert health["limits"]["bytes"] == 2_000_000


def test_the_documentation_names_every_route_and_loads_nothing(server: Any) -> None:
    paths = httpx.get(f"{server.address}/openapi.json").json()["paths"]
    assert set(paths) == {"/predict", "/timeline", "/labels", "/health"}
    page = httpx.get(f"{server.address}/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert all(f"{path}</code>" in page.text for path in paths)
    assert f"{server.address}/predict" in page.text
    assert "default-src &#x27;none&#x27;" in page.text or "default-src 'none'" in page.text


def test_the_zoo_gets_answers_or_reasons_and_changes_nothing(
    server: Any, animals: dict[str, Any], clip: bytes
) -> None:
    before = predict(server, clip, embedding=True).json()
    good = bad = 0
    with httpx.Client(base_url=server.address) as client:
        for what, animal in animals.items():
            if not animal.path.is_file():
                continue
            files = {
                "file": (
                    animal.path.name.encode("utf-8", "replace").decode(),
                    animal.path.read_bytes(),
                )
            }
            answer = client.post("/predict", files=files)
            if not animal.reasons:
                good += 1
                assert answer.status_code == 200, (what, answer.text)
                expected = server.model.predict(animal.path).probabilities
                assert answer.json()["probabilities"] == pytest.approx(expected, abs=1e-4), what
                continue
            bad += 1
            assert answer.status_code in (400, 422), (what, answer.text)
            error = error_of(answer)
            assert error["code"].replace("_", " ") in animal.reasons, what
            assert str(animal.path.parent) not in error["message"]
            timeline = client.post("/timeline", files=files)
            assert timeline.status_code in (400, 422), (what, timeline.text)
    assert good > 40
    assert bad > 15
    assert predict(server, clip, embedding=True).json() == before
    assert list(server.temporary.iterdir()) == []


def test_what_is_too_long_is_refused_by_its_header(server: Any, zoo: Any, tmp_path: Path) -> None:
    second = zoo.tone(16_000, 1.0)
    assert predict(server, zoo.wave_bytes(np.tile(second, 3))).status_code == 200
    answer = predict(server, zoo.wave_bytes(np.tile(second, 4)))
    assert answer.status_code == 422
    assert error_of(answer)["code"] == "too_long"
    assert "found 4.0 s, allowed are 3 s (--max-seconds)" in error_of(answer)["message"]
    longer = zoo.wave_bytes(np.tile(second, 21))
    answer = httpx.post(f"{server.address}/timeline", content=longer, headers=WAV)
    assert error_of(answer)["code"] == "too_long"
    assert "--max-timeline-seconds" in error_of(answer)["message"]


def test_a_stream_of_a_gigabyte_is_cut_off(server: Any, clip: bytes) -> None:
    sent = 0

    def zeros() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1_000_000
            yield bytes(1_000_000)

    for path in ("/predict", "/timeline", "/health", "/nowhere"):
        sent = 0
        answer = httpx.post(f"{server.address}{path}", content=zeros(), headers=WAV)
        # Where nobody asks for a body, the answer is another, but the body is cut off too.
        assert answer.status_code == {"/health": 405, "/nowhere": 404}.get(path, 413)
        assert sent < 100_000_000
    assert predict(server, clip).status_code == 200


def test_a_length_that_is_announced_is_refused_at_once(server: Any) -> None:
    answer = predict(server, bytes(3_000_000))
    assert answer.status_code == 413
    assert "found 3,000,000 bytes, allowed are 2,000,000 bytes" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        ("predict", {"embeding": "true"}, "embeding: there is no such option"),
        ("predict", {"frames": "perhaps"}, "frames: found 'perhaps'"),
        ("timeline", {"hop": "0"}, "hop: found '0'"),
        ("timeline", {"window": "x"}, "window: found 'x'"),
        ("timeline", {"window": "1", "hop": "2"}, "hop: found 2.0 s"),
        ("timeline", {"gate": "magic"}, "gate: found 'magic'"),
    ],
)
def test_wrong_options_are_named(
    server: Any, clip: bytes, path: str, query: dict[str, str], told: str
) -> None:
    address = f"{server.address}/{path}"
    answer = httpx.post(address, params=query, content=clip, headers=WAV)
    assert answer.status_code == 422
    assert error_of(answer)["code"] == "wrong_option"
    assert told in error_of(answer)["message"]


def test_wrong_requests_are_told_apart(server: Any, clip: bytes) -> None:
    assert httpx.get(f"{server.address}/nowhere").status_code == 404
    answer = httpx.get(f"{server.address}/predict")
    assert answer.status_code == 405
    assert error_of(answer)["code"] == "wrong_method"
    answer = httpx.post(f"{server.address}/predict", json={"file": "clip.wav"})
    assert answer.status_code == 415
    answer = httpx.post(f"{server.address}/predict")
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "empty"


def test_a_timeline_is_that_of_the_library(server: Any, zoo: Any) -> None:
    recording = zoo.wave_bytes(zoo.tone(16_000, 5.0))
    answer = httpx.post(
        f"{server.address}/timeline",
        params={"window": 1, "hop": 0.5},
        files={"file": ("a meeting.wav", recording)},
    )
    assert answer.status_code == 200, answer.text
    made = server.model.timeline(recording, window=1.0, hop=0.5)
    found = answer.json()
    assert found["seconds"] == 5
    assert found["path"] == "a meeting.wav"
    assert len(found["windows"]) == len(made)
    for heard, expected in zip(found["windows"], made.windows(), strict=True):
        assert heard["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)


def test_32_at_once_are_all_answered_and_in_batches(server: Any, corpus: Path) -> None:
    """More than a minute of it, and memory, is what benchmarks/serving.py measures."""
    paths = sorted(corpus.parent.glob("*.wav"))[:8]
    expected = {path: server.model.predict(path) for path in paths}
    batches: list[int] = []
    predict_waveforms = server.model.predict_waveforms

    def count(waveforms: Any, **options: Any) -> Any:
        batches.append(len(waveforms))
        return predict_waveforms(waveforms, **options)

    def visit(number: int) -> None:
        with httpx.Client(base_url=server.address, timeout=60) as client:
            for step in range(4):
                path = paths[(number + step) % len(paths)]
                answer = client.post("/predict", content=path.read_bytes(), headers=WAV)
                assert answer.status_code == 200, answer.text
                shares = expected[path].probabilities
                assert answer.json()["probabilities"] == pytest.approx(shares, abs=1e-4)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.model, "predict_waveforms", count)
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            list(pool.map(visit, range(32)))
    assert sum(batches) == 32 * 4
    assert len(batches) < 32 * 4 / 2
    assert list(server.temporary.iterdir()) == []


class SlowModel:
    """The model, but it waits until it may go on."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.may_go = threading.Event()
        self.begun = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict_waveforms(self, waveforms: Any, **options: Any) -> Any:
        self.begun.set()
        assert self.may_go.wait(20)
        return self._model.predict_waveforms(waveforms, **options)


def test_more_than_may_wait_are_told_to_come_again(
    start_server: Start, served_model: Any, clip: bytes
) -> None:
    slow = SlowModel(served_model)
    server = start_server(slow, max_waiting=2)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        first = pool.submit(predict, server, clip)
        assert slow.begun.wait(20)
        others = [pool.submit(predict, server, clip) for _ in range(2)]
        while httpx.get(f"{server.address}/health").json()["waiting"] < 2:
            pass
        answer = predict(server, clip)
        assert answer.status_code == 503
        assert error_of(answer)["code"] == "busy"
        assert int(answer.headers["Retry-After"]) >= 1
        slow.may_go.set()
        assert [future.result().status_code for future in (first, *others)] == [200] * 3
    assert predict(server, clip).status_code == 200


def test_an_answer_that_does_not_come_in_time_is_given_up(
    start_server: Start, served_model: Any, clip: bytes
) -> None:
    slow = SlowModel(served_model)
    server = start_server(slow, timeout=0.3)
    answer = predict(server, clip)
    assert answer.status_code == 503
    assert "--timeout" in error_of(answer)["message"]
    assert answer.headers["Retry-After"]
    slow.may_go.set()
    assert httpx.get(f"{server.address}/health").json()["status"] == "ok"


def test_a_body_that_stops_coming_is_given_up(start_server: Start, clip: bytes) -> None:
    server = start_server(timeout=0.5)
    with connect(server) as connection:
        connection.sendall(head_of(999) + clip[:100])
        received = b""
        while data := connection.recv(1 << 16):
            received += data
    assert received.startswith(b"HTTP/1.1 408")
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_slow"
    assert predict(server, clip).status_code == 200


def test_who_goes_away_leaves_nothing(server: Any, clip: bytes) -> None:
    for content in (b"", clip[:1000], clip):
        with connect(server) as connection:
            connection.sendall(head_of(len(clip)) + content)
    assert predict(server, clip).status_code == 200
    assert list(server.temporary.iterdir()) == []


def test_a_fault_of_ours_is_one_message_and_the_next_is_answered(
    start_server: Start, served_model: Any, clip: bytes
) -> None:
    class Broken(SlowModel):
        def predict_waveforms(self, waveforms: Any, **options: Any) -> Any:
            if not self.may_go.is_set():
                raise RuntimeError("out of memory at /srv/someone")
            return super().predict_waveforms(waveforms, **options)

    broken = Broken(served_model)
    server = start_server(broken)
    answer = predict(server, clip)
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "failed"
    assert "/srv" not in answer.text
    broken.may_go.set()
    assert predict(server, clip).status_code == 200
