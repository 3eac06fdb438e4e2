"""The connection to the index database: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from node.errors import DamagedDatabaseError, IndexUnavailableError
from node.migrations import bring_up
from node.sqlite_age import check_sqlite

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another process's transaction on the same SQLite file, s."""

PREPARING_LOCK = 0x63737664
"""Key of the PostgreSQL advisory lock under which tables are created: "csvd" in ASCII."""

_UNAVAILABLE = (DBAPIError, PoolTimeoutError)
"""What the database and the pool of connections raise; other errors of SQLAlchemy are faults of the node."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_READ_ONLY = "csvd_read_only"


class Database:
    """Transactions on the index; may be used from several threads.

    Args:
        url: an SQLAlchemy URL, ``sqlite:///path`` or ``postgresql://user@host/name``.

    Raises:
        IndexUnavailableError: if the database cannot be opened.
        DamagedDatabaseError: if the SQLite file is damaged, or none.
        IndexSchemaError: if a newer version of the node wrote it.
        OldSqliteError: if the SQLite of this Python is too old.
    """

    def __init__(self, url: str) -> None:
        self._engine = _sqlite_engine(url) if url.startswith("sqlite") else _postgresql_engine(url)
        self._inserts_if_new: dict[str, Insert] = {}
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._file: tuple[int, int] | None = None
        # SQLite lets one writer in at a time and makes the others poll; a lock wakes the next one at once.
        self._one_writer = threading.Lock() if self._is_sqlite else contextlib.nullcontext()
        try:
            self._prepare()
        except _UNAVAILABLE as exc:
            if is_damaged(exc):
                cure = "restore a backup, or move it away and run `csvd-node rebuild-index`"
                raise DamagedDatabaseError(str(self._engine.url.database), cause_of(exc), cure) from exc
            raise IndexUnavailableError(f"The index cannot be opened: {cause_of(exc)}") from exc
        self._file = self._found_file()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that reads one state of the index.

        Raises:
            IndexUnavailableError: if the database does not answer.
        """
        try:
            with self._engine.connect() as raw, raw.execution_options(**{_READ_ONLY: True}).begin():
                yield raw
        except _UNAVAILABLE as exc:
            raise IndexUnavailableError(f"The index cannot be read: {cause_of(exc)}") from exc

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is on disk when the block is left, or undone on an error.

        Raises:
            IndexUnavailableError: if the database does not answer or is full.
        """
        self._see_that_it_is_there()
        try:
            with self._one_writer, self._engine.begin() as connection:
                yield connection
        except _UNAVAILABLE as exc:
            raise IndexUnavailableError(f"The index cannot be written: {cause_of(exc)}") from exc

    def check(self) -> str:
        """Ask whether the database answers.

        Raises:
            IndexUnavailableError: if it does not.
        """
        self._see_that_it_is_there()
        with self.reading() as connection:
            connection.execute(select(1))
        return f"{self._engine.dialect.name} answers"

    def insert(self, table: Table) -> Any:
        """Return an INSERT of the dialect at hand, which knows ON CONFLICT.

        The two dialects have the same methods and no common type, hence Any.
        """
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    def insert_if_new(self, table: Table) -> Insert:
        """Return an INSERT that does nothing where the key is taken, and else returns its first column.

        Built once for each table: to build one for each Instance costs more than to run it.
        """
        if table.name not in self._inserts_if_new:
            key = next(iter(table.primary_key))
            self._inserts_if_new[table.name] = self.insert(table).on_conflict_do_nothing().returning(key)
        return self._inserts_if_new[table.name]

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _found_file(self) -> tuple[int, int] | None:
        """Tell which file has the name of the SQLite database; None if there is none, or no such database."""
        if not self._is_sqlite:
            return None
        try:
            found = Path(str(self._engine.url.database)).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _see_that_it_is_there(self) -> None:
        """Refuse a SQLite file that was taken away: what is written there would end with the process."""
        if self._found_file() != self._file:
            path = self._engine.url.database
            raise IndexUnavailableError(
                f"{path} was moved, removed or replaced beneath the process: restart it"
            )

    def _prepare(self) -> None:
        with self._one_writer, self._engine.begin() as connection:
            if not self._is_sqlite:
                # Two nodes that start at once must not both change the tables.
                connection.execute(select(func.pg_advisory_xact_lock(PREPARING_LOCK)))
            bring_up(connection)


def cause_of(error: DBAPIError | PoolTimeoutError) -> str:
    """Return the driver's own message on one line: SQLAlchemy's repeats the whole statement."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def is_damaged(error: DBAPIError | PoolTimeoutError) -> bool:
    """Tell whether a SQLite file is no longer one."""
    return getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) in _DAMAGED


def _sqlite_engine(url: str) -> Engine:
    check_sqlite()
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        # The driver's own transactions begin too late to guard what a transaction reads before it writes.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_reader = connection.get_execution_options().get(_READ_ONLY, False)
        # A writer takes its lock at once: one that began as a reader would fail when another wrote meanwhile.
        connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        # To compile a statement takes the server longer than to answer any of ours.
        connection.execute("SET jit = off")
        connection.commit()

    return engine
