"""An S3 server that nobody here wrote (moto), in a process and an environment of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.peers import LOOPBACK, free_port, listens, wait_until

PROGRAM = Path(os.environ.get("CSVD_S3_SERVER", Path(sys.prefix) / "s3-server" / "bin" / "moto_server"))
BUCKET = "csvd"


class S3Server:
    """A server on a port of its own; what it holds is forgotten when it stops.

    Attributes:
        port: where it listens.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, object]:
        """The node's settings for a bucket on it."""
        return {
            "bucket": BUCKET,
            "prefix": "node",
            "endpoint": f"http://{LOOPBACK}:{self.port}",
            "access_key_id": "key",
            "secret_access_key": "secret",
            "allow_http": True,
            "timeout_s": 10.0,
        }

    def start(self) -> None:
        """Start it and make the bucket."""
        self._process = subprocess.Popen(
            [str(PROGRAM), "-H", LOOPBACK, "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: listens(self.port), 120, "the S3 server listens")
        self.make_bucket(BUCKET)

    def make_bucket(self, name: str) -> None:
        """Make an empty bucket."""
        httpx.put(f"http://{LOOPBACK}:{self.port}/{name}", timeout=60).raise_for_status()

    def freeze(self) -> None:
        """Let it answer nobody, as behind a broken line."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server; skip the test where it is not installed."""
    if not PROGRAM.exists():
        pytest.skip("the S3 server is not installed (make .venv/s3-server)")
    server = S3Server()
    server.start()
    try:
        yield server
    finally:
        server.stop()
