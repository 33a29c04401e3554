# SPDX-License-Identifier: Apache-2.0
"""The page without a browser: what a visitor gets, and what is left on the disk."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs pip install -e '.[serve]'")

import voxadapt.recipes.serving as serving
from voxadapt.recipes.serving import upload_folder
from voxadapt.recipes.serving.page import Visitors
from voxadapt.recipes.serving.service import Limits, Service
from voxadapt.recipes.serving.upload_folder import UploadFolder

httpx = pytest.importorskip("httpx")

Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_folder, "_LINGER_SECONDS", 0.0)


@pytest.fixture(scope="module")
def server(start_server: Start) -> Any:
    return start_server(page=True, max_megabytes=1.0)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def check_empty(server: Any) -> None:
    """All uploads go; it is no matter of the order of requests."""
    ends = time.monotonic() + 20
    while files_below(server.temporary):
        assert time.monotonic() < ends
        time.sleep(0.01)


def upload(server: Any, name: str, content: bytes) -> Any:
    return httpx.post(f"{server.address}/gradio_api/upload", files={"files": (name, content)})


def listen(server: Any, path: str) -> str:
    """What the page is told of an upload: all messages of its stream."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    asked = {"data": [file], "fn_index": 0, "session_hash": "visitor"}
    joined = httpx.post(f"{server.address}/gradio_api/queue/join", json=asked)
    assert joined.status_code == 200, joined.text
    query = {"session_hash": "visitor"}
    address = f"{server.address}/gradio_api/queue/data"
    with httpx.stream("GET", address, params=query, timeout=60) as stream:
        lines = []
        for line in stream.iter_lines():
            lines.append(line)
            if "process_completed" in line:
                break
    return "\n".join(json.dumps(json.loads(line[5:])) for line in lines if line.startswith("data:"))


def test_the_page_needs_nothing_from_elsewhere(server: Any) -> None:
    page = httpx.get(f"{server.address}/").text
    assert "hum, noise, tone" in page
    config = httpx.get(f"{server.address}/config").json()
    assert config["analytics_enabled"] is False
    assert config["title"] == "Voxadapt: run"
    assert "fonts.googleapis" not in page + json.dumps(config)
    assert not list(Path(serving.__path__[0]).glob("*.pyi"))  # Gradio writes some, see page.py


def test_an_upload_is_gone_once_it_is_read(server: Any, corpus: Path) -> None:
    content = corpus.with_name("hum_3_0.wav").read_bytes()
    (path,) = upload(server, "hum.wav", content).json()
    assert Path(path).is_relative_to(server.temporary)
    assert Path(path).read_bytes() == content
    told = listen(server, path)
    expected = server.model.predict(content).label
    assert f'class=\\"label\\">{expected}<' in told
    check_empty(server)
    assert "That is no upload" in listen(server, path)


def test_no_audio_is_gone_too_and_says_why(server: Any) -> None:
    (path,) = upload(server, "clip.wav", b"no audio at all" * 99).json()
    assert "cannot be decoded" in listen(server, path)
    check_empty(server)


def test_what_is_too_large_never_gets_there(server: Any) -> None:
    answer = upload(server, "clip.wav", bytes(1_030_000))  # of which a form may have some more
    assert answer.status_code == 413
    answer = upload(server, "clip.wav", bytes(30_000_000))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"
    check_empty(server)


@pytest.mark.parametrize("path", ["http://192.0.2.1/clip.wav", "/etc/hostname", "../../x.wav"])
def test_neither_addresses_nor_other_files_are_read(server: Any, path: str) -> None:
    told = listen(server, path)
    assert '"success": false' in told
    assert "That is no upload" in told
    check_empty(server)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UploadFolder:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return UploadFolder()


def visit(model: Any, folder: UploadFolder, content: bytes | None, **limits: Any) -> list[str]:
    """All that the page shows, one after the other."""

    async def main() -> list[str]:
        service = Service(model, Limits(**limits))
        path = None
        if content is not None:
            file = folder.path / "some hash" / "a {b} ${c} <i>.wav"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            path = str(file)
        async with service.running():
            shown = [html async for html in Visitors(service, folder).listen(path)]
            while list(folder.path.iterdir()):
                await asyncio.sleep(0.01)
        assert service.memory.held == 0
        return shown

    shown = asyncio.run(main())
    assert list(folder.path.iterdir()) == []
    return shown


def test_a_short_clip_has_no_timeline(served_model: Any, folder: UploadFolder, zoo: Any) -> None:
    (shown,) = visit(served_model, folder, zoo.wave_bytes(zoo.tone(16_000, 1.0)))
    assert "<svg" in shown
    assert 'class="timeline"' not in shown
    assert "embedding.npy" in shown


def test_a_longer_one_has_both(served_model: Any, folder: UploadFolder, zoo: Any) -> None:
    shown = visit(served_model, folder, zoo.wave_bytes(zoo.tone(16_000, 8.0)))
    assert 'class="timeline"' not in shown[0]
    assert shown[-1].startswith(shown[0])
    assert 'class="timeline"' in shown[-1]
    assert "segments.csv" in shown[-1]


def test_a_long_one_has_a_timeline_alone(served_model: Any, folder: UploadFolder, zoo: Any) -> None:
    shown = visit(served_model, folder, zoo.wave_bytes(zoo.tone(16_000, 8.0)), seconds=4)
    assert "over the whole recording" in shown[-1]
    assert 'class="timeline"' in shown[-1]
    assert "embedding.npy" not in shown[-1]


def test_names_cannot_become_markup(served_model: Any, folder: UploadFolder, zoo: Any) -> None:
    (shown,) = visit(served_model, folder, zoo.wave_bytes(zoo.tone(16_000, 1.0)))
    assert "<i>" not in shown
    assert not set("{}$`") & set(shown)
    assert "a &#123;b&#125; &#36;&#123;c&#125; &lt;i&gt;.embedding.npy" in shown


@pytest.mark.parametrize(
    ("seconds", "told"), [(9.0, "found 9.0 s, allowed are 6 s"), (0.0, "empty|0 samples|no")]
)
def test_what_cannot_be_used_is_told(
    served_model: Any, folder: UploadFolder, zoo: Any, seconds: float, told: str
) -> None:
    content = zoo.wave_bytes(np.zeros(0) if not seconds else zoo.tone(16_000, seconds))
    (shown,) = visit(served_model, folder, content, seconds=6, timeline_seconds=6)
    assert 'class="notice error"' in shown
    assert any(part in shown for part in told.split("|"))


@pytest.mark.parametrize(
    ("limits", "option"),
    [
        ({"seconds": 4, "timeline_seconds": 6}, "6 s (--max-timeline-seconds)"),
        ({"seconds": 6, "timeline_seconds": 4}, "6 s (--max-seconds)"),
    ],
)
def test_the_limit_that_was_passed_is_named(
    served_model: Any, folder: UploadFolder, zoo: Any, limits: dict[str, float], option: str
) -> None:
    (shown,) = visit(served_model, folder, zoo.wave_bytes(zoo.tone(16_000, 9.0)), **limits)
    assert f"allowed are {option}" in shown


def test_nothing_is_shown_of_nothing(served_model: Any, folder: UploadFolder) -> None:
    (shown,) = visit(served_model, folder, None)
    assert "Record or drop" in shown


def test_an_old_rest_is_swept_and_a_new_one_is_not(folder: UploadFolder) -> None:
    old, new = folder.path / "a" / "old.wav", folder.path / "b" / "new.wav"
    for path in (old, new):
        path.parent.mkdir()
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 100,) * 2)
    folder.sweep()
    assert not old.parent.exists()
    assert new.exists()
