"""What an Instance and a Study cost the database, and what the processes ask it while nothing is to be done.

    python -m benchmarks.database [STUDIES]

Real processes and a real PostgreSQL server with pg_stat_statements. The processes ask for work all the time,
more or less often as the machine is busy: so statements that come while nothing is to be done are told on
their own, and only the others are counted for the work. Transactions that wrote something are counted by
the server's own transaction numbers, which those that only read do not get.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, create_engine, text

from benchmarks.site import SETTLING_S, TRANSACTIONS, Site, fresh_site, make_studies
from node.index import Index
from node.telemetry import LogSettings, configure_logging
from tests.support.peers import scripted_pacs
from tests.support.small_study import WANTED

IDLE_S = 60.0
"""How long the database is watched while nothing is to be done, s."""

PRELOAD = "shared_preload_libraries=pg_stat_statements"
STATEMENTS = text(
    "SELECT queryid, calls, rows, wal_bytes, total_exec_time AS ms, query FROM pg_stat_statements"
)
WRITING = text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
SIZE = text("SELECT pg_database_size(current_database())")


@dataclass(frozen=True, slots=True)
class Moment:
    """What the server has done so far.

    Attributes:
        transactions: all of them.
        arrived, left: writing ones, when it was looked at and when that was over.
        disk_bytes: that tables and indices take, without what nobody needs any more.
        statements: by their identifier.
    """

    transactions: float
    arrived: float
    left: float
    disk_bytes: float
    statements: Mapping[int, Row[Any]]


def look(server: Engine) -> Moment:
    """Read the server's own statistics."""
    time.sleep(SETTLING_S)
    with server.connect() as connection:
        transactions, arrived = (connection.scalar(each) for each in (TRANSACTIONS, WRITING))
        statements = {row.queryid: row for row in connection.execute(STATEMENTS)}
        connection.execute(text("VACUUM FULL"))
        size, left = (connection.scalar(each) for each in (SIZE, WRITING))
    return Moment(transactions, arrived, left, size, statements)


def came_between(before: Moment, after: Moment) -> set[int]:
    """Return the statements that were made."""
    calls = {key: row.calls for key, row in before.statements.items()}
    return {key for key, row in after.statements.items() if row.calls > calls.get(key, 0)}


def cost(before: Moment, after: Moment, polling: set[int], per: int) -> dict[str, float]:
    """Sum what was done, less what polling did, for each of so many pieces of work."""

    def summed(name: str) -> float:
        then = {key: getattr(row, name) for key, row in before.statements.items()}
        work = (key for key in after.statements if key not in polling)
        return float(sum(getattr(after.statements[key], name) - then.get(key, 0) for key in work))

    return {
        "statements": round(_without_transactions(before, after, polling) / per, 1),
        "writing_transactions": round((after.arrived - before.left) / per, 1),
        "rows": round(summed("rows") / per, 1),
        "wal_kb": round(summed("wal_bytes") / per / 1e3, 1),
        "disk_kb": round((after.disk_bytes - before.disk_bytes) / per / 1e3, 1),
        "busy_ms": round(summed("ms") / per, 2),
    }


def arriving_ms(site: Site) -> float:
    """Return how long the leading process looks at one Study that still arrives, ms."""
    began = time.perf_counter()
    arriving = Index(site.database).open_studies()
    return 1e3 * (time.perf_counter() - began) / max(len(arriving), 1)


def _without_transactions(before: Moment, after: Moment, polling: Iterable[int]) -> int:
    """Count the statements that are not about transactions themselves."""
    then = {key: row.calls for key, row in before.statements.items()}
    return sum(
        row.calls - then.get(key, 0)
        for key, row in after.statements.items()
        if key not in polling and row.query.split()[0] not in ("BEGIN", "COMMIT", "ROLLBACK", "SET")
    )


def main(count: int) -> None:
    """Let Studies arrive, be evaluated and delivered, and print what each step cost."""
    configure_logging(LogSettings(level="WARNING"))
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {count} Studies")
    with fresh_site(PRELOAD) as (site, folder), scripted_pacs() as pacs, ExitStack() as running:
        server = create_engine(site.database_url, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text("CREATE EXTENSION pg_stat_statements"))
        for role in ("send", "work"):
            running.enter_context(site.process(role, role, 0.0, pacs.port))
        # One Study arrives from the start, so that looking at it is among what is done in any case.
        first, *others = make_studies(folder, 1 + count, tuple(WANTED)).items()
        studies = dict(others)
        site.receive(dict([first]))
        start, began = look(server), time.monotonic()
        time.sleep(IDLE_S)
        idle, idle_s = look(server), time.monotonic() - began
        polling = came_between(start, idle)
        with server.connect() as connection:
            connections = connection.scalar(CONNECTIONS)
        site.receive(studies)
        looked_ms = arriving_ms(site)
        received = look(server)
        site.put_up(studies)
        site.wait_for_evaluations(count)
        site.wait_for_deliveries()
        delivered = look(server)
        server.dispose()
    transactions = idle.transactions - start.transactions
    idle_per_s = round(transactions / idle_s, 1)
    print(json.dumps({"two processes": {"idle_transactions_per_s": idle_per_s, "connections": connections}}))
    print(json.dumps({"each look at an arriving Study": {"ms": round(looked_ms, 2)}}))
    instances = sum(map(len, studies.values()))
    print(json.dumps({"each received Instance": cost(idle, received, polling, instances)}))
    print(json.dumps({"each evaluated and delivered Study": cost(received, delivered, polling, count)}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
