"""How Studies came in, read from the index for the decision whether they are complete."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Exists, Row, exists, func, select

from node.completeness import AssociationEnd, Carriage, StudyArrival
from node.indexed_instances import mr_images
from node.leases import held
from node.tables import (
    associations,
    carried,
    evaluation_inputs,
    evaluations,
    instances,
    processes,
    results,
    studies,
)

AT_ONCE = 500
"""Studies whose UIDs stand in one statement: SQLite takes 32766 values."""


def read_open_arrivals(connection: Connection) -> list[StudyArrival]:
    """Collect how the Studies came in that are still to be decided upon, oldest first; they are few."""
    undecided = select(studies).where(studies.c.is_open).order_by(studies.c.first_at)
    found = connection.execute(undecided).all()
    parts = (found[begin : begin + AT_ONCE] for begin in range(0, len(found), AT_ONCE))
    return [each for part in parts for each in read_arrivals(connection, part)]


def carried_something() -> Exists:
    """Return the condition on ``associations`` that something came on one."""
    return exists().where(carried.c.association_id == associations.c.association_id)


def read_arrivals(connection: Connection, chosen: Sequence[Row[Any]]) -> list[StudyArrival]:
    """Collect how some Studies came in, within one transaction with the reading of their rows.

    All of them with a few statements: the leading process asks in every round.
    """
    uids = [study.study_uid for study in chosen]
    by_series: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(
        select(
            instances.c.study_uid,
            instances.c.series_uid,
            func.count().label("held"),
            mr_images().label("mr_images"),
        )
        .where(instances.c.study_uid.in_(uids))
        .group_by(instances.c.study_uid, instances.c.series_uid)
    ):
        by_series[row.study_uid].append(row)
    carriages: dict[str, list[Carriage]] = defaultdict(list)
    for row in connection.execute(
        select(carried, associations)
        .join(associations, associations.c.association_id == carried.c.association_id)
        .where(carried.c.study_uid.in_(uids))
    ):
        carriages[row.study_uid].append(_carriage(row))
    reachable_since = _reachable_since(connection) if chosen else None
    undeclared = _undeclared(connection) if chosen else set()
    return [
        _arrival(
            connection,
            study,
            by_series[study.study_uid],
            carriages[study.study_uid],
            reachable_since,
            undeclared,
        )
        for study in chosen
    ]


def _carriage(row: Row[Any]) -> Carriage:
    return Carriage(
        association_id=row.association_id,
        calling_ae=row.calling_ae,
        series_uid=row.series_uid,
        end=AssociationEnd(row.ended),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        last_instance_at=row.last_at,
        refused=row.refused,
        broke_because=row.reason,
        refused_because=row.refusal,
    )


def _arrival(
    connection: Connection,
    study: Row[Any],
    by_series: Sequence[Row[Any]],
    carriages: Sequence[Carriage],
    reachable_since: datetime | None,
    undeclared: set[str],
) -> StudyArrival:
    mr_image_count = sum(series.mr_images for series in by_series)
    without_mr_image = frozenset(series.series_uid for series in by_series if not series.mr_images)
    return StudyArrival(
        study_uid=study.study_uid,
        revision=study.revision,
        instance_count=sum(series.held for series in by_series),
        mr_image_count=mr_image_count,
        carriages=tuple(carriages),
        reachable_since=reachable_since,
        undeclared=tuple(sorted(undeclared & {each.calling_ae for each in carriages})),
        without_mr_image=without_mr_image,
        # It matters only where such a Series broke off, and is asked in every round.
        has_results=any(each.ended_badly and each.series_uid in without_mr_image for each in carriages)
        and _has_results(connection, study.study_uid, mr_image_count),
    )


def _has_results(connection: Connection, study_uid: str, mr_image_count: int) -> bool:
    """Tell whether an evaluation of so many Instances made results; none ever goes without the others."""
    of_evaluation = evaluation_inputs.c.evaluation_id == evaluations.c.evaluation_id
    count = select(func.count()).where(of_evaluation).scalar_subquery()
    made = exists().where(results.c.evaluation_id == evaluations.c.evaluation_id)
    of_study = evaluations.c.study_uid == study_uid
    return bool(connection.scalar(select(exists().where(of_study, made, count == mr_image_count))))


def _undeclared(connection: Connection) -> set[str]:
    """List the senders that have an open association that carried nothing yet."""
    is_open = associations.c.ended == AssociationEnd.OPEN
    return set(connection.scalars(select(associations.c.calling_ae).where(is_open, ~carried_something())))


def _reachable_since(connection: Connection) -> datetime | None:
    """Return since when senders could reach a receiver without a gap, None if none lives."""
    listening = select(processes).where(processes.c.reachable_since.is_not(None))
    since = {row.process_id: row.reachable_since for row in connection.execute(listening)}
    # The latest knows of the others whether they lived when it came.
    return max((since[process_id] for process_id in held(connection, since)), default=None)
