"""SQLite as old as the operating system has it: refused where too old, helped where that is enough.

Python takes the SQLite library of the system, so that a new Python may stand on an old SQLite: Debian 12 has
3.40, RHEL 9 has 3.34.
"""

from __future__ import annotations

import sqlite3
import time

from sqlalchemy import Engine, event

from node.errors import OldSqliteError

LEAST = (3, 35)
"""Since when a statement can return what it wrote (RETURNING)."""

WITH_MILLISECONDS = (3, 42)
"""Since when ``unixepoch`` knows 'subsec', which DBOS asks any SQLite for from Python 3.12 on."""


def check_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Refuse a SQLite that the index cannot be kept with.

    Raises: OldSqliteError
    """
    if version < LEAST:
        raise OldSqliteError(".".join(map(str, version)), ".".join(map(str, LEAST)))


def give_milliseconds(connection: sqlite3.Connection) -> None:
    """Give a connection the time in seconds with three decimals, as ``unixepoch('subsec')`` of SQLite 3.42.

    Tables keep the expression as a default: every Python that opens the file later needs it.
    """
    connection.create_function("unixepoch", 1, lambda _subsec: round(time.time(), 3))


@event.listens_for(Engine, "connect")
def _help_dbos(connection: object, _record: object) -> None:
    """DBOS opens its own connections."""
    if isinstance(connection, sqlite3.Connection) and sqlite3.sqlite_version_info < WITH_MILLISECONDS:
        give_milliseconds(connection)
