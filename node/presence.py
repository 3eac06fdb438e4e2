"""Which processes share the work, which of them are gone, and whether this one leads."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import delete, insert, select

from node.database import Database
from node.errors import IndexUnavailableError
from node.leases import Lease, held
from node.roles import Role
from node.tables import processes
from node.watch import Watch

log = structlog.get_logger(__name__)

WATCH_S = 1.0
"""Pause between two looks at the own lease, s."""


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A process as it entered itself.

    Attributes:
        process_id: its own, made at its start.
        host: where it runs.
        roles: what it does.
        version: of the workflows that it can go on with.
        started_at: when it began.
    """

    process_id: str
    host: str
    roles: frozenset[Role]
    version: str
    started_at: datetime


class Presence:
    """This process among the others, while its context is open.

    Args:
        database: the index, which lists the processes.
        lease: what this process holds as long as it lives.
        roles: what it does.
        version: of the workflows that it can go on with.
        clock: the current time, with a time zone.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        roles: Collection[Role],
        version: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._database, self._lease, self._clock = database, lease, clock
        self.own = NodeProcess(uuid.uuid4().hex, socket.gethostname(), frozenset(roles), version, clock())
        self._lock = threading.Lock()
        self._missed_since: dict[str, float] = {}
        self._is_entered = self._is_listening = False
        self._watch = Watch("presence", self.keep, lambda: WATCH_S)

    @property
    def process_id(self) -> str:
        """Name of this process among all that ever were."""
        return self.own.process_id

    def __enter__(self) -> Self:
        self.keep()
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop()
        try:
            self._sign_off()
        except IndexUnavailableError as exc:
            # The others find it gone, as if it had died.
            log.warning("presence.not_signed_off", reason=str(exc))
        self._lease.release()

    def keep(self) -> None:
        """Hold the lease, and stand in the list of processes.

        Raises:
            IndexUnavailableError: if the database does not answer.
            NodeAlreadyRunningError: if there can be one process only, and another is there.
        """
        with self._lock:
            if not self._lease.hold(self.process_id):
                # Whoever was missed while the database was away gets the time to come back as well.
                self._missed_since.clear()
                self._is_entered = False
            if not self._is_entered:
                self._enter()
                self._is_entered = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Let it be known that senders can reach this process, while the context is open.

        Raises:
            IndexUnavailableError: if the database does not answer.
        """
        self._note_listening(is_listening=True)
        yield
        try:
            self._note_listening(is_listening=False)
        except IndexUnavailableError as exc:
            # This process signs off as a whole in a moment.
            log.warning("presence.not_signed_off", reason=str(exc))

    def leads(self) -> bool:
        """Tell whether this process is the one that hands out work, among those of its version.

        Raises:
            IndexUnavailableError: if the database does not answer.
        """
        with self._lock:
            return self._lease.lead(f"version {self.own.version}")

    def missing(self, process_ids: Iterable[str]) -> set[str]:
        """Tell which of some processes are gone for good: their leases have been free for a while.

        Ask only for processes that were seen at work before: one that has just begun may not be known yet.

        Raises:
            IndexUnavailableError: if the database does not answer.
        """
        asked = set(process_ids)
        with self._lock:
            free = asked - self._lease.holders(asked)
            now = time.monotonic()
            for alive in asked - free:
                self._missed_since.pop(alive, None)
            since = {process_id: self._missed_since.setdefault(process_id, now) for process_id in free}
        return {process_id for process_id in free if now - since[process_id] >= self._lease.gone_after_s}

    def listed(self) -> list[NodeProcess]:
        """List all processes that entered themselves and did not sign off, dead ones among them."""
        with self._database.reading() as connection:
            rows = connection.execute(select(processes).order_by(processes.c.started_at)).all()
        return [
            NodeProcess(
                row.process_id, row.host, frozenset(map(Role, row.roles.split())), row.version, row.started_at
            )
            for row in rows
        ]

    def forget(self, process_id: str) -> None:
        """Take a process off the list that is gone; one that came back since it was missed stays on it."""
        listed = select(processes.c.process_id).where(processes.c.process_id == process_id)
        with self._database.writing() as connection:
            # One that comes back takes its lease, and only then enters itself, for which it needs this row.
            connection.execute(listed.with_for_update())
            if not held(connection, [process_id]):
                connection.execute(delete(processes).where(processes.c.process_id == process_id))

    def _sign_off(self) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(processes).where(processes.c.process_id == self.process_id))

    def _note_listening(self, *, is_listening: bool) -> None:
        with self._lock:
            self._is_listening = is_listening
            self._enter()

    def _enter(self) -> None:
        own = self.own
        row = {
            "process_id": own.process_id,
            "host": own.host,
            "roles": " ".join(sorted(own.roles)),
            "version": own.version,
            "started_at": own.started_at,
            "reachable_since": self._reachable_since() if self._is_listening else None,
        }
        with self._database.writing() as connection:
            connection.execute(delete(processes).where(processes.c.process_id == own.process_id))
            connection.execute(insert(processes).values(row))

    def _reachable_since(self) -> datetime:
        """Go on from the receivers that live; without one, nothing could come until now."""
        listening = select(processes.c.process_id, processes.c.reachable_since).where(
            processes.c.reachable_since.is_not(None), processes.c.process_id != self.process_id
        )
        with self._database.reading() as connection:
            since = {row.process_id: row.reachable_since for row in connection.execute(listening)}
        alive = self._lease.holders(since)
        return min((since[process_id] for process_id in alive), default=self._clock())
