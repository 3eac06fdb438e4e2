"""HTTP servers for tests: DICOMweb that answers as told, and one that issues tokens; over TLS if wanted."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.certificates import KeyPair
from tests.support.peers import LOOPBACK


@dataclass(frozen=True)
class Request:
    """What a server was asked."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What it says: bytes as they are, anything else as JSON."""

    status: int
    body: object = None
    media_type: str = "application/dicom+json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class WebServer:
    """A running server; the requests as they came."""

    url: str
    requests: list[Request] = field(default_factory=list)


def _content(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return b"" if body is None else json.dumps(body).encode()


@contextmanager
def web_server(answer: Callable[[Request], Answer], key_pair: KeyPair | None = None) -> Iterator[WebServer]:
    """Run a server that answers each POST as told."""
    seen = WebServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(self.path, dict(self.headers), body)
            seen.requests.append(request)
            said = answer(request)
            content = _content(said.body)
            self.send_response(said.status)
            self.send_header("Content-Type", said.media_type)
            self.send_header("Content-Length", str(len(content)))
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    if key_pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(key_pair.certificate, key_pair.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if key_pair is None else "https"
    seen.url = f"{scheme}://{LOOPBACK}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
