"""Makes the index again from the files of the store."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import structlog
from sqlalchemy import Connection, delete, select

from node.database import Database
from node.index import IndexedInstance, enter_instance
from node.store import PlacementKind, Store, StoredFile
from node.tables import conflicts, instances, removals, studies

log = structlog.get_logger(__name__)

FILES_PER_TRANSACTION = 200
"""Enough to make the cost of a transaction small, few enough to let a receiver in between."""

REBUILT = (
    "Rebuilt from the files, which do not tell whether all of it arrived; `csvd-node retry` evaluates it."
)
"""Why a Study waits whose arrival only its files bear witness to."""


LOST = (
    "The store holds files of Studies, and the index knows none: it was lost. Run `csvd-node rebuild-index`."
)
"""What to do where the index began anew beside a store that did not."""


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """How many entries a rebuild added and removed, and how many files lie apart as conflicts."""

    added: int
    removed: int
    conflicts: int


def is_lost(database: Database, store: Store) -> bool:
    """Tell whether the index knows nothing while the store holds something.

    Raises:
        IndexUnavailableError: if the index can not be read.
        OSError: if the store can not.
    """
    with database.reading() as connection:
        if connection.execute(select(studies.c.study_uid).limit(1)).first() is not None:
            return False
    return store.holds_any()


def rebuild(database: Database, store: Store) -> RebuildReport:
    """Bring the index in line with the files: add what it lacks, remove what is gone.

    Evaluations and deliveries stay as they are. A Study of which something was added waits for a person. One
    that is being removed does not come back.

    Raises:
        IndexUnavailableError: if the index can not be written; a second run goes on.
    """
    removed = _remove_gone(database, store)
    kinds: list[PlacementKind] = []
    files = store.scan()
    while batch := list(islice(files, FILES_PER_TRANSACTION)):
        with database.writing() as connection:
            going = set(connection.scalars(select(removals.c.study_uid)))
            stays = [file for file in batch if file.header.study_uid not in going]
            kinds += [_enter(database, connection, file) for file in stays]
    report = RebuildReport(kinds.count(PlacementKind.NEW), removed, kinds.count(PlacementKind.CONFLICT))
    log.info("index.rebuilt", added=report.added, removed=report.removed, conflicts=report.conflicts)
    return report


def _enter(database: Database, connection: Connection, file: StoredFile) -> PlacementKind:
    header, stored_at = file.header, file.stored_at
    placed = PlacementKind.CONFLICT if file.is_conflict else PlacementKind.SAME
    entry = IndexedInstance.at(header, file.calling_ae, file.sha256, file.path, stored_at)
    kind = enter_instance(database, connection, entry, placed)
    if kind is PlacementKind.NEW:
        connection.execute(
            database.insert(studies)
            .values(
                study_uid=header.study_uid,
                first_at=stored_at,
                last_at=stored_at,
                revision=1,
                is_open=False,
                is_given_up=False,
                reason=REBUILT,
            )
            .on_conflict_do_update(
                index_elements=["study_uid"],
                set_={"last_at": stored_at, "revision": studies.c.revision + 1, "reason": REBUILT},
            )
        )
    return kind


def _remove_gone(database: Database, store: Store) -> int:
    removed, there = 0, store.received_paths()
    with database.writing() as connection:
        for table in (instances, conflicts):
            indexed = connection.scalars(select(table.c.path)).all()
            for path in (path for path in indexed if path not in there):
                log.warning("index.file_gone", path=path)
                removed += connection.execute(delete(table).where(table.c.path == path)).rowcount
    return removed
