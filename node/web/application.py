"""The application that a process serves over HTTP."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from node.health import Health
from node.web.probes import probe_router


def make_application(health: Health, registry: CollectorRegistry) -> FastAPI:
    """Make the application with probes and metrics, which every process serves.

    Args:
        health: of the process.
        registry: holds its metrics.
    """
    application = FastAPI(title="csvd-node", docs_url=None, redoc_url=None, openapi_url=None)
    application.include_router(probe_router(health, registry))
    return application
