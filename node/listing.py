"""The list of Studies for a person: where each one is, since when, and why it goes no further."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, func, select, union_all

from node.completeness import NO_MR_IMAGE, CompletenessSettings, Verdict
from node.database import Database
from node.deliveries import DeliveryState
from node.evaluations import NOT_ENDED, EvaluationState
from node.indexed_instances import mr_images
from node.outcomes import Outcome
from node.round_trip_instance import NOT_EVALUATED, is_round_trip
from node.study_states import (
    ARRIVING,
    EVALUATING,
    StudyState,
    in_state,
    not_delivered,
    open_verdicts,
)
from node.tables import conflicts, deliveries, evaluations, instances, outcomes, studies
from node.words import AWAITED, NOT_COMMITTED, instances_in_words, next_attempt

AT_ONCE = 500
"""Studies of which all is read at once."""

_LATEST_FIRST = (studies.c.last_at.desc(), studies.c.study_uid)


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One line of the list of Studies.

    Attributes:
        study_uid: Study Instance UID.
        state: where it is.
        reason: why, one sentence; empty where nothing needs to be said.
        progress: what its evaluation does now.
        first_at: when its first Instance came.
        last_at: when its last Instance came.
        evaluated_at: when its latest evaluation ended.
        series_count: Series in the index.
        instance_count: Instances in the index.
        mr_image_count: MR images among them, which are what is evaluated.
        conflict_count: Instances kept apart because their UIDs were taken.
        evaluation_id: its latest evaluation, if there is one.
        delivered_count: deliveries of the latest evaluation that arrived.
        delivery_count: deliveries of the latest evaluation, without those that another form replaced.
        destinations: why each destination was chosen, by its name.
    """

    study_uid: str
    state: StudyState
    reason: str
    progress: str
    first_at: datetime
    last_at: datetime
    evaluated_at: datetime | None
    series_count: int
    instance_count: int
    mr_image_count: int
    conflict_count: int
    evaluation_id: str | None
    delivered_count: int
    delivery_count: int
    destinations: Mapping[str, str]

    @property
    def extent(self) -> str:
        """Say how much is here, and how much of it is not for evaluation."""
        others = self.instance_count - self.mr_image_count
        apart = (
            f", {others} of them no MR image{'s' if others > 1 else ''}"
            if self.mr_image_count and others
            else ""
        )
        held = instances_in_words(self.instance_count)
        return f"{held} in {self.series_count} Series{apart}"


@dataclass(frozen=True, slots=True)
class StudyChoice:
    """Which Studies to list.

    Attributes:
        state: only those there; None for all.
        uid: only those whose Study Instance UID contains this.
        exactly: only the one that has just this UID.
        number: of the page, from 1.
        size: Studies on a page.
    """

    state: StudyState | None = None
    uid: str = ""
    exactly: bool = False
    number: int = 1
    size: int = 50


@dataclass(frozen=True, slots=True)
class StudyPage:
    """Part of the list.

    Attributes:
        rows: its lines, the latest first.
        total: Studies on all pages.
    """

    rows: tuple[StudyRow, ...]
    total: int


def study_page(
    database: Database, now: datetime, settings: CompletenessSettings, choice: StudyChoice
) -> StudyPage:
    """List the Studies of a choice, the latest first.

    Args:
        database: the index.
        now: the current time, against which a Study that still arrives is judged.
        settings: how long such a Study is waited for.
        choice: which ones, and how many.

    Raises:
        IndexUnavailableError: if the index cannot be read.
    """
    with database.reading() as connection:
        verdicts = open_verdicts(connection, now, settings)
        if choice.state is StudyState.DELIVERED:
            return _delivered_page(connection, choice)
        chosen = _chosen(choice, verdicts)
        total = connection.scalar(select(func.count()).select_from(chosen.subquery())) or 0
        page = chosen.order_by(*_LATEST_FIRST).limit(choice.size).offset((choice.number - 1) * choice.size)
        found = connection.execute(page).all()
        rows = _rows(connection, found, verdicts)
    return StudyPage(tuple(rows), total)


def _delivered_page(connection: Connection, choice: StudyChoice) -> StudyPage:
    """List delivered Studies, which nearly all are: the few others are worked out once, and left out."""
    of_choice = _of_uid(choice).where(~studies.c.is_open).with_only_columns(studies.c.study_uid)
    elsewhere = set(connection.scalars(not_delivered()))
    others = sum(uid == choice.uid if choice.exactly else choice.uid in uid for uid in elsewhere)
    closed = connection.scalar(select(func.count()).select_from(of_choice.subquery())) or 0
    end = choice.number * choice.size
    in_order = of_choice.order_by(*_LATEST_FIRST).limit(end + others)
    delivered = [uid for uid in connection.scalars(in_order) if uid not in elsewhere]
    shown = delivered[end - choice.size : end]
    found = connection.execute(select(studies).where(studies.c.study_uid.in_(shown)).order_by(*_LATEST_FIRST))
    return StudyPage(tuple(_rows(connection, found.all(), {})), closed - others)


def study_rows(database: Database, now: datetime, settings: CompletenessSettings) -> list[StudyRow]:
    """List all Studies of a small index, the latest first.

    Args:
        database: the index.
        now: the current time, against which a Study that still arrives is judged.
        settings: how long such a Study is waited for.

    Raises:
        IndexUnavailableError: if the index cannot be read.
    """
    return list(each_study(database, now, settings))


def each_study(
    database: Database,
    now: datetime,
    settings: CompletenessSettings,
    state: StudyState | None = None,
    limit: int | None = None,
) -> Iterator[StudyRow]:
    """List the Studies, the latest first, however many: only a part of them is in memory at a time.

    Args:
        database: the index.
        now: the current time, against which a Study that still arrives is judged.
        settings: how long such a Study is waited for.
        state: only those there; None for all.
        limit: at most so many; None for all.

    Raises:
        IndexUnavailableError: if the index cannot be read.
    """
    with database.reading() as connection:
        chosen = _chosen(StudyChoice(state), open_verdicts(connection, now, settings))
        in_order = chosen.with_only_columns(studies.c.study_uid).order_by(*_LATEST_FIRST).limit(limit)
        uids = connection.scalars(in_order).all()
    for begin in range(0, len(uids), AT_ONCE):
        part = uids[begin : begin + AT_ONCE]
        with database.reading() as connection:
            verdicts = open_verdicts(connection, now, settings)
            found = {
                study.study_uid: study
                for study in connection.execute(select(studies).where(studies.c.study_uid.in_(part)))
            }
            # One that was removed meanwhile is no longer there.
            rows = _rows(connection, [found[uid] for uid in part if uid in found], verdicts)
        yield from rows


def _rows(
    connection: Connection, found: Sequence[Row[Any]], verdicts: Mapping[str, Verdict]
) -> list[StudyRow]:
    collected = _collect(connection, [study.study_uid for study in found])
    return [_row(study, verdicts.get(study.study_uid), collected) for study in found]


def _chosen(choice: StudyChoice, verdicts: Mapping[str, Verdict]) -> Select[Any]:
    statement = _of_uid(choice)
    if choice.state is None:
        return statement
    open_there = [uid for uid, verdict in verdicts.items() if ARRIVING[verdict.state] is choice.state]
    still_open = select(studies.c.study_uid).where(studies.c.study_uid.in_(open_there))
    parts = [still_open] if choice.state is StudyState.RECEIVING else [still_open, in_state(choice.state)]
    there = union_all(*parts).subquery("there")
    return statement.join(there, there.c.study_uid == studies.c.study_uid)


def _of_uid(choice: StudyChoice) -> Select[Any]:
    if choice.exactly:
        return select(studies).where(studies.c.study_uid == choice.uid)
    if choice.uid:
        return select(studies).where(studies.c.study_uid.contains(choice.uid, autoescape=True))
    return select(studies)


@dataclass(frozen=True, slots=True)
class _Collected:
    """What is known beside the table of Studies, by Study UID; deliveries and destinations by evaluation.

    ``evaluations`` are the latest ones, ``at_work`` the Studies of which any is at work.
    """

    extents: dict[str, tuple[int, int, int]]
    conflicts: dict[str, int]
    evaluations: dict[str, Row[Any]]
    at_work: set[str]
    deliveries: dict[str, list[Row[Any]]]
    destinations: dict[str, dict[str, str]]


def _collect(connection: Connection, shown: Sequence[str]) -> _Collected:
    """Collect what belongs to some Studies."""

    def of_shown(statement: Select[Any], table: Table) -> Select[Any]:
        return statement.where(table.c.study_uid.in_(shown))

    by_study = select(
        instances.c.study_uid, func.count(instances.c.series_uid.distinct()), func.count(), mr_images()
    ).group_by(instances.c.study_uid)
    kept_apart = select(conflicts.c.study_uid, func.count().label("kept_apart")).group_by(
        conflicts.c.study_uid
    )
    in_order = of_shown(select(evaluations).order_by(evaluations.c.number), evaluations)
    evaluated = connection.execute(in_order).all()
    sent = select(deliveries).join(evaluations, evaluations.c.evaluation_id == deliveries.c.evaluation_id)
    outbox: dict[str, list[Row[Any]]] = defaultdict(list)
    for delivery in connection.execute(of_shown(sent, evaluations)):
        outbox[delivery.evaluation_id].append(delivery)
    came_to = (
        select(outcomes)
        .join(evaluations, evaluations.c.evaluation_id == outcomes.c.evaluation_id)
        .order_by(outcomes.c.run)
    )
    counted = connection.execute(of_shown(by_study, instances))
    apart = connection.execute(of_shown(kept_apart, conflicts))
    return _Collected(
        extents={study: (series, count, mr_image_count) for study, series, count, mr_image_count in counted},
        conflicts={row.study_uid: row.kept_apart for row in apart},
        evaluations={row.study_uid: row for row in evaluated},
        at_work={row.study_uid for row in evaluated if row.state == EvaluationState.EVALUATING},
        deliveries=outbox,
        destinations={
            row.evaluation_id: Outcome.model_validate_json(row.record).destinations
            for row in connection.execute(of_shown(came_to, evaluations))
        },
    )


def _row(study: Row[Any], verdict: Verdict | None, collected: _Collected) -> StudyRow:
    evaluation = collected.evaluations.get(study.study_uid)
    outbox = collected.deliveries.get(evaluation.evaluation_id, []) if evaluation else []
    series_count, instance_count, mr_image_count = collected.extents.get(study.study_uid, (0, 0, 0))
    is_kept = instance_count > 0 and mr_image_count == 0
    state, reason = _state(study, verdict, evaluation, outbox, is_kept=is_kept)
    if state is StudyState.WAITING and study.study_uid in collected.at_work:
        reason = "Waits until an earlier evaluation of it has ended."
    return StudyRow(
        study_uid=study.study_uid,
        state=state,
        reason=reason,
        progress=evaluation.progress if evaluation else "",
        first_at=study.first_at,
        last_at=study.last_at,
        evaluated_at=evaluation.finished_at if evaluation else None,
        series_count=series_count,
        instance_count=instance_count,
        mr_image_count=mr_image_count,
        conflict_count=collected.conflicts.get(study.study_uid, 0),
        evaluation_id=evaluation.evaluation_id if evaluation else None,
        delivered_count=sum(_has_arrived(delivery) for delivery in outbox),
        delivery_count=sum(delivery.state != DeliveryState.REPLACED for delivery in outbox),
        destinations=collected.destinations.get(evaluation.evaluation_id, {}) if evaluation else {},
    )


def _state(
    study: Row[Any],
    verdict: Verdict | None,
    evaluation: Row[Any] | None,
    outbox: list[Row[Any]],
    *,
    is_kept: bool,
) -> tuple[StudyState, str]:
    if verdict is not None:
        return ARRIVING[verdict.state], verdict.reason
    if study.is_given_up:
        return StudyState.FAILED, study.reason
    if evaluation is None:
        return (StudyState.KEPT, NO_MR_IMAGE) if is_kept else (StudyState.HELD, study.reason)
    if evaluation.state == EvaluationState.WAITING:
        return StudyState.WAITING, "Waits for a worker."
    if study.reason and evaluation.state not in NOT_ENDED:
        return StudyState.HELD, study.reason
    if evaluation.state != EvaluationState.EVALUATED:
        return EVALUATING[evaluation.state], evaluation.reason
    if is_round_trip(study.study_uid):
        return StudyState.EVALUATED, NOT_EVALUATED
    state, reason = _sending(outbox)
    if not evaluation.reason:
        return state, reason
    # What is missing needs a person, once the rest is where it goes.
    is_sent = state in (StudyState.EVALUATED, StudyState.DELIVERED, StudyState.FALLBACK)
    return (StudyState.FAILED if is_sent else state), ". ".join(filter(None, (evaluation.reason, reason)))


def _sending(outbox: list[Row[Any]]) -> tuple[StudyState, str]:
    if not outbox:
        return StudyState.EVALUATED, "The results go to no destination and lie in the store."
    replaced = [delivery for delivery in outbox if delivery.state == DeliveryState.REPLACED]
    missing = [delivery for delivery in outbox if not _has_arrived(delivery) and delivery not in replaced]
    refusals = sorted({f"{delivery.destination}: {delivery.last_comment}" for delivery in replaced})
    if not missing:
        return StudyState.FALLBACK if replaced else StudyState.DELIVERED, ". ".join(refusals)
    given_up = [delivery for delivery in missing if delivery.next_attempt_at is None]
    state = StudyState.FAILED if len(given_up) == len(missing) else StudyState.DELIVERING
    tried = next((delivery for delivery in (*given_up, *missing) if delivery.attempts), None)
    if tried is None:
        return state, ""
    waits = AWAITED if tried.next_attempt_at is not None else NOT_COMMITTED
    said = ": ".join(filter(None, (tried.state == DeliveryState.SENT and waits, tried.last_comment)))
    return state, f"{tried.destination}: {said}{_next_attempt(tried)}"


def _next_attempt(delivery: Row[Any]) -> str:
    if delivery.next_attempt_at is None:
        return f" (given up after {delivery.attempts} attempt{'s' if delivery.attempts > 1 else ''})"
    return f" ({next_attempt(DeliveryState(delivery.state), delivery.attempts, delivery.next_attempt_at)})"


def _has_arrived(delivery: Row[Any]) -> bool:
    return DeliveryState(delivery.state).has_arrived
