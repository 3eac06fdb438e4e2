"""What the command line says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from node.cli import app


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for below, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {below}")


COMMANDS = dict(commands(typer.main.get_command(app), "csvd-node"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_option_and_argument_is_explained(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    unexplained = [each.name for each in command.params if not getattr(each, "help", "")]
    assert unexplained == []


@pytest.mark.parametrize("option", ["--tls-certificate", "--tls-key", "--tls-host-name"])
def test_peer_is_not_asked_without_tls_where_an_option_speaks_of_tls(option: str) -> None:
    asked = CliRunner().invoke(app, ["check-peer", "127.0.0.1", "1", option, "x"])
    assert asked.exit_code == 2
    assert "--tls-ca" in asked.output
