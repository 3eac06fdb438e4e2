"""What a destination does with each Instance is what the sender says of it."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    SegmentationStorage,
)
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from node.deliveries import DeliveryState
from node.errors import AssociationFailedError, NoContextAcceptedError
from node.outbound import DestinationSettings, SenderSettings, open_association
from node.send_outcome import SendOutcome
from node.sender import echo, send
from node.sop_classes import proposed_contexts
from tests.support.instances import dataset_bytes, mr_dataset, write_instance
from tests.support.peers import (
    LOOPBACK,
    ScriptedPacs,
    free_port,
    needs_dcmtk,
    needs_orthanc,
    orthanc,
    scripted_pacs,
    storescp,
)

DELIVERED, WARNING = DeliveryState.DELIVERED, DeliveryState.WARNING
FAILED, REFUSED = DeliveryState.FAILED, DeliveryState.REFUSED
SETTINGS = SenderSettings(connect_timeout_s=5, acse_timeout_s=5, response_timeout_s=5)


def destination_of(pacs: ScriptedPacs) -> DestinationSettings:
    return DestinationSettings(ae_title=pacs.ae_title, host=LOOPBACK, port=pacs.port)


def at_port(port: int, ae_title: str = "PACS") -> DestinationSettings:
    return DestinationSettings(ae_title=ae_title, host=LOOPBACK, port=port)


def results(folder: Path, count: int = 3, syntax: UID = ExplicitVRLittleEndian) -> list[Path]:
    """Write what stands for SEG Instances; to the wire they are all the same."""
    return [
        write_instance(folder, mr_dataset(number=number, sop_class=SegmentationStorage), syntax)
        for number in range(1, count + 1)
    ]


@pytest.fixture
def slow_thread() -> Iterator[None]:
    """Let the thread that asks for an association get little of the processor: all is over when it looks."""

    def at_each_line(_frame: FrameType, event: str, _argument: object) -> None:
        if event == "line":
            time.sleep(0.2)

    def at_each_call(frame: FrameType, _event: str, _argument: object) -> object:
        return at_each_line if frame.f_code.co_name == "_negotiate_as_requestor" else None

    before = sys.gettrace()
    sys.settrace(at_each_call)
    yield
    sys.settrace(before)


def states(outcomes: list[SendOutcome]) -> list[DeliveryState]:
    return [outcome.state for outcome in outcomes]


def test_instances_arrive_byte_for_byte(tmp_path: Path) -> None:
    paths = results(tmp_path)
    with scripted_pacs() as pacs:
        outcomes = send(paths, destination_of(pacs), SETTINGS)
    assert states(outcomes) == [DELIVERED] * 3
    assert [outcome.path for outcome in outcomes] == paths
    assert {(outcome.status, outcome.comment) for outcome in outcomes} == {(0, "")}
    assert pacs.received == {path.stem: [dataset_bytes(path)] for path in paths}


def remark(status: int, comment: str = "") -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment
    return answer


@pytest.mark.parametrize(
    ("status", "state", "comment"),
    [
        (0xB000, WARNING, "0xB000 Coercion of Data Elements"),
        (0xB006, WARNING, "0xB006 Element Discarded"),
        (0xB007, WARNING, "0xB007 Data Set Does Not Match SOP Class"),
        (0xA700, FAILED, "0xA700 Refused: Out of Resources: disk full"),
        (0xA900, FAILED, "0xA900 Data Set Does Not Match SOP Class"),
        (0xC000, FAILED, "0xC000 Cannot Understand"),
        (0x0122, FAILED, "0x0122 Refused: SOP Class Not Supported"),
        (0x0124, FAILED, "0x0124 Refused: Not Authorised"),
        (0x0001, FAILED, "0x0001 unknown status"),
    ],
)
def test_each_status_has_its_meaning(tmp_path: Path, status: int, state: DeliveryState, comment: str) -> None:
    text = "disk full" if status == 0xA700 else ""
    with scripted_pacs(lambda _number, _event: remark(status, text)) as pacs:
        (outcome,) = send(results(tmp_path, 1), destination_of(pacs), SETTINGS)
    assert (outcome.state, outcome.status, outcome.comment) == (state, status, comment)


def test_remark_that_quotes_the_patient_is_kept_without_it(tmp_path: Path) -> None:
    text = "Phantom, CSVD (CSVD-PHANTOM-1) is on hold"
    with scripted_pacs(lambda _number, _event: remark(0xC001, text)) as pacs:
        (outcome,) = send(results(tmp_path, 1), destination_of(pacs), SETTINGS)
    assert outcome.comment.endswith(": [...], [...] ([...]) is on hold")


def test_each_instance_counts_by_its_own_status(tmp_path: Path) -> None:
    """One that is not taken says nothing of the others on the same association."""
    answers = {1: 0x0000, 2: 0xA700, 3: 0xB000, 4: 0x0000}
    with scripted_pacs(lambda number, _event: answers[number]) as pacs:
        outcomes = send(results(tmp_path, 4), destination_of(pacs), SETTINGS)
    assert states(outcomes) == [DELIVERED, FAILED, WARNING, DELIVERED]


def test_lost_association_leaves_the_rest_undelivered(tmp_path: Path) -> None:
    def abort_at_the_second(number: int, event: evt.Event) -> int:
        if number == 2:
            event.assoc.abort()
        return 0x0000

    with scripted_pacs(abort_at_the_second) as pacs:
        outcomes = send(results(tmp_path, 4), destination_of(pacs), SETTINGS)
    assert states(outcomes) == [DELIVERED, FAILED, FAILED, FAILED]
    assert {outcome.status for outcome in outcomes[1:]} == {None}
    assert "ended the association" in outcomes[1].comment


def test_missing_answer_is_no_delivery(tmp_path: Path) -> None:
    def never_in_time(_number: int, _event: evt.Event) -> int:
        time.sleep(2)
        return 0x0000

    impatient = SenderSettings(response_timeout_s=0.5)
    with scripted_pacs(never_in_time) as pacs:
        outcomes = send(results(tmp_path, 2), destination_of(pacs), impatient)
    assert states(outcomes) == [FAILED, FAILED]
    assert {outcome.comment for outcome in outcomes} == {"gave no answer within 0.5 s"}


def test_nobody_at_the_port_is_no_delivery(tmp_path: Path) -> None:
    outcomes = send(results(tmp_path, 2), at_port(free_port()), SETTINGS)
    assert states(outcomes) == [FAILED, FAILED]
    assert {outcome.comment for outcome in outcomes} == {"cannot be reached: Connection refused"}


def test_unknown_host_is_no_delivery(tmp_path: Path) -> None:
    nowhere = DestinationSettings(ae_title="PACS", host="no-such-host.invalid", port=104)
    (outcome,) = send(results(tmp_path, 1), nowhere, SETTINGS)
    assert outcome.state is FAILED
    # In the resolver's words, which are not the same everywhere.
    assert re.fullmatch("cannot be reached: [A-Z][a-z ]+", outcome.comment)


@pytest.mark.parametrize(
    ("calling_aes", "called", "reason"),
    [
        (("OTHER",), "PACS", "rejected the association: Calling AE title not recognised"),
        ((), "WRONG", "rejected the association: Called AE title not recognised"),
    ],
)
def test_rejection_is_told_with_its_reason(
    tmp_path: Path, calling_aes: tuple[str, ...], called: str, reason: str
) -> None:
    with scripted_pacs(calling_aes=calling_aes) as pacs:
        (outcome,) = send(results(tmp_path, 1), at_port(pacs.port, called), SETTINGS)
    assert (outcome.state, outcome.comment) == (FAILED, reason)


def test_peer_that_is_no_dicom_peer_is_no_delivery(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as mute:
        impatient = SenderSettings(acse_timeout_s=0.5)
        (outcome,) = send(results(tmp_path, 1), at_port(mute.getsockname()[1]), impatient)
    assert (outcome.state, outcome.comment) == (
        FAILED,
        "did not answer the request for an association within 0.5 s",
    )


def test_peer_that_hangs_up_is_said_to_do_so(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        hangs_up = threading.Thread(target=lambda: server.accept()[0].close())
        hangs_up.start()
        (outcome,) = send(results(tmp_path, 1), at_port(server.getsockname()[1]), SETTINGS)
        hangs_up.join()
    assert outcome.state is FAILED
    assert outcome.comment == "ended the connection instead of answering the request for an association"


def test_host_that_is_silent_is_no_delivery(tmp_path: Path) -> None:
    """A queue of connections that is full drops the next one, as a firewall does."""
    impatient = SenderSettings(connect_timeout_s=0.5)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind((LOOPBACK, 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        (outcome,) = send(results(tmp_path, 1), at_port(full.getsockname()[1]), impatient)
    assert (outcome.state, outcome.comment) == (FAILED, "cannot be reached: no connection within 0.5 s")


def test_peer_that_answers_a_byte_at_a_time_does_not_hold_an_attempt(tmp_path: Path) -> None:
    """A whole A-ASSOCIATE-AC would take it 40 s."""
    stop = threading.Event()

    def trickle(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(bytes([0x02, 0, 0, 0, 0, 200]))
            while not stop.wait(0.2):
                connection.sendall(b"\0")

    impatient = SenderSettings(acse_timeout_s=0.5, response_timeout_s=1)
    with socket.create_server((LOOPBACK, 0)) as server:
        peer = threading.Thread(target=trickle, args=(server,))
        peer.start()
        began = time.monotonic()
        (outcome,) = send(results(tmp_path, 1), at_port(server.getsockname()[1]), impatient)
        took_s = time.monotonic() - began
        stop.set()
        peer.join()
    assert outcome.state is FAILED
    assert took_s < 20


def test_sop_class_without_context_is_refused_and_the_others_arrive(tmp_path: Path) -> None:
    seg, image = results(tmp_path, 1)[0], write_instance(tmp_path, mr_dataset(number=9))
    with scripted_pacs(sop_classes=[MRImageStorage]) as pacs:
        outcomes = send([seg, image], destination_of(pacs), SETTINGS)
    assert states(outcomes) == [REFUSED, DELIVERED]
    assert outcomes[0].comment == "no presentation context accepted for Segmentation Storage"
    assert list(pacs.received) == [image.stem]


def test_destination_that_takes_no_sop_class_refuses_all(tmp_path: Path) -> None:
    with scripted_pacs(sop_classes=[Comprehensive3DSRStorage]) as pacs:
        outcomes = send(results(tmp_path, 2), destination_of(pacs), SETTINGS)
        contexts = proposed_contexts({(SegmentationStorage, ExplicitVRLittleEndian)})
        with (
            pytest.raises(NoContextAcceptedError),
            open_association(contexts, destination_of(pacs), SETTINGS),
        ):
            pass
    assert states(outcomes) == [REFUSED, REFUSED]


@pytest.mark.parametrize(
    ("stored", "accepted", "sent"),
    [
        (ImplicitVRLittleEndian, [ImplicitVRLittleEndian], ImplicitVRLittleEndian),
        (ImplicitVRLittleEndian, [ExplicitVRLittleEndian], ExplicitVRLittleEndian),
        (ExplicitVRLittleEndian, [ImplicitVRLittleEndian], ImplicitVRLittleEndian),
        (DeflatedExplicitVRLittleEndian, [DeflatedExplicitVRLittleEndian], DeflatedExplicitVRLittleEndian),
        (DeflatedExplicitVRLittleEndian, [ExplicitVRLittleEndian], ExplicitVRLittleEndian),
        (DeflatedExplicitVRLittleEndian, [ImplicitVRLittleEndian], ImplicitVRLittleEndian),
        (RLELossless, [ImplicitVRLittleEndian, RLELossless], RLELossless),
        (RLELossless, [ExplicitVRLittleEndian], ExplicitVRLittleEndian),
        (JPEGLSLossless, [ImplicitVRLittleEndian], ImplicitVRLittleEndian),
        (JPEG2000Lossless, [ImplicitVRLittleEndian, ExplicitVRLittleEndian], ExplicitVRLittleEndian),
    ],
    ids=lambda value: value.name if isinstance(value, UID) else "+".join(uid.name for uid in value),
)
def test_instance_goes_as_stored_or_else_uncompressed(
    tmp_path: Path, stored: UID, accepted: list[UID], sent: UID
) -> None:
    (path,) = results(tmp_path, 1, stored)
    with scripted_pacs(transfer_syntaxes=accepted) as pacs:
        (outcome,) = send([path], destination_of(pacs), SETTINGS)
    assert (outcome.state, outcome.transfer_syntax_uid) == (DELIVERED, sent)
    assert pacs.transfer_syntaxes == {path.stem: sent}
    (content,) = pacs.received[path.stem]
    if stored == sent:
        assert content == dataset_bytes(path)
    np.testing.assert_array_equal(decoded(content, sent), dcmread(path).pixel_array)


def decoded(content: bytes, syntax: UID) -> NDArray[np.integer]:
    """Decode the pixels of a data set as it came over the wire."""
    meta = create_file_meta(
        sop_class_uid=SegmentationStorage, sop_instance_uid=UID("1.2"), transfer_syntax=syntax
    )
    return dcmread(BytesIO(bytes(128) + b"DICM" + encode_file_meta(meta) + content)).pixel_array


def test_unreadable_file_does_not_hold_up_the_others(tmp_path: Path) -> None:
    first, second = results(tmp_path, 2)
    broken, missing = tmp_path / "broken.dcm", tmp_path / "missing.dcm"
    broken.write_text("not DICOM")
    with scripted_pacs() as pacs:
        outcomes = send([first, broken, missing, second], destination_of(pacs), SETTINGS)
    assert states(outcomes) == [DELIVERED, FAILED, FAILED, DELIVERED]
    assert "not a DICOM file" in outcomes[1].comment
    assert "No such file" in outcomes[2].comment


def test_compressed_file_that_can_not_be_decoded_fails_alone(tmp_path: Path) -> None:
    damaged, good = results(tmp_path, 2, RLELossless)
    dataset = dcmread(damaged)
    dataset.PixelData = encapsulate([b"\xff" * 64])
    dataset.save_as(damaged)
    with scripted_pacs() as pacs:
        outcomes = send([damaged, good], destination_of(pacs), SETTINGS)
    assert states(outcomes) == [FAILED, DELIVERED]
    assert outcomes[0].comment.startswith("cannot be sent: ")


def test_nothing_to_send_needs_no_association() -> None:
    assert send([], at_port(free_port()), SETTINGS) == []


def test_sockets_send_at_once(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(_number: int, _event: evt.Event) -> int:
        for thread in threading.enumerate():
            if isinstance(thread, Association) and thread.is_requestor:
                connection = thread.dul.socket.socket
                seen.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return 0x0000

    with scripted_pacs(look) as pacs:
        send(results(tmp_path, 1), destination_of(pacs), SETTINGS)
    assert seen
    assert 0 not in seen


def test_echo_is_answered(tmp_path: Path) -> None:
    with scripted_pacs(sop_classes=[]) as pacs:
        echo(destination_of(pacs), SETTINGS)


def test_echo_says_why_not() -> None:
    with pytest.raises(AssociationFailedError, match="cannot be reached") as caught:
        echo(at_port(free_port()), SETTINGS)
    assert caught.value.retryable
    with (
        scripted_pacs(calling_aes=["OTHER"], sop_classes=[]) as pacs,
        pytest.raises(AssociationFailedError, match="Calling AE title not recognised"),
    ):
        echo(destination_of(pacs), SETTINGS)


def test_rejection_is_told_although_the_connection_is_closed_at_once(slow_thread: None) -> None:
    with (
        scripted_pacs(calling_aes=["OTHER"], sop_classes=[]) as pacs,
        pytest.raises(AssociationFailedError, match="Calling AE title not recognised"),
    ):
        echo(destination_of(pacs), SETTINGS)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param("02 03 01", "Temporary congestion", id="as the Standard says"),
        pytest.param(
            "01 01 00", "result 1, source 1, reason 0, which DICOM does not know", id="no such reason"
        ),
        pytest.param(
            "00 09 02", "result 0, source 9, reason 2, which DICOM does not know", id="no such source"
        ),
    ],
)
def test_rejection_for_whatever_reason_is_told_at_once(answer: str, told: str) -> None:
    def reject(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            # A-ASSOCIATE-RJ (PS3.8 9.3.4)
            connection.sendall(bytes.fromhex(f"03 00 00000004 00 {answer}"))

    with socket.create_server((LOOPBACK, 0)) as server:
        peer = threading.Thread(target=reject, args=(server,))
        peer.start()
        began = time.monotonic()
        with pytest.raises(AssociationFailedError, match=f"rejected the association: {told}$"):
            echo(at_port(server.getsockname()[1]), SETTINGS)
        peer.join()
    assert time.monotonic() - began < SETTINGS.acse_timeout_s


@needs_dcmtk
def test_storescp_that_refuses_seg_takes_the_rest(tmp_path: Path) -> None:
    seg, image = results(tmp_path, 1)[0], write_instance(tmp_path, mr_dataset(number=9))
    with storescp(tmp_path / "scp", sop_classes=["MRImageStorage", "VerificationSOPClass"]) as peer:
        echo(at_port(peer.port, peer.ae_title), SETTINGS)
        outcomes = send([seg, image], at_port(peer.port, peer.ae_title), SETTINGS)
        assert states(outcomes) == [REFUSED, DELIVERED]
        (kept,) = peer.received()
    assert dcmread(kept).SOPInstanceUID == image.stem
    np.testing.assert_array_equal(dcmread(kept).pixel_array, dcmread(image).pixel_array)


@needs_dcmtk
@pytest.mark.parametrize("option", ["--abort-after", "--abort-during", "--refuse"])
def test_storescp_that_breaks_off_gets_nothing_delivered(tmp_path: Path, option: str) -> None:
    with storescp(tmp_path / "scp", option) as peer:
        outcomes = send(results(tmp_path, 3), at_port(peer.port, peer.ae_title), SETTINGS)
    assert states(outcomes) == [FAILED] * 3


@needs_orthanc
def test_orthanc_keeps_what_it_is_sent(tmp_path: Path) -> None:
    paths = [*results(tmp_path, 2), write_instance(tmp_path, mr_dataset(number=9), JPEG2000Lossless)]
    with orthanc(tmp_path / "orthanc") as archive:
        destination = at_port(archive.dicom_port, archive.ae_title)
        echo(destination, SETTINGS)
        assert states(send(paths, destination, SETTINGS)) == [DELIVERED] * 3
        assert states(send(paths, destination, SETTINGS)) == [DELIVERED] * 3
        assert archive.sop_instance_uids() == {path.stem for path in paths}
        for identifier in archive.get("/instances"):
            kept = tmp_path / "kept.dcm"
            kept.write_bytes(archive.get_bytes(f"/instances/{identifier}/file"))
            original = next(path for path in paths if path.stem == dcmread(kept).SOPInstanceUID)
            assert dcmread(kept).PixelData == dcmread(original).PixelData
