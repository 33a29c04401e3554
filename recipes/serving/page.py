# SPDX-License-Identifier: Apache-2.0
"""The page: record or drop a recording, see what the model says and where it listened."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

# Before Gradio is imported, which asks the network for its newest version otherwise.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio
from fastapi import FastAPI

from voxadapt.recipes.reporting.page import text
from voxadapt.recipes.serving.clip_reading import UploadedAudio, check_length
from voxadapt.recipes.serving.page_parts import as_value, clip_result, notice
from voxadapt.recipes.serving.page_style import PAGE_STYLE
from voxadapt.recipes.serving.page_timeline import clock, timeline_headline, timeline_result
from voxadapt.recipes.serving.refusal import RefusedError
from voxadapt.recipes.serving.service import Service
from voxadapt.recipes.serving.timelines import TimelineSettings
from voxadapt.recipes.serving.upload import short_name
from voxadapt.recipes.serving.upload_folder import UploadFolder

logger = logging.getLogger(__name__)

_LONG_SECONDS = 6.0  # two windows: a shorter recording has no timeline
_REPORT_SECONDS = 0.5
_AT_ONCE = 8  # visitors that are served at the same time
_MOST_VISITORS = 64  # that may wait
_EMPTY = '<p class="empty">Record or drop a recording: what the model says stands here.</p>'
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]


def add_page(app: FastAPI, service: Service, folder: UploadFolder, model_name: str) -> FastAPI:
    """Mount the page at ``/``.

    Args:
        app: The endpoint.
        service: What answers.
        folder: Where Gradio may put uploads.
        model_name: What the page calls the model.
    """
    theme = gradio.themes.Default(
        primary_hue="blue", font=_FONTS, font_mono=["ui-monospace", "Consolas", "monospace"]
    ).set(
        # Gradio's own grey cannot be read on white (contrast below 2).
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
    )
    return gradio.mount_gradio_app(
        app,
        _build_blocks(service, folder, model_name),
        path="/",
        max_file_size=service.limits.bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        show_error=True,
        enable_monitoring=False,
        theme=theme,
        css=PAGE_STYLE,
    )


def _build_blocks(service: Service, folder: UploadFolder, model_name: str) -> gradio.Blocks:
    visitors = Visitors(service, folder)
    with gradio.Blocks(title=f"Voxadapt: {model_name}", analytics_enabled=False) as blocks:
        _html(_heading(service, model_name))
        with gradio.Row():
            with gradio.Column(scale=2, min_width=300):
                audio = gradio.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label="Recording",
                    elem_id="recording",
                    buttons=[],
                )
                _take_uploads_only(audio, folder)
                _html(_limits(service))
            with gradio.Column(scale=3, min_width=300):
                result = _html(_EMPTY, elem_id="result")
        audio.change(
            visitors.listen,
            audio,
            result,
            show_progress="minimal",
            api_visibility="private",
            concurrency_limit=_AT_ONCE,
        )
    return blocks.queue(max_size=_MOST_VISITORS)


def _take_uploads_only(audio: gradio.Audio, folder: UploadFolder) -> None:
    """Keep Gradio from reading another file, or an address, that is named in place of an upload.

    Gradio 6.31 checks the path only where `launch` started it: mounted, it copies any file that the
    server may read to where visitors can download it. Addresses it fetches in both.

    On the object, because Gradio writes a ``.pyi`` file beside the source of each class that is
    derived from one of its own.
    """
    move = audio.async_move_resource_to_block_cache

    async def move_upload(source: str | Path | None) -> str | None:
        if source is not None and not folder.holds(source):
            raise gradio.Error("That is no upload. Upload the file.")
        return await move(source)

    audio.async_move_resource_to_block_cache = move_upload  # type: ignore[assignment,method-assign]


def _html(content: str, **options: Any) -> gradio.HTML:
    return gradio.HTML(
        as_value(content), elem_classes="voxadapt", apply_default_css=False, **options
    )


class Visitors:
    """Answers what the page asks.

    Args:
        service: What answers.
        folder: Where Gradio puts uploads.
    """

    def __init__(self, service: Service, folder: UploadFolder) -> None:
        self._service = service
        self._folder = folder

    async def listen(self, path: str | None) -> AsyncIterator[str]:
        """What stands on the page after a recording: at first how far it is, then the result.

        Args:
            path: The upload, which is deleted soon; None where the recording was taken away.
        """
        if path is None:
            yield _EMPTY
            return
        name = short_name(path)
        try:
            content = await self._folder.take(path)
        except (OSError, ValueError) as error:
            yield as_value(notice("error", name, f"The upload is gone ({error}). Send it again."))
            return
        self._service.memory.take(len(content))
        try:
            async for html in self._answer(UploadedAudio(name, content)):
                yield as_value(html)
        except RefusedError as refusal:
            kind = "busy" if refusal.status == 503 else "error"
            yield as_value(notice(kind, "No answer.", refusal.message))
        except Exception as error:
            logger.exception("the page failed on %s", name)
            told = f"The server failed on this ({type(error).__name__}); its log says more."
            yield as_value(notice("error", "No answer.", told))
        finally:
            self._service.memory.give_back(len(content))

    async def _answer(self, source: UploadedAudio) -> AsyncIterator[str]:
        limits = self._service.limits
        longest, option = max(
            (limits.seconds, "--max-seconds"), (limits.timeline_seconds, "--max-timeline-seconds")
        )
        seconds = await asyncio.to_thread(check_length, source, longest, option)
        shown = ""
        if seconds <= limits.seconds:
            prediction, waveform = await self._service.predict(source)
            shown = await asyncio.to_thread(clip_result, prediction, waveform, source.name)
            yield shown
        if seconds < _LONG_SECONDS or seconds > limits.timeline_seconds:
            return
        reached: list[float] = []
        making = asyncio.create_task(
            self._service.timelines.make(
                source, TimelineSettings(), _never, lambda done, _: reached.append(done)
            )
        )
        try:
            while not (await asyncio.wait({making}, timeout=_REPORT_SECONDS))[0]:
                done = clock(reached[-1] if reached else 0)
                yield shown + notice("busy", "Timeline:", f"{done} of {clock(seconds)}")
            made = making.result()
        finally:
            making.cancel()
        html = await asyncio.to_thread(timeline_result, made, source.name)
        yield (shown or timeline_headline(made)) + html


async def _never() -> bool:
    return False


def _heading(service: Service, model_name: str) -> str:
    outputs: Any = service.model.outputs
    names = list(service.model.labels or outputs.names)
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return (
        f"<p class='told'>Voxadapt</p><h1>{text(model_name)}</h1><p class='lead'>Tells "
        f"<b>{text(shown)}</b> in a recording of speech. Programs ask the <a href='docs'>HTTP "
        "endpoint</a>.</p>"
    )


def _limits(service: Service) -> str:
    limits = service.limits
    return (
        f"<p class='told'>WAV, FLAC, OGG, MP3 or AIFF, up to {limits.bytes / 1e6:g} MB; clips up "
        f"to {_length(limits.seconds)}, longer recordings up to {_length(limits.timeline_seconds)} "
        "as a timeline. Recordings are deleted within seconds.</p>"
    )


def _length(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"
