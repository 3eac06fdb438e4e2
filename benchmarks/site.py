"""What several benchmarks share: processes of the node on one PostgreSQL server and one folder."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
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
from node.work_queue import WORKFLOW_VERSION
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.running_node import RunningNode
from tests.support.small_study import all_of, study_of, write_study

TRANSACTIONS = text(
    "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
)
"""How many transactions the server has ended, by COMMIT or ROLLBACK."""

SETTLING_S = 2.0
"""What other sessions did is in the server's statistics within about a second; wait for this long, s."""


class Site:
    """A database and a folder that processes share.

    Args:
        server: the database.
        folder: for everything.

    Attributes:
        database_url: SQLAlchemy URL of the database.
        database: the index in it.
    """

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._folder = folder
        self.database_url = server.url.replace("postgresql:", "postgresql+psycopg:")
        self._root = folder / "shared"
        self.database = Database(server.url)

    def process(self, name: str, role: str, sleep_s: float, pacs_port: int | None = None) -> RunningNode:
        """Describe a process that is still to be started."""
        changes = {
            "root": str(self._root),
            "database_url": self.database_url,
            "roles": [role],
            # Studies are declared complete by ``put_up`` alone.
            "completeness": {"series_quiet_s": 3600},
            "web": {"port": None},
            "runner_limits": {"threads": 1},
        }
        pacs = {} if pacs_port is None else {"pacs": ("PACS", pacs_port)}
        process = RunningNode(self._folder / name, pacs, **changes)
        process.program = [sys.executable, "-m", "tests.support.slow_node", str(sleep_s), WORKFLOW_VERSION]
        return process

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
def fresh_site(*settings: str) -> Iterator[tuple[Site, Path]]:
    """Make an empty site, and a folder for what is sent.

    Args:
        settings: of the database server, as name=value.
    """
    with running_postgres(*settings) as server, tempfile.TemporaryDirectory() as folder:
        site = Site(server, Path(folder))
        with closing(site.database):
            yield site, Path(folder) / "sent"


def make_studies(folder: Path, count: int, series: tuple[str, ...]) -> dict[str, list[Path]]:
    """Write small Studies."""
    names = [f"study {number}" for number in range(count)]
    return {name: all_of(write_study(folder, name, series)) for name in names}
