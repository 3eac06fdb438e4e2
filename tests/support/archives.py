"""A scripted archive: Storage and Storage Commitment SCP, as obliging or as false as a test wants it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.uid import UID, Comprehensive3DSRStorage, ExplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from tests.support.peers import LOOPBACK

COMMITMENT = UID("1.2.840.10008.1.20.1")
INSTANCE = UID("1.2.840.10008.1.20.1.1")


@dataclass(frozen=True)
class Asked:
    """A request for commitment: its Transaction UID, and SOP Class UID by SOP Instance UID."""

    transaction_uid: str
    instances: Mapping[str, str]


@dataclass
class Archive:
    """A running archive.

    Attributes:
        port: where it listens.
        stored: SOP Instance UIDs as often as they came.
        requests: what it was asked, in order.
        answers: statuses that its reports in the association of the request were answered with.
    """

    ae_title: str
    port: int = 0
    stored: list[str] = field(default_factory=list)
    requests: list[Asked] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


def report_on(
    request: Asked,
    failed: Mapping[str, int] | None = None,
    *,
    transaction_uid: str | None = None,
    committed: Sequence[str] | None = None,
) -> tuple[int, Dataset]:
    """Make Event Type ID and data set of a report.

    Args:
        request: what is reported on.
        failed: Failure Reason by SOP Instance UID; the rest is committed.
        transaction_uid: in place of that of the request.
        committed: in place of the rest.
    """
    failed = failed or {}
    kept = [uid for uid in request.instances if uid not in failed] if committed is None else committed
    report = Dataset()
    report.TransactionUID = transaction_uid or request.transaction_uid
    report.ReferencedSOPSequence = [_item(request, uid) for uid in kept]
    if failed:
        report.FailedSOPSequence = [_item(request, uid) for uid in failed]
        for item in report.FailedSOPSequence:
            item.FailureReason = failed[item.ReferencedSOPInstanceUID]
    return (2 if failed else 1), report


def _item(request: Asked, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = request.instances.get(uid, SegmentationStorage)
    item.ReferencedSOPInstanceUID = uid
    return item


def report_to(
    port: int,
    event_type: int,
    report: Dataset,
    *,
    calling: str = "ARCHIVE",
    called: str = "CSVD",
    says_role: bool = True,
    instance: UID = INSTANCE,
    sop_class: UID = COMMITMENT,
) -> int:
    """Report in an association of the archive's own, and return the status of the answer."""
    entity = AE(calling)
    entity.add_requested_context(COMMITMENT, ExplicitVRLittleEndian)
    roles = [build_role(COMMITMENT, scp_role=True)] if says_role else []
    association = entity.associate(LOOPBACK, port, ae_title=called, ext_neg=roles)
    assert association.is_established, "the node takes the association"
    if not says_role:
        # pynetdicom would not send what only an SCP sends.
        association.accepted_contexts[0]._as_scp = True
    answer, _ = association.send_n_event_report(report, event_type, sop_class, instance, meta_uid=COMMITMENT)
    association.release()
    return int(answer.Status)


Reply = Callable[[int, Asked], tuple[int, Dataset] | None]
"""What the archive reports on its n-th request (from 1) in the association of the request; None: nothing."""


@contextmanager
def archive(
    reply: Reply = lambda _number, _request: None,
    *,
    action_status: int = 0x0000,
    commits: bool = True,
    aborts_at: threading.Event | None = None,
    ae_title: str = "ARCHIVE",
) -> Iterator[Archive]:
    """Run an archive.

    Args:
        reply: what it reports in the association of a request.
        action_status: how it answers N-ACTION.
        commits: whether it takes a presentation context for Storage Commitment.
        aborts_at: when it ends the association that it took.
        ae_title: its AE title.
    """
    entity = AE(ae_title)
    for sop_class in (SegmentationStorage, Comprehensive3DSRStorage, *([COMMITMENT] if commits else [])):
        entity.add_supported_context(sop_class, ExplicitVRLittleEndian)
    running = Archive(ae_title)

    def on_store(event: evt.Event) -> int:
        running.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def on_action(event: evt.Event) -> tuple[int, None]:
        said = event.action_information
        instances = {
            str(item.ReferencedSOPInstanceUID): str(item.ReferencedSOPClassUID)
            for item in said.ReferencedSOPSequence
        }
        assert event.action_type == 1
        assert event.request.RequestedSOPInstanceUID == INSTANCE
        running.requests.append(Asked(str(said.TransactionUID), instances))
        replied = None if action_status else reply(len(running.requests), running.requests[-1])
        if replied is not None:
            threading.Thread(target=_report_in, args=(event.assoc, *replied, running), daemon=True).start()
        return action_status, None

    handlers: list[evt.EventHandlerType] = [(evt.EVT_C_STORE, on_store), (evt.EVT_N_ACTION, on_action)]
    if aborts_at is not None:
        handlers.append((evt.EVT_ESTABLISHED, _abort, [aborts_at]))
    server = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=handlers)
    running.port = server.server_address[1]
    try:
        yield running
    finally:
        entity.shutdown()


def _abort(event: evt.Event, at: threading.Event) -> None:
    at.wait(30)
    event.assoc.abort()


def _report_in(association: Association, event_type: int, report: Dataset, running: Archive) -> None:
    """Report after the request was answered, from a thread of its own as an archive does."""
    time.sleep(0.2)
    answer, _ = association.send_n_event_report(report, event_type, COMMITMENT, INSTANCE)
    running.answers.append(int(answer.Status))
