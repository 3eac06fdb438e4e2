"""Where the Studies are, worked out by the database: to count and to choose among very many."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Exists,
    FromClause,
    Label,
    Select,
    and_,
    case,
    exists,
    func,
    select,
    union,
)

from node.arrivals import read_open_arrivals
from node.completeness import ArrivalState, CompletenessSettings, Verdict, is_complete
from node.deliveries import OUTSTANDING, DeliveryState
from node.evaluations import NOT_ENDED, EvaluationState
from node.indexed_instances import is_mr_image
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

_LATER = evaluations.alias("later")


def with_latest_evaluation() -> FromClause:
    """Join each Study with its latest evaluation, if it has one."""
    later = exists().where(
        _LATER.c.study_uid == evaluations.c.study_uid, _LATER.c.number > evaluations.c.number
    )
    return studies.outerjoin(evaluations, and_(evaluations.c.study_uid == studies.c.study_uid, ~later))


def decided_state() -> Label[Any]:
    """Return the column with the state of a Study that is not open, over ``with_latest_evaluation``.

    Of an open Study it holds nothing: whether that is complete depends on the time.
    """
    undecided = evaluations.c.evaluation_id.is_(None)
    outstanding = deliveries.c.state.in_(OUTSTANDING)
    replaced = deliveries.c.state == DeliveryState.REPLACED
    return case(
        (studies.c.is_open, None),
        (studies.c.is_given_up, StudyState.FAILED),
        (undecided & _has_instance() & ~_has_instance(is_mr_image()), StudyState.KEPT),
        (undecided, StudyState.HELD),
        (evaluations.c.state.not_in(NOT_ENDED) & (studies.c.reason != ""), StudyState.HELD),
        *((evaluations.c.state == made_of, state) for made_of, state in EVALUATING.items()),
        (~_has_delivery(outstanding) & _lacks_result(), StudyState.FAILED),
        (~_has_delivery(), StudyState.EVALUATED),
        (~_has_delivery(outstanding) & _has_delivery(replaced), StudyState.FALLBACK),
        (~_has_delivery(outstanding), StudyState.DELIVERED),
        (_has_delivery(outstanding, deliveries.c.next_attempt_at.is_not(None)), StudyState.DELIVERING),
        else_=StudyState.FAILED,
    ).label("state")


def open_verdicts(
    connection: Connection, now: datetime, settings: CompletenessSettings
) -> dict[str, Verdict]:
    """Judge the Studies that are open, which are few, by Study Instance UID."""
    arrivals = read_open_arrivals(connection)
    return {arrival.study_uid: is_complete(arrival, now, settings) for arrival in arrivals}


def in_state(state: StudyState) -> Select[Any]:
    """Select the Study Instance UIDs of the Studies that are not open and in a state.

    Nearly all Studies of an old archive are delivered. So each other state is looked for only among the
    Studies that an index says may be there, and those that are delivered are what is left.
    """
    if state is not StudyState.DELIVERED:
        decided = _decided(_MAY_BE[state])
        return select(decided.c.study_uid).where(decided.c.state == state)
    decided = _decided(_ANYWHERE_ELSE)
    delivered = decided.c.study_uid.is_(None) | (decided.c.state == state)
    joined = studies.outerjoin(decided, decided.c.study_uid == studies.c.study_uid)
    return select(studies.c.study_uid).select_from(joined).where(~studies.c.is_open, delivered)


def not_delivered() -> Select[Any]:
    """Select the Study Instance UIDs of the Studies that are not open and not delivered."""
    decided = _decided(_ANYWHERE_ELSE)
    return select(decided.c.study_uid).where(decided.c.state != StudyState.DELIVERED)


def count_states(
    connection: Connection, now: datetime, settings: CompletenessSettings
) -> dict[StudyState, int]:
    """Count the Studies by state; states without any are there with zero."""
    decided = _decided(_ANYWHERE_ELSE)
    counted = select(decided.c.state, func.count()).group_by(decided.c.state)
    elsewhere = counted.where(decided.c.state != StudyState.DELIVERED)
    closed = select(func.count()).select_from(studies).where(~studies.c.is_open)
    counts = dict.fromkeys(StudyState, 0)
    counts |= {StudyState(name): count for name, count in connection.execute(elsewhere)}
    counts[StudyState.DELIVERED] = (connection.scalar(closed) or 0) - sum(counts.values())
    for verdict in open_verdicts(connection, now, settings).values():
        counts[ARRIVING[verdict.state]] += 1
    return counts


def _decided(selects: Iterable[Select[Any]]) -> CTE:
    """Select UID and state of some Studies; each state is worked out once, and of no other Study."""
    some = union(*selects).cte("some").prefix_with("MATERIALIZED")
    of_some = with_latest_evaluation().join(some, some.c.study_uid == studies.c.study_uid)
    states = select(studies.c.study_uid, decided_state()).select_from(of_some)
    return states.cte("decided").prefix_with("MATERIALIZED")


def _has_instance(*conditions: ColumnElement[bool]) -> Exists:
    return exists().where(instances.c.study_uid == studies.c.study_uid, *conditions)


def _lacks_result() -> ColumnElement[bool]:
    """Tell of an evaluation that ended well whether a result that was wanted could not be made."""
    return evaluations.c.reason != ""


def _has_delivery(*conditions: Any) -> Exists:
    return exists().where(deliveries.c.evaluation_id == evaluations.c.evaluation_id, *conditions)


_UNEVALUATED = select(studies.c.study_uid).where(
    ~exists().where(evaluations.c.study_uid == studies.c.study_uid)
)


def _evaluated(*states: EvaluationState) -> Select[Any]:
    """Select the Studies with an evaluation in one of some states."""
    return select(evaluations.c.study_uid).distinct().where(evaluations.c.state.in_(states))


def _sent(*states: DeliveryState) -> Select[Any]:
    """Select the Studies with a delivery in one of some states."""
    of_evaluation = deliveries.c.evaluation_id == evaluations.c.evaluation_id
    sent = select(evaluations.c.study_uid).distinct().join(deliveries, of_evaluation)
    return sent.where(deliveries.c.state.in_(states))


_OUTSTANDING = _sent(*OUTSTANDING)

_MAY_BE: dict[StudyState, tuple[Select[Any], ...]] = {
    StudyState.HELD: (
        _UNEVALUATED,
        select(studies.c.study_uid).where(~studies.c.is_open, studies.c.reason != ""),
    ),
    StudyState.KEPT: (_UNEVALUATED,),
    StudyState.WAITING: (_evaluated(EvaluationState.WAITING, EvaluationState.SUPERSEDED),),
    StudyState.EVALUATING: (_evaluated(EvaluationState.EVALUATING),),
    StudyState.EVALUATED: (_evaluated(EvaluationState.EVALUATED).where(~_has_delivery()),),
    StudyState.DELIVERING: (_OUTSTANDING,),
    StudyState.FALLBACK: (_sent(DeliveryState.REPLACED),),
    StudyState.FAILED: (
        select(studies.c.study_uid).where(studies.c.is_given_up),
        _evaluated(EvaluationState.FAILED),
        _evaluated(EvaluationState.EVALUATED).where(_lacks_result()),
        _OUTSTANDING,
    ),
}
"""Where a Study that is not open and not delivered may be found: each one of a state, and few others."""

_ANYWHERE_ELSE = tuple(dict.fromkeys(each for selects in _MAY_BE.values() for each in selects))
"""Where a Study that is not open may be found if it is not delivered."""
