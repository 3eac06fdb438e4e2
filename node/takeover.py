"""Gives back what processes left that are gone, so that others go on with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from node.errors import UnknownEvaluationError
from node.evaluations import Evaluations
from node.index import Index
from node.observation import NOBODY, Observer
from node.presence import NodeProcess, Presence
from node.roles import Role

log = structlog.get_logger(__name__)

LOST_AT_MOST = 3
"""How many processes one evaluation may take with it before it is given up."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work on a queue that is not done.

    Attributes:
        job_id: names it on the queue.
        role: of the processes that do such work.
        evaluation_id: which evaluation it is about.
        version: of the processes that can go on with it.
        process_id: which process is at it, None if it waits.
    """

    job_id: str
    role: Role
    evaluation_id: str
    version: str
    process_id: str | None


class JobQueue(Protocol):
    """Shows the work that is not done, and gives it back."""

    def at_work(self) -> list[Job]:
        """List what a process is at, of any version."""

    def of_other_versions(self) -> list[Job]:
        """List what is not done and belongs to processes of other versions than this."""

    def give_back(self, job: Job) -> None:
        """Let it wait again, for any process of its version."""

    def renew(self, job: Job) -> None:
        """Let processes of this version do it from its beginning, and those of its own version no more."""

    def cancel(self, job: Job) -> None:
        """Let nobody do it."""


class Takeover:
    """Looks for processes that are gone, and for work that no process can go on with.

    Only one process of each version may look at a time. May die at any moment: the next look goes on.

    Args:
        presence: who is there.
        index: what was being received.
        evaluations: the book of evaluations.
        queue: what was being done.
        clock: the current time, with a time zone.
        observer: is told of Studies that are given up.
    """

    def __init__(
        self,
        presence: Presence,
        index: Index,
        evaluations: Evaluations,
        queue: JobQueue,
        clock: Callable[[], datetime],
        observer: Observer = NOBODY,
    ) -> None:
        self._presence, self._index, self._evaluations = presence, index, evaluations
        self._queue, self._clock, self._observer = queue, clock, observer

    def look(self) -> None:
        """Look once.

        Raises:
            IndexUnavailableError: if the index does not answer.
            QueueUnavailableError: if the queues do not.
        """
        # What is at work is listed first: who holds no lease afterwards does not live any more.
        jobs, receivers, listed = self._queue.at_work(), self._index.open_receivers(), self._presence.listed()
        at_jobs = {job.process_id for job in jobs if job.process_id}
        gone = self._presence.missing({*at_jobs, *receivers, *(each.process_id for each in listed)})
        died = {each.process_id for each in listed} & gone
        for receiver_id in sorted(gone & receivers):
            self._abort(receiver_id)
        for job in jobs:
            if job.process_id in gone:
                try:
                    self._take_from(job, has_died=job.process_id in died)
                except UnknownEvaluationError:
                    # Its Study was removed since.
                    self._queue.cancel(job)
        for process_id in sorted(died):
            log.warning("takeover.process_gone", process_id=process_id)
            self._presence.forget(process_id)
        self._renew_old(each for each in listed if each.process_id not in gone)

    def _abort(self, receiver_id: str) -> None:
        aborted = self._index.abort_left_open(receiver_id)
        if aborted:
            log.warning("takeover.associations_aborted", receiver_id=receiver_id, associations=aborted)

    def _take_from(self, job: Job, *, has_died: bool) -> None:
        if job.role is Role.WORK and has_died:
            lost = self._evaluations.note_lost(job.evaluation_id)
            if lost >= LOST_AT_MOST:
                self._queue.cancel(job)
                self._give_up(job.evaluation_id, lost)
                return
        self._queue.give_back(job)
        log.warning("takeover.given_back", job_id=job.job_id, process_id=job.process_id)

    def _give_up(self, evaluation_id: str, lost: int) -> None:
        """Enter that an evaluation failed, unless its end was entered before the process died."""
        if not self._evaluations.fail(evaluation_id, _too_often(lost), self._clock()):
            return
        study_uid = self._evaluations.get(evaluation_id).study_uid
        log.error("takeover.evaluation_given_up", study_uid=study_uid, evaluation_id=evaluation_id, lost=lost)
        self._observer.study_failed(study_uid)

    def _renew_old(self, present: Iterable[NodeProcess]) -> None:
        """Take work over that only processes of another version could do, of which none is left."""
        able = {(each.version, role) for each in present for role in each.roles}
        own_version = self._presence.own.version
        for job in self._queue.of_other_versions():
            if (job.version, job.role) not in able and (own_version, job.role) in able:
                self._queue.renew(job)
                log.warning("takeover.renewed", job_id=job.job_id, version=job.version)


def _too_often(lost: int) -> str:
    return (
        f"The process that evaluated it died {lost} times, for want of memory for example; "
        "the log of the machine may tell why. The Study is kept; retry it."
    )
