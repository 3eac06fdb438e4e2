"""Work that the database holds for this process, and that no thread is at, is given back."""

from __future__ import annotations

import pytest

from node.errors import QueueUnavailableError
from node.roles import Role
from node.strays import AtWork, Strays
from node.takeover import Job
from tests.support.peers import wait_until


def job(name: str, process_id: str = "own") -> Job:
    return Job(name, Role.WORK, f"evaluation of {name}", "2", process_id)


class Queue:
    """What the database says; it cannot be written while it is full."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs, self.is_full = list(jobs), False
        self.given_back: list[str] = []

    def at_work(self) -> list[Job]:
        return list(self.jobs)

    def give_back(self, job: Job) -> None:
        if self.is_full:
            raise QueueUnavailableError("The queues of work cannot be written: database or disk is full")
        self.jobs.remove(job)
        self.given_back.append(job.job_id)


def test_work_is_given_back_at_the_second_look_and_only_ones_own() -> None:
    queue, at_work = Queue(job("astray"), job("done"), job("theirs", "other")), AtWork()
    strays = Strays(queue, "own", at_work)
    with at_work.on("done"):
        strays.look()
        assert queue.given_back == [], "it may just begin"
        strays.look()
    assert queue.given_back == ["astray"]
    strays.look()
    assert queue.given_back == ["astray"], "what has just ended may still be written down"


def test_work_that_a_thread_takes_up_between_two_looks_is_left_to_it() -> None:
    queue, at_work = Queue(job("begins")), AtWork()
    strays = Strays(queue, "own", at_work)
    strays.look()
    with at_work.on("begins"):
        strays.look()
    strays.look()
    assert queue.given_back == []


def test_full_database_is_waited_for() -> None:
    queue = Queue(job("astray"))
    strays, queue.is_full = Strays(queue, "own", AtWork()), True
    strays.look()
    with pytest.raises(QueueUnavailableError):
        strays.look()
    queue.is_full = False
    strays.look()
    assert queue.given_back == ["astray"]


def test_it_looks_again_and_again() -> None:
    queue = Queue(job("astray"))
    with Strays(queue, "own", AtWork(), look_s=0.01):
        wait_until(lambda: queue.given_back == ["astray"], 20, "it is given back")
