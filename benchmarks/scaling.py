"""How evaluation scales with worker processes over PostgreSQL.

    python -m benchmarks.scaling [STUDIES] [SECONDS]

Real processes, a real PostgreSQL server; only the models' computing is a sleep, as if each worker had a GPU
of its own. All workers are ready before the Studies are put up; the time runs from the first evaluation's
begin to the last one's end, by the times in the index.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.site import SETTLING_S, TRANSACTIONS, Site, fresh_site, make_studies
from node.telemetry import LogSettings, configure_logging
from tests.support.running_node import RunningNode

WORKERS = (1, 2, 4)
IDLE_S = 30.0
"""How long the database is watched while nothing is to be done, s."""


def idle_transactions(site: Site) -> float:
    """Return how many transactions a second the processes make while nothing is to be done."""

    def ended() -> float:
        time.sleep(SETTLING_S)
        with site.database.reading() as connection:
            return float(connection.execute(TRANSACTIONS).scalar_one())

    before, began = ended(), time.monotonic()
    time.sleep(IDLE_S)
    return (ended() - before) / (time.monotonic() - began)


def cpu_s(process: RunningNode) -> float:
    """Return what a process has taken of the CPUs so far, s."""
    # The name of the program, in brackets, may hold blanks; user and system time are 12th and 13th after it.
    fields = Path(f"/proc/{process.process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(workers: int, count: int, sleep_s: float) -> dict[str, float]:
    """Measure the throughput of one number of workers."""
    with fresh_site() as (site, folder), ExitStack() as running:
        processes = [site.process(f"worker{number}", "work", sleep_s) for number in range(workers)]
        for process in processes:
            running.enter_context(process)
        studies = make_studies(folder, count, ("flair",))
        site.receive(studies)
        idle = idle_transactions(site)
        before_s = sum(map(cpu_s, processes))
        site.put_up(studies)
        took_s = site.wait_for_evaluations(count)
        spent_s = sum(map(cpu_s, processes)) - before_s
    return {
        "workers": workers,
        "took_s": round(took_s, 2),
        "studies_per_hour": round(3600 * count / took_s, 1),
        "study_cpu_s": round(spent_s / count, 2),
        "idle_transactions_per_s": round(idle, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def main(count: int, sleep_s: float) -> None:
    """Measure all numbers of workers, and print a line for each."""
    configure_logging(LogSettings(level="WARNING"))
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {count} Studies of {sleep_s:g} s")
    first_s = 0.0
    for workers in WORKERS:
        measured = measure(workers, count, sleep_s)
        first_s = first_s or measured["took_s"]
        print(json.dumps({**measured, "times": round(first_s / measured["took_s"], 2)}), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*(int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) > 2 else (16, 40.0))
