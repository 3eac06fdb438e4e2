"""One origin for the browser: the viewer's files, its configuration and the archive's DICOMweb."""

from __future__ import annotations

import http.client
import shutil
import threading
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.support.peers import LOOPBACK, ORTHANC_DICOMWEB

FOLDER = Path(__file__).resolve().parent
VIEWER = FOLDER / "node_modules" / "@ohif" / "app" / "dist"
CONFIGURATION = FOLDER / "app-config.js"
DICOMWEB = "/dicom-web/"

NODE = FOLDER / "node_modules" / ".bin" / "node"
"""Node.js of the version that the JavaScript libraries ask for; that of the system may be older."""

_PASSED = ("Accept", "Content-Type", "Content-Length")


class _Handler(SimpleHTTPRequestHandler):
    """Files of the viewer; what lies under DICOMWEB is fetched from the archive."""

    protocol_version = "HTTP/1.1"
    archive_port = 0

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts, directory=str(VIEWER))

    def do_GET(self) -> None:
        if self.path.startswith(DICOMWEB):
            self._fetch()
        else:
            super().do_GET()

    def translate_path(self, path: str) -> str:
        """Return the file: the own configuration, a file of the viewer, or its single page."""
        name = urlsplit(path).path
        if name == "/app-config.js":
            return str(CONFIGURATION)
        file = Path(super().translate_path(name))
        return str(file if file.is_file() else VIEWER / "index.html")

    def end_headers(self) -> None:
        # shared memory between the page and its workers needs both
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        if ".bundle." in self.path:
            self.send_header("Cache-Control", "public, max-age=31536000, immutable")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep silent."""

    def _fetch(self) -> None:
        # the archive writes its own address into bulk data URIs, unless it is told the browser's
        headers = {name: self.headers[name] for name in _PASSED if name in self.headers}
        headers["Host"] = self.headers["Host"]
        connection = http.client.HTTPConnection(LOOPBACK, self.archive_port, timeout=120)
        try:
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except OSError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, str(error))
            return
        finally:
            connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/octet-stream"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes a page breaks off its requests; that is no error of the site."""


class Site:
    """The viewer on a loopback port.

    Attributes:
        url: what to open, without a path.
    """

    def __init__(self, archive_port: int, port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"archive_port": archive_port})
        self._server = _Server((LOOPBACK, port), handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def study_url(self, study_uid: str) -> str:
        """Return the address that opens a Study."""
        return f"{self.url}/viewer?StudyInstanceUIDs={study_uid}"


def viewer_installed() -> bool:
    """Tell whether the viewer, a browser, Node.js and an archive with DICOMweb are here."""
    files = (VIEWER / "index.html", NODE, ORTHANC_DICOMWEB)
    return all(file.is_file() for file in files) and all(map(shutil.which, ("chromium", "Orthanc")))
