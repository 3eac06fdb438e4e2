"""What a process does of the node's work; one process does all of it unless it is told otherwise."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """A part of the work that processes can share out among themselves.

    RECEIVE: takes Studies over DICOM. WORK: evaluates them, one at a time, on the whole machine or one GPU.
    SEND: brings results to their destinations. WEB: shows pages.
    """

    RECEIVE = "receive"
    WORK = "work"
    SEND = "send"
    WEB = "web"


ALL_ROLES = tuple(Role)
"""What a node on a single machine does."""
