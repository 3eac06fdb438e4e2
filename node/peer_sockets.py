"""Sockets to destinations, which note why there is no connection and wait for a whole answer only so long.

pynetdicom logs why it could not connect and tells its caller nothing. Its timers run between PDUs only: a
peer that answers a byte at a time would hold an attempt as long as it likes.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@dataclass(slots=True)
class Notes:
    """What the connections of one attempt came to.

    Attributes:
        answer_within_s: longest time from what was sent last to the end of the answer, s.
        unreachable: why there is no connection.
        tls: why TLS failed.
        rejection: why the association was rejected, empty if it was not.
    """

    answer_within_s: float
    unreachable: OSError | None = None
    tls: OSError | None = None
    rejection: str = ""


class PeerSocket(socket.socket):
    """A TCP connection to a destination; the base of one with TLS, too.

    Attributes:
        notes: what is written down, and for how long to wait.
    """

    notes: Notes
    _sent_at = 0.0

    def connect(self, address: Any) -> None:
        """Connect, and note why that fails."""
        try:
            super().connect(address)
        except OSError as error:
            self.notes.unreachable = error
            raise

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Send; from now on an answer is waited for."""
        self.settimeout(self.notes.answer_within_s)
        sent = super().send(data, flags)
        self._sent_at = time.monotonic()
        return sent

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive a part of the answer to what was sent last.

        Raises:
            TimeoutError: if the whole of it is not there in time.
        """
        left_s = self._sent_at + self.notes.answer_within_s - time.monotonic()
        # 0 would mean not to wait at all, and then another error.
        self.settimeout(max(left_s, 0.001))
        return super().recv(buflen, flags)


class TlsPeerSocket(PeerSocket, ssl.SSLSocket):
    """The same over TLS."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, and note why that fails."""
        try:
            super().do_handshake(block)
        except OSError as error:
            self.notes.tls = error
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive; with TLS 1.3 this is when a peer says that it does not take our certificate."""
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            self.notes.tls = self.notes.tls or error
            raise


class PlainContext:
    """Stands for an ``ssl.SSLContext`` without TLS: pynetdicom lets nothing else make its socket."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def wrap_socket(
        self, sock: socket.socket, *, server_side: bool, server_hostname: str | None
    ) -> PeerSocket:
        """Take over a socket that is not connected yet."""
        timeout = sock.gettimeout()
        peer = PeerSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        peer.settimeout(timeout)
        peer.notes = self._notes
        return peer


def tls_socket_of(notes: Notes) -> type[ssl.SSLSocket]:
    """Make a class of sockets that write these notes, for ``SSLContext.sslsocket_class``."""
    return cast(type[ssl.SSLSocket], type("NotedTlsSocket", (TlsPeerSocket,), {"notes": notes}))
