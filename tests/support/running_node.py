"""A node as its users run it: `csvd-node serve` in a process of its own, on a configuration file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from engines.segments import Segment
from node.completeness import CompletenessSettings
from node.database import Database
from node.listing import study_rows
from node.studies_report import to_record
from tests.support.onnx_models import write_threshold_bundle
from tests.support.peers import LOOPBACK, free_port, wait_until

START_S = 120.0
"""A node opens its models and databases within this time on a busy machine, s."""

STUDY_S = 180.0
"""A small Study goes all its way within this time on a busy machine, s."""

READY = '"event": "node.ready"'
"""What the node logs once all its parts are open."""

COMMAND = str(Path(sys.executable).with_name("csvd-node"))


class RunningNode:
    """A configuration and the process that serves it.

    Attributes:
        folder: of configuration, store, log and models.
        port: where it receives.
        web_port: where it answers over HTTP.
        root: its store.
        program: what is run with the arguments of `csvd-node`.
    """

    def __init__(self, folder: Path, destinations: Mapping[str, tuple[str, int]], **changes: object) -> None:
        self.folder, self.port, self.web_port = folder, free_port(), free_port()
        self.root = Path(str(changes.get("root", folder / "data")))
        folder.mkdir(parents=True, exist_ok=True)
        self.configuration: dict[str, Any] = {
            "root": str(self.root),
            "receiver": {"port": self.port, "accept_any_calling_ae": True},
            "completeness": {"series_quiet_s": 1.0},
            "sender": {"retry": {"first_pause_s": 0.5, "longest_pause_s": 1.0}},
            "segmentors": {
                segment.value: str(write_threshold_bundle(folder / "bundles" / segment.value, segment).folder)
                for segment in Segment
            },
            "destinations": {
                name: {"ae_title": ae_title, "host": LOOPBACK, "port": port}
                for name, (ae_title, port) in destinations.items()
            },
            "web": {"port": self.web_port},
            "log": {"format": "json"},
            **changes,
        }
        self.program = [COMMAND]
        self._process: subprocess.Popen[bytes] | None = None
        self._index: Database | None = None

    def __enter__(self) -> RunningNode:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.stop()
        self._close_index()

    @property
    def configuration_path(self) -> Path:
        return self.folder / "node.yaml"

    def start(self) -> None:
        """Start the node and wait until it says that it is ready."""
        self.configuration_path.write_text(yaml.safe_dump(self.configuration))
        before = self.log().count(READY)
        with (self.folder / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.program, "serve", "--config", str(self.configuration_path)],
                stdout=log,
                stderr=log,
                env=_environment(),
            )
        process = self._process
        is_ready = lambda: self.log().count(READY) > before or process.poll() is not None  # noqa: E731
        wait_until(is_ready, START_S, "the node is ready")
        assert process.poll() is None, self.log()

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """What the operating system calls its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End the node as a power failure does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the node to stop, and wait until it did."""
        self._end(signal.SIGTERM)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the node on the same configuration."""
        return run_command(*arguments, "--config", str(self.configuration_path))

    def studies(self) -> list[dict[str, Any]]:
        """List the Studies as `csvd-node studies --json` does."""
        listed = self.command("studies", "--json")
        assert listed.returncode == 0, listed.stderr
        rows: list[dict[str, Any]] = json.loads(listed.stdout)
        return rows

    def study(self, study_uid: str) -> dict[str, Any] | None:
        """Return the line of one Study, if it is there; read from the index, as `csvd-node studies` does."""
        if self._index is None:
            # Kept open: to open it costs seven times what the question costs, and it is asked all the time.
            url = self.configuration.get("database_url", f"sqlite:///{self.root / 'index.sqlite'}")
            self._index = Database(url)
        rows = study_rows(self._index, datetime.now(UTC), CompletenessSettings())
        return next((to_record(row) for row in rows if row.study_uid == study_uid), None)

    def wait_for(self, study_uid: str, *states: str) -> dict[str, Any]:
        """Wait until a Study is in one of these states."""
        seen: list[dict[str, Any] | None] = []

        def there() -> bool:
            seen.append(self.study(study_uid))
            return seen[-1] is not None and seen[-1]["state"] in states

        wait_until(
            there, STUDY_S, f"Study is {states}; it was {seen[-1:]}\n{self.log()[-3000:]}", pause_s=0.1
        )
        assert seen[-1] is not None
        return seen[-1]

    def get(self, path: str) -> httpx.Response:
        """GET from the node's HTTP port."""
        return httpx.get(f"http://{LOOPBACK}:{self.web_port}{path}", timeout=30)

    def log(self) -> str:
        """Return what the node wrote so far."""
        path = self.folder / "node.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _end(self, signum: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(signum)
        self._process.wait(180)
        self._process = None
        self._close_index()

    def _close_index(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `csvd-node` with these arguments."""
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=300, env=_environment(), check=False
    )


def _environment() -> dict[str, str]:
    """Return the environment without settings of the shell that runs the tests."""
    kept: Sequence[tuple[str, str]] = [item for item in os.environ.items() if not item[0].startswith("CSVD_")]
    return {**dict(kept), "COLUMNS": "200"}
