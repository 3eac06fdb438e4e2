"""Objects a second into this node's receiver and into DCMTK's storescp, from the same senders in one run.

Each side receives the same objects from the same number of storescu processes at once. The node answers only
after file and index entry are on disk; storescp answers after a plain write.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.instances import mr_dataset, write_instance
from tests.support.peers import free_port, listens, storescp, wait_until

SERVE = """
import sys, time
from pathlib import Path
from node.database import Database
from node.index import Index
from node.receiver import Receiver
from node.receiver_settings import ReceiverSettings
from node.store import Store
from node.telemetry import LogSettings, configure_logging
configure_logging(LogSettings(level="WARNING"))
root, port = Path(sys.argv[1]), int(sys.argv[2])
settings = ReceiverSettings(port=port, accept_any_calling_ae=True)
with Receiver(settings, Store(root / "root"), Index(Database(f"sqlite:///{root}/index.db"))):
    time.sleep(3600)
"""


@contextmanager
def node_receiver(folder: Path) -> Iterator[int]:
    """Run the node's receiver in a process of its own and yield its port."""
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(folder), str(port)])
    try:
        wait_until(lambda: listens(port), 60)
        yield port
    finally:
        process.terminate()
        process.wait()


def make_objects(folder: Path, associations: int, count: int, size_bytes: int) -> list[Path]:
    """Write one folder of objects for each association."""
    folders = []
    for series in range(associations):
        target = folder / f"series{series}"
        for number in range(count):
            dataset = mr_dataset(1, series, number, pixels=number)
            dataset.Rows, dataset.Columns = size_bytes // 1024, 512
            dataset.PixelData = os.urandom(dataset.Rows * 1024)
            write_instance(target, dataset)
        folders.append(target)
    return folders


def send_all(port: int, called: str, folders: Sequence[Path]) -> float:
    """Send each folder with a storescu of its own and return how long all of it took, s."""
    environment = {**os.environ, "TCP_NODELAY": "1"}
    command = ["storescu", "-q", "-R", "-aec", called, "--max-send-pdu", "131072", "+sd"]
    begin = time.perf_counter()
    senders = [
        subprocess.Popen([*command, "127.0.0.1", str(port), str(folder)], env=environment)
        for folder in folders
    ]
    if any(sender.wait() for sender in senders):
        raise SystemExit("a sender failed")
    return time.perf_counter() - begin


def main() -> None:
    """Measure both sides and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--associations", type=int, default=4)
    parser.add_argument("--objects", type=int, default=100, help="for each association")
    parser.add_argument("--kilobytes", type=int, default=512, help="size of an object")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {"node": [], "storescp": []}
    total = arguments.associations * arguments.objects
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folders = make_objects(
            root / "made", arguments.associations, arguments.objects, arguments.kilobytes * 1024
        )
        for number in range(arguments.rounds):
            with node_receiver(root / f"node{number}") as port:
                rates["node"].append(total / send_all(port, "CSVD", folders))
            with storescp(root / f"storescp{number}", "--fork", "-pdu", "131072") as peer:
                rates["storescp"].append(total / send_all(peer.port, peer.ae_title, folders))
    print(f"{total} objects of {arguments.kilobytes} KiB over {arguments.associations} associations")
    for name, measured in rates.items():
        print(
            f"{name:10s} {max(measured):8.0f} objects/s (best of {', '.join(f'{r:.0f}' for r in measured)})"
        )


if __name__ == "__main__":
    main()
