"""How a process shows that it lives: a lease that ends with it, whatever it dies of.

PostgreSQL: an advisory lock of a session. The server frees it the moment the process's connection ends, also
when the process was killed; where the machine itself is gone, once its TCP keep-alives stay away. The lock
needs no clock and no thread that must stay awake, and a process that computes for a minute is not taken for
dead. SQLite: a lock of the operating system on a file beside the database, which one process can hold; the
file names it. Who holds a lease can be seen by everybody who can read the database.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult, Engine, TextClause, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from node.database import cause_of
from node.errors import IndexUnavailableError, NodeAlreadyRunningError, words_of

LOOK_S = 0.05
"""Longer than anybody who only looks holds the lock of a file, s."""

_LOCKS = text(
    "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' "
    "AND objsubid = 1 AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Keys of the advisory locks that sessions of this database hold."""


class Lease(Protocol):
    """What one process holds under its name as long as it lives.

    Attributes:
        gone_after_s: how long a lease must be free before its process is taken for dead, s.
    """

    gone_after_s: float

    def hold(self, process_id: str) -> bool:
        """Take the lease, or see that it is still held; False if it had been lost and was taken again.

        Raises:
            IndexUnavailableError: if the database does not answer.
            NodeAlreadyRunningError: if there can be one process only, and another is there.
        """

    def holders(self, process_ids: Iterable[str]) -> set[str]:
        """Tell which of some processes hold their leases."""

    def lead(self, group: str) -> bool:
        """Become or stay the one process of a group that leads it."""

    def release(self) -> None:
        """Give everything back."""


class PostgresLease:
    """Advisory locks of one session, which is kept open for them.

    Args:
        url: SQLAlchemy URL of the database.
    """

    gone_after_s = 3.0
    """After the database was away all processes take their leases again, one after the other."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._session: Connection | None = None
        self._groups_led: set[str] = set()

    def hold(self, process_id: str) -> bool:
        """Take the lease, or see that the session that holds it lives."""
        try:
            if self._session is not None:
                self._session.execute(text("SELECT 1"))
                return True
            self._session = self._engine.connect()
            self._session.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key(process_id)})
        except DBAPIError as exc:
            self._forget_session()
            raise IndexUnavailableError(f"The lease of this process cannot be held: {cause_of(exc)}") from exc
        return False

    def holders(self, process_ids: Iterable[str]) -> set[str]:
        """Look up which leases are held in the server's own list of locks."""
        return _named(process_ids, self._ask(_LOCKS, {}).scalars())

    def lead(self, group: str) -> bool:
        """Try for the lock of the group; who has it keeps it with the session."""
        if group not in self._groups_led:
            key = {"key": lock_key(f"leader of {group}")}
            if self._ask(text("SELECT pg_try_advisory_lock(:key)"), key).scalar():
                self._groups_led.add(group)
        return group in self._groups_led

    def release(self) -> None:
        """End the session, and with it every lock."""
        self._forget_session()
        self._engine.dispose()

    def _ask(self, statement: TextClause, values: dict[str, int]) -> CursorResult[Any]:
        if self._session is None:
            raise IndexUnavailableError("The lease of this process is not held")
        try:
            return self._session.execute(statement, values)
        except DBAPIError as exc:
            self._forget_session()
            raise IndexUnavailableError(f"The lease of this process was lost: {cause_of(exc)}") from exc

    def _forget_session(self) -> None:
        session, self._session = self._session, None
        self._groups_led.clear()
        if session is not None:
            # Not back into a pool: a session that is closed gives up its locks.
            session.invalidate()
            session.close()


class FileLease:
    """A lock on a file beside the SQLite database; the operating system frees it when the process ends.

    Args:
        database: path of the SQLite file.
    """

    gone_after_s = 0.0
    """Who does not hold the only lock there is cannot be alive."""

    def __init__(self, database: Path) -> None:
        self._path = _lock_file(database)
        self._descriptor: int | None = None
        self._process_id = ""

    def hold(self, process_id: str) -> bool:
        """Take the lock, if no other process has it."""
        if self._descriptor is not None:
            return True
        try:
            self._take(process_id)
        except OSError as exc:
            reason = f"The lock beside the index cannot be taken: {self._path}: {words_of(exc)}"
            raise IndexUnavailableError(reason) from exc
        return False

    def _take(self, process_id: str) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        with ExitStack() as opened:
            opened.callback(os.close, descriptor)
            if not (_lock(descriptor) or _lock_after_a_look(descriptor)):
                raise NodeAlreadyRunningError(str(self._path.parent))
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, process_id.encode("ascii"), 0)
            opened.pop_all()
        self._descriptor, self._process_id = descriptor, process_id

    def holders(self, process_ids: Iterable[str]) -> set[str]:
        """Name this process, which is the only one there can be."""
        return {process_id for process_id in process_ids if process_id == self._process_id}

    def lead(self, group: str) -> bool:
        """Lead, as the only one."""
        return self._descriptor is not None

    def release(self) -> None:
        """Free the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def open_lease(url: str) -> Lease:
    """Choose how a process shows that it lives, by the kind of database that the processes share."""
    if url.startswith("sqlite"):
        return FileLease(Path(make_url(url).database or ""))
    return PostgresLease(url)


def held(connection: Connection, process_ids: Iterable[str]) -> set[str]:
    """Tell which of some processes hold their leases: asked by anybody, who need not hold one.

    Args:
        connection: to the database that the processes share.
        process_ids: whom to look for.

    Raises:
        IndexUnavailableError: if the file that is locked cannot be read.
    """
    asked = set(process_ids)
    if not asked:
        return set()
    if connection.dialect.name == "sqlite":
        return asked & {_file_holder(_lock_file(Path(connection.engine.url.database or "")))}
    return _named(asked, connection.execute(_LOCKS).scalars())


def lock_key(name: str) -> int:
    """Turn a name into the key of an advisory lock: 64 bits, as PostgreSQL lists them, without a sign.

    The sign bit is left out, so that a key reads the same as a number and in the list of locks.
    """
    return int.from_bytes(hashlib.sha256(f"csvd-node {name}".encode()).digest()[:8]) >> 1


def _named(process_ids: Iterable[str], keys: Iterable[int]) -> set[str]:
    """Turn keys of locks back into the processes that hold them."""
    found = {int(key) for key in keys}
    return {process_id for process_id in process_ids if lock_key(process_id) in found}


def _lock_file(database: Path) -> Path:
    return database.with_name(f"{database.name}.serving")


def _lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        raise IndexUnavailableError(f"The lock beside the index cannot be used: {words_of(exc)}") from exc
    return True


def _lock_after_a_look(descriptor: int) -> bool:
    """Try once more: somebody may only have looked."""
    time.sleep(LOOK_S)
    return _lock(descriptor)


def _file_holder(path: Path) -> str:
    """Name the process that holds the lock on a file, nobody ("") if it is free."""
    try:
        with path.open() as file:
            return "" if _lock(file.fileno(), fcntl.LOCK_SH) else file.read()
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise IndexUnavailableError(f"Whether a node serves cannot be seen: {words_of(exc)}") from exc


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(
        parsed,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"application_name": "csvd-node lease"},
    )
