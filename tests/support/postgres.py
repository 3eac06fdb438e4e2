"""A PostgreSQL server for tests, where its programs are installed; forgotten when it stops."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _as_server_user(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


class PostgresServer:
    """A server on a Unix socket, in a folder of its own.

    Args:
        folder: for its data.
        settings: of the server, as name=value.

    Attributes:
        url: where it is.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        self._folder, self._programs = folder, _PROGRAMS[-1].parent
        self._settings = ("listen_addresses=", "fsync=off", *settings)
        self._data = folder / "data"
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        make = (str(self._programs / "initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust")
        self._run(*make, "--no-sync")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join([f"-k {self._folder}", *(f"-c {setting}" for setting in self._settings)])
        self._control("-o", options, "start")

    def stop(self) -> None:
        """End it at once, as a crash does."""
        self._control("-m", "immediate", "stop")

    def _control(self, *what: str) -> None:
        control = (str(self._programs / "pg_ctl"), "-D", str(self._data), "-w")
        self._run(*control, "-l", str(self._folder / "log"), *what)

    def _run(self, *command: str) -> None:
        whole = _as_server_user(*command)
        subprocess.run(whole, check=True, stdout=subprocess.DEVNULL, cwd=self._folder)


@contextmanager
def running_postgres(*settings: str) -> Iterator[PostgresServer]:
    """Run a server that can be stopped and started; skip the test where there is none."""
    if not _PROGRAMS or (os.geteuid() == 0 and not shutil.which("runuser")):
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="csvd-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = PostgresServer(folder, settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server and yield its URL; skip the test where there is none."""
    with running_postgres() as server:
        yield server.url
