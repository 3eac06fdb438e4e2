"""Archives are asked to take responsibility for results: Orthanc, and scripted ones that refuse or lie."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pydicom.uid import UID
from structlog.testing import capture_logs

from node.commitment_desk import CommitmentDesk
from node.commitment_report import CommitmentReport
from node.commitment_request import request_commitment
from node.commitments import Commitments
from node.courier import Courier
from node.deliveries import Deliveries, Delivery, DeliveryState
from node.errors import AssociationFailedError
from node.index import Index
from node.listing import study_rows
from node.metrics import Metrics
from node.outbound import DestinationSettings, SenderSettings
from node.receiver import Receiver
from node.sender import send
from node.settings import NodeSettings
from node.study_states import StudyState
from node.words import delivery_state
from tests.support.archives import Archive, Asked, archive, report_on, report_to
from tests.support.arrivals import Clock
from tests.support.evaluated_study import Evaluated, evaluated_study
from tests.support.peers import LOOPBACK, free_port, needs_orthanc, orthanc, wait_until

WAIT_S, PATIENCE_S, PAUSE_S = 3600.0, 86400.0, 10.0
ROLES = ("seg-WMH", "sr")
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


class Site:
    """A courier and a receiver over one index, as two processes of a node have them.

    Attributes:
        metrics: of both.
        port: of the receiver.
    """

    def __init__(self, evaluated: Evaluated, ae_title: str, port: int, receiver_port: int = 0) -> None:
        self.evaluated, self.clock, self.metrics = evaluated, Clock(), Metrics()
        self.evaluation_id, self.deliveries = evaluated.evaluation_id, Deliveries(evaluated.database)
        self.settings = NodeSettings.model_validate(
            {
                "receiver": {"port": receiver_port, "calling_aes": ["MR1"], "stop_grace_s": 0},
                "sender": {"retry": {"first_pause_s": PAUSE_S, "give_up_after_s": PATIENCE_S}},
                "destinations": {
                    name: {
                        "ae_title": title, "host": LOOPBACK, "port": port,
                        "commitment": True, "commitment_wait_s": WAIT_S,
                    }
                    for name, title in (("archive", ae_title), ("other", "OTHER"))
                },
            }
        )  # fmt: skip
        self.receiver = self._receiver()
        made = evaluated.outcome().instances
        self.deliveries.queue(self.evaluation_id, "archive", [made[role] for role in ROLES], self.clock())

    def attempt(self, second: float = 0.0) -> list[Delivery]:
        """Do what is due."""
        self.clock.second = second
        books = (self.evaluated.evaluations, self.evaluated.outcomes, self.deliveries)
        pictures, store = self.evaluated.pictures, self.evaluated.store
        courier = Courier(
            self.settings, store, *books, pictures, self.desk(), self.clock, self.metrics
        )  # fmt: skip
        courier.attempt(self.evaluation_id, "archive")
        return self.listed()

    def desk(self) -> CommitmentDesk:
        return CommitmentDesk(self.settings, Commitments(self.evaluated.database), self.clock, self.metrics)

    def listed(self) -> list[Delivery]:
        return self.deliveries.of_evaluation(self.evaluation_id)

    def states(self) -> set[DeliveryState]:
        return {each.state for each in self.listed()}

    def reason(self) -> str:
        (row,) = study_rows(self.evaluated.database, self.clock(), self.settings.completeness)
        return row.reason

    def count(self, result: str) -> float | None:
        labels = {"destination": "archive", "result": result}
        return self.metrics.registry.get_sample_value("csvd_commitments_total", labels)

    def _receiver(self) -> Receiver:
        index, store = Index(self.evaluated.database), self.evaluated.store
        return Receiver(self.settings.receiver, store, index, self.clock, reporting=self.desk().reporting)


@contextmanager
def site(folder: Path, ae_title: str, port: int, receiver_port: int = 0) -> Iterator[Site]:
    with evaluated_study(folder) as evaluated:
        evaluated.evaluations.start(evaluated.evaluation_id, Clock()())
        evaluated.evaluations.finish(evaluated.evaluation_id, "", Clock()())
        running = Site(evaluated, ae_title, port, receiver_port)
        with running.receiver:
            yield running


@contextmanager
def asked(folder: Path) -> Iterator[tuple[Site, Archive, Asked]]:
    """Send to an archive that has not reported yet."""
    with archive() as peer, site(folder, "ARCHIVE", peer.port) as running:
        assert {each.state for each in running.attempt()} == {DeliveryState.SENT}
        (request,) = peer.requests
        yield running, peer, request


@contextmanager
def slow(function: str, begins: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Let who runs a function of pynetdicom get little of the processor, from some moment on."""

    def at_each_line(_frame: FrameType, event: str, _argument: object) -> None:
        if event == "line" and begins():
            time.sleep(0.3)

    def at_each_call(frame: FrameType, _event: str, _argument: object) -> object:
        return at_each_line if frame.f_code.co_name == function else None

    before, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(at_each_call)
    threading.settrace(at_each_call)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(of_threads)


def request_from(port: int, take: Callable[[CommitmentReport], None] = lambda _report: None) -> None:
    """Ask an archive to take responsibility for an Instance."""
    peer = DestinationSettings(ae_title="ARCHIVE", host=LOOPBACK, port=port)
    request_commitment({"1.2.3": SEG}, "1.9", peer, SenderSettings(), take)


def test_association_is_released_only_when_the_thread_that_answers_a_report_has_ended() -> None:
    answering: list[threading.Thread] = []
    with (
        archive(lambda _number, request: report_on(request)) as peer,
        slow("_serve_request", lambda: bool(answering)),
    ):
        request_from(peer.port, lambda _report: answering.append(threading.current_thread()))
        (thread,) = answering
        assert not thread.is_alive()
    wait_until(lambda: peer.answers == [0x0000], what="the archive has its answer")


def test_archive_that_ends_the_association_before_it_is_asked_is_told_of() -> None:
    asking = threading.Event()

    def begins() -> bool:
        asking.set()
        return True

    with (
        archive(aborts_at=asking) as peer,
        slow("send_n_action", begins),
        pytest.raises(AssociationFailedError, match=r"ended the association|gave no answer"),
    ):
        request_from(peer.port)


def test_result_is_delivered_once_the_archive_committed_to_it(tmp_path: Path) -> None:
    with capture_logs() as logs, asked(tmp_path) as (running, peer, request):
        assert {line["state"] for line in logs if line["event"] == "delivery.attempted"} == {"sent"}
        assert set(request.instances) == {each.sop_instance_uid for each in running.listed()}
        assert running.reason() == (
            "archive: sent, waiting for the archive's commitment (asked again at 2024-01-15 10:00:00 UTC)"
        )
        running.clock.second = 60
        for says_role in (False, True):
            status = report_to(running.receiver.port, *report_on(request), says_role=says_role)
            assert status == 0x0000, "from one that proposes no roles, and the same again"
        assert running.states() == {DeliveryState.DELIVERED}
        assert delivery_state(running.listed()[0]) == "delivered, committed at 2024-01-15 09:01:00 UTC"
        assert running.count("committed") == len(ROLES), "each is counted once"
        running.attempt(PATIENCE_S)
        assert (len(peer.requests), len(peer.stored)) == (1, len(ROLES)), "nothing is left to do"


def test_refused_instance_is_sent_again_and_asked_for_again(tmp_path: Path) -> None:
    def reply(number: int, request: Asked) -> Any:
        return report_on(request, {min(request.instances): 0x0112} if number == 1 else {})

    with archive(reply) as peer, site(tmp_path, "ARCHIVE", peer.port) as running:
        running.attempt()
        wait_until(lambda: len(peer.answers) == 1, what="it answers in the association of the request")
        lost = min(peer.requests[0].instances)
        (refused,) = [each for each in running.listed() if each.sop_instance_uid == lost]
        assert refused.state is DeliveryState.FAILED
        assert refused.last_comment == "the archive refused commitment: 0112 No Such SOP Instance"
        assert refused.next_attempt_at is not None
        assert "archive: the archive refused commitment: 0112 No Such SOP Instance" in running.reason()
        assert running.count("0112") == 1
        running.attempt(PAUSE_S * 2)
        assert running.states() == {DeliveryState.DELIVERED}
        assert set(peer.requests[1].instances) == {lost}
        assert [peer.stored.count(uid) for uid in peer.requests[0].instances] == [
            2 if uid == lost else 1 for uid in peer.requests[0].instances
        ]
        assert peer.answers == [0x0000, 0x0000]


def test_archive_that_always_refuses_is_given_up_like_one_that_can_not_be_reached(tmp_path: Path) -> None:
    def reply(_number: int, request: Asked) -> Any:
        return report_on(request, dict.fromkeys(request.instances, 0x0213))

    with archive(reply) as peer, site(tmp_path, "ARCHIVE", peer.port) as running:
        for second in (0.0, PATIENCE_S):
            running.attempt(second)
        assert len(peer.requests) == 2
        assert {each.is_given_up for each in running.listed()} == {True}
        assert running.metrics.registry.get_sample_value("csvd_studies_failed_total") == 1


@pytest.mark.parametrize(
    ("options", "why", "next_s"),
    [
        pytest.param(
            {}, "the archive took the requests for its commitment and reported nothing", WAIT_S, id="silent"
        ),
        pytest.param(
            {"action_status": 0x0124},
            "cannot be asked for its commitment: answered N-ACTION with 0x0124 Refused: Not Authorised",
            2 * PAUSE_S,
            id="refuses",
        ),
        pytest.param(
            {"commits": False},
            "cannot be asked for its commitment: accepts no presentation context for Storage Commitment",
            2 * PAUSE_S,
            id="knows-none",
        ),
    ],
)
def test_archive_that_never_commits_is_asked_again_and_then_told_of(
    tmp_path: Path, options: dict[str, Any], why: str, next_s: float
) -> None:
    with archive(**options) as peer, site(tmp_path, "ARCHIVE", peer.port) as running:
        waits = {each.next_attempt_at for each in running.attempt()}
        assert [each and (each - running.clock()).total_seconds() for each in waits] == [next_s]
        running.attempt(next_s)
        assert len(peer.requests) == (2 if options.get("commits", True) else 0)
        given_up = running.attempt(PATIENCE_S)
        assert {(each.state, each.next_attempt_at) for each in given_up} == {(DeliveryState.SENT, None)}
        assert {each.last_comment for each in given_up} == {why}
        assert delivery_state(given_up[0]) == "sent, the archive did not commit, given up"
        (row,) = study_rows(running.evaluated.database, running.clock(), running.settings.completeness)
        assert (row.state, row.delivered_count) == (StudyState.FAILED, 0)
        assert row.reason.startswith(f"archive: sent, the archive did not commit: {why} (given up after ")
        assert len(peer.stored) == len(ROLES), "what the archive has is not sent again"
        assert running.metrics.registry.get_sample_value("csvd_studies_failed_total") == 1


def test_report_that_was_not_asked_for_or_contradicts_itself_changes_nothing(tmp_path: Path) -> None:
    with asked(tmp_path) as (running, _, request):
        before, port, one = running.listed(), running.receiver.port, min(request.instances)
        assert report_to(port, *report_on(request, transaction_uid="1.2.3")) == 0x0115
        assert report_to(port, *report_on(request), calling="OTHER") == 0x0115, "another archive"
        assert report_to(port, *report_on(request, committed=[*request.instances, "1.2.3"])) == 0x0115
        assert report_to(port, *report_on(request, committed=[])) == 0x0114
        assert report_to(port, *report_on(request, transaction_uid="Doe^Jane")) == 0x0114
        _, report = report_on(request, {one: 0x0110})
        assert report_to(port, 1, report) == 0x0115, "all are committed, and one failed"
        assert report_to(port, 3, report) == 0x0113
        assert report_to(port, 2, report, instance=UID("1.2.3")) == 0x0112
        assert report_to(port, 2, report, sop_class=UID("1.2.840.10008.5.1.4.34.6.1")) == 0x0118, "of UPS"
        _, both = report_on(request, {one: 0x0110}, committed=list(request.instances))
        assert report_to(port, 2, both) == 0x0115
        assert running.listed() == before


@needs_orthanc
def test_orthanc_commits_to_what_it_has_and_not_to_what_it_lost(tmp_path: Path) -> None:
    receiver_port = free_port()
    with (
        orthanc(tmp_path / "orthanc", destination=("CSVD", receiver_port)) as peer,
        site(tmp_path, "ORTHANC", peer.dicom_port, receiver_port) as running,
    ):
        for each in running.listed():
            path = running.evaluated.store.path(each.path)
            destination = running.settings.destinations["archive"]
            (outcome,) = send([path], destination, running.settings.sender)  # type: ignore[arg-type]
            assert outcome.state is DeliveryState.DELIVERED
            now = running.clock()
            running.deliveries.record_attempt(each, DeliveryState.SENT, 0x0000, "", now, now)
        lost = peer.get("/instances?expand")[0]
        peer.delete(f"/instances/{lost['ID']}")
        running.attempt()
        wait_until(lambda: DeliveryState.SENT not in running.states(), 60, "Orthanc reports")
        (refused,) = [each for each in running.listed() if each.state is DeliveryState.FAILED]
        assert refused.sop_instance_uid == lost["MainDicomTags"]["SOPInstanceUID"]
        assert "0112 No Such SOP Instance" in refused.last_comment
        running.attempt(PAUSE_S)
        wait_until(lambda: running.states() == {DeliveryState.DELIVERED}, 60, "Orthanc commits to both")
