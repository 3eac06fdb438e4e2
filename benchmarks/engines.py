"""Times a case of four Series through every runner of this machine and through PyTorch, side by side.

Run with ``python -m benchmarks.engines [--rounds N] [--slices N]``. A case is what the node does from the
volumes of a Study to its masks, registration left out: preparing, running and restoring 24 slices of 256x256
for each shipped segmentor. All sides see the same volumes and take turns, so that another job on the machine
slows all of them alike; the best of the rounds is printed, which it disturbed least. The networks alone are
those of a case once more, on slices that lie ready: what a GPU itself takes, its copies included. Peak memory
is that of a process of its own for each side, and what it holds of the GPU where there is one. PyTorch runs
the network of the recipe ``best``; on a GPU it computes in float16, as the node does there, on a CPU in
float32.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pynvml

from benchmarks.engine_sides import NOTHING_RUN, Side, bundles, make_case, sides
from benchmarks.memory import memory_mib
from engines.errors import RunnerError
from engines.gpu.driver import SHOWN_BY_CUDA
from engines.runners.base import RunnerSettings

COLUMNS = (
    "ms a case",
    "ms CPU",
    "networks alone ms",
    "share of the roofline",
    "first case ms",
    "peak memory MiB",
)


def take_turns(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the best wall and CPU time of each step, ms."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(rounds):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            times[name].append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    return {name: (min(w for w, _ in pairs), min(c for _, c in pairs)) for name, pairs in times.items()}


def peak_mib(side: str, slices: int) -> str:
    """Say how much memory a process holds that runs one case, MiB, and how much of the GPU if it uses one."""
    command = [sys.executable, "-m", "benchmarks.engines", "--slices", str(slices), "--memory-of", side]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return said[-2] + (f" and {said[-1]} of the GPU" if said[-1] != "0" else "")


def print_memory(side: str, slices: int) -> None:
    """Run one case and print the most that this process held, and what the GPU holds for it, MiB."""
    before = gpu_used()
    with ExitStack() as opened:
        sides()[side](opened).run_case(make_case(slices)[0])
        taken = gpu_used() - before
    print(round(memory_mib("VmHWM")), round(taken / (1 << 20)))


def gpu_used() -> int:
    """Return how many bytes are in use of the GPU that the runners take, 0 where there is none."""
    chosen = os.environ.get(SHOWN_BY_CUDA, "0").split(",")[0]
    by_number = chosen.isdigit()
    try:
        pynvml.nvmlInit()
        find = pynvml.nvmlDeviceGetHandleByIndex if by_number else pynvml.nvmlDeviceGetHandleByUUID
        return int(pynvml.nvmlDeviceGetMemoryInfo(find(int(chosen) if by_number else chosen)).used)
    except pynvml.NVMLError:
        return 0


def processor() -> str:
    """Name the processor and what bounds its speed here."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.name == "posix" else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    widest = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{model or platform.processor()}, {RunnerSettings().thread_count} cores, {' '.join(widest)}"


def roofline(slices: int) -> tuple[float, list[str]]:
    """Return the least time of a case, ms, and the lines that say of what it is made."""
    from benchmarks.roofline import measure, work_of  # PyTorch measures it, see ``torch_side``

    device, least = measure(processor()), 0.0
    lines = [f"{device.name}: {device.flop_s / 1e9:.0f} GFLOP/s, {device.bytes_s / 1e9:.1f} GB/s in copies"]
    for bundle in bundles():
        work = work_of(bundle.model_path)
        by_arithmetic, by_traffic = device.least_ms(work, slices)
        megabytes = work.values * device.value_bytes / 1e6
        least += max(by_arithmetic, by_traffic)
        lines.append(
            f"{bundle.manifest.name} {bundle.manifest.version}: {work.flop / 1e9:.2f} GFLOP and "
            f"{megabytes:.0f} MB a slice; {slices} slices: at least {by_arithmetic:.3g} ms by "
            f"arithmetic, {by_traffic:.3g} ms by traffic"
        )
    return least, lines


def report(rounds: int, slices: int) -> Iterator[str]:
    """Measure everything and yield the lines of the report."""
    least, lines = roofline(slices)
    yield from lines
    volumes, filled = make_case(slices)
    with ExitStack() as opened:
        here: dict[str, Side] = {}
        first: dict[str, float] = {}
        for name, open_side in sides().items():
            try:
                side = open_side(opened)
                first[name] = take_turns({name: partial(side.run_case, volumes)}, 1)[name][0]
                here[name] = side
            except (RunnerError, RuntimeError) as error:  # the latter is what PyTorch raises
                yield f"left out: {name}: {error}"
        times = take_turns({name: partial(side.run_case, volumes) for name, side in here.items()}, rounds)
        alone = take_turns({name: side.run_networks for name, side in here.items()}, rounds)
    yield (
        f"A case of {len(volumes)} Series x {slices} slices, of which the head fills {filled:.0%}, best of "
        f"{rounds}; roofline {least:.3g} ms"
    )
    yield f"| side | {' | '.join(COLUMNS)} |"
    yield f"| --- |{' --- |' * len(COLUMNS)}"
    for name, (wall_ms, cpu_ms) in times.items():
        share = "–" if name == NOTHING_RUN else f"{least / wall_ms:.0%}"
        memory = peak_mib(name, slices)
        times_ms = f"{wall_ms:.0f} | {cpu_ms:.0f} | {alone[name][0]:.1f}"
        yield f"| {name} | {times_ms} | {share} | {first[name]:.0f} | {memory} |"


def main() -> None:
    """Print the report, or the peak memory of one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--memory-of", metavar="SIDE")
    asked = parser.parse_args()
    if asked.memory_of is None:
        for line in report(asked.rounds, asked.slices):
            print(line, flush=True)
        return
    print_memory(asked.memory_of, asked.slices)


if __name__ == "__main__":
    main()
