"""Ends a process in time, whatever its threads are still at."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import typer

log = structlog.get_logger(__name__)

LEAVE_S = 2.0
"""How long Python gets to end the process by itself, s: it waits for all threads, idle ones end at once."""


@contextmanager
def ending_in_time() -> Iterator[None]:
    """See that the process ends soon after the block, whatever threads Python waits for.

    Work that did not finish within the grace is durable: the next start, or another process, goes on with it,
    as after a power failure. Python itself would wait for it, an hour where a destination does not answer.
    """
    code = 1
    try:
        yield
        code = 0
    except typer.Exit as ended:
        code = ended.exit_code
        raise
    finally:
        last = threading.Timer(LEAVE_S, _leave, [code])
        last.daemon = True
        last.start()


def _leave(code: int) -> None:
    log.warning("node.work_left", reason="it did not finish in time; the next start goes on with it")
    logging.shutdown()
    os._exit(code)
