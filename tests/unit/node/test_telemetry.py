"""Logs say what went wrong and where, and never quote a patient's data."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from node.errors import UnknownStudyError
from node.telemetry import LogFormat, LogSettings, configure_logging, describe_error

NAME = "Doe^Jane"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a test configures for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def fail_with_name() -> None:
    raise ValueError(f"Invalid value for VR PN: {NAME!r}")


def caught() -> BaseException:
    try:
        try:
            fail_with_name()
        except ValueError as error:
            raise UnknownStudyError("1.2.3") from error
    except UnknownStudyError as error:
        return error


def test_description_has_frames_and_causes_but_no_foreign_text() -> None:
    said = describe_error(caught())
    assert "ValueError\n" in said
    assert "fail_with_name" in said
    assert "UnknownStudyError: Study 1.2.3" in said
    assert said.index("ValueError") < said.index("UnknownStudyError"), "the first cause comes first"
    assert NAME not in said


def test_line_of_a_library_is_json_and_its_exception_has_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format=LogFormat.JSON))
    try:
        fail_with_name()
    except ValueError:
        logging.getLogger("some.library").exception("it broke")
        structlog.get_logger().exception("work.broke", study_uid="1.2.3")
    written = capsys.readouterr().err
    assert NAME not in written
    assert "fail_with_name" in written
    of_library, event = map(json.loads, written.strip().splitlines())
    assert (of_library["event"], of_library["logger"], of_library["level"]) == (
        "it broke",
        "some.library",
        "error",
    )
    assert of_library["timestamp"].endswith("Z"), "UTC, as all lines"
    assert (event["event"], event["study_uid"], event["level"]) == ("work.broke", "1.2.3", "error")


def test_line_for_people_holds_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format=LogFormat.CONSOLE))
    structlog.get_logger().warning("receiver.rejected", calling_ae="A\x1b[31m", reason="a\nb\u202e\x9b2J")
    logging.getLogger("pynetdicom.utils").error("Invalid 'AE' value 'A\n2026-01-01 [info] forged\x07'")
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2
    assert all(sign.isprintable() for line in said.splitlines() for sign in line)
    assert "A\\x1b[31m" in said
    assert "A\\n2026-01-01 [info] forged\\x07" in said


def test_libraries_that_print_values_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(level="DEBUG"))
    for library in ("pydicom", "pynetdicom.service", "highdicom.base", "dbos"):
        logging.getLogger(library).warning("value %s", NAME)
    assert capsys.readouterr().err == ""


def test_warnings_that_quote_values_are_quiet() -> None:
    # In a process of its own: here pytest takes all warnings.
    program = (
        "import warnings; from node.telemetry import LogSettings, configure_logging; "
        f"configure_logging(LogSettings()); warnings.warn({NAME!r})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
