"""How evaluation scales with worker processes over PostgreSQL, and what a Study costs the database.

    python -m benchmarks.scaling [STUDIES] [SECONDS]

Real processes, a real PostgreSQL server; only the models' computing is a sleep, as if each worker had a GPU
of its own. All workers are ready before the Studies are put up; the time runs from the first evaluation's
begin to the last one's end, by the times in the index.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select, text

from node.completeness import AssociationEnd
from node.database import Database
from node.evaluations import Evaluations, EvaluationState
from node.index import Index
from node.intake import Intake, StoreRequest
from node.part10 import dataset_offset, read_part10
from node.store import Store
from node.tables import evaluations
from node.work_queue import WORKFLOW_VERSION
from tests.integration.test_node import all_of, study_of, write_study
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.running_node import RunningNode

WORKERS = (1, 2, 4)
IDLE_S = 20.0
"""How long the database is watched while nothing is to be done, s."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the database did since it was made: transactions, WAL bytes, and ms spent on statements."""

    transactions: float
    wal_bytes: float
    busy_ms: float

    def since(self, before: Load, per: float) -> Load:
        """Return what came since another moment, divided by a number of Studies or seconds."""
        return Load(
            (self.transactions - before.transactions) / per,
            (self.wal_bytes - before.wal_bytes) / per,
            (self.busy_ms - before.busy_ms) / per,
        )


def load(database: Database) -> Load:
    """Read the server's own statistics."""
    # The statistics of other sessions arrive within about a second.
    time.sleep(2)
    statement = text(
        "SELECT xact_commit, pg_current_wal_lsn() - '0/0'::pg_lsn, active_time FROM pg_stat_database "
        "WHERE datname = current_database()"
    )
    with database.reading() as connection:
        return Load(*map(float, connection.execute(statement).one()))


def put_up(database: Database, root: Path, folder: Path, count: int) -> None:
    """Let Studies arrive, and declare all of them complete at once."""
    clock = lambda: datetime.now(UTC)  # noqa: E731
    intake = Intake(Store(root), Index(database), "benchmark", clock)
    names = [f"study {number}" for number in range(count)]
    for name in names:
        intake.open(name, "MR1", "CSVD")
        for path in all_of(write_study(folder, name, ("flair",))):
            header = read_part10(path).header
            content = path.read_bytes()[dataset_offset(path) :]
            sop_class = header.sop_class_uid
            request = StoreRequest(
                sop_class, header.sop_instance_uid, sop_class, header.transfer_syntax_uid, content
            )
            intake.take(name, request)
        intake.end(name, AssociationEnd.RELEASED)
    for name in names:
        Evaluations(database).begin(study_of(name), None, clock())


def wait(database: Database, count: int) -> float:
    """Wait until all are evaluated; return how long that took by the index, s."""
    while True:
        time.sleep(1)
        statement = select(
            func.count(), func.min(evaluations.c.started_at), func.max(evaluations.c.finished_at)
        ).where(evaluations.c.state == EvaluationState.EVALUATED)
        with database.reading() as connection:
            done, began, ended = connection.execute(statement).one()
        if done == count:
            return float((ended - began).total_seconds())


def measure(
    server: PostgresServer, folder: Path, workers: int, count: int, sleep_s: float
) -> dict[str, float]:
    """Measure one number of workers, on a fresh database."""
    root = folder / "shared"
    url = server.url.replace("postgresql:", "postgresql+psycopg:")
    with ExitStack() as running, closing(Database(server.url)) as database:
        for number in range(workers):
            changes = {"root": str(root), "database_url": url, "roles": ["work"], "web": {"port": None}}
            worker = RunningNode(folder / f"worker{number}", {}, **changes)
            worker.program = [sys.executable, "-m", "tests.support.slow_node", str(sleep_s), WORKFLOW_VERSION]
            running.enter_context(worker)
        before = load(database)
        time.sleep(IDLE_S)
        idle = load(database).since(before, IDLE_S)
        before, began = load(database), time.monotonic()
        put_up(database, root, folder / "sent", count)
        took_s = wait(database, count)
        watched_s = time.monotonic() - began
        after = load(database)
    # What polling costs goes on beside the work, and is told on its own.
    polled = Load(*(value * watched_s for value in (idle.transactions, idle.wal_bytes, idle.busy_ms)))
    spent = after.since(before, 1)
    return {
        "workers": workers,
        "took_s": round(took_s, 2),
        "studies_per_hour": round(3600 * count / took_s, 1),
        "idle_transactions_per_s": round(idle.transactions, 1),
        "idle_busy_ms_per_s": round(idle.busy_ms, 2),
        "study_transactions": round((spent.transactions - polled.transactions) / count, 1),
        "study_wal_kb": round((spent.wal_bytes - polled.wal_bytes) / count / 1e3, 1),
        "study_busy_ms": round((spent.busy_ms - polled.busy_ms) / count, 1),
    }


def main(count: int, sleep_s: float) -> None:
    """Measure all numbers of workers, and print a line for each."""
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {count} Studies of {sleep_s:g} s")
    first_s = 0.0
    for workers in WORKERS:
        with running_postgres() as server, tempfile.TemporaryDirectory() as folder:
            measured = measure(server, Path(folder), workers, count, sleep_s)
        first_s = first_s or measured["took_s"]
        print(json.dumps({**measured, "times": round(first_s / measured["took_s"], 2)}), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*(int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) > 2 else (16, 20.0))
