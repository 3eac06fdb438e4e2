"""Compiling a bundle's network ahead of running it: what does it, and how far it is.

A plan is what a runtime makes of an ONNX file for one kind of device. Making it is apart from running it: a
``PlanBackend`` returns bytes, which ``engines.cache`` keeps, and opens such bytes as a runner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engines.bundle import Bundle
from engines.cache import PlanKey
from engines.precision import Precision
from engines.runners.base import Notice, Runner, RunnerKind, unheard


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is.

    Attributes:
        model: what is built.
        phase: what the runtime does now, in its own words.
        done: steps of the phase that are finished.
        steps: steps of the phase.
    """

    model: str
    phase: str
    done: int
    steps: int


Progress = Callable[[BuildProgress], None]
"""Told how far a build is."""


def silent(_: BuildProgress) -> None:
    """Take the progress of a build that nobody watches."""


class PlanBackend(Protocol):
    """A runtime that compiles."""

    @property
    def kind(self) -> RunnerKind:
        """Which runner its plans are for."""

    def key(self, bundle: Bundle, precision: Precision) -> PlanKey:
        """Return everything that a plan of this bundle depends on, on this machine."""

    def build(self, bundle: Bundle, precision: Precision, progress: Progress) -> bytes:
        """Compile a plan.

        Raises:
            PlanError: if the network cannot be compiled.
            DeviceError: if the device has no room for it, or fails.
        """

    def open(self, plan: bytes, bundle: Bundle, precision: Precision, notice: Notice = unheard) -> Runner:
        """Open a plan.

        Args:
            plan: as it was compiled.
            bundle: the model.
            precision: of the plan.
            notice: told what makes it slower than it could be.

        Raises:
            PlanError: if the plan is not for this runtime or device.
            DeviceError: if the device has no room for it, or fails.
        """
