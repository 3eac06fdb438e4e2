"""Who is gone loses what it was at, and who lives keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from structlog.testing import capture_logs

from node.completeness import AssociationEnd
from node.database import Database
from node.errors import IndexUnavailableError, NodeAlreadyRunningError
from node.evaluations import Evaluations, EvaluationState
from node.index import Index
from node.leases import Lease, held, lock_key, open_lease
from node.observation import NOBODY, Observer, Observers
from node.presence import Presence
from node.roles import ALL_ROLES, Role
from node.tables import processes, studies
from node.takeover import LOST_AT_MOST, Job, Takeover
from tests.support.arrivals import STUDY_UID, Arrivals, Clock, at, enter_receiver, lease_of
from tests.support.instances import mr_dataset
from tests.support.peers import wait_until


class Queue:
    """Shows the jobs it is given, and keeps what became of them."""

    def __init__(self, *jobs: Job, of_other_versions: tuple[Job, ...] = ()) -> None:
        self.jobs, self.others = jobs, of_other_versions
        self.given_back: list[str] = []
        self.renewed: list[str] = []
        self.cancelled: list[str] = []

    def at_work(self) -> list[Job]:
        return list(self.jobs)

    def of_other_versions(self) -> list[Job]:
        return list(self.others)

    def give_back(self, job: Job) -> None:
        self.given_back.append(job.job_id)

    def renew(self, job: Job) -> None:
        self.renewed.append(job.job_id)

    def cancel(self, job: Job) -> None:
        self.cancelled.append(job.job_id)


class Impatient:
    """A lease like another, whose holder is missed at once."""

    gone_after_s = 0.0

    def __init__(self, lease: Lease) -> None:
        self.hold, self.holders = lease.hold, lease.holders
        self.lead, self.release = lease.lead, lease.release


@pytest.fixture
def presence(database: Database, database_url: str) -> Iterator[Presence]:
    lease = Impatient(open_lease(database_url))
    with Presence(database, lease, ALL_ROLES, "2", lambda: at(0)) as present:
        yield present


def job_of(process_id: str | None, evaluation_id: str = "e", version: str = "2") -> Job:
    return Job(f"evaluate/{evaluation_id}/1", Role.WORK, evaluation_id, version, process_id)


class Failed(Observers):
    """Notes which Studies failed."""

    def __init__(self) -> None:
        super().__init__()
        self.study_uids: list[str] = []

    def study_failed(self, study_uid: str) -> None:
        self.study_uids.append(study_uid)


def look(
    presence: Presence, arrivals: Arrivals, database: Database, queue: Queue, observer: Observer = NOBODY
) -> None:
    Takeover(presence, arrivals.index, Evaluations(database), queue, lambda: at(100), observer).look()


def enter_worker_that_died(database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO processes (process_id, host, roles, version, started_at) "
            "VALUES ('gone', 'host', 'work', '2', '2024-01-15 09:00:00')"
        )


def test_only_the_job_of_a_process_that_is_gone_is_given_back(
    tmp_path: Path, database: Database, presence: Presence
) -> None:
    queue = Queue(job_of("gone", "a"), job_of(presence.process_id, "b"))
    look(presence, Arrivals(tmp_path, database), database, queue)
    assert queue.given_back == ["evaluate/a/1"]


def test_associations_of_a_receiver_that_is_gone_are_aborted(
    tmp_path: Path, database: Database, presence: Presence
) -> None:
    gone = Arrivals(tmp_path, database, "gone", lives=False)
    here = Arrivals(tmp_path, database, presence.process_id)
    for number, arrivals in enumerate((gone, here)):
        arrivals.open("a", number)
        arrivals.send("a", 5, mr_dataset(series=number))
    look(presence, here, database, Queue())
    ends = {carried.association_id: carried.end for carried in here.index.open_studies()[0].carriages}
    assert sorted(ends.values()) == [AssociationEnd.ABORTED, AssociationEnd.OPEN]


def test_process_that_came_back_since_it_was_missed_stays_listed(presence: Presence) -> None:
    presence.forget(presence.process_id)
    assert [each.process_id for each in presence.listed()] == [presence.process_id]


def test_study_that_takes_its_process_with_it_again_and_again_is_given_up(
    tmp_path: Path, database: Database, database_url: str, presence: Presence
) -> None:
    arrivals = Arrivals(tmp_path, database)
    arrivals.whole("a", 0)
    evaluation = Evaluations(database).begin(STUDY_UID, None, at(10))
    assert evaluation is not None
    failed = Failed()
    for lost in range(1, LOST_AT_MOST + 1):
        enter_worker_that_died(database)
        queue = Queue(job_of("gone", evaluation.evaluation_id))
        look(presence, arrivals, database, queue, failed)
        assert bool(queue.given_back) is (lost < LOST_AT_MOST)
    ended = Evaluations(database).get(evaluation.evaluation_id)
    assert (ended.state, queue.cancelled) == (EvaluationState.FAILED, [queue.jobs[0].job_id])
    assert "died 3 times" in ended.reason
    assert failed.study_uids == [STUDY_UID]
    assert "gone" not in {each.process_id for each in presence.listed()}


def test_nothing_is_said_to_be_given_up_that_had_ended_before_its_process_died(
    tmp_path: Path, database: Database, presence: Presence
) -> None:
    arrivals, failed = Arrivals(tmp_path, database), Failed()
    arrivals.whole("a", 0)
    evaluations = Evaluations(database)
    evaluation = evaluations.begin(STUDY_UID, None, at(10))
    assert evaluation is not None
    for _ in range(LOST_AT_MOST - 1):
        evaluations.note_lost(evaluation.evaluation_id)
    evaluations.start(evaluation.evaluation_id, at(20))
    evaluations.finish(evaluation.evaluation_id, "", at(30))
    enter_worker_that_died(database)
    with capture_logs() as told:
        look(presence, arrivals, database, Queue(job_of("gone", evaluation.evaluation_id)), failed)
    assert "takeover.evaluation_given_up" not in {each["event"] for each in told}
    assert failed.study_uids == []
    assert evaluations.get(evaluation.evaluation_id).state is EvaluationState.EVALUATED


def test_work_on_a_study_that_was_removed_is_given_up(
    tmp_path: Path, database: Database, presence: Presence
) -> None:
    enter_worker_that_died(database)
    queue = Queue(job_of("gone", "removed"))
    look(presence, Arrivals(tmp_path, database), database, queue)
    assert (queue.cancelled, queue.given_back) == ([queue.jobs[0].job_id], [])


def test_work_of_a_version_is_renewed_once_nobody_can_go_on_with_it(
    tmp_path: Path, database: Database, presence: Presence
) -> None:
    waits = job_of(None, version="1")
    queue = Queue(of_other_versions=(waits,))
    look(presence, Arrivals(tmp_path, database), database, queue)
    assert queue.renewed == [waits.job_id]


def test_work_of_a_version_waits_while_nobody_of_this_one_does_such_work(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    queue = Queue(of_other_versions=(job_of(None, version="1"),))
    receives = frozenset({Role.RECEIVE})
    with Presence(database, open_lease(database_url), receives, "2", lambda: at(0)) as presence:
        look(presence, Arrivals(tmp_path, database), database, queue)
    assert (queue.renewed, queue.cancelled) == ([], [])


def test_work_of_a_version_is_left_alone_while_a_process_of_it_is_there(
    tmp_path: Path, database: Database, database_url: str, presence: Presence
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("there is one process only")
    queue = Queue(of_other_versions=(job_of(None, version="1"),))
    with Presence(database, open_lease(database_url), ALL_ROLES, "1", lambda: at(0)) as other:
        look(presence, Arrivals(tmp_path, database), database, queue)
        assert (presence.leads(), other.leads()) == (True, True), "one process of each version"
    assert queue.renewed == []


def test_one_process_leads_and_the_next_when_it_is_gone(database: Database, database_url: str) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("there is one process only")
    first, second = (
        Presence(database, open_lease(database_url), ALL_ROLES, "2", lambda: at(0)) for _ in range(2)
    )
    with second:
        with first:
            assert (first.leads(), second.leads(), first.leads()) == (True, False, True)
            assert second.missing([first.process_id]) == set()
        # PostgreSQL lets go of a lock when it notices that the connection was closed.
        wait_until(second.leads)


def test_receivers_could_be_reached_since_the_first_of_those_that_live(
    database: Database, database_url: str
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("there is one process only")

    def reachable_since() -> datetime | None:
        arrival = Index(database).arrival(STUDY_UID)
        assert arrival is not None
        return arrival.reachable_since

    clock = Clock()
    first, second, third = (
        Presence(database, open_lease(database_url), ALL_ROLES, "2", clock) for _ in range(3)
    )
    with database.writing() as connection:
        row = {"study_uid": STUDY_UID, "first_at": at(0), "last_at": at(0), "revision": 1, "reason": ""}
        connection.execute(insert(studies).values({**row, "is_open": True, "is_given_up": False}))
    with first:
        assert reachable_since() is None, "there is a process, which listens to nobody yet"
        with first.listening():
            clock.second = 100
            with second, second.listening():
                assert reachable_since() == at(0), "somebody listened all the time"
        clock.second = 200
        assert reachable_since() is None, "nobody does any more"
        with third, third.listening():
            assert reachable_since() == at(200)


def test_receiver_counts_while_its_lease_is_held(database: Database) -> None:
    with database.reading() as connection:
        assert held(connection, ["receiver"]) == set()
    lease = lease_of(database, "receiver")
    with database.reading() as connection:
        assert held(connection, ["receiver", "another"]) == {"receiver"}
    lease.release()

    def lives() -> bool:
        with database.reading() as connection:
            return bool(held(connection, ["receiver"]))

    # PostgreSQL lets go of a lock when it notices that the connection was closed.
    wait_until(lambda: not lives())


def test_receiver_that_died_leaves_a_gap(database: Database, database_url: str) -> None:
    enter_receiver(database, "killed", at(0))
    with (
        Presence(database, open_lease(database_url), ALL_ROLES, "2", lambda: at(100)) as presence,
        presence.listening(),
        database.reading() as connection,
    ):
        entered = {row.process_id: row.reachable_since for row in connection.execute(select(processes))}
    assert entered == {"killed": at(0), presence.process_id: at(100)}


def test_leader_whose_session_was_lost_leads_no_more(database: Database, database_url: str) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("there is one process only")
    first, second = open_lease(database_url), open_lease(database_url)
    first.hold("first")
    second.hold("second")
    assert (first.lead("2"), second.lead("2")) == (True, False)
    ends = text(
        "SELECT pg_terminate_backend(pid) FROM pg_locks "
        "WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = :key"
    )
    with database.writing() as connection:
        connection.execute(ends, {"key": lock_key("first")})
    with pytest.raises(IndexUnavailableError):
        first.hold("first")
    wait_until(lambda: second.lead("2"))
    assert first.hold("first") is False, "it is taken again"
    assert first.lead("2") is False
    for lease in (first, second):
        lease.release()


def test_lease_names_its_holder_whoever_had_it_before(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/index.sqlite"
    database = Database(url)
    for holder in ("a process with a long name", "the next one"):
        lease = open_lease(url)
        lease.hold(holder)
        with database.reading() as connection:
            assert held(connection, [holder]) == {holder}
        lease.release()
    database.close()


def test_second_process_on_one_sqlite_file_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/index.sqlite"
    database = Database(url)
    with Presence(database, open_lease(url), ALL_ROLES, "2", lambda: at(0)):
        another = Presence(database, open_lease(url), ALL_ROLES, "2", lambda: at(0))
        with pytest.raises(NodeAlreadyRunningError, match="share a PostgreSQL database"):
            another.keep()
    with Presence(database, open_lease(url), ALL_ROLES, "2", lambda: at(0)) as after:
        assert after.leads()
    database.close()


def test_key_of_a_lock_is_the_same_in_the_servers_list() -> None:
    keys = {lock_key(f"process {number}") for number in range(1000)}
    assert len(keys) == 1000
    assert all(0 <= key < 2**63 for key in keys)
