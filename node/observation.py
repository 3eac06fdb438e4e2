"""What the parts of the node tell those who watch it: metrics and traces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class ReceivedAs(StrEnum):
    """What became of an Instance that arrived."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of a Study's way.

    Attributes:
        name: which: receive, quiet_wait, identify, read, register, segment, segment_wmh, measure, results,
            delivery.
        study_uid: Study Instance UID.
        began_at: when it began.
        ended_at: when it ended.
        remark: how it ended, where that is not plain.
    """

    name: str
    study_uid: str
    began_at: datetime
    ended_at: datetime
    remark: str = ""

    @property
    def duration_s(self) -> float:
        """How long it took, s."""
        return (self.ended_at - self.began_at).total_seconds()


class Observer(Protocol):
    """Is told what happens, where it happens; must neither fail nor wait."""

    def association_ended(self, calling_ae: str, result: str) -> None:
        """Note an association: released, aborted or rejected."""

    def instance_received(self, received_as: ReceivedAs, byte_count: int) -> None:
        """Note an Instance that arrived, and how long its data set was."""

    def stage_ended(self, stage: Stage) -> None:
        """Note that a stretch of a Study's way lies behind it."""

    def study_failed(self, study_uid: str) -> None:
        """Note that a Study goes no further without a person."""

    def delivery_attempted(self, destination: str, status: str) -> None:
        """Note an attempt to deliver an Instance: its DICOM status, four hexadecimal digits, or a word."""

    def commitment_answered(self, destination: str, result: str) -> None:
        """Note what a destination said of its commitment: committed, a Failure Reason, or words."""


class Observers:
    """Tells several observers.

    Args:
        observers: whom; none at all is nobody.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def association_ended(self, calling_ae: str, result: str) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.association_ended(calling_ae, result)

    def instance_received(self, received_as: ReceivedAs, byte_count: int) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.instance_received(received_as, byte_count)

    def stage_ended(self, stage: Stage) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.stage_ended(stage)

    def study_failed(self, study_uid: str) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.study_failed(study_uid)

    def delivery_attempted(self, destination: str, status: str) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.delivery_attempted(destination, status)

    def commitment_answered(self, destination: str, result: str) -> None:
        """Tell all of them."""
        for each in self._observers:
            each.commitment_answered(destination, result)


NOBODY: Observer = Observers()
"""Watches nothing: for commands and tests."""
