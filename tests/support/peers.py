"""Real peers on free loopback ports: DCMTK's programs, Orthanc, and scripted ones on pynetdicom."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.association import Association

LOOPBACK = "127.0.0.1"
VERIFICATION = "1.2.840.10008.1.1"

needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed")
needs_orthanc = pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed")

ORTHANC_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])


def wait_until(
    condition: Callable[[], bool], timeout_s: float = 20.0, what: str = "", pause_s: float = 0.02
) -> None:
    """Wait until something is so; fail the test if it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:g} s: {what or condition}")
        time.sleep(pause_s)


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def storescu(
    port: int, paths: Sequence[Path], *options: str, calling: str = "STORESCU", called: str = "CSVD"
) -> subprocess.CompletedProcess[str]:
    """Send files with DCMTK's storescu."""
    command = ["storescu", "-v", "-aet", calling, "-aec", called, *options, LOOPBACK, str(port)]
    return _run([*command, *map(str, paths)])


def dcmsend(
    port: int, paths: Sequence[Path], *options: str, calling: str = "DCMSEND", called: str = "CSVD"
) -> subprocess.CompletedProcess[str]:
    """Send files with DCMTK's dcmsend."""
    command = ["dcmsend", "-v", "-aet", calling, "-aec", called, *options, LOOPBACK, str(port)]
    return _run([*command, *map(str, paths)])


def echoscu(
    port: int, *options: str, calling: str = "ECHOSCU", called: str = "CSVD"
) -> subprocess.CompletedProcess[str]:
    """Ask with DCMTK's echoscu."""
    return _run(["echoscu", "-v", "-aet", calling, "-aec", called, *options, LOOPBACK, str(port)])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=120, env=_ENVIRONMENT, check=False
    )


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """Run a server until the block is left, once it listens."""
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_ENVIRONMENT)
    try:
        wait_until(lambda: server.poll() is not None or listens(port), 60, f"{command[0]} listens")
        if server.poll() is not None:
            pytest.fail(f"{command[0]} ended: {(folder / 'server.log').read_text(errors='replace')[-2000:]}")
        yield
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@dataclass(frozen=True)
class FolderPeer:
    """A peer that keeps what it is sent in a folder."""

    port: int
    ae_title: str
    folder: Path

    def received(self) -> list[Path]:
        """List the files it keeps."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


@contextmanager
def storescp(
    folder: Path, *options: str, sop_classes: Sequence[str] | None = None, ae_title: str = "STORESCP"
) -> Iterator[FolderPeer]:
    """Run DCMTK's storescp.

    Args:
        folder: where it works.
        options: of its command line.
        sop_classes: DCMTK's names of what it accepts, uncompressed; None accepts what it knows.
        ae_title: its AE title.
    """
    port, kept = free_port(), folder / "kept"
    kept.mkdir(parents=True)
    command = ["storescp", "-aet", ae_title, "-od", str(kept), *options]
    if sop_classes is not None:
        (folder / "profile.cfg").write_text(_profile(sop_classes))
        command += ["-xf", str(folder / "profile.cfg"), "Default"]
    with running([*command, str(port)], folder, port):
        yield FolderPeer(port, ae_title, kept)


def _profile(sop_classes: Sequence[str]) -> str:
    lines = ["[[TransferSyntaxes]]", "[Plain]"]
    lines += ["TransferSyntax1 = LittleEndianExplicit", "TransferSyntax2 = LittleEndianImplicit"]
    lines += ["[[PresentationContexts]]", "[Accepted]"]
    lines += [f"PresentationContext{n} = {name}\\Plain" for n, name in enumerate(sop_classes, 1)]
    lines += ["[[Profiles]]", "[Default]", "PresentationContexts = Accepted"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc and its REST interface."""

    dicom_port: int
    http_port: int
    ae_title: str = "ORTHANC"

    def get(self, path: str) -> Any:
        """GET JSON."""
        return json.loads(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        """GET bytes, such as the file of an Instance."""
        with urllib.request.urlopen(self._url(path), timeout=60) as answer:  # noqa: S310
            content: bytes = answer.read()
        return content

    def post(self, path: str, body: bytes | object) -> Any:
        """POST bytes, or anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self._url(path), data=content, method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return json.loads(answer.read())

    def delete(self, path: str) -> None:
        """DELETE what is there."""
        request = urllib.request.Request(self._url(path), method="DELETE")  # noqa: S310
        urllib.request.urlopen(request, timeout=60).close()  # noqa: S310

    def upload(self, paths: Sequence[Path]) -> list[str]:
        """Put files into Orthanc and return its identifiers of the Instances."""
        return [str(self.post("/instances", path.read_bytes())["ID"]) for path in paths]

    def sop_instance_uids(self) -> set[str]:
        """List the SOP Instance UIDs that it holds."""
        found = self.get("/instances?expand")
        return {str(instance["MainDicomTags"]["SOPInstanceUID"]) for instance in found}

    def _url(self, path: str) -> str:
        return f"http://{LOOPBACK}:{self.http_port}{path}"


@contextmanager
def orthanc(
    folder: Path,
    *,
    destination: tuple[str, int] | None = None,
    dicomweb: bool = False,
    secured: Mapping[str, object] | None = None,
    changes: Mapping[str, object] | None = None,
) -> Iterator[Orthanc]:
    """Run Orthanc.

    Args:
        folder: where it works.
        destination: AE title and port that it knows as modality ``node``.
        dicomweb: whether it also answers to DICOMweb, under /dicom-web/.
        secured: its settings of users; with them, the methods of ``Orthanc`` do not reach it.
        changes: other settings of Orthanc.
    """
    folder.mkdir(parents=True, exist_ok=True)
    peer = Orthanc(free_port(), free_port())
    settings: dict[str, object] = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": peer.ae_title,
        "DicomPort": peer.dicom_port,
        "HttpPort": peer.http_port,
        "HttpBindAddresses": [LOOPBACK],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "UnknownSopClassAccepted": True,
        "DicomCheckCalledAet": False,
        "Plugins": [str(ORTHANC_DICOMWEB)] if dicomweb else [],
        "DicomWeb": {"Enable": dicomweb, "Root": "/dicom-web/", "EnableWado": False},
    }
    settings |= {**(secured or {}), **(changes or {})}
    if destination is not None:
        settings["DicomModalities"] = {"node": [destination[0], LOOPBACK, destination[1]]}
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with running(["Orthanc", str(folder / "orthanc.json")], folder, peer.dicom_port):
        reached = (lambda: listens(peer.http_port)) if secured else (lambda: _answers(peer))
        wait_until(reached, 60, "Orthanc answers over HTTP")
        yield peer


def _answers(peer: Orthanc) -> bool:
    try:
        peer.get("/system")
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


@dataclass
class ScriptedPacs:
    """A Storage SCP that answers as told, and keeps the bytes it was sent.

    Attributes:
        port: where it listens.
        ae_title: its AE title.
        received: by SOP Instance UID, the data sets as transmitted, in order.
        transfer_syntaxes: by SOP Instance UID, what they came in.
    """

    port: int
    ae_title: str
    received: dict[str, list[bytes]] = field(default_factory=dict)
    transfer_syntaxes: dict[str, str] = field(default_factory=dict)


Answer = Callable[[int, evt.Event], int | Dataset]


@contextmanager
def scripted_pacs(
    answer: Answer = lambda _number, _event: 0x0000,
    *,
    sop_classes: Sequence[UID] = (SegmentationStorage, Comprehensive3DSRStorage, MRImageStorage),
    transfer_syntaxes: Sequence[UID] = (ExplicitVRLittleEndian,),
    calling_aes: Sequence[str] = (),
    ae_title: str = "PACS",
) -> Iterator[ScriptedPacs]:
    """Run a scripted PACS.

    Args:
        answer: the status for the n-th Instance (from 1) of this PACS; it may also abort the association.
        sop_classes: what it accepts; none at all leaves it Verification.
        transfer_syntaxes: how it accepts them.
        calling_aes: who may send; empty is anyone.
        ae_title: its AE title.
    """
    entity = AE(ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(calling_aes)
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class, list(transfer_syntaxes))
    if not sop_classes:
        entity.add_supported_context(VERIFICATION)
    pacs = ScriptedPacs(0, ae_title)
    numbers = iter(range(1, 1_000_000))

    def keep(event: evt.Event) -> int | Dataset:
        uid = str(event.request.AffectedSOPInstanceUID)
        pacs.received.setdefault(uid, []).append(event.encoded_dataset(include_meta=False))
        pacs.transfer_syntaxes[uid] = str(event.context.transfer_syntax)
        return answer(next(numbers), event)

    server = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    pacs.port = server.server_address[1]
    try:
        yield pacs
    finally:
        entity.shutdown()


@contextmanager
def scripted_scanner(
    port: int,
    contexts: Sequence[tuple[UID, UID]] = ((MRImageStorage, ExplicitVRLittleEndian),),
    *,
    calling: str = "SCANNER1",
    called: str = "CSVD",
) -> Iterator[Association]:
    """Open an association that sends as told; released at the end, if it is still there."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate(LOOPBACK, port, ae_title=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def drop_connection(association: Association) -> None:
    """Cut the line as a dead host does: a reset, without a word of DICOM."""
    connection = association.dul.socket.socket
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
