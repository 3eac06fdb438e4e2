"""How evaluation scales with worker processes over PostgreSQL, and what a Study costs the database.

    python -m benchmarks.scaling [STUDIES] [SECONDS]

Real processes, a real PostgreSQL server; only the models' computing is a sleep, as if each worker had a GPU
of its own. All workers are ready before the Studies are put up; the time runs from the first evaluation's
begin to the last one's end, by the times in the index. What a Study costs is measured apart and without the
sleep, so that it stands out against what all processes ask the database while there is nothing to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import astuple, dataclass
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
from node.tables import deliveries, evaluations
from node.telemetry import LogSettings, configure_logging
from node.work_queue import WORKFLOW_VERSION
from tests.integration.test_node import WANTED, all_of, study_of, write_study
from tests.support.peers import scripted_pacs
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.running_node import RunningNode

WORKERS = (1, 2, 4)
IDLE_S = 30.0
"""How long the database is watched while nothing is to be done, s."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the database did since it was made.

    Attributes:
        transactions: that were committed.
        writing: those among them that wrote something.
        rows: inserted, changed or deleted.
        wal_bytes: of the write-ahead log.
        disk_bytes: that tables and indices take.
        busy_ms: spent on statements.
    """

    transactions: float
    writing: float
    rows: float
    wal_bytes: float
    disk_bytes: float
    busy_ms: float

    def since(self, before: Load, per: float) -> Load:
        """Return what came since another moment, divided by a number of Studies or seconds."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return Load(*((now - then) / per for now, then in pairs))

    def without(self, idle: Load, seconds: float) -> Load:
        """Return it less what is done in so many seconds also when nothing is to be done."""
        pairs = zip(astuple(self), astuple(idle), strict=True)
        return Load(*(whole - part * seconds for whole, part in pairs))

    def rounded(self) -> dict[str, float]:
        """Return it for printing."""
        return {
            "transactions": round(self.transactions, 1),
            "writing": round(self.writing, 1),
            "rows": round(self.rows, 1),
            "wal_kb": round(self.wal_bytes / 1e3, 1),
            "disk_kb": round(self.disk_bytes / 1e3, 1),
            "busy_ms": round(self.busy_ms, 1),
        }


class Site:
    """A database and a folder that processes share.

    Args:
        server: the database.
        folder: for everything.
    """

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._root = folder / "shared"
        self.database = Database(server.url)

    def process(self, name: str, role: str, sleep_s: float, pacs_port: int | None = None) -> RunningNode:
        """Describe a process that is still to be started."""
        url = self._server.url.replace("postgresql:", "postgresql+psycopg:")
        changes = {
            "root": str(self._root),
            "database_url": url,
            "roles": [role],
            "web": {"port": None},
            "runner_limits": {"threads": 1},
        }
        pacs = {} if pacs_port is None else {"pacs": ("PACS", pacs_port)}
        process = RunningNode(self._folder / name, pacs, **changes)
        process.program = [sys.executable, "-m", "tests.support.slow_node", str(sleep_s), WORKFLOW_VERSION]
        return process

    def load(self) -> Load:
        """Read the server's own statistics."""
        # Those of other sessions arrive within about a second.
        time.sleep(2)
        statement = text(
            "SELECT xact_commit, pg_snapshot_xmax(pg_current_snapshot())::text::bigint, "
            "tup_inserted + tup_updated + tup_deleted, pg_current_wal_lsn() - '0/0'::pg_lsn, "
            "pg_database_size(current_database()), active_time "
            "FROM pg_stat_database WHERE datname = current_database()"
        )
        with self.database.reading() as connection:
            return Load(*map(float, connection.execute(statement).one()))

    def idle(self) -> Load:
        """Measure what is asked each second while nothing is to be done."""
        before, began = self.load(), time.monotonic()
        time.sleep(IDLE_S)
        return self.load().since(before, time.monotonic() - began)

    def receive(self, studies: dict[str, list[Path]]) -> None:
        """Let Studies arrive, as the receiver does it."""
        intake = Intake(Store(self._root), Index(self.database), "benchmark", now)
        for name, files in studies.items():
            intake.open(name, "MR1", "CSVD")
            for path in files:
                header = read_part10(path).header
                content = path.read_bytes()[dataset_offset(path) :]
                sop_class = header.sop_class_uid
                request = StoreRequest(
                    sop_class, header.sop_instance_uid, sop_class, header.transfer_syntax_uid, content
                )
                intake.take(name, request)
            intake.end(name, AssociationEnd.RELEASED)

    def put_up(self, studies: dict[str, list[Path]]) -> None:
        """Declare all of them complete at once."""
        for name in studies:
            Evaluations(self.database).begin(study_of(name), None, now())

    def wait_for_evaluations(self, count: int) -> float:
        """Wait until all are evaluated; return how long that took by the index, s."""
        statement = select(
            func.count(), func.min(evaluations.c.started_at), func.max(evaluations.c.finished_at)
        ).where(evaluations.c.state == EvaluationState.EVALUATED)
        while True:
            time.sleep(1)
            with self.database.reading() as connection:
                done, began, ended = connection.execute(statement).one()
            if done == count:
                return float((ended - began).total_seconds())

    def wait_for_deliveries(self) -> None:
        """Wait until nothing is on its way."""
        statement = select(func.count()).where(deliveries.c.next_attempt_at.is_not(None))
        while True:
            time.sleep(1)
            with self.database.reading() as connection:
                if not connection.scalar(statement):
                    return


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


@contextlib.contextmanager
def fresh_site() -> Iterator[tuple[Site, Path]]:
    """Make an empty site, and a folder for what is sent."""
    with running_postgres() as server, tempfile.TemporaryDirectory() as folder:
        site = Site(server, Path(folder))
        with closing(site.database):
            yield site, Path(folder) / "sent"


def make_studies(folder: Path, count: int, series: tuple[str, ...]) -> dict[str, list[Path]]:
    """Write small Studies."""
    names = [f"study {number}" for number in range(count)]
    return {name: all_of(write_study(folder, name, series)) for name in names}


def cpu_s(process: RunningNode) -> float:
    """Return what a process has taken of the CPUs so far, s."""
    # The name of the program, in brackets, may hold blanks; user and system time are 12th and 13th after it.
    fields = Path(f"/proc/{process.process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_workers(workers: int, count: int, sleep_s: float) -> dict[str, float]:
    """Measure the throughput of one number of workers."""
    with fresh_site() as (site, folder), ExitStack() as running:
        processes = [site.process(f"worker{number}", "work", sleep_s) for number in range(workers)]
        for process in processes:
            running.enter_context(process)
        studies = make_studies(folder, count, ("flair",))
        site.receive(studies)
        idle = site.idle()
        before_s = sum(map(cpu_s, processes))
        site.put_up(studies)
        took_s = site.wait_for_evaluations(count)
        spent_s = sum(map(cpu_s, processes)) - before_s
    return {
        "workers": workers,
        "took_s": round(took_s, 2),
        "studies_per_hour": round(3600 * count / took_s, 1),
        "study_cpu_s": round(spent_s / count, 2),
        "idle_transactions_per_s": round(idle.transactions, 1),
        "idle_busy_ms_per_s": round(idle.busy_ms, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def measure_database(count: int) -> dict[str, dict[str, float]]:
    """Measure what Studies of four Series cost the database from their arrival to their delivery."""
    with fresh_site() as (site, folder), scripted_pacs() as pacs, ExitStack() as running:
        running.enter_context(site.process("sender", "send", 0.0, pacs.port))
        running.enter_context(site.process("worker", "work", 0.0, pacs.port))
        studies = make_studies(folder, count, tuple(WANTED))
        instances = sum(map(len, studies.values()))
        idle = site.idle()
        before, began = site.load(), time.monotonic()
        site.receive(studies)
        received, received_at = site.load(), time.monotonic()
        site.put_up(studies)
        site.wait_for_evaluations(count)
        site.wait_for_deliveries()
        delivered, delivered_at = site.load(), time.monotonic()
    receiving = received.since(before, 1).without(idle, received_at - began)
    evaluating = delivered.since(received, 1).without(idle, delivered_at - received_at)
    nothing = Load(0, 0, 0, 0, 0, 0)
    return {
        "each received Instance": receiving.since(nothing, instances).rounded(),
        "each evaluated and delivered Study": evaluating.since(nothing, count).rounded(),
        "each idle second": idle.rounded(),
    }


def main(count: int, sleep_s: float) -> None:
    """Measure all numbers of workers and the database, and print a line for each."""
    configure_logging(LogSettings(level="WARNING"))
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {count} Studies of {sleep_s:g} s")
    for what, cost in measure_database(count).items():
        print(json.dumps({what: cost}), flush=True)
    first_s = 0.0
    for workers in WORKERS:
        measured = measure_workers(workers, count, sleep_s)
        first_s = first_s or measured["took_s"]
        print(json.dumps({**measured, "times": round(first_s / measured["took_s"], 2)}), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*(int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) > 2 else (16, 40.0))
