"""The Storage and Verification SCU: sends files to a destination and says for each what became of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from node.damaged_files import READING_ERRORS, reason_of
from node.deliveries import DeliveryState
from node.errors import AssociationFailedError, NoContextAcceptedError, UnreadableDatasetError
from node.mask_syntaxes import read_as, smaller_syntaxes
from node.outbound import DestinationSettings, RetrySettings, SenderSettings, open_association
from node.part10 import read_part10
from node.peer_remarks import remark_on
from node.send_outcome import SendOutcome
from node.sop_classes import UNCOMPRESSED, VERIFICATION, proposed_contexts, sop_class_name

log = structlog.get_logger(__name__)

SUCCESS = 0x0000

WARNINGS = frozenset({0xB000, 0xB006, 0xB007})
"""The Instance was stored, though elements were coerced, discarded, or do not match (PS3.4 B.2.3)."""


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A readable file, the transfer syntax it is in, and those that are preferred to it if accepted."""

    path: Path
    sop_class: UID
    transfer_syntax: UID
    smaller: tuple[UID, ...]


def send(
    paths: Sequence[Path], destination: DestinationSettings, settings: SenderSettings
) -> list[SendOutcome]:
    """Send DICOM files over one association.

    Each file goes as its bytes are, if the destination accepts that; else, and said so in log and outcome, as
    Explicit or Implicit VR Little Endian. Masks go smaller where the destination is set to take them so and
    accepts it. A file counts as delivered only on its own success or warning.

    Args:
        paths: Part 10 files.
        destination: where to.
        settings: who sends, and how patiently.

    Returns:
        One outcome for each path, in their order; a lost association is the outcome of all that it left.
    """
    outcomes: dict[Path, SendOutcome] = {}
    readable: list[_Outgoing] = []
    for path in paths:
        try:
            readable.append(_outgoing(path, destination))
        except (UnreadableDatasetError, *READING_ERRORS) as exc:
            reason = str(exc) if isinstance(exc, UnreadableDatasetError) else reason_of(exc)
            outcomes[path] = SendOutcome(path, DeliveryState.FAILED, comment=f"cannot be read: {reason}")
    if readable:
        outcomes |= {outcome.path: outcome for outcome in _send_all(readable, destination, settings)}
    return [outcomes[path] for path in paths]


def echo(destination: DestinationSettings, settings: SenderSettings) -> None:
    """Ask a destination whether it listens and knows us (C-ECHO).

    Raises:
        AssociationFailedError: if it does not; the message says why.
    """
    with open_association([build_context(VERIFICATION)], destination, settings) as association:
        status = association.send_c_echo()
        if status.get("Status") != SUCCESS:
            raise AssociationFailedError(str(destination), f"answered C-ECHO with {status.get('Status')}")


def next_attempt_at(
    attempts: int,
    first_queued_at: datetime,
    now: datetime,
    settings: RetrySettings,
    asked_pause_s: float | None = None,
) -> datetime | None:
    """Tell when to try a delivery again; the last time is at the very end of the patience.

    Args:
        attempts: how many failed so far, at least 1.
        first_queued_at: since when it is tried.
        now: the current time.
        settings: pauses and patience.
        asked_pause_s: that the destination asks for, s; kept, up to the longest pause, if it is the longer.

    Returns:
        None if it is given up.
    """
    deadline = first_queued_at + timedelta(seconds=settings.give_up_after_s)
    if now >= deadline:
        return None
    # Beyond 2^32 s every pause is the longest one, and a power without a bound would overflow.
    pause_s = max(settings.first_pause_s * 2.0 ** min(attempts - 1, 32), asked_pause_s or 0.0)
    pause_s = min(pause_s, settings.longest_pause_s)
    return min(now + timedelta(seconds=pause_s), deadline)


def _outgoing(path: Path, destination: DestinationSettings) -> _Outgoing:
    header = read_part10(path).header
    sop_class = UID(header.sop_class_uid)
    smaller = smaller_syntaxes(path, sop_class, deflate=destination.deflate, rle=destination.rle)
    return _Outgoing(path, sop_class, UID(header.transfer_syntax_uid), smaller)


def _send_all(
    outgoing: list[_Outgoing], destination: DestinationSettings, settings: SenderSettings
) -> Iterator[SendOutcome]:
    left = list(outgoing)
    stored = {(each.sop_class, each.transfer_syntax) for each in outgoing}
    smaller = {(each.sop_class, syntax) for each in outgoing for syntax in each.smaller}
    contexts = proposed_contexts(stored, smaller)
    try:
        with open_association(contexts, destination, settings) as association:
            while left:
                yield _send_one(left[0], association, destination, settings.response_timeout_s)
                del left[0]
    except NoContextAcceptedError:
        yield from map(_refused, left)
    except AssociationFailedError as exc:
        log.warning("sender.association_failed", destination=exc.destination, reason=exc.reason)
        yield from (SendOutcome(each.path, DeliveryState.FAILED, comment=exc.reason) for each in left)


def _send_one(
    outgoing: _Outgoing, association: Association, destination: DestinationSettings, answer_within_s: float
) -> SendOutcome:
    syntax = _accepted_syntax(outgoing, association)
    if syntax is None:
        return _refused(outgoing)
    began = time.monotonic()
    try:
        # A path is sent as its bytes are, a data set is encoded anew.
        what = outgoing.path if syntax == outgoing.transfer_syntax else _read(outgoing, syntax, destination)
        answer = association.send_c_store(what)
    except READING_ERRORS as exc:
        # pynetdicom raises one of them also for a lost association.
        if association.is_established:
            comment = f"cannot be sent: {reason_of(exc)}"
            return SendOutcome(outgoing.path, DeliveryState.FAILED, comment=comment)
        raise AssociationFailedError(str(destination), "ended the association") from exc
    if "Status" not in answer:
        # pynetdicom says the same of both.
        is_late = time.monotonic() - began >= answer_within_s
        reason = f"gave no answer within {answer_within_s:g} s" if is_late else "ended the association"
        raise AssociationFailedError(str(destination), reason)
    return _outcome(outgoing.path, answer, syntax)


def _accepted_syntax(outgoing: _Outgoing, association: Association) -> UID | None:
    """Choose among what the destination accepts: smaller, else as stored, else uncompressed, else nothing."""
    accepted = {
        context.transfer_syntax[0]
        for context in association.accepted_contexts
        if context.abstract_syntax == outgoing.sop_class
    }
    wanted = (*outgoing.smaller, outgoing.transfer_syntax, *UNCOMPRESSED)
    return next((syntax for syntax in wanted if syntax in accepted), None)


def _read(outgoing: _Outgoing, syntax: UID, destination: DestinationSettings) -> Dataset:
    log.info(
        "sender.converted",
        destination=str(destination),
        sop_class=sop_class_name(outgoing.sop_class),
        from_transfer_syntax=outgoing.transfer_syntax.name,
        to_transfer_syntax=syntax.name,
    )
    return read_as(outgoing.path, outgoing.transfer_syntax, syntax)


def _outcome(path: Path, answer: Dataset, syntax: UID) -> SendOutcome:
    status = int(answer.Status)
    _, meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", "unknown status"))
    remark = remark_on(path, str(answer.get("ErrorComment", "") or ""))
    comment = "" if status == SUCCESS else ": ".join(filter(None, (f"0x{status:04X} {meaning}", remark)))
    state = DeliveryState.FAILED
    if status == SUCCESS:
        state = DeliveryState.DELIVERED
    elif status in WARNINGS:
        state = DeliveryState.WARNING
    return SendOutcome(path, state, status, comment, str(syntax))


def _refused(outgoing: _Outgoing) -> SendOutcome:
    comment = f"no presentation context accepted for {sop_class_name(outgoing.sop_class)}"
    return SendOutcome(outgoing.path, DeliveryState.REFUSED, comment=comment)
