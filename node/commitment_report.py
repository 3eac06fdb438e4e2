"""What an archive says of a request for commitment, as N-EVENT-REPORT brings it.

Source: PS3.4 J.3.3 (N-EVENT-REPORT), PS3.3 C.14 (Failure Reason), PS3.7 10.1.1 (statuses).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext
from pynetdicom.status import GENERAL_STATUS

from node.errors import IndexUnavailableError, RefusedReportError
from node.part10 import is_uid
from node.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, UNCOMPRESSED

log = structlog.get_logger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_SOP_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
NO_SUCH_ARGUMENT = 0x0114
INVALID_ARGUMENT_VALUE = 0x0115
NO_SUCH_SOP_CLASS = 0x0118
"""Statuses of the answer to a report (PS3.7 10.1.1.1.8 and annex C)."""

ALL_COMMITTED, SOME_REFUSED = 1, 2
"""Event Type IDs (PS3.4 J.3.3.1)."""

DUPLICATE_TRANSACTION = 0x0131
"""Failure Reason that is no status as well (PS3.3 C.14.1.1)."""


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What an archive says.

    Attributes:
        transaction_uid: of the request.
        committed: SOP Instance UIDs of what it took responsibility for.
        refused: Failure Reason of the others that it names, by SOP Instance UID; None where it gives none.
    """

    transaction_uid: str
    committed: frozenset[str]
    refused: Mapping[str, int | None]

    @property
    def named(self) -> frozenset[str]:
        """All SOP Instance UIDs that it names."""
        return self.committed | frozenset(self.refused)


@dataclass(frozen=True, slots=True)
class Reporting:
    """Who may report, and who takes what they say.

    Attributes:
        archives: AE titles of those that are asked for commitment.
        take: takes a report and the AE title that it comes from, or raises RefusedReportError.
    """

    archives: frozenset[str]
    take: Callable[[str, CommitmentReport], None]


def _take_nothing(calling_ae: str, report: CommitmentReport) -> None:
    raise RefusedReportError(
        INVALID_ARGUMENT_VALUE, f"{calling_ae} reports on transaction {report.transaction_uid}, unasked"
    )


NO_REPORTING = Reporting(frozenset(), _take_nothing)
"""Of a node that asks nobody."""


def report_context() -> PresentationContext:
    """Return what the receiver supports of an archive: that opens the association, and is the SCP in it.

    An archive that proposes no roles is served as well: what it sends says what it is.
    """
    context = build_context(STORAGE_COMMITMENT, list(UNCOMPRESSED))
    context.scu_role, context.scp_role = False, True
    return context


def answer_report(event: evt.Event, take: Callable[[CommitmentReport], None]) -> tuple[int, None]:
    """Answer an N-EVENT-REPORT: with success once what it says is in the index."""
    try:
        take(read_report(cast(N_EVENT_REPORT, event.request), lambda: event.event_information))
    except RefusedReportError as error:
        log.warning("commitment.report_refused", status=f"0x{error.status:04X}", reason=str(error))
        return error.status, None
    except IndexUnavailableError as error:
        log.warning("commitment.report_not_entered", reason=str(error))
        return PROCESSING_FAILURE, None
    # The outermost boundary of a request: its fault is answered, and the next request is served.
    except Exception:
        log.exception("commitment.report_broke")
        return PROCESSING_FAILURE, None
    return SUCCESS, None


def read_report(request: N_EVENT_REPORT, information: Callable[[], Dataset]) -> CommitmentReport:
    """Read a report.

    Args:
        request: its command.
        information: decodes its data set.

    Raises:
        RefusedReportError: if it is none, or says two things of one Instance.
    """
    if request.AffectedSOPClassUID != STORAGE_COMMITMENT:
        raise RefusedReportError(NO_SUCH_SOP_CLASS, "a report of another SOP Class came")
    if request.AffectedSOPInstanceUID != STORAGE_COMMITMENT_INSTANCE:
        raise RefusedReportError(NO_SUCH_SOP_INSTANCE, "a report of another SOP Instance came")
    if request.EventTypeID not in (ALL_COMMITTED, SOME_REFUSED):
        raise RefusedReportError(
            NO_SUCH_EVENT_TYPE, f"a report of Event Type {request.EventTypeID} came: 1 and 2 there are"
        )
    said = information()
    if not is_uid(str(said.get("TransactionUID") or "")):
        raise RefusedReportError(NO_SUCH_ARGUMENT, "a report came without Transaction UID")
    report = CommitmentReport(
        transaction_uid=str(said.TransactionUID),
        committed=frozenset(_uid_of(item) for item in _items(said, "ReferencedSOPSequence")),
        refused={_uid_of(item): item.get("FailureReason") for item in _items(said, "FailedSOPSequence")},
    )
    _check(report, request.EventTypeID)
    return report


def failure_in_words(reason: int | None) -> str:
    """Put a Failure Reason into words."""
    if reason is None:
        return "without a reason"
    if reason == DUPLICATE_TRANSACTION:
        return f"{reason:04X} Duplicate Transaction UID"
    _, meaning = GENERAL_STATUS.get(reason, ("", "unknown reason"))
    return f"{reason:04X} {meaning}"


def _check(report: CommitmentReport, event_type: int) -> None:
    which = f"the report on transaction {report.transaction_uid}"
    if event_type == ALL_COMMITTED and report.refused:
        raise RefusedReportError(INVALID_ARGUMENT_VALUE, f"{which} calls all committed, and some not")
    if report.committed & frozenset(report.refused):
        raise RefusedReportError(INVALID_ARGUMENT_VALUE, f"{which} calls an Instance committed and not")
    if not report.named:
        raise RefusedReportError(NO_SUCH_ARGUMENT, f"{which} names no Instance")


def _items(said: Dataset, keyword: str) -> Iterable[Dataset]:
    items: Iterable[Dataset] = said.get(keyword) or ()
    return items


def _uid_of(item: Dataset) -> str:
    uid = str(item.get("ReferencedSOPInstanceUID") or "")
    if not uid:
        raise RefusedReportError(NO_SUCH_ARGUMENT, "a report came that names an Instance without its UID")
    return uid
