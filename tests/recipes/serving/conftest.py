# SPDX-License-Identifier: Apache-2.0
"""A server in this process, and the tiny model that it serves."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Running:
    """A server that answers.

    Attributes:
        address: Where, such as ``http://127.0.0.1:40000``.
        model: What it serves.
        temporary: The folder that its temporary files are in.
    """

    address: str
    model: Any
    temporary: Path


@contextlib.contextmanager
def serve(model: Any, run: Path, temporary: Path, **options: Any) -> Iterator[Running]:
    import uvicorn

    from voxadapt.recipes.serve import ServeOptions, build_app
    from voxadapt.recipes.serving.address import address_of, open_socket

    patch = pytest.MonkeyPatch()
    patch.setattr(tempfile, "tempdir", str(temporary))
    patch.setenv("GRADIO_TEMP_DIR", "")  # so that it is put back
    app = build_app(model, ServeOptions(run=str(run), port=0, **options))
    with open_socket("127.0.0.1", 0) as opened:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=3))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Running(address_of(opened, "127.0.0.1"), model, temporary)
        finally:
            server.should_exit = True
            thread.join(timeout=30)
            patch.undo()
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def served_model(finetuned: Path) -> Any:
    """The tiny model of hum, noise and tone."""
    from voxadapt import SpeechClassifier

    return SpeechClassifier.from_pretrained(finetuned)


@pytest.fixture(scope="module")
def start_server(
    served_model: Any, finetuned: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Running]]:
    """Start a server with options, and perhaps another model; it lasts as long as the module."""
    with contextlib.ExitStack() as stack:

        def start(model: Any = served_model, **options: Any) -> Running:
            temporary = tmp_path_factory.mktemp("temporary")
            options = {"page": False, **options}
            return stack.enter_context(serve(model, finetuned, temporary, **options))

        yield start
