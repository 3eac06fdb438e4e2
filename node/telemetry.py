"""Structured logs: one line of JSON or of readable text per event, UIDs only."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field
from structlog.typing import Processor

from engines.errors import EngineError
from node.errors import NodeError
from node.printable import printable


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


QUIET_LIBRARIES = (
    "dbos", "fontTools", "fpdf", "highdicom", "oauthlib",
    "py.warnings", "pydicom", "pynetdicom", "requests_oauthlib", "urllib3",
)  # fmt: skip
"""Heard from ERROR on only: below, those that read DICOM may print element values, which name a patient.
``py.warnings`` is what Python calls all that is warned of by its own means."""


SILENT_LIBRARIES = ("pynetdicom.transport",)
"""Not heard at all: why a destination cannot be reached, the node's own line says, and says it once."""


def describe_error(error: BaseException) -> str:
    """Say what went wrong and where, without the text of foreign errors, which may quote a patient's data.

    Returns: the chain of errors, the first cause first; each with its frames as ``file:line function``.
    """
    parts = []
    link: BaseException | None = error
    while link is not None:
        said = f": {link}" if isinstance(link, NodeError | EngineError) else ""
        frames = [f"  {f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(link.__traceback__)]
        parts.append("\n".join([f"{type(link).__name__}{said}", *frames]))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\nwhich led to\n".join(reversed(parts))


def _escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape all texts of an event; of an exception its own lines stay."""
    for key, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if key == "exception" else [value]
            event[key] = "\n".join(map(printable, lines))
    return event


def configure_logging(settings: LogSettings) -> None:
    """Send all logs, those of libraries too, to standard error in the configured form."""
    level = logging.getLevelNamesMapping()[settings.level]
    rendering: list[Processor] = (
        [structlog.processors.JSONRenderer()]
        if settings.format is LogFormat.JSON
        else [_escape, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    common: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_exception,
    ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *common, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    for library in QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
    for library in SILENT_LIBRARIES:
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _add_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by a description without foreign texts."""
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else sys.exc_info()[1]
    if found and error is not None:
        event["exception"] = describe_error(error)
    return event
