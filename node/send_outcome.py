"""What became of one file on its way to a destination, whatever the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node.deliveries import DeliveryState


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """What became of one file.

    Attributes:
        path: the file.
        state: DELIVERED, WARNING, FAILED or REFUSED.
        status: C-STORE status or Failure or Warning Reason of the destination, None if there was none.
        comment: what the destination remarked, or why it has no Instance.
        transfer_syntax_uid: that the Instance was sent in; empty if it was not sent.
        asked_pause_s: how long the destination asks not to be tried again, s; None if it does not.
    """

    path: Path
    state: DeliveryState
    status: int | None = None
    comment: str = ""
    transfer_syntax_uid: str = ""
    asked_pause_s: float | None = None
