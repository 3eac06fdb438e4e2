"""Part 10 files on disk: the truth that the index is built from.

Layout below the root: ``studies/<Study>/<Series>/<Instance>.dcm`` holds what was received, byte for byte;
``conflicts/<Instance>/<digest>.dcm`` what came later under a UID that was taken, with other bytes;
``results/<Study>/<evaluation>/`` what the node made; ``incoming/`` files that are still being written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog

from node.durable_files import DurableWriter
from node.errors import OutOfResourcesError, StoreUnusableError, UnreadableDatasetError
from node.part10 import InstanceHeader, dataset_digest, encode_file_meta, is_uid, read_part10

log = structlog.get_logger(__name__)

_STUDIES, _CONFLICTS, _RESULTS, _INCOMING = "studies", "conflicts", "results", "incoming"


class PlacementKind(StrEnum):
    """What became of an Instance that was put into the store."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """An Instance as it came over the network.

    Attributes:
        header: as read from the data set; its UIDs become the file's path.
        calling_ae: AE title of the sender, kept in the File Meta Information.
        called_ae: AE title that it was sent to.
        dataset: the bytes as transmitted.
    """

    header: InstanceHeader
    calling_ae: str
    called_ae: str
    dataset: bytes

    @property
    def sha256(self) -> str:
        """Digest of the data set as transmitted, without File Meta Information."""
        return hashlib.sha256(self.dataset).hexdigest()

    def encoded(self) -> tuple[bytes, bytes]:
        """Return what the file holds: preamble with File Meta Information, and the untouched data set."""
        return encode_file_meta(self.header, self.calling_ae, self.called_ae), self.dataset


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an Instance lies now.

    Attributes:
        kind: new, already there with the same bytes, or kept apart because other bytes are there.
        path: of its file, relative to the root.
        sha256: digest of its data set as transmitted, without File Meta Information.
    """

    kind: PlacementKind
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file found by a scan of the store.

    Attributes:
        header: its UIDs.
        calling_ae: who sent it.
        path: relative to the root.
        sha256: digest of its data set.
        stored_at: when it was written.
        is_conflict: whether it lies apart because its SOP Instance UID was taken.
    """

    header: InstanceHeader
    calling_ae: str
    path: str
    sha256: str
    stored_at: datetime
    is_conflict: bool


class Store:
    """A folder of DICOM files; nothing in it is ever overwritten with other bytes, except results.

    A file has its final name only once all of it is on disk, and then that name is on disk too.

    Raises:
        StoreUnusableError: if the folder can not be made or written, or knows no hard links, by which a name
            is given without overwriting.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._writer = DurableWriter(self.root, self.root / _INCOMING)
        try:
            for folder in (_STUDIES, _CONFLICTS, _RESULTS, _INCOMING):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            self._writer.try_out()
        except OSError as exc:
            raise StoreUnusableError(str(root), f"can not be used: {exc.strerror}") from exc

    def put(self, received: ReceivedInstance) -> Placement:
        """Store an Instance; on return its file is on disk under its final name.

        Raises:
            OutOfResourcesError: if it can not be written; then nothing of it is left behind.
        """
        header, digest = received.header, received.sha256
        path = self._instance_path(header)
        with _translated(header):
            if not path.exists() and self._writer.write_new(path, received.encoded()):
                return Placement(PlacementKind.NEW, self.relative(path), digest)
            if not _holds(path, digest):
                return self._keep_apart(received, digest)
            self._writer.confirm(path)
        return Placement(PlacementKind.SAME, self.relative(path), digest)

    def put_result(self, study_uid: str, evaluation_id: str, name: str, content: bytes) -> str:
        """Write a file that the node made and return its path relative to the root; repeatable.

        Raises:
            OutOfResourcesError: if it can not be written.
            ValueError: if the names would lead out of the folder of results.
        """
        if not is_uid(study_uid) or not evaluation_id.isalnum() or Path(name).name != name:
            raise ValueError(f"{study_uid}/{evaluation_id}/{name} is no place for a result")
        path = self.root / _RESULTS / study_uid / evaluation_id / name
        try:
            self._writer.replace(path, (content,))
        except OSError as exc:
            raise OutOfResourcesError(
                f"Study {study_uid}: {name} can not be written: {exc.strerror}; free space, then retry",
                "out of resources",
            ) from exc
        return self.relative(path)

    def check(self) -> str:
        """Say how much room there is.

        Raises:
            StoreUnusableError: if the folder is gone or can not be written.
        """
        if not os.access(self.root, os.W_OK):
            raise StoreUnusableError(str(self.root), "is not there or can not be written")
        return f"{shutil.disk_usage(self.root).free / 1e9:.1f} GB free"

    def path(self, relative: str) -> Path:
        """Return the absolute path of a file that the index names relative to the root."""
        return self.root / relative

    def relative(self, path: Path) -> str:
        """Return the path relative to the root, as the index holds it."""
        return path.relative_to(self.root).as_posix()

    def scan(self) -> Iterator[StoredFile]:
        """Read the header of every received file, oldest first; files that are no Instances are logged."""
        places = [(path, False) for path in (self.root / _STUDIES).glob("*/*/*.dcm")]
        places += [(path, True) for path in (self.root / _CONFLICTS).glob("*/*.dcm")]
        for path, is_conflict in sorted(places, key=lambda place: place[0].stat().st_mtime_ns):
            try:
                yield self._read(path, is_conflict)
            except UnreadableDatasetError as exc:
                log.warning("store.file_unreadable", path=self.relative(path), reason=str(exc))

    def clear_incoming(self) -> int:
        """Delete what dead processes left in ``incoming/`` and return how many files that were."""
        return self._writer.clear_stale()

    def _keep_apart(self, received: ReceivedInstance, digest: str) -> Placement:
        path = self.root / _CONFLICTS / received.header.sop_instance_uid / f"{digest}.dcm"
        # The name holds the digest: what is there already is the same.
        if path.exists() or not self._writer.write_new(path, received.encoded()):
            self._writer.confirm(path)
        return Placement(PlacementKind.CONFLICT, self.relative(path), digest)

    def _instance_path(self, header: InstanceHeader) -> Path:
        uids = (header.study_uid, header.series_uid, header.sop_instance_uid)
        if not all(map(is_uid, uids)):
            raise UnreadableDatasetError("An Instance with a malformed UID", "malformed UID")
        return self.root.joinpath(_STUDIES, uids[0], uids[1], f"{uids[2]}.dcm")

    def _read(self, path: Path, is_conflict: bool) -> StoredFile:
        found = read_part10(path)
        return StoredFile(
            header=found.header,
            calling_ae=found.calling_ae,
            path=self.relative(path),
            sha256=dataset_digest(path),
            stored_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            is_conflict=is_conflict,
        )


@contextlib.contextmanager
def _translated(header: InstanceHeader) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise OutOfResourcesError(
            f"Study {header.study_uid}, Series {header.series_uid}: "
            f"an Instance can not be written: {exc.strerror}; free space, then send it again",
            "out of resources",
        ) from exc


def _holds(path: Path, digest: str) -> bool:
    try:
        return dataset_digest(path) == digest
    except UnreadableDatasetError:
        # What lies there was damaged after it was stored; it stays as it is for a person to look at.
        return False
