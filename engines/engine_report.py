"""How a segmentor came to its runner: what serves, why it may, and why others do not."""

from __future__ import annotations

from dataclasses import dataclass

from engines.precision import Precision
from engines.runners.base import RunnerKind
from engines.segments import Segment


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A runner, or one precision of it, that was not taken.

    Attributes:
        runner: which one.
        precision: the one that was tried, or None if the runner as a whole was left out.
        reason: why, one sentence.
    """

    runner: RunnerKind
    precision: Precision | None
    reason: str

    def __str__(self) -> str:
        """Name and reason in one line."""
        name = self.runner.value if self.precision is None else f"{self.runner.value} {self.precision.value}"
        return self.reason if self.reason.startswith(f"{name} ") else f"{name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What serves a segmentor.

    Attributes:
        segment: the lesion that it finds.
        runner: what runs the model.
        name: runtime, version, device and precision, as results cite it.
        precision: of the computation.
        proof: on what ground it may serve, one sentence, and what makes it slower than it could be.
        passed_over: the other runners and precisions, in the order in which they were considered.
    """

    segment: Segment
    runner: RunnerKind
    name: str
    precision: Precision
    proof: str
    passed_over: tuple[PassedOver, ...] = ()
