"""The Storage and Verification SCP: puts what arrives into the store and the index, then answers."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import N_EVENT_REPORT_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE, A_P_ABORT, SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from node.commitment_report import NO_REPORTING, Reporting, answer_report, report_context
from node.completeness import AssociationEnd
from node.errors import PartStoppedError, ReceiverUnavailableError, RefusedInstanceError, words_of
from node.incoming_connections import (
    NEGOTIATION_PDU_BYTES,
    ConnectionLimits,
    IncomingConnections,
    IncomingSocket,
)
from node.index import Index
from node.intake import Intake, StoreRequest
from node.observation import NOBODY, Observer, ReceivedAs
from node.receiver_settings import ReceiverSettings
from node.sop_classes import MR_IMAGE_SOP_CLASSES, received_contexts, served_as_storage
from node.store import Store
from node.tls import explain
from node.upper_layer import (
    make_application_entity,
    prepare_socket,
    socket_of,
)

log = structlog.get_logger(__name__)

SUCCESS = 0x0000
"""The Instance is on disk and in the index.

Also the answer to an Instance that was kept apart as a conflict: it is as safe on disk as any other. Each
other status would be untrue (B000: elements were changed, B006: discarded, B007: not of its SOP Class) or
make the peer send for ever what will never be taken otherwise (PS3.4 B.2.3).
"""

UNEXPECTED_FAILURE = 0xC211
"""A fault of the node itself; in the range "cannot understand", and the code that pynetdicom uses for it."""

CALLING_AE_NOT_RECOGNISED = (0x01, 0x01, 0x03)
"""A-ASSOCIATE-RJ: permanent, of the service user, and why (PS3.8 9.3.4)."""

LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
"""A-ASSOCIATE-RJ: transient, of the service provider (presentation), and why (PS3.8 9.3.4)."""

NO_LIMIT = 1_000_000
"""Threads of connections that pynetdicom lets be: it cannot tell associations from silent connections."""

TRANSFER_SYNTAXES_NOT_SUPPORTED = 0x04
"""Result of a presentation context (PS3.8 9.3.3.2)."""

NAMED_CONTEXTS = 5
"""Refused presentation contexts that a line of the log names; of the rest it tells how many they are."""

BACKLOG = 128
"""Connections that may wait to be accepted when many senders start at once."""

ABORT_WAIT_S = 1.0
"""How long a peer has to close the connection of an association that is aborted because the node stops, s."""

HOUSEKEEPING_S = 1.0
"""Pause between looks for associations whose thread died without a word, s."""


class Receiver:
    """Listens for associations from ``start`` to ``stop``; also a context manager.

    An Instance is answered with success only when its file is on disk under its final name and its entry in
    the index is on disk too.

    Args:
        settings: where to listen and to whom.
        store: takes the files.
        index: takes the entries.
        clock: the current time, with a time zone.
        observer: is told what arrives.
        intake: takes what arrives; without one, any Study from any sender as it comes.
        reporting: who may report on a commitment, and who takes that.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        store: Store,
        index: Index,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        observer: Observer = NOBODY,
        intake: Intake | None = None,
        reporting: Reporting = NO_REPORTING,
    ) -> None:
        self._settings, self._observer, self._reporting = settings, observer, reporting
        self._intake = intake or Intake(store, index, settings.ae_title, clock, observer)
        self._stopping = threading.Event()
        self._connections: IncomingConnections | None = None
        self._server: ThreadedAssociationServer | None = None
        self._housekeeper: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The TCP port that is listened on, also where the settings ask for a free one."""
        return self._settings.port if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Listen; returns at once.

        Raises:
            TlsConfigurationError: if the certificate's files cannot be used.
            ReceiverUnavailableError: if the address cannot be listened on.
            IndexUnavailableError: if the index cannot be written.
        """
        settings = self._settings
        self._connections = IncomingConnections(
            _limits(settings), settings.maximum_associations, settings.tls
        )
        try:
            server = self._make_entity().start_server(
                (settings.host, settings.port),
                block=False,
                # It only ever calls wrap_socket.
                ssl_context=cast(ssl.SSLContext, self._connections),
                evt_handlers=self._handlers(),
            )
        except OSError as exc:
            raise ReceiverUnavailableError(settings.host, settings.port, words_of(exc)) from exc
        self._server = cast(ThreadedAssociationServer, server)
        # pynetdicom listens with room for 5; to listen again widens it.
        cast(socket.socket, self._server.socket).listen(BACKLOG)
        self._stopping.clear()
        self._housekeeper = threading.Thread(
            target=self._keep_house, name="receiver-housekeeping", daemon=True
        )
        self._housekeeper.start()
        log.info("receiver.listening", ae_title=settings.ae_title, host=settings.host, port=self.port)
        if not settings.calling_aes and not settings.accept_any_calling_ae:
            log.warning("receiver.nobody_may_send", hint="name the senders in calling_aes")

    def stop(self) -> None:
        """Accept nothing new, let open associations finish for a while, then abort them."""
        if self._server is None or self._housekeeper is None:
            return
        self._server.shutdown()
        if self._connections is not None:
            self._connections.close_waiting()
        deadline = time.monotonic() + self._settings.stop_grace_s
        while self._server.active_associations and time.monotonic() < deadline:
            time.sleep(0.02)
        for association in self._server.active_associations:
            self._intake.note(association, "the node was stopped")
            # How long to wait for the peer to close its side, which one that hangs never does.
            association.acse_timeout = ABORT_WAIT_S
            association.abort()
        self._stopping.set()
        self._housekeeper.join()
        self._tidy()
        self._server = None
        log.info("receiver.stopped", ae_title=self._settings.ae_title)

    def check(self) -> str:
        """Say where the receiver listens.

        Raises:
            PartStoppedError: if it does not.
        """
        if self._server is None or self._housekeeper is None or not self._housekeeper.is_alive():
            raise PartStoppedError("receiver")
        return f"listens on {self._settings.host}:{self.port} as {self._settings.ae_title}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _make_entity(self) -> AE:
        settings = self._settings
        entity = make_application_entity(settings.ae_title, settings.maximum_pdu_bytes)
        # What else is taken depends on what the peer proposes, and is said when it does.
        entity.supported_contexts = received_contexts(MR_IMAGE_SOP_CLASSES)
        entity.require_called_aet = True
        entity.maximum_associations = NO_LIMIT
        entity.acse_timeout = settings.acse_timeout_s
        entity.network_timeout = settings.idle_timeout_s
        return entity

    def _handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_CONN_OPEN, self._on_connected),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_SOP_COMMON, _serve_as_storage),
            (evt.EVT_REJECTED, self._log_rejection),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_DIMSE_RECV, _count_report),
            (evt.EVT_N_EVENT_REPORT, self._on_report),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ACSE_RECV, self._on_acse),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_CONN_CLOSE, _on_connection_closed),
        ]

    def _on_connected(self, event: evt.Event) -> None:
        """Shake hands where there is TLS; each association does so in a thread of its own."""
        connection = socket_of(event)
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(self._settings.acse_timeout_s)
            try:
                connection.do_handshake()
            except OSError as error:
                log.warning(
                    "receiver.tls_failed", peer=event.assoc.requestor.address, reason=_sentence(error)
                )
                self._observer.association_ended("", "tls_failed")
                connection.close()
                return
        if isinstance(connection, IncomingSocket):
            connection.association = event.assoc
            connection.told = partial(self._intake.note, event.assoc)
        prepare_socket(event, self._settings.idle_timeout_s)

    def _on_requested(self, event: evt.Event) -> None:
        """Reject what pynetdicom would not: it takes an empty list of senders for anyone."""
        calling_ae, _ = _titles(event.assoc)
        may_send = self._settings.accept_any_calling_ae or calling_ae in self._settings.calling_aes
        may_report = calling_ae in self._reporting.archives
        # A connection that is rejected goes on to count among those that wait: it may not end by itself.
        connections, connection = self._connections, socket_of(event)
        may_come = may_send or may_report
        if may_come and connections is not None and connections.has_room(event.assoc, connection):
            sent = received_contexts(_proposed(event.assoc) if may_send else ())
            event.assoc.acceptor.supported_contexts = [*sent, *([report_context()] if may_report else [])]
            return
        reason = LOCAL_LIMIT_EXCEEDED if may_come else CALLING_AE_NOT_RECOGNISED
        event.assoc.acse.send_reject(*reason)
        self._log_rejection(event)
        # Waits until the rejection was sent; without it the socket would be closed before.
        event.assoc.kill()

    def _log_rejection(self, event: evt.Event) -> None:
        calling_ae, called_ae = _titles(event.assoc)
        log.warning(
            "receiver.association_rejected",
            calling_ae=calling_ae,
            called_ae=called_ae,
            peer=event.assoc.requestor.address,
            reason=cast(A_ASSOCIATE, event.assoc.acceptor.primitive).reason_str,
        )
        self._observer.association_ended(calling_ae, "rejected")

    def _on_established(self, event: evt.Event) -> None:
        calling_ae, called_ae = _titles(event.assoc)
        self._intake.open(event.assoc, calling_ae, called_ae)
        refused = _refused_contexts(event.assoc)
        if refused:
            # Archives propose all they know, hundreds of SOP Classes, for every association.
            named = refused[:NAMED_CONTEXTS]
            log.info("receiver.contexts_refused", calling_ae=calling_ae, count=len(refused), first=named)

    def _on_store(self, event: evt.Event) -> int | Dataset:
        sop_instance_uid = str(cast(C_STORE, event.request).AffectedSOPInstanceUID)
        byte_count = 0
        try:
            request = _request(event)
            byte_count = len(request.dataset)
            kind = self._intake.take(event.assoc, request)
        except RefusedInstanceError as exc:
            log.warning(
                "receiver.instance_refused",
                status=f"0x{exc.status:04X}",
                reason=str(exc),
                sop_instance_uid=sop_instance_uid,
                calling_ae=_titles(event.assoc)[0],
            )
            self._observer.instance_received(ReceivedAs.REFUSED, byte_count)
            return _answer(exc.status, exc.comment)
        # The outermost boundary of a request: its fault is answered, and the next request is served.
        except Exception:
            log.exception("receiver.failed", sop_instance_uid=sop_instance_uid)
            self._observer.instance_received(ReceivedAs.FAILED, byte_count)
            return _answer(UNEXPECTED_FAILURE, "unexpected failure, see the log of the node")
        log.debug("receiver.stored", sop_instance_uid=sop_instance_uid, kind=kind)
        self._observer.instance_received(ReceivedAs(kind.value), byte_count)
        return SUCCESS

    def _on_report(self, event: evt.Event) -> tuple[int, None]:
        calling_ae, _ = _titles(event.assoc)
        connection = socket_of(event)
        try:
            return answer_report(event, partial(self._reporting.take, calling_ae))
        finally:
            if isinstance(connection, IncomingSocket):
                connection.reports.pop()

    def _on_released(self, event: evt.Event) -> None:
        self._intake.end(event.assoc, AssociationEnd.RELEASED)

    def _on_aborted(self, event: evt.Event) -> None:
        silent_for_s = self._settings.idle_timeout_s if event.assoc.dul.idle_timer_expired() else 0.0
        if silent_for_s:
            self._intake.note(event.assoc, f"it was silent for {silent_for_s:g} s (receiver.idle_timeout_s)")
        self._intake.end(event.assoc, AssociationEnd.ABORTED, silent_for_s)

    def _on_acse(self, event: evt.Event) -> None:
        """Tell a connection that was lost from a peer that aborts."""
        if isinstance(getattr(event, "primitive", None), A_P_ABORT):
            self._intake.note(event.assoc, "its connection was lost")

    def _keep_house(self) -> None:
        while not self._stopping.wait(HOUSEKEEPING_S):
            self._tidy()

    def _tidy(self) -> None:
        """End associations whose thread died without a word, as a malformed PDU can make it."""
        for key in self._intake.open_keys():
            if not cast(Association, key).is_alive():
                self._intake.note(key, "what it sent cannot be read")
                self._intake.end(key, AssociationEnd.ABORTED)
        self._intake.enter_endings()


def _on_connection_closed(event: evt.Event) -> None:
    """End the thread of a connection that asked for no association: it would wait out its time for one."""
    if event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)


def _count_report(event: evt.Event) -> None:
    """Count a report before pynetdicom gives it a thread."""
    connection = socket_of(event)
    if isinstance(event.message, N_EVENT_REPORT_RQ) and isinstance(connection, IncomingSocket):
        connection.reports.append(None)


def _limits(settings: ReceiverSettings) -> ConnectionLimits:
    return ConnectionLimits(
        pdu_bytes=max(settings.maximum_pdu_bytes, NEGOTIATION_PDU_BYTES),
        instance_bytes=settings.maximum_instance_bytes,
        asked_within_s=settings.acse_timeout_s,
        pdu_within_s=settings.idle_timeout_s,
    )


def _titles(association: Association) -> tuple[str, str]:
    """Return calling and called AE title of a requested association."""
    requested = cast(A_ASSOCIATE, association.requestor.primitive)
    return requested.calling_ae_title, requested.called_ae_title


def _contexts(association: Association) -> list[PresentationContext]:
    """List the presentation contexts that a peer proposes."""
    return cast(A_ASSOCIATE, association.requestor.primitive).presentation_context_definition_list


def _proposed(association: Association) -> Iterator[UID]:
    """List the SOP Classes that a peer proposes, each as often as it does."""
    return (cast(UID, context.abstract_syntax) for context in _contexts(association))


def _serve_as_storage(event: evt.Event) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    return served_as_storage(_proposed(event.assoc))


def _refused_contexts(association: Association) -> list[str]:
    """Name the SOP Classes that were refused, those first that are taken, but not in these syntaxes."""
    proposed = {context.context_id: context for context in _contexts(association)}
    taken, refused = set(), set()
    for context in association.rejected_contexts:
        sop_class = cast(UID, context.abstract_syntax).name
        syntaxes = " or ".join(syntax.name for syntax in proposed[context.context_id].transfer_syntax)
        if context.result == TRANSFER_SYNTAXES_NOT_SUPPORTED:
            taken.add(f"{sop_class} in {syntaxes}")
        else:
            refused.add(sop_class)
    return [*sorted(taken), *sorted(refused)]


def _sentence(error: OSError) -> str:
    return f"TLS with a sender failed: {explain(error)}."


def _request(event: evt.Event) -> StoreRequest:
    request = cast(C_STORE, event.request)
    return StoreRequest(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        context_sop_class_uid=str(event.context.abstract_syntax),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        dataset=event.encoded_dataset(include_meta=False),
    )


def _answer(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment
    return answer
