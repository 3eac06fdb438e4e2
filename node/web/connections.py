"""HTTP connections: how many there may be, and how long one may take to ask.

uvicorn waits for ever for a request that was not begun or not ended, and takes any number of connections.
They use up the file descriptors, and the receiver of this process needs some for its associations.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 128
"""Connections at a time, of probes, Prometheus and a proxy; of more, the oldest idle one is closed."""

REQUEST_S = 10.0
"""How long a connection may take to ask, and a request to arrive, s."""


class BoundedProtocol(H11Protocol):
    """An HTTP connection that asks in time or is closed."""

    _seen_cycle: object = None
    _last_request_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room if need be, and begin to wait for a request."""
        super().connection_made(transport)
        self._last_request_at = self.loop.time()
        known = (each for each in self.connections if isinstance(each, BoundedProtocol))
        there = [each for each in known if not each.transport.is_closing()]
        if len(there) > MOST_CONNECTIONS:
            idle = [each for each in there if each.is_idle]
            min(idle, key=lambda each: each._last_request_at).transport.close()
        self.loop.call_later(REQUEST_S, self._look)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _look(self) -> None:
        """Close the connection if nothing whole came since the last look."""
        if self.transport.is_closing():
            return
        if self.is_idle and self.cycle is self._seen_cycle:
            self.transport.close()
            return
        if self.cycle is not self._seen_cycle:
            self._seen_cycle, self._last_request_at = self.cycle, self.loop.time()
        self.loop.call_later(REQUEST_S, self._look)
