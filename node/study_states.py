"""Where the Studies are, worked out by the database: to count and to choose among very many."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Exists, FromClause, Label, and_, case, exists, func, select

from node.completeness import ArrivalState, CompletenessSettings, Verdict, is_complete
from node.deliveries import ARRIVED, DeliveryState
from node.evaluations import EvaluationState
from node.index import is_mr_image, read_open_arrivals
from node.tables import deliveries, evaluations, instances, studies


class StudyState(StrEnum):
    """Where a Study is on its way.

    KEPT: it holds nothing to evaluate. FALLBACK: a destination refused a form and has another instead.
    """

    RECEIVING = "receiving"
    HELD = "held"
    KEPT = "kept"
    WAITING = "waiting"
    EVALUATING = "evaluating"
    EVALUATED = "evaluated"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    FALLBACK = "fallback"
    FAILED = "failed"


ARRIVING = {
    ArrivalState.RECEIVING: StudyState.RECEIVING,
    ArrivalState.HELD: StudyState.HELD,
    ArrivalState.KEPT: StudyState.KEPT,
    ArrivalState.COMPLETE: StudyState.WAITING,
    ArrivalState.ABANDONED: StudyState.FAILED,
}
"""What a verdict on an open Study makes of it."""

EVALUATING = {
    EvaluationState.WAITING: StudyState.WAITING,
    EvaluationState.EVALUATING: StudyState.EVALUATING,
    EvaluationState.FAILED: StudyState.FAILED,
    EvaluationState.SUPERSEDED: StudyState.WAITING,
}
"""What the state of the latest evaluation makes of its Study, until it ended well."""

_LATEST = (
    select(evaluations.c.study_uid, func.max(evaluations.c.number).label("number"))
    .group_by(evaluations.c.study_uid)
    .subquery("latest")
)


def with_latest_evaluation() -> FromClause:
    """Join each Study with its latest evaluation, if it has one."""
    is_latest = and_(evaluations.c.study_uid == _LATEST.c.study_uid, evaluations.c.number == _LATEST.c.number)
    return studies.outerjoin(_LATEST, _LATEST.c.study_uid == studies.c.study_uid).outerjoin(
        evaluations, is_latest
    )


def decided_state() -> Label[Any]:
    """Return the column with the state of a Study that is not open, over ``with_latest_evaluation``.

    Of an open Study it holds nothing: whether that is complete depends on the time.
    """
    undecided = evaluations.c.evaluation_id.is_(None)
    missing = deliveries.c.state.not_in((*ARRIVED, DeliveryState.REPLACED))
    replaced = deliveries.c.state == DeliveryState.REPLACED
    return case(
        (studies.c.is_open, None),
        (studies.c.is_given_up, StudyState.FAILED),
        (undecided & _has_instance() & ~_has_instance(is_mr_image()), StudyState.KEPT),
        (undecided, StudyState.HELD),
        *((evaluations.c.state == made_of, state) for made_of, state in EVALUATING.items()),
        (~_has_delivery(), StudyState.EVALUATED),
        (~_has_delivery(missing) & _has_delivery(replaced), StudyState.FALLBACK),
        (~_has_delivery(missing), StudyState.DELIVERED),
        (_has_delivery(missing, deliveries.c.next_attempt_at.is_not(None)), StudyState.DELIVERING),
        else_=StudyState.FAILED,
    ).label("state")


def open_verdicts(
    connection: Connection, now: datetime, settings: CompletenessSettings
) -> dict[str, Verdict]:
    """Judge the Studies that are open, which are few, by Study Instance UID."""
    arrivals = read_open_arrivals(connection)
    return {arrival.study_uid: is_complete(arrival, now, settings) for arrival in arrivals}


def count_states(
    connection: Connection, now: datetime, settings: CompletenessSettings
) -> dict[StudyState, int]:
    """Count the Studies by state; states without any are there with zero."""
    state = decided_state()
    counted = select(state, func.count()).select_from(with_latest_evaluation()).group_by(state)
    counts = dict.fromkeys(StudyState, 0)
    for name, count in connection.execute(counted.where(~studies.c.is_open)):
        counts[StudyState(name)] += count
    for verdict in open_verdicts(connection, now, settings).values():
        counts[ARRIVING[verdict.state]] += 1
    return counts


def _has_instance(*conditions: ColumnElement[bool]) -> Exists:
    return exists().where(instances.c.study_uid == studies.c.study_uid, *conditions)


def _has_delivery(*conditions: Any) -> Exists:
    return exists().where(deliveries.c.evaluation_id == evaluations.c.evaluation_id, *conditions)
