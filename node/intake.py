"""From an association's opening to its end: its Instances go into the store and the index."""

from __future__ import annotations

import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from node.completeness import AssociationEnd
from node.errors import (
    IndexUnavailableError,
    OutOfResourcesError,
    RefusedInstanceError,
    SopMismatchError,
    UnreadableDatasetError,
)
from node.index import AssociationReference, Index, RefusedInstances
from node.observation import NOBODY, Observer, Stage
from node.part10 import InstanceHeader, read_header
from node.repeating import Repeated
from node.sop_classes import MR_IMAGE_SOP_CLASSES
from node.store import PlacementKind, ReceivedInstance, Store
from node.urgency import UrgentRule, is_urgent

log = structlog.get_logger(__name__)

FAULT = "a fault of the node, which its log describes"
"""Why an Instance was refused that met an error nobody foresaw."""


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """What a C-STORE request says of the data set that comes with it.

    Attributes:
        sop_class_uid: Affected SOP Class UID.
        sop_instance_uid: Affected SOP Instance UID.
        context_sop_class_uid: abstract syntax of the presentation context it came in.
        transfer_syntax_uid: of that presentation context.
        dataset: the encoded data set.
    """

    sop_class_uid: str
    sop_instance_uid: str
    context_sop_class_uid: str
    transfer_syntax_uid: str
    dataset: bytes


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An Instance that was not taken: of which Study and Series, and why."""

    study_uid: str
    series_uid: str
    reason: str


@dataclass(slots=True)
class _OpenAssociation:
    """An association as long as it is open.

    Attributes:
        reference: what the index knows of it.
        called_ae: AE title that it called.
        lock: held while an Instance is taken, and to end.
        has_ended: whether its end was seen.
        answers: how many Instances became what.
        refused: by SOP Instance UID, what was not taken and did not come again since.
        breaks_because: why it breaks off, once somebody knows.
        studies: Study Instance UIDs of what came.
        admitted: Study Instance UIDs of those that were let in: all of a Study or nothing.
    """

    reference: AssociationReference
    called_ae: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    has_ended: bool = False
    answers: Counter[str] = field(default_factory=Counter)
    refused: dict[str, _Refusal] = field(default_factory=dict)
    breaks_because: str = ""
    studies: set[str] = field(default_factory=set)
    admitted: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Ending:
    """How an association ended, until the index has it."""

    reference: AssociationReference
    ended: AssociationEnd
    last_heard: datetime
    refused: tuple[RefusedInstances, ...]
    reason: str


class Intake:
    """Takes the Instances of all open associations, each of which ends exactly once.

    May be used from several threads. An association is known by a key of the caller's choice.

    Args:
        store: takes the files.
        index: takes the entries.
        receiver_id: who this is, among receivers on one index.
        clock: the current time, with a time zone.
        observer: is told of each association that ended.
        admit: raises OutOfResourcesError for a Study that cannot be taken now.
        urgent: which Studies go first.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        receiver_id: str,
        clock: Callable[[], datetime],
        observer: Observer = NOBODY,
        admit: Callable[[str], None] = lambda _study_uid: None,
        urgent: Sequence[UrgentRule] = (),
    ) -> None:
        self._store, self._index, self._clock = store, index, clock
        self._receiver_id, self._observer = receiver_id, observer
        self._admit, self._urgent = admit, urgent
        self._lock = threading.Lock()
        self._open: dict[Hashable, _OpenAssociation] = {}
        self._endings: list[_Ending] = []
        self._said = Repeated()

    def open(self, key: Hashable, calling_ae: str, called_ae: str) -> None:
        """Note that an association was accepted."""
        reference = AssociationReference(uuid.uuid4().hex, self._receiver_id, calling_ae, self._clock())
        with self._lock:
            self._open[key] = _OpenAssociation(reference, called_ae)
        try:
            self._index.open_association(reference)
        except IndexUnavailableError as exc:
            # It is entered with its first Instance, or that one is refused.
            log.warning(
                "intake.opening_not_entered", association_id=reference.association_id, reason=str(exc)
            )

    def open_keys(self) -> list[Hashable]:
        """List the associations that have not ended."""
        with self._lock:
            return list(self._open)

    def take(self, key: Hashable, request: StoreRequest) -> PlacementKind:
        """Take an Instance; on return its file and its entry in the index are on disk.

        Returns:
            What became of it: new, the same again, or kept apart because its UID is taken by other bytes.

        Raises:
            UnreadableDatasetError: if the data set cannot be parsed or lacks its UIDs.
            SopMismatchError: if it is not what the request or the presentation context says.
            OutOfResourcesError: if disk or index cannot take it now, or the association has ended.
        """
        with self._lock:
            association = self._open.get(key)
        try:
            header = read_header(request.dataset, request.transfer_syntax_uid)
        except UnreadableDatasetError as error:
            if association is not None:
                _hold_for(association, request, error)
            raise
        if association is None:
            raise _too_late(header)
        with association.lock:
            if association.has_ended:
                raise _too_late(header)
            series = (header.study_uid, header.series_uid)
            association.refused[header.sop_instance_uid] = _Refusal(*series, FAULT)
            association.studies.add(header.study_uid)
            try:
                kind = self._take(association, header, request)
            except RefusedInstanceError as error:
                association.refused[header.sop_instance_uid] = _Refusal(*series, error.problem)
                raise
            del association.refused[header.sop_instance_uid]
            association.answers[kind] += 1
        return kind

    def note(self, key: Hashable, reason: str) -> None:
        """Note why an association breaks off, in words without identifiers; what is noted first stays."""
        with self._lock:
            association = self._open.get(key)
        if association is not None:
            association.breaks_because = association.breaks_because or reason

    def end(self, key: Hashable, ended: AssociationEnd, silent_for_s: float = 0.0) -> None:
        """Note how an association ended; what is noted first stays.

        Args:
            key: which one.
            ended: released or aborted.
            silent_for_s: how long its peer had not been heard when it was given up, s.
        """
        with self._lock:
            association = self._open.pop(key, None)
        if association is None:
            return
        with association.lock:
            association.has_ended = True
        last_heard = self._clock() - timedelta(seconds=silent_for_s)
        reason = association.breaks_because if ended is AssociationEnd.ABORTED else ""
        carried_something = bool(association.answers or association.refused)
        (log.info if carried_something else log.debug)(
            "intake.association_ended",
            association_id=association.reference.association_id,
            calling_ae=association.reference.calling_ae,
            ended=ended,
            study_uids=sorted(association.studies),
            refused=len(association.refused),
            **({"reason": reason} if reason else {}),
            **association.answers,
        )
        self._tell(association, ended, last_heard)
        refused = _by_series(association.refused.values())
        ending = _Ending(association.reference, ended, last_heard, refused, reason)
        try:
            self._enter(ending)
        except IndexUnavailableError as exc:
            association_id = association.reference.association_id
            log.error("intake.ending_not_entered", association_id=association_id, reason=str(exc))  # noqa: TRY400
            self._put_off(ending)

    def enter_endings(self) -> None:
        """Try again to enter the endings that the index could not take, until it cannot take one."""
        with self._lock:
            endings, self._endings = self._endings, []
        for number, ending in enumerate(endings):
            try:
                self._enter(ending)
            except IndexUnavailableError as exc:
                # The one that was tried last, so that one which never can be entered holds up no other.
                self._put_off(*endings[number + 1 :], ending)
                if self._said.is_news(str(exc)):
                    count = len(endings) - number
                    log.error("intake.endings_not_entered", associations=count, reason=str(exc))  # noqa: TRY400
                return

    def _take(
        self, association: _OpenAssociation, header: InstanceHeader, request: StoreRequest
    ) -> PlacementKind:
        _check_match(header, request)
        calling_ae = association.reference.calling_ae
        self._let_in(association, header)
        received = ReceivedInstance(header, calling_ae, association.called_ae, request.dataset)
        placement = self._store.put(received)
        try:
            kind = self._index.record(
                association.reference,
                received,
                placement,
                self._clock(),
                is_urgent=is_urgent(self._urgent, calling_ae, header.study_description),
            )
        except IndexUnavailableError as exc:
            # The file stays: the entry may have been made, and when it is sent again it is the same.
            raise OutOfResourcesError(f"{_name(header)} {exc}; send it again", "index unavailable") from exc
        if kind is PlacementKind.CONFLICT:
            log.warning(
                "intake.conflict",
                study_uid=header.study_uid,
                series_uid=header.series_uid,
                sop_instance_uid=header.sop_instance_uid,
                calling_ae=calling_ae,
                path=placement.path,
            )
        return kind

    def _let_in(self, association: _OpenAssociation, header: InstanceHeader) -> None:
        if header.study_uid in association.admitted:
            return
        try:
            self._index.check_not_removed(header.study_uid)
            self._admit(header.study_uid)
        except IndexUnavailableError as exc:
            raise OutOfResourcesError(f"{_name(header)} {exc}; send it again", "index unavailable") from exc
        association.admitted.add(header.study_uid)

    def _tell(self, association: _OpenAssociation, ended: AssociationEnd, last_heard: datetime) -> None:
        reference = association.reference
        self._observer.association_ended(reference.calling_ae, ended.value)
        for study_uid in sorted(association.studies):
            stage = Stage("receive", study_uid, reference.opened_at, last_heard, ended.value)
            self._observer.stage_ended(stage)

    def _enter(self, ending: _Ending) -> None:
        self._index.close_association(
            ending.reference, ending.ended, ending.last_heard, ending.refused, ending.reason
        )

    def _put_off(self, *endings: _Ending) -> None:
        with self._lock:
            self._endings.extend(endings)


def _hold_for(association: _OpenAssociation, request: StoreRequest, error: UnreadableDatasetError) -> None:
    """Let a Study wait for an MR image that cannot be read; what else cannot be plays no part in it."""
    if not (error.study_uid and error.series_uid and request.sop_class_uid in MR_IMAGE_SOP_CLASSES):
        return
    with association.lock:
        if not association.has_ended:
            refusal = _Refusal(error.study_uid, error.series_uid, error.problem)
            association.refused[request.sop_instance_uid] = refusal
            association.studies.add(error.study_uid)


def _check_match(header: InstanceHeader, request: StoreRequest) -> None:
    if not header.sop_class_uid == request.sop_class_uid == request.context_sop_class_uid:
        raise SopMismatchError(
            f"{_name(header)} an Instance of SOP Class {header.sop_class_uid} was sent as "
            f"{request.sop_class_uid} in a presentation context for {request.context_sop_class_uid}",
            "SOP Class of data set, request and context differ",
        )
    if header.sop_instance_uid != request.sop_instance_uid:
        raise SopMismatchError(
            f"{_name(header)} Instance {header.sop_instance_uid} was sent as {request.sop_instance_uid}",
            "SOP Instance UID of data set and request differ",
        )


def _too_late(header: InstanceHeader) -> OutOfResourcesError:
    return OutOfResourcesError(
        f"{_name(header)} an Instance came after its association had ended", "association has ended"
    )


def _by_series(refused: Iterable[_Refusal]) -> tuple[RefusedInstances, ...]:
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in refused:
        reasons[one.study_uid, one.series_uid].append(one.reason)
    return tuple(RefusedInstances(*series, len(each), each[-1]) for series, each in reasons.items())


def _name(header: InstanceHeader) -> str:
    return f"Study {header.study_uid}, Series {header.series_uid}:"
