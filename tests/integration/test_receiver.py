"""The receiver over real associations: what it takes, how it answers, and when."""

from __future__ import annotations

import resource
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    UID,
    Comprehensive3DSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPIPHTJ2KReferenced,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    RawDataStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom import QueryRetrievePresentationContexts
from pynetdicom.sop_class import (
    HangingProtocolStorage,
    ProtocolApprovalStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)
from structlog.testing import capture_logs

from node.completeness import ArrivalState, AssociationEnd
from node.database import Database
from node.errors import ReceiverUnavailableError
from node.index import Index
from node.receiver import Receiver
from node.receiver_settings import ReceiverSettings
from node.store import Store
from tests.support.arrivals import STUDY_UID
from tests.support.instances import dataset_bytes, mr_dataset, write_instance, write_series
from tests.support.peers import LOOPBACK, free_port, listens, scripted_scanner, wait_until
from tests.support.receiving import ReceivingNode, receiving_node

SUCCESS = 0x0000
ACCEPTED = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
    JPEG2000,
    MPEG2MPML,
]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ReceivingNode]:
    with receiving_node(tmp_path) as running:
        yield running


def send(node: ReceivingNode, path: Path) -> Dataset:
    """Send one file as its bytes are, in a presentation context for what its file meta says."""
    meta = dcmread(path, stop_before_pixels=True).file_meta
    context = (UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID))
    with scripted_scanner(node.port, [context]) as association:
        assert association.is_established
        return association.send_c_store(path)


@pytest.mark.parametrize("syntax", ACCEPTED, ids=lambda syntax: syntax.name)
def test_instance_is_stored_byte_for_byte(node: ReceivingNode, tmp_path: Path, syntax: UID) -> None:
    path = write_instance(tmp_path / "made", mr_dataset(), syntax)
    assert send(node, path).Status == SUCCESS
    (stored,) = node.stored()
    assert dataset_bytes(stored) == dataset_bytes(path)
    meta = dcmread(stored, stop_before_pixels=True).file_meta
    assert meta.TransferSyntaxUID == syntax
    assert meta.SourceApplicationEntityTitle == "SCANNER1"
    (entry,) = node.index.instances(STUDY_UID)
    assert (entry.transfer_syntax_uid, node.store.path(entry.path)) == (syntax, stored)


@pytest.mark.parametrize(
    "sop_class",
    [MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage],
    ids=lambda sop_class: sop_class.name,
)
def test_each_kind_of_mr_is_received(node: ReceivingNode, tmp_path: Path, sop_class: UID) -> None:
    path = write_instance(tmp_path / "made", mr_dataset(sop_class=sop_class))
    assert send(node, path).Status == SUCCESS
    assert node.index.instances(STUDY_UID)[0].sop_class_uid == sop_class


SIEMENS_NON_IMAGE = UID("1.3.12.2.1107.5.9.1")
"""CSA Non-Image Storage, which Siemens scanners send with a Study."""

NEWER_THAN_THE_DICTIONARY = UID("1.2.840.10008.5.1.4.1.1.4.999")


@pytest.mark.parametrize(
    "sop_class",
    [
        CTImageStorage,
        SecondaryCaptureImageStorage,
        Comprehensive3DSRStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        RawDataStorage,
        SIEMENS_NON_IMAGE,
        NEWER_THAN_THE_DICTIONARY,
    ],
    ids=lambda sop_class: sop_class.name,
)
def test_all_else_that_a_study_holds_is_kept(node: ReceivingNode, tmp_path: Path, sop_class: UID) -> None:
    path = write_instance(tmp_path / "made", mr_dataset(sop_class=sop_class))
    assert send(node, path).Status == SUCCESS
    (stored,) = node.stored()
    assert dataset_bytes(stored) == dataset_bytes(path)
    wait_until(lambda: node.verdict().state is ArrivalState.KEPT)


@pytest.mark.parametrize(
    ("sop_class", "syntax"),
    [
        (StudyRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian),
        (StorageCommitmentPushModel, ExplicitVRLittleEndian),
        (HangingProtocolStorage, ExplicitVRLittleEndian),
        (ProtocolApprovalStorage, ExplicitVRLittleEndian),
        (MRImageStorage, JPIPHTJ2KReferenced),
    ],
    ids=["C-FIND", "Storage Commitment", "Hanging Protocol", "of no Study", "pixel data elsewhere"],
)
def test_what_is_not_taken_is_refused_at_negotiation(
    node: ReceivingNode, sop_class: UID, syntax: UID
) -> None:
    offered = [(MRImageStorage, ExplicitVRLittleEndian), (sop_class, syntax)]
    with capture_logs() as logs, scripted_scanner(node.port, offered) as association:
        accepted = [(cx.abstract_syntax, cx.transfer_syntax[0]) for cx in association.accepted_contexts]
    assert accepted == [(MRImageStorage, ExplicitVRLittleEndian)]
    (refused,) = (entry for entry in logs if entry["event"] == "receiver.contexts_refused")
    is_mr = sop_class == MRImageStorage
    assert refused["first"] == [f"{sop_class.name} in {syntax.name}" if is_mr else sop_class.name]
    assert refused["count"] == 1


def test_log_counts_what_an_archive_proposes_and_names_first_what_is_taken_otherwise(
    node: ReceivingNode,
) -> None:
    others = [UID(context.abstract_syntax or "") for context in QueryRetrievePresentationContexts]
    other_classes = [(one, ExplicitVRLittleEndian) for one in others]
    mr_twice = [(MRImageStorage, syntax) for syntax in (JPIPHTJ2KReferenced, ImplicitVRLittleEndian)]
    offered = [*other_classes, *mr_twice]
    with capture_logs() as logs, scripted_scanner(node.port, offered) as association:
        rejected = len(association.rejected_contexts)
    (refused,) = (entry for entry in logs if entry["event"] == "receiver.contexts_refused")
    assert refused["count"] == rejected > 10
    assert refused["first"][0] == f"{MRImageStorage.name} in {JPIPHTJ2KReferenced.name}"
    assert len(refused["first"]) == 5


def test_same_bytes_again_change_nothing(node: ReceivingNode, tmp_path: Path) -> None:
    path = write_instance(tmp_path / "made", mr_dataset())
    send(node, path)
    (stored,) = node.stored()
    before, (entry,) = stored.stat(), node.index.instances(STUDY_UID)
    assert send(node, path).Status == SUCCESS
    assert stored.stat().st_mtime_ns == before.st_mtime_ns
    assert node.index.instances(STUDY_UID) == [entry]
    assert node.index.conflicts(STUDY_UID) == []


def test_other_bytes_under_the_same_uid_are_safe_and_apart(node: ReceivingNode, tmp_path: Path) -> None:
    first = write_instance(tmp_path / "made", mr_dataset())
    other = write_instance(tmp_path / "other", mr_dataset(pixels=2))
    assert send(node, first).Status == SUCCESS
    assert send(node, other).Status == SUCCESS
    (stored,) = node.stored()
    (conflict,) = node.index.conflicts(STUDY_UID)
    assert dataset_bytes(stored) == dataset_bytes(first)
    assert dataset_bytes(node.store.path(conflict.path)) == dataset_bytes(other)


def with_file_meta(tmp_path: Path, content: bytes, sop_class: UID, sop_instance: str) -> Path:
    """Write a file whose meta, and so the request that sends it, says something else than its data set."""
    path = tmp_path / "wrong.dcm"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, UID(sop_instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    empty = Dataset()
    empty.file_meta = meta
    empty.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes() + content)
    return path


@pytest.mark.parametrize(
    ("change", "status", "comment"),
    [
        ("instance", 0xA900, "SOP Instance UID of data set and request differ"),
        ("class", 0xA900, "SOP Class of data set, request and context differ"),
        ("garbage", 0xC000, "SOP Class UID missing or malformed"),
        ("truncated", 0xC000, "data set cannot be parsed"),
        ("no study", 0xC000, "Study Instance UID missing or malformed"),
        ("path", 0xC000, "Series Instance UID missing or malformed"),
    ],
)
def test_wrong_instance_is_refused_with_its_own_status(
    node: ReceivingNode, tmp_path: Path, change: str, status: int, comment: str
) -> None:
    dataset = mr_dataset()
    sop_class, sop_instance = MRImageStorage, str(dataset.SOPInstanceUID)
    if change == "no study":
        del dataset.StudyInstanceUID
    if change == "path":
        dataset.add_new("SeriesInstanceUID", "LO", "../../../etc/passwd")
    content = dataset_bytes(write_instance(tmp_path / "made", dataset))
    if change == "instance":
        sop_instance = "1.2.3"
    elif change == "class":
        sop_class = EnhancedMRImageStorage
    elif change == "garbage":
        content = b"\xff" * 1000
    elif change == "truncated":
        content = content[:-1000]
    with capture_logs() as logged:
        answer = send(node, with_file_meta(tmp_path, content, sop_class, sop_instance))
    assert (answer.Status, answer.ErrorComment) == (status, comment)
    (told,) = (each for each in logged if each["event"] == "receiver.instance_refused")
    assert (told["calling_ae"], told["sop_instance_uid"]) == ("SCANNER1", sop_instance)
    assert node.stored() == []
    assert node.index.arrival(STUDY_UID) is None or node.verdict().state.value == "held"


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def test_full_disk_is_out_of_resources_and_nothing_is_left(node: ReceivingNode, tmp_path: Path) -> None:
    large = mr_dataset()
    large.Rows, large.Columns = 2048, 1024
    large.PixelData = bytes(2 * 2048 * 1024)
    path = write_instance(tmp_path / "made", large)
    with full_disk(2 * 1024 * 1024):
        answer = send(node, path)
    assert (answer.Status, answer.ErrorComment) == (0xA700, "out of resources")
    assert [found for found in node.store.root.rglob("*") if found.is_file()] == []
    wait_until(lambda: node.ends() == [AssociationEnd.RELEASED], what="the refusal is in the index")
    assert node.verdict().state.value == "held"
    reason = "an Instance cannot be written: File too large; free space; waits until"
    assert f"UTC: {reason}" in node.verdict().reason
    assert send(node, path).Status == SUCCESS
    wait_until(lambda: node.ends() == [AssociationEnd.RELEASED] * 2)
    assert node.verdict().state.value == "complete"


def test_success_is_answered_only_after_the_index_has_it(node: ReceivingNode, tmp_path: Path) -> None:
    """Another writer holds the index: no answer comes until it lets go, and then the entry is there."""
    path = write_instance(tmp_path / "made", mr_dataset())
    with scripted_scanner(node.port) as association:
        association.send_c_store(write_instance(tmp_path / "made", mr_dataset(number=2)))
        holder = sqlite3.connect(tmp_path / "index.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        answers: list[int] = []
        sender = threading.Thread(target=lambda: answers.append(association.send_c_store(path).Status))
        sender.start()
        wait_until(lambda: len(node.stored()) == 2, what="the file is stored")
        sender.join(1.0)
        assert answers == []
        holder.execute("COMMIT")
        sender.join(30.0)
        assert answers == [SUCCESS]
        (found,) = holder.execute(
            "SELECT count(*) FROM instances WHERE sop_instance_uid = ?", (mr_dataset().SOPInstanceUID,)
        )
        holder.close()
    assert found == (1,)


def test_sockets_send_at_once_and_large_pdus_are_taken(node: ReceivingNode) -> None:
    with scripted_scanner(node.port) as association:
        server = node.receiver._server
        assert server is not None
        wait_until(lambda: len(server.active_associations) == 1)
        accepted = server.active_associations[0].dul.socket
        assert accepted is not None
        assert accepted.socket is not None
        assert accepted.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert association.acceptor.maximum_length >= 128 * 1024


def test_maximum_pdu_is_configurable(tmp_path: Path) -> None:
    with (
        receiving_node(tmp_path, maximum_pdu_bytes=512 * 1024) as node,
        scripted_scanner(node.port) as association,
    ):
        assert association.acceptor.maximum_length == 512 * 1024


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [
        ("STRANGER", "CSVD", "Calling AE title not recognised"),
        ("SCANNER1", "OTHER", "Called AE title not recognised"),
    ],
)
def test_unknown_ae_titles_are_rejected(node: ReceivingNode, calling: str, called: str, reason: str) -> None:
    with scripted_scanner(node.port, calling=calling, called=called) as association:
        assert association.is_rejected
        assert association.acceptor.primitive.reason_str == reason


def test_by_default_nobody_may_send_and_nobody_else_can_reach_it(tmp_path: Path) -> None:
    assert ReceiverSettings().host == LOOPBACK
    with receiving_node(tmp_path, calling_aes=()) as node, scripted_scanner(node.port) as association:
        assert association.is_rejected


def test_anyone_may_send_if_told_so(tmp_path: Path) -> None:
    with (
        receiving_node(tmp_path, calling_aes=(), accept_any_calling_ae=True) as node,
        scripted_scanner(node.port, calling="STRANGER") as association,
    ):
        assert association.is_established


def test_more_associations_than_allowed_are_rejected_for_now(tmp_path: Path) -> None:
    with (
        receiving_node(tmp_path, maximum_associations=2) as node,
        scripted_scanner(node.port) as first,
        scripted_scanner(node.port) as second,
        scripted_scanner(node.port) as third,
    ):
        assert (first.is_established, second.is_established) == (True, True)
        assert third.is_rejected
        assert third.acceptor.primitive.result_str == "Rejected Transient"
        first.release()
        server = node.receiver._server
        assert server is not None
        wait_until(lambda: len(server.active_associations) == 1)
        with scripted_scanner(node.port) as fourth:
            assert fourth.is_established


def test_port_in_use_is_named(node: ReceivingNode) -> None:
    settings = ReceiverSettings(port=node.port)
    with pytest.raises(ReceiverUnavailableError, match=f"{LOOPBACK}:{node.port}: Address already in use"):
        Receiver(settings, node.store, node.index).start()


def test_stop_aborts_what_does_not_finish_and_closes_the_port(tmp_path: Path) -> None:
    port = free_port()
    with receiving_node(tmp_path, port=port, stop_grace_s=0.2) as node:
        with scripted_scanner(node.port) as association:
            association.send_c_store(write_instance(tmp_path / "made", mr_dataset()))
            assert node.port == port
            node.receiver.stop()
            wait_until(lambda: association.is_aborted, what="the peer is told")
        assert not listens(port)
        assert node.ends() == [AssociationEnd.ABORTED]
        assert "UTC: the node was stopped" in node.verdict().reason
        node.receiver.stop()


def test_stop_does_not_wait_for_a_peer_that_hangs(tmp_path: Path) -> None:
    with receiving_node(tmp_path, stop_grace_s=0.2) as node, scripted_scanner(node.port) as association:
        association.dul.kill_dul()
        begin = time.monotonic()
        node.receiver.stop()
        assert time.monotonic() - begin < 10
        association.is_established = False


def test_logs_name_no_patient(node: ReceivingNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = write_series(tmp_path / "made", count=2)
    dataset = dcmread(first)
    send(node, first)
    send(node, write_instance(tmp_path / "other", mr_dataset(pixels=3)))
    send(node, with_file_meta(tmp_path, dataset_bytes(second), MRImageStorage, "1.2.3"))
    wait_until(lambda: node.ends() == [AssociationEnd.RELEASED] * 3)
    captured = capfd.readouterr()
    logged = captured.out + captured.err
    assert STUDY_UID in logged
    assert str(dataset.PatientName) not in logged
    assert dataset.PatientID not in logged


def test_unexpected_fault_is_answered_and_the_next_instance_is_taken(tmp_path: Path) -> None:
    """The clock breaks for one Instance, which no error class foresees."""
    is_broken = threading.Event()

    def clock() -> datetime:
        if is_broken.is_set():
            raise ZeroDivisionError
        return datetime.now(UTC)

    store, database = Store(tmp_path / "root"), Database(f"sqlite:///{tmp_path}/index.db")
    settings, paths = ReceiverSettings(port=0, accept_any_calling_ae=True), write_series(tmp_path / "made")
    with (
        Receiver(settings, store, Index(database), clock) as receiver,
        scripted_scanner(receiver.port) as association,
    ):
        is_broken.set()
        failed = association.send_c_store(paths[0])
        is_broken.clear()
        taken = [association.send_c_store(path).Status for path in paths]
    assert (failed.Status, failed.ErrorComment) == (0xC211, "unexpected failure, see the log of the node")
    assert taken == [SUCCESS] * 3
    assert len(Index(database).instances(STUDY_UID)) == 3
    database.close()


def test_unwritable_store_does_not_end_the_association(node: ReceivingNode, tmp_path: Path) -> None:
    """A fault with one Study is answered, and the next Study on the same association is stored."""
    blocked = node.store.root / "studies" / str(mr_dataset(study=2).StudyInstanceUID)
    blocked.write_text("a file where a folder is needed")
    with scripted_scanner(node.port) as association:
        refused = association.send_c_store(write_instance(tmp_path / "made", mr_dataset(study=2)))
        taken = association.send_c_store(write_instance(tmp_path / "made", mr_dataset(study=1)))
    assert (refused.Status, taken.Status) == (0xA700, SUCCESS)
    assert [node.store.path(entry.path) for entry in node.index.instances(STUDY_UID)] == node.stored()
