# SPDX-License-Identifier: Apache-2.0
"""The HTTP endpoint: routes, and one form for all errors."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from voxadapt.recipes.serving.answers import (
    ErrorAnswer,
    HealthAnswer,
    LabelsAnswer,
    LimitsAnswer,
    PredictAnswer,
    PredictQuery,
    TimelineQuery,
    labels_answer,
    predict_answer,
)
from voxadapt.recipes.serving.api_page import build_api_page
from voxadapt.recipes.serving.body_limit import BodyLimit
from voxadapt.recipes.serving.refusal import RefusedError
from voxadapt.recipes.serving.service import Service
from voxadapt.recipes.serving.timelines import TimelineSettings
from voxadapt.recipes.serving.upload import Upload

logger = logging.getLogger(__name__)

_FORM_BYTES = 65_536  # what a multipart body may have beside the file
_DESCRIPTION = """Send a recording, get what the model says of it. The body is the file itself
(`Content-Type: audio/*` or `application/octet-stream`) or `multipart/form-data` with one file.
WAV, FLAC, OGG, MP3 and AIFF of any rate and number of channels."""
_AUDIO = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _FORM,
            "audio/*": _AUDIO,
            "application/octet-stream": _AUDIO,
        },
    }
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "The body is empty or malformed."},
    408: {"model": ErrorAnswer, "description": "The body did not arrive in time."},
    413: {"model": ErrorAnswer, "description": "The body has too many bytes."},
    415: {"model": ErrorAnswer, "description": "The Content-Type is none that is read."},
    422: {
        "model": ErrorAnswer,
        "description": "The file is no audio, damaged, empty, silent, not finite, too short or too "
        "long; or an option is wrong.",
    },
    503: {
        "model": ErrorAnswer,
        "description": "Too much to do; come again after `Retry-After` seconds.",
    },
}


def build_api(
    service: Service,
    model_name: str,
    beside: Sequence[Callable[[], AbstractAsyncContextManager[None]]] = (),
) -> FastAPI:
    """The endpoint, to which the page can be added.

    Args:
        service: What answers.
        model_name: What it calls the model.
        beside: Contexts that last as long as the server.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for context in (service.running, *beside):
                await stack.enter_async_context(context())
            yield

    app = FastAPI(
        title=f"Voxadapt: {model_name}",
        description=_DESCRIPTION,
        version=version("voxadapt"),
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
    )
    limits = service.limits
    app.add_middleware(
        BodyLimit,
        most_bytes=limits.bytes,
        spare_bytes=_FORM_BYTES,
        seconds=limits.timeout,
    )
    _add_errors(app)
    _add_audio_routes(app, service)
    _add_other_routes(app, service, model_name)
    return app


def _add_audio_routes(app: FastAPI, service: Service) -> None:
    @app.post("/predict", responses=_ERRORS, openapi_extra=_BODY, response_model_exclude_unset=True)
    async def predict(request: Request, query: Annotated[PredictQuery, Query()]) -> PredictAnswer:
        """Label and probabilities, or values, of a clip."""
        service.batcher.check_room()
        async with Upload(request, service.memory) as source:
            prediction, _ = await service.predict(source)
        return predict_answer(prediction, query)

    @app.post("/timeline", responses=_ERRORS, openapi_extra=_BODY)
    async def timeline(
        request: Request, query: Annotated[TimelineQuery, Query()]
    ) -> dict[str, Any]:
        """Probabilities, or values, of each window of a longer recording, and its segments.

        `overall` is the whole recording. Each of `windows` was heard from `start` to `end` and
        stands for `from` to `to`, in seconds. `segments` join neighbours of one label.
        """
        from voxadapt.timeline_files import timeline_record

        service.timelines.check_room()
        settings = TimelineSettings(query.window, query.hop, query.gate)
        async with Upload(request, service.memory) as source:
            made = await service.timelines.make(source, settings, request.is_disconnected)
        return timeline_record(made)


def _add_other_routes(app: FastAPI, service: Service, model_name: str) -> None:
    @app.get("/labels")
    async def labels() -> LabelsAnswer:
        """What the model can say."""
        return labels_answer(service.model.outputs)

    @app.get("/health", responses={503: {"model": HealthAnswer, "description": "It has stopped."}})
    async def health(response: Response) -> HealthAnswer:
        """Whether the server answers, which model it has, and what it allows."""
        limits, running = service.limits, service.batcher.running
        response.status_code = 200 if running else 503
        return HealthAnswer(
            status="ok" if running else "stopped",
            model=model_name,
            backbone=service.model.backbone.spec.name,
            version=app.version,
            waiting=service.batcher.waiting,
            answered=service.batcher.answered,
            batches=service.batcher.batches,
            limits=LimitsAnswer(
                seconds=limits.seconds,
                timeline_seconds=limits.timeline_seconds,
                bytes=limits.bytes,
                waiting=limits.waiting,
            ),
        )

    @app.get("/docs", include_in_schema=False)
    async def documentation(request: Request) -> HTMLResponse:
        return HTMLResponse(build_api_page(app.openapi(), str(request.base_url).rstrip("/")))


def _add_errors(app: FastAPI) -> None:
    """Give all errors one form."""

    @app.exception_handler(RefusedError)
    async def refused(_request: Request, refusal: RefusedError) -> JSONResponse:
        return JSONResponse(refusal.body(), refusal.status, refusal.headers())

    @app.exception_handler(RequestValidationError)
    async def wrong_option(_request: Request, error: RequestValidationError) -> JSONResponse:
        told = "; ".join(_describe(found) for found in error.errors())
        return JSONResponse(RefusedError(422, "wrong_option", told).body(), 422)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        told = f"{request.method} {request.url.path}: {error.detail}. See /docs"
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "wrong_request")
        refusal = RefusedError(error.status_code, code, told)
        return JSONResponse(refusal.body(), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_request: Request, error: Exception) -> JSONResponse:
        told = f"The server failed on this ({type(error).__name__}); its log says more."
        return JSONResponse(RefusedError(500, "failed", told).body(), 500)


def _describe(found: dict[str, Any]) -> str:
    """One of FastAPI's complaints: which option, what was found, what is allowed."""
    name = ".".join(str(part) for part in found["loc"][1:])
    if found["type"] == "extra_forbidden":
        return f"{name}: there is no such option; /docs lists them"
    return f"{name}: found {found.get('input')!r}, {found['msg'].lower()}"
