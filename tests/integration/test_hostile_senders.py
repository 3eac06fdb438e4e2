"""Whoever reaches the DICOM port costs little memory and little time, and no sender its turn."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.dsutils import encode
from structlog.testing import capture_logs

from node.commitment_report import Reporting
from node.incoming_connections import NEGOTIATION_PDU_BYTES, WAITING, WAITING_REQUESTS
from tests.support.archives import COMMITMENT, INSTANCE, Asked, report_on
from tests.support.certificates import Authority
from tests.support.instances import mr_dataset, write_instance
from tests.support.peers import LOOPBACK, echoscu, needs_dcmtk, scripted_scanner, wait_until
from tests.support.receiving import ReceivingNode, receiving_node

CLAIMS_4_GB = struct.pack(">BBL", 1, 0, 0xFFFFFFF0)
"""Begin of an A-ASSOCIATE-RQ of 4 GB."""

INVALID_PARAMETER = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06"
"""A-ABORT of the service provider, invalid PDU parameter value (PS3.8 Table 9-26)."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ReceivingNode]:
    with receiving_node(tmp_path) as running:
        yield running


def connect(node: ReceivingNode) -> socket.socket:
    return socket.create_connection((LOOPBACK, node.port), timeout=20)


def is_let_in(node: ReceivingNode) -> bool:
    with scripted_scanner(node.port) as association:
        return association.is_established


def received_until_the_end(connection: socket.socket) -> bytes:
    """Receive until the other side closes."""
    content = b""
    try:
        while part := connection.recv(1000):
            content += part
    except ConnectionResetError:
        pass
    return content


def reason_of(logs: Sequence[Mapping[str, object]]) -> str:
    """Wait for the line that says why a connection was ended."""
    found = lambda: [each for each in logs if each["event"] == "receiver.connection_ended"]  # noqa: E731
    wait_until(lambda: bool(found()), what="it is logged")
    return str(found()[0]["reason"])


def test_pdu_that_claims_more_than_anybody_negotiates_is_not_read(node: ReceivingNode) -> None:
    with capture_logs() as logs, connect(node) as stranger:
        stranger.sendall(CLAIMS_4_GB)
        assert received_until_the_end(stranger) == INVALID_PARAMETER
        assert f"claims {0xFFFFFFF0} bytes, and {NEGOTIATION_PDU_BYTES} are the most" in reason_of(logs)


def test_what_is_not_dicom_is_told(node: ReceivingNode) -> None:
    with capture_logs() as logs, connect(node) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: csvd\r\n\r\n")
        assert received_until_the_end(browser) == INVALID_PARAMETER
        assert reason_of(logs) == "what came is not DICOM: the connection is closed"


def test_request_that_comes_a_byte_at_a_time_is_given_up(tmp_path: Path) -> None:
    with (
        receiving_node(tmp_path, acse_timeout_s=1.0) as node,
        capture_logs() as logs,
        connect(node) as slow,
    ):
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in struct.pack(">BBL", 1, 0, 200) + bytes(200):
                slow.sendall(bytes([byte]))
                time.sleep(0.1)
        assert 0.9 < time.monotonic() - begin < 10
        assert reason_of(logs).startswith("a PDU was not there in time")


def test_silent_connections_keep_no_sender_out(node: ReceivingNode, tmp_path: Path) -> None:
    path = write_instance(tmp_path / "made", mr_dataset())
    silent = [connect(node) for _ in range(WAITING + 10)]
    with scripted_scanner(node.port) as association:
        assert association.is_established
        assert association.send_c_store(path).Status == 0x0000
    for first in silent[:10]:
        assert first.recv(1) == b"", "those that waited longest gave way"
    for each in silent:
        each.close()


@pytest.mark.parametrize("calling", ["STRANGER", "SCANNER1"])
def test_rejected_connections_that_do_not_end_keep_no_sender_out(tmp_path: Path, calling: str) -> None:
    begin_of_a_pdu = struct.pack(">BBL", 4, 0, 1000)
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(receiving_node(tmp_path, maximum_associations=1))
        if calling == "SCANNER1":
            first = stack.enter_context(scripted_scanner(node.port))
            assert first.is_established
        rejected = [stack.enter_context(connect(node)) for _ in range(WAITING + 3)]
        for each in rejected:
            with contextlib.suppress(OSError):
                each.sendall(request_for_an_association(calling) + begin_of_a_pdu)
        for each in rejected[:3]:
            # Those that waited longest gave way.
            received_until_the_end(each)
        if calling == "SCANNER1":
            first.release()
        wait_until(lambda: is_let_in(node), 10, "a sender has its turn")


@pytest.mark.parametrize(
    "content", [b"", b"\x01\x00", b"\x01\x00\x00\x00\x00\x04junk"], ids=["silent", "cut", "junk"]
)
def test_connection_that_is_closed_leaves_no_thread(node: ReceivingNode, content: bytes) -> None:
    before = threading.active_count()
    for _ in range(5):
        with connect(node) as stranger:
            stranger.sendall(content)
    wait_until(lambda: threading.active_count() == before, 10, "its threads ended")


@needs_dcmtk
def test_silent_connections_keep_no_sender_out_of_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "hospital")
    own, scanner = authority.issue("receiver"), authority.issue("scanner")
    tls = {"certificate": own.certificate, "key": own.key, "ca": authority.path}
    shown = ("+tls", str(scanner.key), str(scanner.certificate), "+cf", str(authority.path))
    with receiving_node(tmp_path, tls=tls) as node:
        silent = [connect(node) for _ in range(WAITING + 10)]
        assert echoscu(node.port, *shown).returncode == 0
        for first in silent[:10]:
            assert first.recv(1) == b"", "those that waited longest gave way"
        for each in silent:
            each.close()


@pytest.mark.parametrize("part", ["data set", "command set"])
def test_message_without_end_is_not_kept(tmp_path: Path, part: str) -> None:
    with (
        receiving_node(tmp_path, maximum_instance_bytes=1024**2) as node,
        capture_logs() as logs,
        scripted_scanner(node.port) as association,
    ):
        context_id = association.accepted_contexts[0].context_id
        if part == "data set":
            association.dul.socket.socket.sendall(command_of_a_store(context_id))
        control = {"data set": 0, "command set": 1}[part]
        item = struct.pack(">LBB", 200_002, context_id, control) + bytes(200_000)
        for _ in range(8):
            try:
                association.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, len(item)) + item)
            except OSError:
                break
        assert "receiver.maximum_instance_bytes, 1048576" in reason_of(logs)
        wait_until(lambda: association.is_aborted, what="the sender is told")


def request_for_an_association(calling: str) -> bytes:
    """Encode an A-ASSOCIATE-RQ for verification (PS3.8 9.3.2)."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(value)) + value

    syntaxes = item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")
    user = item(0x51, struct.pack(">L", 16_384)) + item(0x52, b"1.2.3")
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, b"\1\0\0\0" + syntaxes) + item(0x50, user)
    titles = b"CSVD".ljust(16) + calling.encode("ascii").ljust(16)
    body = struct.pack(">HH", 1, 0) + titles + bytes(32) + items
    return struct.pack(">BBL", 1, 0, len(body)) + body


def command_of_a_store(context_id: int) -> bytes:
    """Encode the command set of a C-STORE request whose data set is still to come."""
    store = C_STORE()
    store.MessageID, store.Priority = 1, 2
    store.AffectedSOPClassUID = mr_dataset().SOPClassUID
    store.AffectedSOPInstanceUID = UID("1.2.3")
    store.DataSet = BytesIO(b"\0\0")
    message = C_STORE_RQ()
    message.primitive_to_message(store)
    first = next(iter(message.encode_msg(context_id, 16_384)))
    (number, value) = first.presentation_data_value_list[0]
    item = struct.pack(">LB", len(value) + 1, number) + value
    return struct.pack(">BBL", 4, 0, len(item)) + item


def test_requests_that_wait_for_no_answer_are_ended(node: ReceivingNode) -> None:
    with capture_logs() as logs, scripted_scanner(node.port) as association:
        context_id = association.accepted_contexts[0].context_id
        item = struct.pack(">LBB", 3, context_id, 2) + b"\0"
        one = command_of_a_store(context_id) + struct.pack(">BBL", 4, 0, len(item)) + item
        association.dul.socket.socket.sendall(one * 2000)
        assert "requests came without waiting for an answer" in reason_of(logs)
        assert int(reason_of(logs).split()[0]) == WAITING_REQUESTS + 1


def test_reports_beyond_what_was_negotiated_get_no_threads(tmp_path: Path) -> None:
    taken: list[str] = []
    may_answer = threading.Event()

    def take(calling_ae: str, _report: object) -> None:
        taken.append(calling_ae)
        may_answer.wait(60)

    event_type, report = report_on(Asked("1.9", {"1.2.3": "1.2"}))
    encoded = encode(report, is_implicit_vr=False, is_little_endian=True)
    assert encoded is not None
    reporting = Reporting(frozenset({"ARCHIVE"}), take)
    entity = AE("ARCHIVE")
    entity.add_requested_context(COMMITMENT, ExplicitVRLittleEndian)
    with receiving_node(tmp_path, reporting) as node, capture_logs() as logs:
        association = entity.associate(LOOPBACK, node.port, ae_title="CSVD")
        for number in range(1, 201):
            request = N_EVENT_REPORT()
            request.MessageID, request.EventTypeID = number, event_type
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = COMMITMENT, INSTANCE
            request.EventInformation = BytesIO(encoded)
            association.dimse.send_msg(request, 1)
        assert reason_of(logs).startswith(f"{WAITING_REQUESTS + 1} requests came without waiting")
        may_answer.set()
        association.abort()
        assert len(taken) <= WAITING_REQUESTS + 1
