"""What is done now: a name for those who measure, and words for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

READING = "read"
IDENTIFYING = "identify"
REGISTERING = "register"
SEGMENTING = "segment"
MEASURING = "measure"
WRITING = "results"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an evaluation.

    It lasts until the next one is told, unless it says how long it took: then it lies behind, beside others.

    Attributes:
        name: short and of a fixed set, the same for every Study.
        words: what is done now, for a person.
        took_s: how long it took, s; None if it begins now.
    """

    name: str
    words: str
    took_s: float | None = None


Progress = Callable[[Step], None]
"""Told what is done now, and what was done beside it."""


def segmenting(segment: str) -> str:
    """Return the name of the step that looks for one segment."""
    return f"segment_{segment.lower()}"
