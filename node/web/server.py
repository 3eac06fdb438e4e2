"""The HTTP server of a process: uvicorn in a thread beside the DICOM receiver."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Self

import structlog
import uvicorn
from fastapi import FastAPI

from node.errors import WebUnavailableError, words_of
from node.web.connections import BoundedProtocol

log = structlog.get_logger(__name__)

START_S = 10.0
"""How long the server has to begin, s; it does nothing but listen then."""

STOP_S = 3
"""How long requests under way have to end when the process stops, s."""


class WebServer:
    """Serves an application while its context is open.

    Args:
        application: what is served.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
    """

    def __init__(self, application: FastAPI, host: str, port: int) -> None:
        self._host, self._port = host, port
        config = uvicorn.Config(
            application,
            http=BoundedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_S,
        )
        self._server = uvicorn.Server(config)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The TCP port that is listened on."""
        return self._port if self._socket is None else int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._socket = self._bind()
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="web", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise WebUnavailableError(self._host, self._port, "the server did not begin")
            time.sleep(0.01)
        log.info("web.listening", host=self._host, port=self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def _bind(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            bound = socket.socket(family, kind, protocol)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError as exc:
            raise WebUnavailableError(self._host, self._port, words_of(exc)) from exc
        return bound
