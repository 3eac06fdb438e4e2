"""The application that a process serves over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from node.errors import (
    IndexUnavailableError,
    NodeError,
    NothingDeliveredError,
    NothingToEvaluateError,
    UnknownStudyError,
)
from node.health import Health
from node.web.access import SignOn, keep_pass
from node.web.pages import PageSources, page_router, page_templates
from node.web.probes import probe_router
from node.web.settings import WebSettings

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""The pages need nothing but their own style and pictures; no other site may frame or cache them."""


LONGEST_BODY_BYTES = 1024
"""Longest body of a request: the one form there is holds a token."""


def make_application(health: Health, registry: CollectorRegistry) -> FastAPI:
    """Make the application with probes and metrics, which every process serves.

    Args:
        health: of the process.
        registry: holds its metrics.
    """
    application = FastAPI(title="csvd-node", docs_url=None, redoc_url=None, openapi_url=None)
    application.include_router(probe_router(health, registry))

    @application.middleware("http")
    async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        # A body is kept in memory before anybody is asked for a password.
        response = Response(status_code=413) if _is_long(request) else await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        keep_pass(request, response)
        return response

    return application


def add_pages(
    application: FastAPI, sources: PageSources, settings: WebSettings, refused: Callable[[], None]
) -> None:
    """Add the pages, once there is something to show.

    Args:
        application: may be served already.
        sources: what they show.
        settings: who may see them, and what they allow.
        refused: is told of each attempt to sign on with a wrong name or password.
    """
    here = Path(__file__).parent
    templates = page_templates()

    def tell(request: Request, error: Exception) -> HTMLResponse:
        code, said, headers = _answer_of(error)
        shown = {
            "title": f"{HTTPStatus(code).phrase} ({code})",
            "said": said,
            "is_index_away": isinstance(error, IndexUnavailableError),
        }
        return templates.TemplateResponse(request, "message.html", shown, status_code=code, headers=headers)

    for kind in (HTTPException, NodeError, RequestValidationError):
        application.add_exception_handler(kind, tell)
    application.include_router(page_router(sources, settings, SignOn(settings, refused)))
    application.mount("/static", StaticFiles(directory=here / "static"), name="static")


def _is_long(request: Request) -> bool:
    """Whether a request brings more than the form of a page does, or does not say how much."""
    length = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or int(length) > LONGEST_BODY_BYTES


def _answer_of(error: Exception) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail), dict(error.headers or {})
    if isinstance(error, RequestValidationError):
        faults = (f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
        return 422, f"This address cannot be answered: {'; '.join(faults)}", {}
    codes = {
        UnknownStudyError: 404,
        NothingToEvaluateError: 409,
        NothingDeliveredError: 409,
        IndexUnavailableError: 503,
    }
    return codes.get(type(error), 500), str(error), {}
