"""Makes the index again from the files of the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import structlog
from sqlalchemy import Connection, delete, exists, func, select

from node.database import Database
from node.errors import StoreUnusableError, words_of
from node.indexed_instances import IndexedInstance, enter_instance
from node.sop_classes import MR_IMAGE_SOP_CLASSES
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


EMPTY = (
    "it holds no Study, and the index knows some: mount the folder or name the bucket that holds them; "
    "if they are gone for good, move the index away, too"
)
"""Why an index is not emptied after an empty store."""


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """How many entries a rebuild added and removed, and how many files the index knows as conflicts then."""

    added: int
    removed: int
    conflicts: int


def is_lost(database: Database, store: Store) -> bool:
    """Tell whether the index knows nothing while the store holds something.

    Raises:
        IndexUnavailableError: if the index cannot be read.
        OSError: if the store cannot.
    """
    with database.reading() as connection:
        if connection.execute(select(studies.c.study_uid).limit(1)).first() is not None:
            return False
    return store.holds_any()


def rebuild(
    database: Database, store: Store, said: Callable[[int, int], None] = lambda _done, _of: None
) -> RebuildReport:
    """Bring the index in line with the files: add what it lacks, remove what is gone.

    Study after Study, so that an archive of any size fits the memory; a file that the index knows is not
    opened. Evaluations and deliveries stay as they are. A Study of which an image was added waits for a
    person. One that is being removed does not come back.

    Args:
        database: the index.
        store: holds the files.
        said: is told how many Studies were read, of how many that must be.

    Raises:
        IndexUnavailableError: if the index cannot be written; a second run goes on.
        StoreUnusableError: if a file cannot be read; so does it then. Also if there is none at all and the
            index knows some: then nothing is changed, for the store is not the one that it was.
    """
    try:
        return _rebuild(database, store, said)
    except OSError as exc:
        raise StoreUnusableError(store.place, f"{words_of(exc)}; run this again, it goes on") from exc


def _rebuild(database: Database, store: Store, said: Callable[[int, int], None]) -> RebuildReport:
    ages = store.ages()
    if not ages and _holds_any(database):
        raise StoreUnusableError(store.place, EMPTY)
    lacking, removed = _compare(database, store, ages)
    removed += _remove_conflicts(database, store)
    apart, added = _kept_apart(database), 0
    for done, study_uid in enumerate(lacking):
        said(done, len(lacking))
        known = _known(database, study_uid).keys() | apart
        new = [found for found in store.instance_files(study_uid) if found.path not in known]
        added += _add(database, store.read(new))
    added += _add(database, store.read(each for each in store.conflict_files() if each.path not in apart))
    report = RebuildReport(added, removed, _conflict_count(database))
    log.info("index.rebuilt", added=report.added, removed=report.removed, conflicts=report.conflicts)
    return report


def _add(database: Database, files: Iterator[StoredFile]) -> int:
    """Enter files, and return how many are Instances that the index did not know."""
    added = 0
    while batch := list(islice(files, FILES_PER_TRANSACTION)):
        with database.writing() as connection:
            going = set(connection.scalars(select(removals.c.study_uid)))
            stays = [file for file in batch if file.header.study_uid not in going]
            kinds = [_enter(database, connection, file) for file in stays]
        added += kinds.count(PlacementKind.NEW)
    return added


def _enter(database: Database, connection: Connection, file: StoredFile) -> PlacementKind:
    header, stored_at = file.header, file.stored_at
    placed = PlacementKind.CONFLICT if file.is_conflict else PlacementKind.SAME
    entry = IndexedInstance.at(header, file.calling_ae, file.sha256, file.path, stored_at)
    kind = enter_instance(database, connection, entry, placed)
    if kind is PlacementKind.NEW:
        new = {
            "study_uid": header.study_uid,
            "first_at": stored_at,
            "last_at": stored_at,
            "revision": 1,
            "is_open": False,
            "is_given_up": False,
            "reason": REBUILT,
        }
        again = {"last_at": stored_at, "revision": studies.c.revision + 1}
        # What plays no part in an evaluation asks for none.
        if header.sop_class_uid in MR_IMAGE_SOP_CLASSES:
            again["reason"] = REBUILT
        entered = database.insert(studies).values(new)
        connection.execute(entered.on_conflict_do_update(index_elements=["study_uid"], set_=again))
    return kind


def _compare(database: Database, store: Store, ages: Collection[str]) -> tuple[list[str], int]:
    """Remove the Instances whose files are gone.

    Returns: Studies with files that the index lacks, the oldest first, and how many Instances were removed.
    """
    with database.reading() as connection:
        indexed = connection.scalars(select(studies.c.study_uid)).all()
    lacking, removed = [], 0
    for study_uid in dict.fromkeys((*ages, *indexed)):
        # The index first: a file is there before its entry is.
        known = _known(database, study_uid)
        there = {found.path for found in store.instance_files(study_uid)}
        removed += _remove_gone(database, known, known.keys() - there)
        if there - known.keys():
            lacking.append(study_uid)
    return lacking, removed


def _holds_any(database: Database) -> bool:
    with database.reading() as connection:
        return connection.execute(select(instances.c.path).limit(1)).first() is not None


def _known(database: Database, study_uid: str) -> dict[str, str]:
    """Return the SOP Instance UIDs of a Study's Instances in the index, by path."""
    of_study = instances.c.study_uid == study_uid
    with database.reading() as connection:
        rows = connection.execute(select(instances.c.path, instances.c.sop_instance_uid).where(of_study))
        return {row.path: row.sop_instance_uid for row in rows}


def _kept_apart(database: Database) -> set[str]:
    """Return the paths of conflicts that stay apart: an Instance of the index has their UID."""
    is_taken = exists().where(instances.c.sop_instance_uid == conflicts.c.sop_instance_uid)
    with database.reading() as connection:
        return set(connection.scalars(select(conflicts.c.path).where(is_taken)))


def _conflict_count(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(conflicts)) or 0


def _remove_gone(database: Database, known: Mapping[str, str], gone: Collection[str]) -> int:
    if not gone:
        return 0
    removed = 0
    with database.writing() as connection:
        for path in sorted(gone):
            log.warning("index.file_gone", path=path)
            entry = (instances.c.sop_instance_uid == known[path]) & (instances.c.path == path)
            removed += connection.execute(delete(instances).where(entry)).rowcount
    return removed


def _remove_conflicts(database: Database, store: Store) -> int:
    """Remove what was kept apart and whose files are gone; return how much that was."""
    with database.reading() as connection:
        kept_apart = connection.scalars(select(conflicts.c.path)).all()
    # A bucket is asked for each: no transaction waits for that.
    gone = [path for path in kept_apart if not store.exists(path)]
    for path in gone:
        log.warning("index.file_gone", path=path)
    with database.writing() as connection:
        for path in gone:
            connection.execute(delete(conflicts).where(conflicts.c.path == path))
    return len(gone)
