"""What all commands share: where they print, how they are configured, how errors become exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engines.errors import EngineError
from node.configuration import ConfigurationError, load_settings
from node.errors import NodeError
from node.settings import NodeSettings
from node.telemetry import LogSettings, configure_logging

EXIT_FAILED = 1
"""The work could not be done."""

EXIT_MISUSED = 2
"""The command or the configuration is wrong."""

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file; without it, the one named by CSVD_CONFIG")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]

out = Console()
err = Console(stderr=True)


@contextmanager
def configured(config: Path | None, *, logs: bool = False) -> Iterator[NodeSettings]:
    """Load the settings and report errors; logs are for the service, commands print what a person wants."""
    with reported():
        settings = load_settings(config)
        configure_logging(settings.log if logs else LogSettings(level="ERROR"))
        yield settings


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors of ours into one message and an exit code."""
    try:
        yield
    except ConfigurationError as error:
        for fault in error.faults:
            err.print(fault, style="red", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_MISUSED) from error
    except (NodeError, EngineError) as error:
        err.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from error
