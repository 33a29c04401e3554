# SPDX-License-Identifier: Apache-2.0
"""Serve a trained model: a page for the browser, and an HTTP endpoint for programs.

    python recipes/serve.py runs/finetune
    curl -F file=@clip.wav http://127.0.0.1:7860/predict

Needs ``pip install -e '.[serve]'``.
"""

import contextlib
import importlib.util
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from voxadapt.backbones import Precision
from voxadapt.classifier import SpeechClassifier
from voxadapt.extras import install_command
from voxadapt.recipes.running.command_line import UsageError, leave, parse, run_command
from voxadapt.recipes.running.encoder_precision import usable_precision
from voxadapt.recipes.scoring.run_reading import refuse_pretraining
from voxadapt.recipes.serving.address import address_of, exposure_warning, open_socket

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

_SHUTDOWN_SECONDS = 5


@dataclass
class ServeOptions:
    """Serve a trained model: a page for the browser, and an HTTP endpoint for programs.

    The page takes a recording from the microphone or a file and shows the probabilities, where the
    model listened, and a timeline of longer recordings. /docs tells how programs ask. Ctrl-C ends
    it.

    Args:
        run: The folder that `finetune` wrote, or a hub id.
        host: Address to listen at. The default is reached from this machine alone; 0.0.0.0 is
            reached from everywhere, without a password.
        port: Port to listen at; 0 takes any that is free.
        page: Serve the page; `--no-page` serves the endpoint alone, and starts faster.
        max_seconds: Longest clip.
        max_timeline_seconds: Longest recording for a timeline.
        max_megabytes: Largest upload, in MB of 10^6 bytes.
        max_waiting: Clips that may wait for the model. One more is refused, with the status 503 and
            a time to come again.
        timeout: Seconds that an upload may take, and then its answer.
        timeline_timeout: Seconds that a timeline may take.
        batch_seconds: Seconds of audio, padding included, that are computed together.
        collect_ms: Milliseconds that the first clip waits for others to be computed with.
        device: What the model runs on; `auto` takes a GPU where there is one.
        precision: What the backbone is computed in. `bf16` is about twice as fast where the machine
            has it, and close to `fp32`; where the machine lacks it, `fp32` is used.
    """

    run: str
    host: str = "127.0.0.1"
    port: int = 7860
    page: bool = True
    max_seconds: float = 60.0
    max_timeline_seconds: float = 3600.0
    max_megabytes: float = 64.0
    max_waiting: int = 64
    timeout: float = 30.0
    timeline_timeout: float = 300.0
    batch_seconds: float = 60.0
    collect_ms: float = 5.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        """Check what the types do not say.

        Raises:
            ValueError: A number is out of range.
        """
        for name in ("max_seconds", "max_timeline_seconds", "max_megabytes", "max_waiting"):
            _check_above_zero(name, getattr(self, name))
        for name in ("timeout", "timeline_timeout", "batch_seconds"):
            _check_above_zero(name, getattr(self, name))
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"--port: found {self.port}, allowed are 0 to 65535")
        if not 0 <= self.collect_ms <= 1_000:
            raise ValueError(f"--collect-ms: found {self.collect_ms}, allowed are 0 to 1000")


def _check_above_zero(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"--{name.replace('_', '-')}: found {value}, must be above 0 and finite")


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the process is told to end."""
    options = parse(ServeOptions, argv, prog="serve.py", positionals=("run",), page=__doc__)
    refuse_pretraining(options.run)
    _check_packages(options.page)
    with open_socket(options.host, options.port) as opened:
        device = _choose_device(options.device)
        model = SpeechClassifier.from_pretrained(
            options.run, precision=usable_precision(options.precision), device=device
        )
        app = build_app(model, options)
        address = address_of(opened, options.host)
        logger.info("%s on %s: %s", options.run, device, _describe(model))
        if options.page:
            logger.info("page       %s/", address)
        logger.info("endpoint   curl -F file=@clip.wav %s/predict", address)
        logger.info("its docs   %s/docs", address)
        warning = exposure_warning(opened, options.host)
        if warning:
            logger.warning("%s", warning)
        logger.info("Ctrl-C ends it.")
        _run(app, opened, options)


def build_app(model: SpeechClassifier, options: ServeOptions) -> "FastAPI":
    """The endpoint, and the page where it is wanted."""
    from voxadapt.recipes.serving.api import build_api
    from voxadapt.recipes.serving.service import Limits, Service

    limits = Limits(
        seconds=options.max_seconds,
        timeline_seconds=options.max_timeline_seconds,
        bytes=round(1e6 * options.max_megabytes),
        waiting=options.max_waiting,
        timeout=options.timeout,
        timeline_timeout=options.timeline_timeout,
    )
    service = Service(
        model,
        limits,
        batch_seconds=options.batch_seconds,
        collect_seconds=options.collect_ms / 1_000,
    )
    # Not the whole path, which is nobody's business over the network.
    name = Path(options.run).resolve().name if Path(options.run).exists() else options.run
    if not options.page:
        return build_api(service, name)
    from voxadapt.recipes.serving.upload_folder import UploadFolder

    folder = UploadFolder()  # before Gradio is imported
    from voxadapt.recipes.serving.page import add_page

    return add_page(build_api(service, name, [folder.running]), service, folder, name)


def _run(app: "FastAPI", opened: socket.socket, options: ServeOptions) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        timeout_keep_alive=round(options.timeout),
        server_header=False,
    )
    with contextlib.suppress(KeyboardInterrupt):  # it comes again once all is shut down
        uvicorn.Server(config).run(sockets=[opened])


def _check_packages(page: bool) -> None:
    """Refuse to start without what the command needs.

    Raises:
        UsageError: A package is missing.
    """
    needed = ["fastapi", "uvicorn", "python_multipart", *(["gradio"] if page else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"serve needs {', '.join(missing)}, which this Python does not have: "
            f"{install_command('serve')}"
        )


def _choose_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine, or its torch, has none. Use --device cpu")
    return device


def _describe(model: SpeechClassifier) -> str:
    names = model.labels or getattr(model.outputs, "names", [])
    shown = ", ".join(list(names)[:8])
    return f"{shown}, …" if len(names) > 8 else shown


if __name__ == "__main__":
    leave(run_command(main))
