"""What all commands share: where they print, how they are configured, how errors become exit codes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console

from engines.errors import EngineError, WrongGpuError
from node.configuration import ConfigurationError, load_settings
from node.errors import NodeError, StartInterruptedError, TlsConfigurationError, WrongBundleError
from node.settings import NodeSettings
from node.telemetry import LogSettings, configure_logging
from node.termination import leave_termination_message

log = structlog.get_logger(__name__)

EXIT_FAILED = 1
"""The work could not be done."""

EXIT_MISUSED = 2
"""The command or the configuration is wrong."""

EXIT_INTERRUPTED = 130
"""A person stopped it with Ctrl-C: 128 and the number of the signal, as a shell says it."""

MISUSES = (TlsConfigurationError, WrongBundleError, WrongGpuError)
"""Errors beside those of the configuration itself that only another configuration or environment mends."""

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file; without it, the one named by CSVD_CONFIG")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)


@contextmanager
def configured(config: Path | None, *, logs: bool = False) -> Iterator[NodeSettings]:
    """Load the settings and report errors; logs are for the service, commands print what a person wants."""
    with reported():
        settings = load_settings(config)
        configure_logging(settings.log if logs else LogSettings(level="ERROR"))
        yield settings


@contextmanager
def serving() -> Iterator[None]:
    """Say of a fault of the service itself that it was one: the outermost boundary of the process."""
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        log.exception("node.broke")
        _tell(f"Internal error ({type(error).__name__}); the log has the details.")
        raise typer.Exit(EXIT_FAILED) from error


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors of ours into one message, also where an orchestrator looks for it, and an exit code."""
    try:
        yield
    except StartInterruptedError as error:
        raise typer.Exit from error
    except ConfigurationError as error:
        _tell("\n".join(error.faults))
        raise typer.Exit(EXIT_MISUSED) from error
    except (NodeError, EngineError) as error:
        _tell(str(error))
        raise typer.Exit(EXIT_MISUSED if isinstance(error, MISUSES) else EXIT_FAILED) from error


def keep_from_others() -> None:
    """Let no other user of the machine read what is written from now on: images, results and index."""
    os.umask(os.umask(0o077) | 0o007)


def _tell(message: str) -> None:
    leave_termination_message(message)
    err.print(message, style="red", markup=False, soft_wrap=True)
