"""Orthanc with its DICOMweb plugin on loopback: the archive that the viewer reads from."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType

PLUGINS = Path("/usr/share/orthanc/plugins")
START_S = 30.0
"""Orthanc listens within a second; a loaded machine may need many."""


class ArchiveError(RuntimeError):
    """The archive did not start or refused an object."""


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Archive:
    """A running Orthanc that keeps its objects in one folder.

    Attributes:
        address: host and port of its REST interface; DICOMweb lies under ``/dicom-web``.
        dicom_port: where it takes C-STORE.
        ae_title: what it answers to.
    """

    ae_title = "ARCHIVE"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        http_port, self.dicom_port = free_port(), free_port()
        self.address = f"127.0.0.1:{http_port}"
        self._settings = {
            "Name": "viewer tests",
            "StorageDirectory": str(folder / "objects"),
            "IndexDirectory": str(folder / "objects"),
            "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so")],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
            "HttpPort": http_port,
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "UnknownSopClassAccepted": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
        }

    def __enter__(self) -> Archive:
        program = shutil.which("Orthanc")
        if program is None:
            raise ArchiveError("Orthanc is not installed: `make peers` does it")
        settings = self._folder / "orthanc.json"
        settings.write_text(json.dumps(self._settings))
        self._log = (self._folder / "orthanc.log").open("wb")
        environment = {**os.environ, "TCP_NODELAY": "1"}
        self._process = subprocess.Popen(
            [program, str(settings)], stdout=self._log, stderr=subprocess.STDOUT, env=environment
        )
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()

    def _wait(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self._request("GET", "/dicom-web/studies?limit=1")
            except OSError:
                time.sleep(0.1)
            else:
                return
        self._process.kill()
        raise ArchiveError(f"Orthanc did not start: {(self._folder / 'orthanc.log').read_text()[-2000:]}")

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise ArchiveError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return text

    def upload(self, files: Iterable[Path]) -> None:
        """Store Part 10 files.

        Raises:
            ArchiveError: if one is refused; its name and the answer are told.
        """
        for file in files:
            try:
                self._request("POST", "/instances", file.read_bytes())
            except ArchiveError as error:
                raise ArchiveError(f"{file.name} refused: {error}") from error
