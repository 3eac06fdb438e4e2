"""A process ends soon after its work, with the code of how that ended, whatever its threads are at."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HANGS = """
import threading, time
import typer
from node.ending import ending_in_time
threading.Thread(target=time.sleep, args=(600,)).start()
with ending_in_time():
    {ends}
"""


@pytest.mark.parametrize(
    ("ends", "code"),
    [("pass", 0), ("raise typer.Exit(2)", 2), ("raise KeyError", 1)],
    ids=["done", "exit code", "fault"],
)
def test_process_does_not_wait_for_a_thread_that_hangs(ends: str, code: int) -> None:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGS.format(ends=ends)], timeout=60, check=False)
    assert done.returncode == code
    assert time.monotonic() - began < 60
