"""Part 10 files in a folder or a bucket: the truth that the index is built from.

Layout below the root: ``studies/<Study>/<Series>/<Instance>.dcm`` holds what was received, byte for byte;
``conflicts/<Instance>/<digest>.dcm`` what came later under a UID that was taken, with other bytes;
``results/<Study>/<evaluation>/`` what the node made; ``incoming/`` files that are still being written. Where
they lie in a bucket, ``copies/`` holds those on this machine that were read a short while ago.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import itemgetter
from pathlib import Path

import structlog

from node.bucket_files import BucketFiles
from node.errors import (
    FULL_DISK,
    OutOfResourcesError,
    StoreUnreachableError,
    StoreUnusableError,
    UnreadableDatasetError,
    words_of,
)
from node.health import Strain
from node.part10 import InstanceHeader, dataset_digest, encode_file_meta, is_uid, read_part10
from node.storage import Files, FolderFiles, FoundFile, StorageSettings

log = structlog.get_logger(__name__)

_STUDIES, _CONFLICTS, _RESULTS, _INCOMING = "studies", "conflicts", "results", "incoming"
_COPIES = "copies"

FETCHED_AT_A_TIME = 16
"""Files that are fetched from a bucket at the same time: most of the time each one waits."""


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
    """DICOM files in one place; nothing in it is ever overwritten with other bytes, except results.

    A file has its final name only once all of it is safe, and then that name is safe too: on disk, or
    acknowledged by the object store.

    Args:
        root: folder of this machine: of the files, or of copies of what lies elsewhere.
        files: where they lie; None is below the root.

    Raises:
        StoreUnreachableError: if the place does not answer.
        StoreUnusableError: if it cannot be written, or knows no way to give a name without
            overwriting: hard links in a folder, conditional writes in a bucket.
    """

    def __init__(self, root: Path, files: Files | None = None) -> None:
        self.root = root.absolute()
        self._files = files or FolderFiles(self.root, _INCOMING)
        try:
            for folder in () if files else (_STUDIES, _CONFLICTS, _RESULTS):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            self._files.try_out()
        except OSError as exc:
            # EIO: the place does not answer, which may pass by itself; anything else it will say again.
            kind = StoreUnreachableError if exc.errno == errno.EIO else StoreUnusableError
            raise kind(self._files.place, f"cannot be used: {_said(exc)}") from exc

    @property
    def place(self) -> str:
        """Say for people where the files lie."""
        return self._files.place

    def put(self, received: ReceivedInstance) -> Placement:
        """Store an Instance; on return its file is safe under its final name.

        Raises:
            OutOfResourcesError: if it cannot be written; then nothing of it is left behind, or all
                of it, which is the same when it is sent again.
        """
        header, digest = received.header, received.sha256
        path = _instance_path(header)
        with _translated(header):
            if self._files.write_new(path, received.encoded()):
                return Placement(PlacementKind.NEW, path, digest)
            if not self._holds(path, digest):
                return self._keep_apart(received, digest)
            self._files.confirm(path)
        return Placement(PlacementKind.SAME, path, digest)

    def put_result(self, study_uid: str, evaluation_id: str, name: str, content: bytes) -> str:
        """Write a file that the node made and return its path relative to the root; repeatable.

        Raises:
            OutOfResourcesError: if it cannot be written.
            ValueError: if the names would lead out of the folder of results.
        """
        if not is_uid(study_uid) or not evaluation_id.isalnum() or Path(name).name != name:
            raise ValueError(f"{study_uid}/{evaluation_id}/{name} is no place for a result")
        path = f"{_RESULTS}/{study_uid}/{evaluation_id}/{name}"
        try:
            self._files.replace(path, (content,))
        except OSError as exc:
            raise OutOfResourcesError(
                f"Study {study_uid}: {name} cannot be written: {_said(exc)}; {_cure(exc)}",
                "out of resources",
            ) from exc
        return path

    def check(self) -> str | Strain:
        """Say how much room there is, or that the object store answers.

        Raises:
            StoreUnusableError: if the files cannot be reached or written.
        """
        try:
            return self._files.check()
        except OSError as exc:
            raise StoreUnusableError(self._files.place, words_of(exc)) from exc

    def path(self, relative: str) -> Path:
        """Return a file of this machine that holds what the index names; from a bucket it is fetched first.

        Raises:
            OSError: if it cannot be fetched.
        """
        return self._files.local(relative)

    def exists(self, relative: str) -> bool:
        """Tell whether there is a file, without fetching it.

        Raises:
            OSError: if that cannot be asked.
        """
        return self._files.exists(relative)

    def paths(self, relatives: Iterable[str]) -> list[Path]:
        """Return files of this machine, in the same order; from a bucket many are fetched at a time.

        Raises:
            OSError: if one cannot be fetched.
        """
        with ThreadPoolExecutor(FETCHED_AT_A_TIME) as pool:
            return list(pool.map(self._files.local, relatives))

    def each_path(self, relatives: Iterable[str]) -> list[Path | OSError]:
        """Return files as ``paths`` does, and in the place of one that cannot be fetched the reason."""
        with ThreadPoolExecutor(FETCHED_AT_A_TIME) as pool:
            return list(pool.map(self._local, relatives))

    def result_paths(self, study_uid: str, evaluation_id: str) -> list[str]:
        """List all files that an evaluation made, pictures among them, relative to the root, by name."""
        folder = f"{_RESULTS}/{study_uid}/{evaluation_id}"
        return sorted(found.path for found in self._files.found(folder))

    def remove(self, study_uid: str, conflicts: Sequence[str]) -> int:
        """Delete all files of a Study, and return how many; may be done again after an interruption.

        Args:
            study_uid: which Study; its files of Instances and of results are looked for.
            conflicts: paths of what was kept apart of it.

        Raises:
            ValueError: if it is no UID, and would name another folder.
            StoreUnusableError: if one cannot be deleted.
        """
        if not is_uid(study_uid):
            raise ValueError(f"{study_uid} is no UID")
        folders = (f"{_STUDIES}/{study_uid}", f"{_RESULTS}/{study_uid}")
        try:
            paths = {each.path for folder in folders for each in self._files.found(folder)}
            paths.update(conflicts)
            self._files.delete(sorted(paths))
        except OSError as exc:
            raise StoreUnusableError(self._files.place, words_of(exc)) from exc
        return len(paths)

    def holds_any(self) -> bool:
        """Tell whether anything was ever received."""
        return any(next(found, None) for found in (self._instances(_STUDIES), self._conflicts()))

    def ages(self) -> dict[str, datetime]:
        """Tell of each Study with files when the first of them was written, the oldest Study first."""
        first: dict[str, datetime] = {}
        for found in self._instances(_STUDIES):
            study_uid = found.path.split("/")[1]
            first[study_uid] = min(found.stored_at, first.get(study_uid, found.stored_at))
        return dict(sorted(first.items(), key=itemgetter(1)))

    def instance_files(self, study_uid: str) -> list[FoundFile]:
        """List the received files of a Study, oldest first."""
        return sorted(self._instances(f"{_STUDIES}/{study_uid}"), key=_age)

    def conflict_files(self) -> list[FoundFile]:
        """List the received files that were kept apart, oldest first."""
        return sorted(self._conflicts(), key=_age)

    def read(self, files: Iterable[FoundFile]) -> Iterator[StoredFile]:
        """Read the headers of received files; those that are no Instances are logged and left out.

        Raises:
            OSError: if one cannot be read.
        """
        with ThreadPoolExecutor(FETCHED_AT_A_TIME) as pool:
            yield from filter(None, pool.map(self._read, files))

    def clear_incoming(self) -> int:
        """Delete what dead processes left in ``incoming/`` and return how many files that were.

        Raises:
            OSError: if that cannot be.
        """
        return self._files.clear_stale()

    def _local(self, relative: str) -> Path | OSError:
        try:
            return self._files.local(relative)
        except OSError as error:
            return error

    def _keep_apart(self, received: ReceivedInstance, digest: str) -> Placement:
        path = f"{_CONFLICTS}/{received.header.sop_instance_uid}/{digest}.dcm"
        # The name holds the digest: what is there already is the same.
        if not self._files.write_new(path, received.encoded()):
            self._files.confirm(path)
        return Placement(PlacementKind.CONFLICT, path, digest)

    def _holds(self, path: str, digest: str) -> bool:
        try:
            return dataset_digest(self._files.local(path)) == digest
        except UnreadableDatasetError:
            # What lies there was damaged after it was stored; it stays as it is for a person to look at.
            return False

    def _instances(self, folder: str) -> Iterator[FoundFile]:
        return self._found(folder, depth=4)

    def _conflicts(self) -> Iterator[FoundFile]:
        return self._found(_CONFLICTS, depth=3)

    def _found(self, folder: str, depth: int) -> Iterator[FoundFile]:
        for found in self._files.found(folder):
            if found.path.endswith(".dcm") and found.path.count("/") == depth - 1:
                yield found

    def _read(self, found: FoundFile) -> StoredFile | None:
        try:
            with self._files.lent(found.path) as path:
                part10, digest = read_part10(path), dataset_digest(path)
        except UnreadableDatasetError as exc:
            log.warning("store.file_unreadable", path=found.path, reason=str(exc))
            return None
        return StoredFile(
            header=part10.header,
            calling_ae=part10.calling_ae,
            path=found.path,
            sha256=digest,
            stored_at=found.stored_at,
            is_conflict=found.path.startswith(f"{_CONFLICTS}/"),
        )


def _age(found: FoundFile) -> datetime:
    return found.stored_at


def open_store(settings: StorageSettings, root: Path) -> Store:
    """Open the store where the settings say: in a bucket, or below the root.

    Raises:
        StoreUnreachableError: if it does not answer.
        StoreUnusableError: if it cannot be used.
    """
    if settings.bucket is None:
        return Store(root)
    return Store(root, BucketFiles(settings, root.absolute() / _COPIES))


def _instance_path(header: InstanceHeader) -> str:
    uids = (header.study_uid, header.series_uid, header.sop_instance_uid)
    if not all(map(is_uid, uids)):
        raise UnreadableDatasetError("An Instance with a malformed UID", "malformed UID")
    return f"{_STUDIES}/{uids[0]}/{uids[1]}/{uids[2]}.dcm"


def _said(error: OSError) -> str:
    """Say what went wrong, and with which file, where that is not the one that would be written."""
    is_permission = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    place = f": {error.filename}" if is_permission and error.filename else ""
    return f"{words_of(error)}{place}"


def _cure(error: OSError) -> str:
    is_full = error.errno in (*FULL_DISK, errno.EFBIG)
    return "free space" if is_full else "mend that"


@contextlib.contextmanager
def _translated(header: InstanceHeader) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        problem = f"an Instance cannot be written: {_said(exc)}; {_cure(exc)}"
        raise OutOfResourcesError(
            f"Study {header.study_uid}, Series {header.series_uid}: {problem}, then send it again",
            "out of resources",
            problem,
        ) from exc
