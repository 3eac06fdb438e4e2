"""What work has to say that breaks goes through the node's own log, without the texts of foreign errors."""

from __future__ import annotations

import base64
import errno
import inspect
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import structlog
from dbos import error as dbos_error
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from node.errors import BucketUnreachableError, IndexUnavailableError, NodeError, OutOfResourcesError
from node.workflow import KEPT, EvaluationWorkflow, InterruptedStepError, reason_of
from tests.support.arrivals import STUDY_UID
from tests.support.broken_delivery import AWAY, NAME


def kept(folder: Path) -> str:
    """Return what DBOS keeps of the steps: it pickles what they return and raise, for seven days."""
    with closing(sqlite3.connect(folder / "workflows.sqlite")) as database:
        rows = database.execute("SELECT coalesce(output, '') || coalesce(error, '') FROM operation_outputs")
        return " ".join(base64.b64decode(text).decode("latin-1") for (text,) in rows)


def logged(module: str, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", f"tests.support.{module}", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert NAME not in ended.stdout + ended.stderr
    assert NAME not in kept(folder)
    assert "Internal error (ValueError)" in kept(folder)
    return [json.loads(line) for line in ended.stderr.splitlines()]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), "No space left on device.", id="disk"),
        pytest.param(
            OSError(f"Invalid value: {NAME!r}"),
            "Internal error (OSError); the log has the details.",
            id="text-of-a-library",
        ),
    ],
)
def test_reason_is_what_the_system_says_and_no_text_of_a_library(error: OSError, reason: str) -> None:
    assert reason_of(error) == reason


class Books:
    """An evaluator that meets something; notes how the evaluation ends."""

    def __init__(self, error: Exception) -> None:
        self._error, self.reasons, self.told = error, list[str](), list[str]()

    def evaluate(self, evaluation_id: str) -> None:
        raise self._error

    def interrupted(self, evaluation_id: str, reason: str) -> None:
        self.told.append(reason)

    def log_of(self, evaluation_id: str) -> structlog.stdlib.BoundLogger:
        log: structlog.stdlib.BoundLogger = structlog.get_logger()
        return log


class Played(EvaluationWorkflow):
    """Plays the part of DBOS: what a step raised comes back from the database, as after a kill."""

    def __init__(self, books: Books) -> None:
        self._evaluator, self._books = books, books  # type: ignore[assignment]

    def make_results(self, evaluation_id: str) -> str:
        try:
            return str(inspect.unwrap(EvaluationWorkflow.make_results)(self, evaluation_id))
        except InterruptedStepError as error:
            raise deepcopy(dbos_error.DBOSMaxStepRetriesExceeded("make_results", 4, [error])) from None

    def fail(self, evaluation_id: str, reason: str) -> None:
        self._books.reasons.append(reason)


def index_error(kind: type[DBAPIError]) -> IndexUnavailableError:
    error = IndexUnavailableError("The index cannot be written: it says why.")
    error.__cause__ = kind("UPDATE evaluations", {}, Exception("it says why"))
    return error


def result_error(number: int) -> NodeError:
    error = OutOfResourcesError("Study 1.2.3: a SEG cannot be written", "out of resources")
    error.__cause__ = OSError(number, "The system says why")
    return error


@pytest.mark.parametrize(
    ("error", "reasons"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), []),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), []),
        (result_error(errno.ENOSPC), []),
        (result_error(errno.EROFS), [f"Study 1.2.3: a SEG cannot be written. {KEPT}"]),
        (BucketUnreachableError(errno.EIO, "the object store does not take or give it (timeout)"), []),
        (OSError(errno.EIO, "Input/output error"), [f"Input/output error. {KEPT}"]),
        (index_error(OperationalError), []),
        (index_error(DataError), [f"The index cannot be written: it says why. {KEPT}"]),
    ],
    ids=[
        "full-disk",
        "quota",
        "result",
        "read-only",
        "bucket-away",
        "damaged-disk",
        "index-away",
        "index-refuses",
    ],
)
def test_evaluation_waits_however_long_disk_store_or_index_are_no_good(
    error: Exception, reasons: list[str]
) -> None:
    books = Books(error)
    Played(books)._evaluate("one")
    assert books.reasons == reasons
    assert len(books.told) == 1


def test_evaluation_waits_for_the_database_of_the_queues_however_long_that_is_full() -> None:
    class Full(Played):
        def make_results(self, evaluation_id: str) -> str:
            raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    books = Books(ValueError())
    Full(books)._evaluate("one")
    assert books.reasons == []


def test_delivery_that_breaks_is_logged_as_all_else(tmp_path: Path) -> None:
    lost, broke = logged("broken_delivery", tmp_path)
    assert (lost["event"], lost["level"], lost["reason"]) == ("delivery.interrupted", "warning", AWAY)
    assert "exception" not in lost, "what is known needs no trace of the program"
    assert "ValueError" in broke["exception"]


def test_workflows_without_their_database_say_so_in_one_sentence() -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=1"
    program = f"""
from node.errors import QueueUnavailableError
from node.workflow import WorkflowRunner
try:
    WorkflowRunner({url!r}, "test", {{}}, 1).__enter__()
except QueueUnavailableError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stdout.startswith("The queues of work cannot be opened: connection failed")
    assert len(ended.stdout.splitlines()) == 1


def test_every_line_about_an_evaluation_that_breaks_names_its_study(tmp_path: Path) -> None:
    entries = [entry for entry in logged("broken_evaluation", tmp_path) if "evaluation_id" in entry]
    assert [entry["event"] for entry in entries] == [
        "evaluation.interrupted",
        "evaluation.broke",
        "evaluation.failed",
    ]
    assert {entry["study_uid"] for entry in entries} == {STUDY_UID}
    assert entries[0]["reason"] == "No space left on device"
    assert "ValueError" in entries[1]["exception"]
