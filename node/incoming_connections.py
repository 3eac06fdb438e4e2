"""Connections of senders: what each may send and how long it may take, and how many may be there.

pynetdicom reads as many bytes as a PDU claims, waits for each byte anew, keeps a message of any length in
memory, and counts every open connection as an association: whoever reaches the port could fill the memory, or
keep all senders out with some silent connections.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog
from pynetdicom.association import Association

from node.errors import IncomingConnectionError
from node.tls import ReceiverTlsSettings, ServerContext

log = structlog.get_logger(__name__)

NEGOTIATION_PDU_BYTES = 1024 * 1024
"""Longest PDU that is read where shorter ones are negotiated: hundreds of presentation contexts fit."""

WAITING = 64
"""Connections that may be open without an association; of more, the oldest is closed."""

WAITING_REQUESTS = 4
"""Requests that may wait for their answer; one is negotiated (PS3.7 D.3.3.3, asynchronous operations)."""

HEADER_BYTES = 6
"""PDU type, a reserved byte and the length of what follows (PS3.8 9.3.1)."""

PDU_TYPES = range(0x01, 0x08)
"""A-ASSOCIATE-RQ to A-ABORT (PS3.8 9.3)."""

ABORT_INVALID_VALUE = bytes.fromhex("07000000000400000206")
"""A-ABORT of the service provider: invalid PDU parameter value (PS3.8 9.3.8)."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may send, and how long it may take.

    Attributes:
        pdu_bytes: length that a PDU may claim.
        instance_bytes: length that an Instance, or any other message, may have.
        asked_within_s: time from the connection to the end of its request for an association, s.
        pdu_within_s: time from the begin of a PDU to its end, s.
    """

    pdu_bytes: int
    instance_bytes: int
    asked_within_s: float
    pdu_within_s: float


class IncomingSocket(socket.socket):
    """A sender's TCP connection, which reads a PDU whole, in time, and only if it is not too long.

    Attributes:
        limits: what is let through.
        must_ask_by: when the request for an association must be there, by the monotonic clock, s.
        association: whose connection it is, once that is known.
        told: is told why the connection is ended.
        reports: those that are being answered; pynetdicom gives each a thread of its own.
    """

    limits: ConnectionLimits
    must_ask_by: float
    reports: deque[None]
    association: Association | None = None
    told: Callable[[str], None] | None = None
    _pdu = memoryview(b"")

    def admit(self, limits: ConnectionLimits) -> None:
        """Set the limits; the time to ask begins."""
        self.limits, self.must_ask_by = limits, time.monotonic() + limits.asked_within_s
        self.reports = deque()

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return the next bytes of the PDU; nothing once the connection is closed.

        Raises:
            OSError: if the PDU is too long or too slow; the connection is of no use then.
        """
        if not self._pdu:
            try:
                self._pdu = self._whole_pdu()
            except IncomingConnectionError as error:
                self._end(str(error))
                raise OSError(str(error)) from error
        part, self._pdu = self._pdu[:buflen], self._pdu[buflen:]
        return bytes(part)

    def shutdown(self, how: int) -> None:
        """Shut down; that the peer was first is no error, which would keep pynetdicom from closing it."""
        with contextlib.suppress(OSError):
            super().shutdown(how)

    def _whole_pdu(self) -> memoryview:
        self._check_association()
        until = min(time.monotonic() + self.limits.pdu_within_s, self.must_ask_by)
        header = self._exactly(HEADER_BYTES, until)
        if header and header[0] not in PDU_TYPES:
            raise IncomingConnectionError("what came is not DICOM")
        length = int.from_bytes(header[2:], "big")
        if length > self.limits.pdu_bytes:
            raise IncomingConnectionError(
                f"a PDU claims {length} bytes, and {self.limits.pdu_bytes} are the most"
            )
        body = self._exactly(length, until) if len(header) == HEADER_BYTES else b""
        self.must_ask_by = float("inf")
        self.settimeout(self.limits.pdu_within_s)
        return memoryview(header + body)

    def _check_association(self) -> None:
        """Read no more of a message that is too long already, nor requests beyond what was negotiated."""
        if self.association is None:
            return
        message = self.association.dimse.message
        waiting = self.association.dimse.msg_queue.qsize() + len(self.reports)
        parts = () if message is None else (message.encoded_command_set, message.data_set)
        held = sum(part.tell() for part in parts if part is not None)
        if held > self.limits.instance_bytes:
            raise IncomingConnectionError(
                f"an Instance is longer than receiver.maximum_instance_bytes, {self.limits.instance_bytes}"
            )
        if waiting > WAITING_REQUESTS:
            raise IncomingConnectionError(f"{waiting} requests came without waiting for an answer")

    def _exactly(self, count: int, until: float) -> bytes:
        """Receive this many bytes, fewer if the peer closed the connection."""
        content = bytearray(count)
        view, received = memoryview(content), 0
        while received < count:
            # 0 would mean not to wait at all, and then another error.
            self.settimeout(max(until - time.monotonic(), 0.001))
            try:
                got = self.recv_into(view[received:])
            except TimeoutError:
                raise IncomingConnectionError("a PDU was not there in time") from None
            if not got:
                break
            received += got
        return bytes(view[:received])

    def _end(self, reason: str) -> None:
        if self.told is not None:
            self.told(reason)
        with contextlib.suppress(OSError):
            peer = self.getpeername()[0]
            log.warning("receiver.connection_ended", peer=peer, reason=f"{reason}: the connection is closed")
            self.sendall(ABORT_INVALID_VALUE)
        hang_up(self)


class IncomingTlsSocket(IncomingSocket, ssl.SSLSocket):
    """The same over TLS."""


def hang_up(connection: socket.socket) -> None:
    """End a connection that another thread may be reading: that one finds its end."""
    with contextlib.suppress(OSError):
        # Not the method of ssl.SSLSocket, which would take the reader's TLS away from it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class IncomingConnections:
    """Stands for an ``ssl.SSLContext`` and makes the sockets of all connections, with and without TLS.

    May be used from several threads.

    Args:
        limits: of each connection.
        maximum_associations: how many associations may be open or be asked for at a time.
        tls: the receiver's side of TLS; None takes plain DICOM.

    Raises:
        TlsConfigurationError: if the certificate's files cannot be used.
    """

    def __init__(
        self, limits: ConnectionLimits, maximum_associations: int, tls: ReceiverTlsSettings | None
    ) -> None:
        self._limits, self._maximum = limits, maximum_associations
        self._tls = None if tls is None else ServerContext(tls, IncomingTlsSocket)
        self._lock = threading.Lock()
        self._waiting: list[socket.socket] = []
        self._associations: set[Association] = set()

    def wrap_socket(self, sock: socket.socket, *, server_side: bool) -> IncomingSocket:
        """Take over an accepted connection; the one that waits longest gives way if too many wait."""
        if self._tls is None:
            connection = IncomingSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        else:
            connection = cast(IncomingTlsSocket, self._tls.wrap_socket(sock, server_side=server_side))
        connection.admit(self._limits)
        with self._lock:
            self._waiting = [each for each in self._waiting if each.fileno() >= 0]
            self._waiting.append(connection)
            too_many = self._waiting[:-WAITING]
            del self._waiting[:-WAITING]
        for each in too_many:
            hang_up(each)
        return connection

    def has_room(self, association: Association, connection: socket.socket | None) -> bool:
        """Tell whether there may be one more association; its connection waits no longer then."""
        with self._lock:
            self._associations = {each for each in self._associations if each.is_alive()}
            if len(self._associations) >= self._maximum:
                return False
            self._associations.add(association)
            self._waiting = [each for each in self._waiting if each is not connection]
            return True

    def close_waiting(self) -> None:
        """Close the connections that asked for nothing."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for each in waiting:
            hang_up(each)
