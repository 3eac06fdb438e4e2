"""What a database is asked, and how it finds the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from node.database import Database

Statement = tuple[str, Any]
"""The text, and its parameters."""


@contextmanager
def statements(database: Database) -> Iterator[list[Statement]]:
    """Note the statements that are made while the context is open."""
    made: list[Statement] = []

    def note(_connection: Any, _cursor: Any, text: str, parameters: Any, *_others: Any) -> None:
        made.append((text, parameters))

    engine = _engine(database)
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield made
    finally:
        event.remove(engine, "before_cursor_execute", note)


def scans(database: Database, made: Sequence[Statement]) -> set[str]:
    """Return the tables of SQLite of which some statements read every row, not by an index."""
    found: set[str] = set()
    with database.reading() as connection:
        for text, parameters in made:
            if text.startswith(("SELECT", "WITH")):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)
                found |= {row.detail.split()[1] for row in plan if row.detail.startswith("SCAN")}
    return found


def _engine(database: Database) -> Engine:
    with database.reading() as connection:
        return connection.engine
