"""What SEG and SR of a Study of 400 slices and four segments cost, beside dcmqi on the same masks.

Both sides get the same Study (one Instance a slice) and the same masks (one label image), run as processes of
their own, in turn, on the same core:

- dcmqi's itkimage2segimage reads images and masks and writes the SEG of all segments. It writes no SR.
- The node's process reads the same, measures the lesions, and writes the SEG of all segments and the SR, each
  file forced to disk. Each of these steps is timed by itself, because a running node has started long ago and
  holds the findings in memory: what it pays for a Study's results is the last step.

Start and imports are in the rows that say so and in no other. Seconds are CPU seconds (user and system),
which other work on the machine changes least, with those by the clock beside them; each is the median of the
rounds. Memory is the peak of the whole process, and how much of that came on top while results were written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pydicom import dcmread

from benchmarks.memory import forget_peak, memory_mib
from benchmarks.result_study import (
    DESCRIPTION,
    LABELS,
    SOURCE,
    measure_findings,
    read_masks,
    read_source,
    write_study,
)
from engines.segments import SeriesType
from node.results.build import build_results
from node.results.files import write_results
from node.results.forms import DEFAULT_CHOICE, FormChoice, Masks
from tests.support.result_studies import context

Made = TypeVar("Made")

COMBINED_AND_REPORT = FormChoice(DEFAULT_CHOICE.forms, Masks.COMBINED)

START = "start and imports"
READ = "read the images and masks"
MEASURE = "measure the lesions"
FIRST = "SEG of all segments and SR, the first time"
PAIR = "SEG of all segments and SR"
EVERYTHING = "SEG of each segment, SEG of all, SR"
WARM_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds and seconds by the clock."""

    cpu_s: float
    clock_s: float


def timed(work: Callable[[], Made]) -> tuple[Made, Cost]:
    """Run in this process and say what came of it and what it cost."""
    cpu, clock = time.process_time(), time.perf_counter()
    made = work()
    return made, Cost(time.process_time() - cpu, time.perf_counter() - clock)


def median(costs: list[Cost]) -> Cost:
    """Return the median of each."""
    return Cost(*(statistics.median(getattr(one, name) for one in costs) for name in Cost.__slots__))


def work_as_node(folder: Path) -> None:
    """Do the node's side in this process and print what each step cost."""
    target = folder / "node"
    started = Cost(time.process_time(), time.clock_gettime(time.CLOCK_BOOTTIME) - _began())
    costs = {START: started}
    (source, masks), costs[READ] = timed(lambda: (read_source(folder), read_masks(folder)))
    findings, costs[MEASURE] = timed(lambda: measure_findings(source, masks))

    def write(choice: FormChoice) -> Cost:
        sources = {SeriesType.T2_FLAIR: source}
        made = timed(lambda: write_results(build_results(findings, sources, context(), (choice,)), target))
        return made[1]

    before, peak_until_here = memory_mib("VmRSS"), memory_mib("VmHWM")
    forget_peak()
    costs[FIRST] = write(COMBINED_AND_REPORT)
    costs[PAIR] = median([write(COMBINED_AND_REPORT) for _ in range(WARM_ROUNDS)])
    costs[EVERYTHING] = median([write(DEFAULT_CHOICE) for _ in range(WARM_ROUNDS)])
    peak = memory_mib("VmHWM")
    print(
        json.dumps(
            {
                "costs": {name: [cost.cpu_s, cost.clock_s] for name, cost in costs.items()},
                "peak_mib": max(peak, peak_until_here),
                "added_mib": peak - before,
                "lesions": sum(len(found.lesions) for found in findings.findings),
            }
        )
    )


def _began() -> float:
    """Return when this process began, seconds since boot."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


def run_dcmqi(*options: str) -> tuple[Cost, float]:
    """Run itkimage2segimage itself, not its Python wrapper; return its cost and its peak memory, MiB."""
    files = distribution("dcmqi").files or []
    program = next(str(file.locate()) for file in files if str(file).startswith("dcmqi/bin/itkimage2seg"))
    began = time.perf_counter()
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - began), used.ru_maxrss / 1024


def dcmqi_options(folder: Path) -> list[str]:
    """Say what to read and write."""
    return [
        "--inputImageList", str(folder / LABELS), "--inputMetadata", str(folder / DESCRIPTION),
        "--inputDICOMDirectory", str(folder / SOURCE), "--outputDICOM", str(folder / "dcmqi.dcm"),
    ]  # fmt: skip


def run_node(folder: Path) -> dict[str, object]:
    """Run the node's side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.results", "--work-in", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return said


def machine() -> str:
    """Name the processor and say how busy the machine is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def rows(node: list[dict[str, object]], dcmqi: list[Cost], starts: list[Cost]) -> Iterator[tuple[str, Cost]]:
    """Return the lines of the table."""
    costs: list[Mapping[str, list[float]]] = [one["costs"] for one in node]  # type: ignore[misc]
    for name in costs[0]:
        yield f"node: {name}", median([Cost(*one[name]) for one in costs])
    whole = (START, READ, MEASURE, FIRST)
    totals = [Cost(*map(sum, zip(*(one[name] for name in whole), strict=True))) for one in costs]
    yield "node: all of it as one process, SEG and SR", median(totals)
    yield "dcmqi: start (--help)", median(starts)
    yield "dcmqi: all of it as one process, SEG", median(dcmqi)


def main() -> None:
    """Measure both sides in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--lesions", type=int, default=40, help="lesions of each segment beside the first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if arguments.work_in:
        work_as_node(arguments.work_in)
        return
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_study(folder, arguments.slices, arguments.lesions)
        node, dcmqi, starts = [], [], []
        for _ in range(arguments.rounds):
            node.append(run_node(folder))
            dcmqi.append(run_dcmqi(*dcmqi_options(folder)))
            starts.append(run_dcmqi("--help")[0])
        made = {"node": folder / "node" / "seg-combined.dcm", "dcmqi": folder / "dcmqi.dcm"}
        frames = {name: int(dcmread(path).NumberOfFrames) for name, path in made.items()}
    print(f"{arguments.slices} slices of 256 x 256, {node[0]['lesions']} lesions, one core; frames {frames}")
    print(f"{'':52s}{'CPU s':>8s}{'clock s':>9s}   median of {arguments.rounds}")
    for name, cost in rows(node, [cost for cost, _ in dcmqi], starts):
        print(f"{name:52s}{cost.cpu_s:8.2f}{cost.clock_s:9.2f}")
    added, peak = (max(float(str(one[name])) for one in node) for name in ("added_mib", "peak_mib"))
    print(f"peak memory: node {peak:.0f} MiB, {added:.0f} of them to write results", end="; ")
    print(f"dcmqi {max(mib for _, mib in dcmqi):.0f} MiB")
    print(machine())


if __name__ == "__main__":
    main()
