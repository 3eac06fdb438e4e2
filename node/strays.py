"""Gives back what the queues hold for this process and no thread of it is at any more.

Work ends when the database says so. Where that cannot be written, on a full disk, the work stays with a
process that lives and does nothing about it; nobody would ever take it from there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

import structlog

from node.takeover import Job
from node.watch import Watch

log = structlog.get_logger(__name__)

LOOK_S = 10.0
"""Pause between two looks, s; work is given back if two in a row find it astray: it may just begin or end."""


class AtWork:
    """What the threads of this process are at; may be used from all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job_ids: list[str] = []

    @contextmanager
    def on(self, job_id: str) -> Iterator[None]:
        """Be at some work during a block."""
        with self._lock:
            self._job_ids.append(job_id)
        try:
            yield
        finally:
            with self._lock:
                self._job_ids.remove(job_id)

    def job_ids(self) -> set[str]:
        """List what is being done now."""
        with self._lock:
            return set(self._job_ids)


class HeldWork(Protocol):
    """Shows what processes are at, and takes it back."""

    def at_work(self) -> list[Job]:
        """List what a process is at, of any version."""

    def give_back(self, job: Job) -> None:
        """Let it wait again, for any process of its version."""


class Strays:
    """Looks for such work again and again, while its context is open.

    Args:
        queue: what the database says.
        process_id: of this process.
        at_work: what is true.
        look_s: pause between two looks, s.
    """

    def __init__(self, queue: HeldWork, process_id: str, at_work: AtWork, look_s: float = LOOK_S) -> None:
        self._queue, self._process_id, self._at_work = queue, process_id, at_work
        self._seen: set[str] = set()
        self._watch = Watch("strays", self.look, lambda: look_s)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop()

    def look(self) -> None:
        """Look once, and give back what was astray the last time, too.

        Raises:
            QueueUnavailableError: if the queues do not answer; the next look goes on.
        """
        held = {job.job_id: job for job in self._queue.at_work() if job.process_id == self._process_id}
        astray = held.keys() - self._at_work.job_ids()
        for job_id in sorted(astray & self._seen):
            self._queue.give_back(held[job_id])
            log.warning("strays.given_back", job_id=job_id, evaluation_id=held[job_id].evaluation_id)
        self._seen = astray - self._seen
