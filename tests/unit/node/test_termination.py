"""Why a process ends is told where an orchestrator looks, and without what an error quotes of a patient."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from node.console import EXIT_FAILED, reported, serving
from node.errors import IndexUnavailableError
from node.telemetry import LogFormat, LogSettings, configure_logging
from node.termination import LONGEST_BYTES, TERMINATION_VARIABLE

PATIENT = ("CSVD^PHANTOM", "CSVD-PHANTOM-1", "19500101", "CSVD-ACC-4711")
"""Name, ID, birth date and accession number."""


@pytest.fixture
def message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "termination"
    monkeypatch.setenv(TERMINATION_VARIABLE, str(path))
    return path


def test_fault_of_the_node_is_told_by_its_class_alone(
    message: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogSettings(format=LogFormat.JSON))
    with pytest.raises(typer.Exit) as ended, serving():
        raise ValueError(" ".join(PATIENT))
    assert ended.value.exit_code == EXIT_FAILED
    said = capsys.readouterr()
    assert message.read_text() == "Internal error (ValueError); the log has the details."
    assert message.read_text() in said.err
    assert "test_termination.py" in said.err, "the log says where"
    assert not any(part in text for part in PATIENT for text in (message.read_text(), said.err, said.out))


def test_message_is_no_longer_than_what_is_kept_of_it(message: Path) -> None:
    with pytest.raises(typer.Exit), reported():
        raise IndexUnavailableError("ä" * LONGEST_BYTES)
    assert len(message.read_bytes()) == LONGEST_BYTES
