"""Structured logs: one line of JSON or of readable text per event, UIDs only."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum

import structlog
from pydantic import BaseModel, ConfigDict, Field


class LogFormat(StrEnum):
    """How a log line looks: for a log collector or for a person at a terminal."""

    JSON = "json"
    CONSOLE = "console"


class LogSettings(BaseModel):
    """What is logged and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: str = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="lowest level that is written"
    )
    format: LogFormat = Field(default=LogFormat.CONSOLE, description="json or console")


LIBRARY_LEVELS = {"dbos": logging.WARNING, "pynetdicom": logging.ERROR, "pydicom": logging.ERROR}
"""Libraries are quiet: below ERROR pydicom and pynetdicom may print element values, which can name a patient."""


def configure_logging(settings: LogSettings) -> None:
    """Send all logs to standard error in the configured form."""
    level = logging.getLevelNamesMapping()[settings.level]
    renderer = (
        structlog.processors.JSONRenderer()
        if settings.format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    for library, quiet in LIBRARY_LEVELS.items():
        logging.getLogger(library).setLevel(quiet)
