"""The Storage Commitment SCU: asks an archive to take responsibility for Instances.

Source: PS3.4 J.3.2 (N-ACTION), J.3.3 (the answer may come in the same association).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.status import GENERAL_STATUS

from node.commitment_report import SUCCESS, CommitmentReport, answer_report
from node.errors import AssociationFailedError, NoContextAcceptedError
from node.outbound import DestinationSettings, SenderSettings, open_association
from node.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, UNCOMPRESSED

REQUEST_COMMITMENT = 1
"""Action Type ID (PS3.4 J.3.2.1)."""

LINGER_S = 2.0
"""How long the association is held open for an answer in it, s; who takes longer opens one of its own."""


def request_commitment(
    sop_classes: Mapping[str, str],
    transaction_uid: str,
    destination: DestinationSettings,
    settings: SenderSettings,
    take: Callable[[CommitmentReport], None],
) -> None:
    """Ask an archive to take responsibility for Instances.

    Args:
        sop_classes: SOP Class UID by SOP Instance UID.
        transaction_uid: names the request.
        destination: the archive.
        settings: who asks, and how patiently.
        take: takes the answer, if it comes in the same association.

    Raises:
        AssociationFailedError: if the archive did not take the request; the message says why.
    """
    answer = _Answer(take)
    try:
        with open_association([_context()], destination, settings, answer.handlers) as association:
            _ask(association, _information(sop_classes, transaction_uid), destination)
            answer.wait(lambda: association.is_established)
    except NoContextAcceptedError as exc:
        reason = "accepts no presentation context for Storage Commitment"
        raise AssociationFailedError(str(destination), reason) from exc


class _Answer:
    """An answer in the association of its request."""

    def __init__(self, take: Callable[[CommitmentReport], None]) -> None:
        self._take, self._has_come = take, threading.Event()
        self._answering: list[threading.Thread] = []
        self.handlers: list[evt.EventHandlerType] = [(evt.EVT_N_EVENT_REPORT, self._on_report)]

    def wait(self, is_open: Callable[[], bool]) -> None:
        """Wait a while for it, as long as the association is there, and until it was answered.

        pynetdicom answers in a thread of its own, and notes at its end that the association is not paused: a
        release that begins before that may wait for the pause for ever.
        """
        for _ in range(round(LINGER_S / 0.05)):
            if self._has_come.wait(0.05) or not is_open():
                break
        for each in self._answering:
            each.join()

    def _on_report(self, event: evt.Event) -> tuple[int, None]:
        self._answering.append(threading.current_thread())
        self._has_come.set()
        return answer_report(event, self._take)


def _context() -> PresentationContext:
    return build_context(STORAGE_COMMITMENT, list(UNCOMPRESSED))


def _information(sop_classes: Mapping[str, str], transaction_uid: str) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [
        _reference(sop_class, uid) for uid, sop_class in sorted(sop_classes.items())
    ]
    return information


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def _ask(association: Association, information: Dataset, destination: DestinationSettings) -> None:
    try:
        answer, _ = association.send_n_action(
            information, REQUEST_COMMITMENT, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
        )
    except RuntimeError as exc:
        # So pynetdicom says that it was lost before the request.
        raise AssociationFailedError(str(destination), "ended the association") from exc
    if "Status" not in answer:
        raise AssociationFailedError(str(destination), "gave no answer to N-ACTION")
    status = int(answer.Status)
    if status != SUCCESS:
        _, meaning = GENERAL_STATUS.get(status, ("", "unknown status"))
        raise AssociationFailedError(str(destination), f"answered N-ACTION with 0x{status:04X} {meaning}")
