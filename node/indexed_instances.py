"""The Instances in the index: one row each, and those that are kept apart beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, delete, func, select

from node.database import Database
from node.part10 import InstanceHeader
from node.sop_classes import MR_IMAGE_SOP_CLASSES
from node.store import PlacementKind
from node.tables import conflicts, instances


@dataclass(frozen=True, slots=True)
class IndexedInstance:
    """An Instance in the index; its path is relative to the root of the store."""

    sop_instance_uid: str
    study_uid: str
    series_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    path: str
    calling_ae: str
    received_at: datetime

    @classmethod
    def at(
        cls, header: InstanceHeader, calling_ae: str, sha256: str, path: str, received_at: datetime
    ) -> IndexedInstance:
        """Describe an Instance by its header and its place in the store."""
        return cls(
            sop_instance_uid=header.sop_instance_uid,
            study_uid=header.study_uid,
            series_uid=header.series_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            sha256=sha256,
            path=path,
            calling_ae=calling_ae,
            received_at=received_at,
        )


def enter_instance(
    database: Database, connection: Connection, entry: IndexedInstance, placed: PlacementKind
) -> PlacementKind:
    """Insert an Instance, or a conflict if its SOP Instance UID belongs to another file; say which."""
    row = {name: getattr(entry, name) for name in entry.__slots__}
    if placed is not PlacementKind.CONFLICT:
        if connection.scalar(database.insert_if_new(instances), row) is not None:
            if placed is PlacementKind.SAME:
                # It lay there apart, because another Study had its UID that is gone now.
                connection.execute(delete(conflicts).where(conflicts.c.path == entry.path))
            return PlacementKind.NEW
        same_uid = instances.c.sop_instance_uid == entry.sop_instance_uid
        if connection.scalar(select(instances.c.path).where(same_uid)) == entry.path:
            return PlacementKind.SAME
    connection.execute(database.insert_if_new(conflicts), row)
    return PlacementKind.CONFLICT


def read_instances(connection: Connection, statement: Select[Any]) -> list[IndexedInstance]:
    """Run a selection of Instances and list them by Series and UID."""
    ordered = statement.order_by("series_uid", "sop_instance_uid")
    return [
        IndexedInstance(**{name: row._mapping[name] for name in IndexedInstance.__slots__})
        for row in connection.execute(ordered)
    ]


def is_mr_image() -> ColumnElement[bool]:
    """Return the condition on ``instances`` that one is an MR image: only these are evaluated."""
    return instances.c.sop_class_uid.in_(MR_IMAGE_SOP_CLASSES)


def mr_images() -> ColumnElement[int]:
    """Return the number of MR images among the ``instances`` of a group."""
    return func.sum(case((is_mr_image(), 1), else_=0))
