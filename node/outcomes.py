"""What an evaluation came to: which Instances, in which forms, and where they go; kept with the index."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, select, update

from engines.segments import Segment
from node.database import Database
from node.errors import UnknownEvaluationError
from node.routing import SegmentCount
from node.tables import outcomes


class Outcome(BaseModel):
    """What one run of an evaluation came to.

    Attributes:
        fingerprint: of everything that its results rest on.
        choices: names of the choices of forms that were made.
        instances: SOP Instance UID by role.
        findings: of each assessed segment; one that was not assessed is absent.
        destinations: why each destination was chosen, by its name.
        problem: which results could not be made, why and what to do; empty if all were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    choices: tuple[str, ...]
    instances: dict[str, str]
    findings: dict[Segment, SegmentCount]
    destinations: dict[str, str]
    problem: str = ""

    @property
    def record(self) -> str:
        """Return it as JSON, without what says nothing: programs of before know no problem."""
        return self.model_dump_json(exclude_defaults=True)


def nothing_of(fingerprint: str) -> Outcome:
    """Return the outcome of an evaluation that makes nothing and sends nothing."""
    return Outcome(fingerprint=fingerprint, choices=(), instances={}, findings={}, destinations={})


class Outcomes:
    """The book of outcomes; each entry may be made again without harm."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, evaluation_id: str, run: int, outcome: Outcome) -> None:
        """Enter what a run came to, in place of what an earlier run with this fingerprint came to."""
        values = {"run": run, "record": outcome.record}
        with self._database.writing() as connection:
            connection.execute(
                self._database.insert(outcomes)
                .values(evaluation_id=evaluation_id, fingerprint=outcome.fingerprint, **values)
                .on_conflict_do_update(index_elements=["evaluation_id", "fingerprint"], set_=values)
            )

    def extend(self, evaluation_id: str, made: Outcome) -> None:
        """Add the choices and Instances of an outcome to what its run came to; others may do so meanwhile."""
        mine = (outcomes.c.evaluation_id == evaluation_id) & (outcomes.c.fingerprint == made.fingerprint)
        with self._database.writing() as connection:
            record = connection.scalar(select(outcomes.c.record).where(mine).with_for_update())
            if record is None:
                raise UnknownEvaluationError(evaluation_id)
            now = Outcome.model_validate_json(record)
            both = now.model_copy(
                update={
                    "choices": tuple(sorted({*now.choices, *made.choices})),
                    "instances": {**now.instances, **made.instances},
                }
            )
            connection.execute(update(outcomes).where(mine).values(record=both.record))

    def of(self, evaluation_id: str, fingerprint: str) -> Outcome | None:
        """Return what the run with this fingerprint came to, None if there was none."""
        return self._read(evaluation_id, outcomes.c.fingerprint == fingerprint)

    def latest(self, evaluation_id: str) -> Outcome | None:
        """Return what the last run came to, None if none did yet."""
        return self._read(evaluation_id)

    def _read(self, evaluation_id: str, *conditions: ColumnElement[bool]) -> Outcome | None:
        statement = (
            select(outcomes.c.record)
            .where(outcomes.c.evaluation_id == evaluation_id, *conditions)
            .order_by(outcomes.c.run.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            record = connection.scalar(statement)
        return None if record is None else Outcome.model_validate_json(record)
