"""Probes and metrics: what an orchestrator and Prometheus ask of every process."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from node.health import Condition, Health
from node.identity import SOFTWARE_VERSION

UNAVAILABLE = 503


def probe_router(health: Health, registry: CollectorRegistry) -> APIRouter:
    """Make the routes of probes and metrics; none of them names a Study.

    Args:
        health: of the process.
        registry: holds its metrics.
    """
    router = APIRouter()

    @router.get("/health/live")
    def live() -> JSONResponse:
        """Answer as long as the process does."""
        return JSONResponse({"status": "alive", "version": SOFTWARE_VERSION})

    @router.get("/health/startup")
    def startup() -> JSONResponse:
        """Tell whether every part was opened once."""
        return _answer("started", "starting", health.has_started, health.conditions())

    @router.get("/health/ready")
    def ready() -> JSONResponse:
        """Tell whether work may come, and of each part how it is."""
        conditions = health.conditions()
        otherwise = "stopping" if health.is_stopping else "not ready"
        return _answer("ready", otherwise, health.is_ready(conditions), conditions)

    @router.get("/metrics")
    def metrics() -> Response:
        """Export the metrics in Prometheus' text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _answer(
    so: str,
    otherwise: str,
    is_so: bool,
    conditions: Iterable[Condition],
) -> JSONResponse:
    parts = {each.part: {"state": each.state.value, "reason": each.reason} for each in conditions}
    body = {"status": so if is_so else otherwise, "parts": parts}
    return JSONResponse(body, status_code=200 if is_so else UNAVAILABLE)
