"""Says why the process ends, in one sentence, where an orchestrator looks for it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

TERMINATION_VARIABLE = "CSVD_TERMINATION_LOG"
"""Names the file that gets the sentence; with Kubernetes /dev/termination-log."""

LONGEST_BYTES = 4096
"""What Kubernetes keeps of it."""


def leave_termination_message(message: str) -> None:
    """Write the message to the file that the environment names, if any, and if that can be done."""
    path = os.environ.get(TERMINATION_VARIABLE)
    if path:
        with contextlib.suppress(OSError):
            Path(path).write_bytes(message.encode()[:LONGEST_BYTES])
