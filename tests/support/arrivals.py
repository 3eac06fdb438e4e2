"""A Study's arrival as a script in seconds, played into a real store and index without a network."""

from __future__ import annotations

import contextlib
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import delete, insert

from node.completeness import AssociationEnd
from node.database import Database
from node.errors import NodeAlreadyRunningError
from node.index import Index
from node.intake import Intake, StoreRequest
from node.leases import Lease, held, open_lease
from node.store import PlacementKind, Store
from node.tables import processes
from tests.support.instances import dataset_bytes, mr_dataset, write_instance

START = datetime(2024, 1, 15, 9, 0, 0, tzinfo=UTC)


def at(second: float) -> datetime:
    """Return the time a number of seconds after the start."""
    return START + timedelta(seconds=second)


def enter_receiver(database: Database, process_id: str, reachable_since: datetime) -> None:
    """Enter a process among the others that senders can reach, as one does once it listens."""
    row = {
        "process_id": process_id,
        "host": "receiver.example",
        "roles": "receive",
        "version": "2",
        "started_at": reachable_since,
        "reachable_since": reachable_since,
    }
    with database.writing() as connection:
        connection.execute(delete(processes).where(processes.c.process_id == process_id))
        connection.execute(insert(processes).values(row))


def lease_of(database: Database, process_id: str) -> Lease:
    """Let a process live while its lease is held, if it does not yet; on SQLite none can beside another."""
    with database.reading() as connection:
        lease = open_lease(connection.engine.url.render_as_string(hide_password=False))
        has_lease = held(connection, [process_id])
    if not has_lease:
        with contextlib.suppress(NodeAlreadyRunningError):
            lease.hold(process_id)
    return lease


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.second = 0.0

    def __call__(self) -> datetime:
        """Return the time it shows."""
        return at(self.second)


class Arrivals:
    """Plays associations into an intake; ``key`` names an association. Its receiver lives as long as this.

    Attributes:
        clock: shows the second of the step played last.
        store: the files.
        index: the entries.
        intake: what is under test, or what fills the index for a test of something else.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        receiver_id: str = "CSVD",
        *,
        lives: bool = True,
        **intake: Any,
    ) -> None:
        self._made = folder / "made"
        self.clock = Clock()
        self.store, self.index = Store(folder / "root"), Index(database)
        enter_receiver(database, receiver_id, START)
        if lives:
            weakref.finalize(self, lease_of(database, receiver_id).release)
        self.intake = Intake(self.store, self.index, receiver_id, self.clock, **intake)

    def open(self, key: str, second: float, sender: str = "SCANNER1") -> None:
        """Open an association."""
        self.clock.second = second
        self.intake.open(key, sender, "CSVD")

    def send(self, key: str, second: float, dataset: Dataset) -> PlacementKind:
        """Send an Instance on an association."""
        self.clock.second = second
        content = dataset_bytes(write_instance(self._made, dataset))
        request = StoreRequest(
            sop_class_uid=dataset.SOPClassUID,
            sop_instance_uid=dataset.SOPInstanceUID,
            context_sop_class_uid=dataset.SOPClassUID,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            dataset=content,
        )
        return self.intake.take(key, request)

    def send_series(
        self, key: str, second: float, series: object = 1, count: int = 3, study: object = 1
    ) -> list[PlacementKind]:
        """Send the Instances of a Series, numbered from 1, within one second."""
        return [self.send(key, second, mr_dataset(study, series, number)) for number in range(1, count + 1)]

    def release(self, key: str, second: float) -> None:
        """Release an association."""
        self.clock.second = second
        self.intake.end(key, AssociationEnd.RELEASED)

    def abort(self, key: str, second: float, silent_for_s: float = 0.0) -> None:
        """Abort an association."""
        self.clock.second = second
        self.intake.end(key, AssociationEnd.ABORTED, silent_for_s)

    def whole(self, key: str, second: float, series: object = 1, count: int = 3, study: object = 1) -> None:
        """Open, send a Series and release, within one second."""
        self.open(key, second)
        self.send_series(key, second, series, count, study)
        self.release(key, second)


STUDY_UID = str(mr_dataset().StudyInstanceUID)
"""Of the Study that is played where nothing else is said."""
