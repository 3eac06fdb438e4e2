"""DCMTK and Orthanc push Studies at the receiver: in many encodings, at once, broken off and sent again."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from node.completeness import ArrivalState, AssociationEnd
from tests.support.arrivals import STUDY_UID
from tests.support.instances import dataset_bytes, mr_dataset, write_instance, write_series
from tests.support.peers import (
    LOOPBACK,
    dcmsend,
    drop_connection,
    echoscu,
    free_port,
    listens,
    needs_dcmtk,
    needs_orthanc,
    orthanc,
    scripted_scanner,
    storescu,
    wait_until,
)
from tests.support.receiving import ReceivingNode, receiving_node
from tests.support.shared_data import SHARED, needs_shared

RELEASED, ABORTED = AssociationEnd.RELEASED, AssociationEnd.ABORTED
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ReceivingNode]:
    with receiving_node(tmp_path) as running:
        yield running


@needs_dcmtk
def test_echo_of_dcmtk_is_answered(node: ReceivingNode) -> None:
    assert echoscu(node.port).returncode == 0
    assert echoscu(node.port, calling="STRANGER").returncode != 0


def encoded(folder: Path, syntax: UID) -> Path:
    """Write an image in a transfer syntax, where need be with DCMTK's encoders."""
    programs = {
        JPEGLossless: ["dcmcjpeg", "+el"],
        JPEGLosslessSV1: ["dcmcjpeg", "+e1"],
        JPEGLSLossless: ["dcmcjpls", "+el"],
    }
    if syntax not in programs:
        return write_instance(folder, mr_dataset(), syntax)
    plain = write_instance(folder / "plain", mr_dataset())
    path = folder / plain.name
    subprocess.run([*programs[syntax], "+un", str(plain), str(path)], check=True)
    return path


@needs_dcmtk
@pytest.mark.parametrize(
    ("syntax", "option"),
    [
        pytest.param(ExplicitVRLittleEndian, "-xe", id="explicit"),
        pytest.param(ImplicitVRLittleEndian, "-xi", id="implicit"),
        pytest.param(DeflatedExplicitVRLittleEndian, "-xd", id="deflated"),
        pytest.param(JPEGLosslessSV1, "-xs", id="jpeg-lossless-sv1"),
        pytest.param(JPEGLSLossless, "-xt", id="jpeg-ls"),
        pytest.param(JPEG2000Lossless, "-xv", id="jpeg-2000"),
        pytest.param(RLELossless, "-xr", id="rle"),
    ],
)
def test_storescu_sends_each_transfer_syntax(
    node: ReceivingNode, tmp_path: Path, syntax: UID, option: str
) -> None:
    path = encoded(tmp_path / "made", syntax)
    done = storescu(node.port, [path], "-R", option)
    assert done.returncode == 0, done.stderr
    (stored,) = node.stored()
    assert dcmread(stored).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(dcmread(stored).pixel_array, dcmread(path).pixel_array)


@needs_dcmtk
@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless])
def test_dcmsend_sends_compressed_images_as_they_are(
    node: ReceivingNode, tmp_path: Path, syntax: UID
) -> None:
    path = encoded(tmp_path / "made", syntax)
    done = dcmsend(node.port, [path], "--decompress-never")
    assert done.returncode == 0, done.stderr
    (stored,) = node.stored()
    assert dcmread(stored).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(dcmread(stored).pixel_array, dcmread(path).pixel_array)


def with_screenshot(folder: Path) -> list[Path]:
    """Write four images of a Study with a secondary capture in the middle."""
    images = write_series(folder / "images", count=4)
    screenshot = mr_dataset(series=2, number=9, sop_class=SecondaryCaptureImageStorage)
    return [*images[:2], write_instance(folder / "screenshot", screenshot), *images[2:]]


@needs_dcmtk
@pytest.mark.parametrize("send", [storescu, dcmsend])
def test_study_with_a_screenshot_arrives_whole(
    node: ReceivingNode, tmp_path: Path, send: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = send(node.port, with_screenshot(tmp_path / "made"))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: node.ends() == [RELEASED])
    verdict = node.verdict()
    assert (verdict.state, len(node.stored())) == (ArrivalState.COMPLETE, 5)
    assert verdict.reason.startswith("5 Instances in 2 Series")


@needs_dcmtk
def test_storescu_sends_lossy_images(node: ReceivingNode, tmp_path: Path) -> None:
    plain = write_instance(tmp_path / "plain", mr_dataset())
    lossy = tmp_path / "lossy.dcm"
    subprocess.run(["dcmcjpeg", "+ee", "+un", str(plain), str(lossy)], check=True)
    assert storescu(node.port, [lossy], "-R", "-xx").returncode == 0
    (stored,) = node.stored()
    assert dataset_bytes(stored) == dataset_bytes(lossy)


@needs_dcmtk
def test_parallel_senders_of_one_study_end_in_one_complete_study(node: ReceivingNode, tmp_path: Path) -> None:
    series = [write_series(tmp_path / f"series{number}", 1, number, 8) for number in range(4)]
    senders = (storescu, dcmsend, storescu, dcmsend)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda pair: pair[0](node.port, pair[1]), zip(senders, series, strict=True)))
    assert [each.returncode for each in done] == [0] * 4, [each.stderr for each in done]
    wait_until(lambda: node.ends() == [RELEASED] * 4)
    assert node.verdict(after_s=0).state is ArrivalState.RECEIVING
    assert node.verdict(after_s=10).state is ArrivalState.COMPLETE
    assert len(node.index.instances(STUDY_UID)) == 32
    assert [arrival.study_uid for arrival in node.index.open_studies()] == [STUDY_UID]


@needs_dcmtk
def test_storescu_that_aborts_leaves_the_study_held_until_it_sends_again(
    node: ReceivingNode, tmp_path: Path
) -> None:
    images = write_series(tmp_path / "made", count=6)
    storescu(node.port, images[:4], "--abort")
    wait_until(lambda: node.ends() == [ABORTED])
    assert node.verdict(after_s=600).state is ArrivalState.HELD
    assert storescu(node.port, images).returncode == 0
    wait_until(lambda: node.ends() == [ABORTED, RELEASED])
    assert node.verdict().state is ArrivalState.COMPLETE
    assert len(node.index.instances(STUDY_UID)) == 6
    assert node.index.conflicts(STUDY_UID) == []


def send_half(association: Association, path: Path) -> None:
    """Send a request and not quite all of its data set."""
    content = dataset_bytes(path)
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID = mr_dataset().SOPClassUID
    request.AffectedSOPInstanceUID = UID(path.stem)
    request.DataSet = BytesIO(content)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    context_id = association.accepted_contexts[0].context_id
    *most, _last = message.encode_msg(context_id, 1024)
    for part in most:
        association.dul.send_pdu(part)
    time.sleep(0.2)


def cut_between_instances(association: Association, _path: Path) -> None:
    drop_connection(association)


def cut_within_an_instance(association: Association, path: Path) -> None:
    send_half(association, path)
    drop_connection(association)


def abort_within_an_instance(association: Association, path: Path) -> None:
    send_half(association, path)
    association.abort()


def malformed_pdu(association: Association, _path: Path) -> None:
    """A presentation data value without even a message control header kills pynetdicom's reader thread."""
    item = struct.pack(">LB", 1, association.accepted_contexts[0].context_id)
    association.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, len(item)) + item)


def unknown_pdu(association: Association, _path: Path) -> None:
    association.dul.socket.socket.sendall(b"\x42\x00\x00\x00\x00\x04junk")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("break_off", "reason"),
    [
        (cut_between_instances, "UTC: its connection was lost; waits"),
        (cut_within_an_instance, "UTC: its connection was lost; waits"),
        (abort_within_an_instance, "SCANNER1 aborted its association at"),
        (malformed_pdu, "UTC: what it sent cannot be read; waits"),
        (unknown_pdu, "UTC: what came is not DICOM; waits"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_association_that_breaks_off_ends_as_aborted_once_and_says_why(
    node: ReceivingNode, tmp_path: Path, break_off: Callable[[Association, Path], None], reason: str
) -> None:
    images = write_series(tmp_path / "made", count=4)
    with scripted_scanner(node.port) as association:
        for path in images[:2]:
            assert association.send_c_store(path).Status == 0x0000
        break_off(association, images[2])
        wait_until(lambda: node.ends() == [ABORTED], what="the end is in the index")
    assert len(node.stored()) == 2
    assert list((node.store.root / "incoming").iterdir()) == []
    assert node.verdict().state is ArrivalState.HELD
    assert reason in node.verdict().reason
    with scripted_scanner(node.port) as association:
        assert [association.send_c_store(path).Status for path in images] == [0x0000] * 4
    wait_until(lambda: node.ends() == [ABORTED, RELEASED])
    assert node.verdict().state is ArrivalState.COMPLETE


@pytest.mark.parametrize("amid_a_pdu", [False, True], ids=["between-pdus", "amid-a-pdu"])
def test_peer_that_falls_silent_is_given_up(tmp_path: Path, amid_a_pdu: bool) -> None:
    path = write_instance(tmp_path / "made", mr_dataset())
    with receiving_node(tmp_path, idle_timeout_s=1.5) as node, scripted_scanner(node.port) as association:
        association.send_c_store(path)
        if amid_a_pdu:
            association.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, 1000) + b"half")
        wait_until(lambda: node.ends() == [ABORTED], what="the silent association is ended")
        # Amid a PDU both times are over at the same moment.
        reasons = ["it was silent for 1.5 s", *["a PDU was not there in time"] * amid_a_pdu]
        assert any(f"UTC: {reason}" in node.verdict().reason for reason in reasons)
        server = node.receiver._server
        assert server is not None
        wait_until(lambda: not server.active_associations, what="nothing waits for the peer any more")


def test_connection_that_never_asks_for_an_association_is_closed(tmp_path: Path) -> None:
    with (
        receiving_node(tmp_path, acse_timeout_s=0.5) as node,
        socket.create_connection((LOOPBACK, node.port)) as idle,
    ):
        idle.settimeout(20)
        assert idle.recv(1) == b""


def test_interleaved_series_of_two_studies_are_told_apart(node: ReceivingNode, tmp_path: Path) -> None:
    datasets = [
        mr_dataset(study, series, number) for number in (1, 2, 3) for study in (1, 2) for series in (1, 2)
    ]
    paths = [write_instance(tmp_path / "made", dataset) for dataset in datasets]
    with scripted_scanner(node.port) as association:
        for path in paths:
            association.send_c_store(path)
        assert node.verdict(after_s=60).state is ArrivalState.RECEIVING
    wait_until(lambda: node.ends() == [RELEASED])
    for study in (1, 2):
        study_uid = str(mr_dataset(study).StudyInstanceUID)
        assert len(node.index.instances(study_uid)) == 6
        assert node.verdict(study_uid).state is ArrivalState.COMPLETE


def test_many_associations_at_once_lose_nothing(node: ReceivingNode, tmp_path: Path) -> None:
    series = [write_series(tmp_path / f"series{number}", 1, number, 5) for number in range(12)]
    start = threading.Barrier(12)

    def send(paths: list[Path]) -> list[int]:
        with scripted_scanner(node.port) as association:
            start.wait(30)
            return [association.send_c_store(path).Status for path in paths]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, series))
    assert answers == [[0x0000] * 5] * 12
    wait_until(lambda: node.ends() == [RELEASED] * 12)
    assert len(node.index.instances(STUDY_UID)) == 60
    assert len(node.stored()) == 60


_SERVE = """
import sys, time
from pathlib import Path
from node.database import Database
from node.index import Index
from node.receiver import Receiver
from node.receiver_settings import ReceiverSettings
from node.store import Store
root, port = Path(sys.argv[1]), int(sys.argv[2])
settings = ReceiverSettings(port=port, calling_aes=("SCANNER1",))
with Receiver(settings, Store(root / "root"), Index(Database(f"sqlite:///{root}/index.db"))):
    time.sleep(600)
"""


def test_killed_receiver_keeps_what_it_answered_for(tmp_path: Path) -> None:
    images, port = write_series(tmp_path / "made", count=6), free_port()
    server = subprocess.Popen([sys.executable, "-c", _SERVE, str(tmp_path), str(port)], cwd=ROOT)
    try:
        wait_until(lambda: listens(port), 60, "the receiver listens")
        with scripted_scanner(port) as association:
            for path in images[:3]:
                assert association.send_c_store(path).Status == 0x0000
            send_half(association, images[3])
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
    finally:
        server.kill()
    with receiving_node(tmp_path) as node:
        assert len(node.index.instances(STUDY_UID)) == 3
        assert node.index.abort_left_open("CSVD") == 1
        assert node.ends() == [ABORTED]
        assert node.verdict().state is ArrivalState.HELD
        assert "UTC: the process that received it ended; waits" in node.verdict().reason
        with scripted_scanner(node.port) as association:
            assert [association.send_c_store(path).Status for path in images] == [0x0000] * 6
        wait_until(lambda: node.ends() == [ABORTED, RELEASED])
        assert node.verdict().state is ArrivalState.COMPLETE
        assert len(node.index.instances(STUDY_UID)) == 6
        assert node.index.conflicts(STUDY_UID) == []


@needs_orthanc
def test_orthanc_sends_a_study(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "one", 1, 1, 4) + write_series(tmp_path / "two", 1, 2, 4)
    with (
        receiving_node(tmp_path) as node,
        orthanc(tmp_path / "orthanc", destination=("CSVD", node.port)) as archive,
    ):
        identifiers = archive.upload(paths)
        answer = archive.post("/modalities/node/store", {"Resources": identifiers, "Synchronous": True})
        assert answer["FailedInstancesCount"] == 0
        wait_until(lambda: set(node.ends()) == {RELEASED})
        assert node.verdict().state is ArrivalState.COMPLETE
        sent = {dcmread(path).SOPInstanceUID for path in paths}
        assert {entry.sop_instance_uid for entry in node.index.instances(STUDY_UID)} == sent


@needs_orthanc
def test_orthanc_sends_a_study_with_a_screenshot_whole(tmp_path: Path) -> None:
    with (
        receiving_node(tmp_path) as node,
        orthanc(tmp_path / "orthanc", destination=("CSVD", node.port)) as archive,
    ):
        order = {"Resources": archive.upload(with_screenshot(tmp_path / "made")), "Synchronous": True}
        assert archive.post("/modalities/node/store", order)["FailedInstancesCount"] == 0
        wait_until(lambda: len(node.ends()) > 0 and set(node.ends()) == {RELEASED})
        assert len(node.stored()) == 5


REAL_FOLDERS = (
    "siemens_xa30_enhanced",
    "transfer_syntaxes_siemens_epi",
    "siemens_prisma_dwi_mosaic_b0_b1000",
    "ge_signa_fse_pd_ax",
    "siemens_trio_t2_tse_axial",
)


@needs_shared
@pytest.mark.parametrize("folder", REAL_FOLDERS)
def test_files_of_real_scanners_are_stored_byte_for_byte(node: ReceivingNode, folder: str) -> None:
    files = {path: context_of(path) for path in sorted((SHARED / "dicom" / folder).rglob("*.dcm"))}
    with scripted_scanner(node.port, sorted(set(files.values()))) as association:
        assert {association.send_c_store(path).Status for path in files} == {0x0000}
    kept = {dataset_bytes(path) for path in (node.store.root).rglob("*.dcm")}
    assert kept == {dataset_bytes(path) for path in files}


def context_of(path: Path) -> tuple[UID, UID]:
    meta = dcmread(path, stop_before_pixels=True).file_meta
    return UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID)
