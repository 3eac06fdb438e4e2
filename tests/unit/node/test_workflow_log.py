"""What DBOS has to say goes through the node's own log, without the texts of foreign errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.broken_delivery import NAME


def test_work_that_breaks_is_logged_as_all_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.broken_delivery", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert NAME not in ended.stdout + ended.stderr
    entries = [json.loads(line) for line in ended.stderr.splitlines()]
    assert any("ValueError" in entry.get("exception", "") for entry in entries)
