"""The error tree of ``node``; each class says whether a retry helps."""

from __future__ import annotations

from typing import ClassVar


class NodeError(Exception):
    """Base of every error that the node raises on purpose.

    Attributes:
        retryable: whether the same work may succeed later without a change by a person.
    """

    retryable: ClassVar[bool] = False
