"""What is done now: a name for those who measure, and words for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

READING = "read"
IDENTIFYING = "identify"
REGISTERING = "register"
MEASURING = "measure"
WRITING = "results"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an evaluation; it lasts until the next one is told.

    Attributes:
        name: short and of a fixed set, the same for every Study.
        words: what is done now, for a person.
    """

    name: str
    words: str


Progress = Callable[[Step], None]
"""Told what is done now."""


def segmenting(segment: str) -> str:
    """Return the name of the step that looks for one segment."""
    return f"segment_{segment.lower()}"
