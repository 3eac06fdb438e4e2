"""The error tree of ``node``; each class says whether a retry helps."""

from __future__ import annotations

import errno
from collections.abc import Collection
from typing import ClassVar

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a disk, or a quota, that is full."""


def words_of(error: OSError) -> str:
    """Say what the operating system says of a fault, or the error itself where the system said nothing."""
    return error.strerror or str(error) or type(error).__name__


class NodeError(Exception):
    """Base of every error that the node raises on purpose.

    Attributes:
        retryable: whether the same work may succeed later without a change by a person.
    """

    retryable: ClassVar[bool] = False


class RefusedInstanceError(NodeError):
    """An Instance that arrived over the network is not taken.

    Attributes:
        status: the C-STORE status that says so to the peer (PS3.4 B.2.3, PS3.7 9.1.1.1.9).
        comment: Error Comment (0000,0902), at most 64 characters and without identifiers.
        problem: the same for who runs the node, in more words where there are any.
    """

    status: ClassVar[int] = 0xC000

    def __init__(self, message: str, comment: str, problem: str = "") -> None:
        self.comment, self.problem = comment[:64], problem or comment
        super().__init__(message)


class UnreadableDatasetError(RefusedInstanceError):
    """The data set cannot be parsed, or lacks a UID that it must have: 0xC000, cannot understand.

    Attributes:
        study_uid: Study Instance UID, as far as it was read before; else empty.
        series_uid: Series Instance UID, in the same way.
    """

    status = 0xC000

    def __init__(self, message: str, comment: str, study_uid: str = "", series_uid: str = "") -> None:
        self.study_uid, self.series_uid = study_uid, series_uid
        super().__init__(message, comment)


class SopMismatchError(RefusedInstanceError):
    """The data set is of another SOP Class or Instance than the request says: 0xA900."""

    status = 0xA900


class OutOfResourcesError(RefusedInstanceError):
    """The disk or the index cannot take the Instance now: 0xA700; the peer may send it again later."""

    retryable = True
    status = 0xA700


class RefusedReportError(NodeError):
    """A report on a commitment is none, or one that nobody asked for.

    Attributes:
        status: the N-EVENT-REPORT status that says so to the peer (PS3.7 10.1.1.1.8).
    """

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class StoreUnusableError(NodeError):
    """The folder of the store cannot hold files the way the store needs it."""

    def __init__(self, root: str, problem: str) -> None:
        self.root, self.problem = root, problem
        super().__init__(f"Store {root}: {problem}")


class StoreUnreachableError(StoreUnusableError):
    """The object store does not answer, does not know the bucket, or does not let the node in."""

    retryable = True


class BucketUnreachableError(OSError):
    """The object store does not answer, or does not let the node in."""


class ReceiverUnavailableError(NodeError):
    """The receiver cannot listen where it is told to."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host, self.port, self.problem = host, port, problem
        super().__init__(
            f"The receiver cannot listen on {host}:{port}: {problem}; free it or configure another"
        )


class IncomingConnectionError(NodeError):
    """A connection of a sender brings what is not let through: too much, too slowly, or nothing of DICOM."""


class CodestreamError(NodeError):
    """A compressed frame is of another size than the header says: to decode it could take all the memory."""


class InflatedTooLargeError(NodeError):
    """A deflated data set would fill the memory."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"its deflated data set holds more than {limit_bytes // 1024**2} MiB")


class WebUnavailableError(NodeError):
    """The HTTP port cannot be opened where it is told to."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host, self.port, self.problem = host, port, problem
        super().__init__(
            f"The HTTP port cannot be opened on {host}:{port}: {problem}; free it, or set web.port"
        )


class PartStoppedError(NodeError):
    """A part of the running node ended by itself."""

    def __init__(self, part: str) -> None:
        self.part = part
        super().__init__(f"The {part} has stopped: restart the node; its log says why")


class TlsConfigurationError(NodeError):
    """The files that TLS needs are not there, or do not fit together; the message names them."""


class StartInterruptedError(NodeError):
    """The process was told to stop before it was ready."""

    def __init__(self) -> None:
        super().__init__("The node was told to stop before it was ready")


class IndexUnavailableError(NodeError):
    """The index database does not answer, or is full."""

    retryable = True


class QueueUnavailableError(NodeError):
    """The database of the queues of work does not answer, or is full."""

    retryable = True


class DamagedDatabaseError(NodeError):
    """A SQLite file is damaged or none at all: it does not come back by itself."""

    def __init__(self, path: str, problem: str, cure: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path} cannot be used: {problem}; {cure}")


class OldSqliteError(NodeError):
    """The SQLite library of this Python is too old for the index."""

    def __init__(self, found: str, least: str) -> None:
        self.found = found
        super().__init__(
            f"This Python has SQLite {found}, and the index needs {least} or newer: take a Python with its "
            "own (`uv python install`), or PostgreSQL (database_url)"
        )


class NodeAlreadyRunningError(NodeError):
    """Another process serves the same SQLite database."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        super().__init__(
            f"Another process serves {folder} already: stop it, or let the processes share a PostgreSQL "
            "database (database_url)"
        )


class IndexSchemaError(NodeError):
    """The index was written by a newer version of the node."""

    def __init__(self, found: str, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(
            f"The index has schema version {found}, this node knows none above {expected}: run the version "
            "that wrote it, restore a backup, or name an empty database and rebuild it from the files"
        )


class NothingToEvaluateError(NodeError):
    """A Study holds no MR image."""

    def __init__(self, study_uid: str, instance_count: int) -> None:
        self.study_uid, self.instance_count = study_uid, instance_count
        held = f"none of its {instance_count} Instances is an MR image"
        super().__init__(
            f"Study {study_uid}: there is nothing to evaluate: "
            f"{held if instance_count else 'nothing of it is here'}; send its MR images"
        )


class NothingDeliveredError(NodeError):
    """A destination has nothing of a Study that could be sent again."""

    def __init__(self, study_uid: str, destinations: Collection[str]) -> None:
        self.study_uid = study_uid
        asked = " or ".join(destinations) or "any destination"
        super().__init__(
            f"Study {study_uid}: nothing of it was delivered to {asked}; `csvd-node study` shows where it is"
        )


class FilesLeftError(NodeError):
    """A Study was removed, and not all of its files could be deleted."""

    def __init__(self, study_uid: str, problem: str) -> None:
        self.study_uid, self.problem = study_uid, problem
        super().__init__(
            f"Study {study_uid} is removed, but not all of its files: {problem}; a running node tries again"
        )


class StudyAtWorkError(NodeError):
    """A Study cannot be removed while something happens with it."""

    def __init__(self, study_uid: str) -> None:
        self.study_uid = study_uid
        super().__init__(
            f"Study {study_uid} is not removed: it arrives, is evaluated or is to be delivered; "
            "`csvd-node study` shows which"
        )


class UnknownStudyError(NodeError):
    """No Instance of this Study was stored, or it was removed.

    Attributes:
        study_uid: Study Instance UID.
        why: when and by whom it was removed; empty if nobody remembers that it was.
    """

    def __init__(self, study_uid: str, why: str = "") -> None:
        self.study_uid, self.why = study_uid, why
        super().__init__(
            f"Study {study_uid}: not in the index, since {why or 'it never came or was removed'}; "
            "send it, or see `csvd-node studies`"
        )


class UnknownEvaluationError(NodeError):
    """No evaluation has this identifier."""

    def __init__(self, evaluation_id: str) -> None:
        self.evaluation_id = evaluation_id
        super().__init__(f"Evaluation {evaluation_id}: not in the index; see `csvd-node studies`")


class AssociationFailedError(NodeError):
    """No association with a destination: not reachable, rejected, or lost; the message says which."""

    retryable = True

    def __init__(self, destination: str, reason: str) -> None:
        self.destination, self.reason = destination, reason
        super().__init__(f"Destination {destination}: {reason}")


class NoContextAcceptedError(AssociationFailedError):
    """A destination accepted the association and not one of the SOP Classes."""

    def __init__(self, destination: str) -> None:
        super().__init__(destination, "accepts none of the SOP Classes that it is sent")


class NothingToAssessError(NodeError):
    """No Series of a Study can be segmented."""

    def __init__(self, study_uid: str, reasons: tuple[str, ...]) -> None:
        self.study_uid, self.reasons = study_uid, reasons
        said = "; ".join(reason.rstrip(".") for reason in reasons)
        super().__init__(
            f"Study {study_uid}: nothing can be assessed: {said}; "
            "`csvd-node study`, and of files `csvd-node identify`, shows what each Series was taken for"
        )


class WrongBundleError(NodeError):
    """A model bundle is configured for a segment that it does not find."""

    def __init__(self, configured: str, found: str, folder: str) -> None:
        self.configured, self.found, self.folder = configured, found, folder
        super().__init__(f"segmentors.{configured}: the bundle at {folder} finds {found}")


class DemonstrationError(NodeError):
    """The demonstration did not end with all results in the PACS."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"The demonstration failed: {problem}")
