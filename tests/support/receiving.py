"""A whole receiving side on a free port: store, index and receiver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from node.commitment_report import NO_REPORTING, Reporting
from node.completeness import AssociationEnd, CompletenessSettings, Verdict, is_complete
from node.database import Database
from node.index import Index
from node.receiver import Receiver
from node.receiver_settings import ReceiverSettings
from node.store import Store
from tests.support.arrivals import STUDY_UID, enter_receiver, lease_of

ALLOWED = ("SCANNER1", "SCANNER2", "STORESCU", "DCMSEND", "ORTHANC", "ECHOSCU")


@dataclass(frozen=True)
class ReceivingNode:
    """A running receiver and what it fills."""

    receiver: Receiver
    store: Store
    database: Database
    index: Index

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.receiver.port

    def stored(self) -> list[Path]:
        """List the files of Instances, without conflicts."""
        return sorted((self.store.root / "studies").rglob("*.dcm"))

    def ends(self, study_uid: str = STUDY_UID) -> list[AssociationEnd]:
        """List how the associations ended that carried a Study."""
        arrival = self.index.arrival(study_uid)
        ends = {} if arrival is None else {each.association_id: each.end for each in arrival.carriages}
        return sorted(ends.values())

    def verdict(self, study_uid: str = STUDY_UID, after_s: float = 10.0) -> Verdict:
        """Judge a Study as if a number of seconds had gone by."""
        arrival = self.index.arrival(study_uid)
        assert arrival is not None
        return is_complete(arrival, datetime.now(UTC) + timedelta(seconds=after_s), CompletenessSettings())


@contextmanager
def receiving_node(
    folder: Path, reporting: Reporting = NO_REPORTING, **settings: object
) -> Iterator[ReceivingNode]:
    """Run a receiver on a free port that knows its senders; other settings are the defaults."""
    values = {"port": 0, "calling_aes": ALLOWED, "stop_grace_s": 1.0, **settings}
    store, database = Store(folder / "root"), Database(f"sqlite:///{folder}/index.db")
    index = Index(database)
    try:
        with Receiver(ReceiverSettings.model_validate(values), store, index, reporting=reporting) as receiver:
            enter_receiver(database, "receiver", datetime.now(UTC))
            lease = lease_of(database, "receiver")
            yield ReceivingNode(receiver, store, database, index)
            lease.release()
    finally:
        database.close()
