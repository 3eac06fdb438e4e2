"""Times a case of four Series through every runner of this machine and through PyTorch, side by side.

Run with ``python -m benchmarks.engines [--rounds N] [--slices N]``. A case is preparing, running and
restoring 24 slices of 256x256 for each shipped segmentor. All sides see the same slices and take turns, so
that another job on the machine slows all of them alike; the best of the rounds is printed, which it disturbed
least. Peak memory is that of a process of its own for each side, and what it holds of the GPU where there is
one. PyTorch runs the network of the recipe ``best``, with weights at random: they do not change its time. On
a GPU it computes in float16, as the node does there, on a CPU in float32.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pynvml
from numpy.typing import NDArray

from engines.bundle import Bundle, load_bundle, shipped_bundles
from engines.errors import RunnerError
from engines.postprocessing import lesion_mask, probabilities
from engines.preprocessing import prepare
from engines.runners.base import RunnerSettings
from engines.runners.choice import AUTO_ORDER, open_runner
from engines.volume import Grid, Volume

KIB_IN_MIB = 1024
"""Kibibytes in a mebibyte: the unit of ``ru_maxrss`` on Linux is the kibibyte."""

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Slices in, logits out."""

Side = Mapping[str, Run]
"""What runs each bundle, by the bundle's name."""


def ellipsoid(slices: int) -> Volume:
    """Return a head-like ellipsoid with noise, 0.9 x 0.9 x 6 mm."""
    shape = (slices, 256, 256)
    places = np.stack(np.indices(shape)) / (np.array(shape).reshape(3, 1, 1, 1) / 2) - 1
    inside = (places**2).sum(axis=0) < 0.7
    noise = np.random.default_rng(0).normal(0, 15, shape)
    affine = np.diag([6.0, 0.9, 0.9, 1.0])[[2, 1, 0, 3]]
    return Volume((inside * 500 + noise).astype(np.float32), Grid(shape, affine))


def bundles() -> list[Bundle]:
    """Load the shipped bundles."""
    return [load_bundle(path.parent) for path in sorted(shipped_bundles().glob("*/manifest.yaml"))]


def sides() -> dict[str, Callable[[ExitStack], Side]]:
    """Name everything that can run a case, and what opens it: proven runners of the node, and PyTorch."""
    named: dict[str, Callable[[ExitStack], Side]] = {
        f"node: {kind.value}": lambda opened, kind=kind: {  # type: ignore[misc]
            bundle.manifest.name: opened.enter_context(open_runner(bundle, kind)).run for bundle in bundles()
        }
        for kind in AUTO_ORDER
    }
    return named | {
        f"PyTorch {variant}": torch_side(variant) for variant in ("eager", "channels-last", "compile")
    }


def torch_side(variant: str) -> Callable[[ExitStack], Side]:
    """Open PyTorch as plain eager code, channels-last, or compiled and channels-last."""

    def open_side(_: ExitStack) -> Side:
        import torch  # only the sides of PyTorch pay its memory

        from training import networks
        from training.recipe import load_recipe

        torch.set_num_threads(RunnerSettings().thread_count)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        layout = torch.contiguous_format if variant == "eager" else torch.channels_last
        side: dict[str, Run] = {}
        for bundle in bundles():
            recipe = load_recipe("best").for_segment(bundle.manifest.segment)
            network = networks.build(recipe.network, bundle.manifest.channels).eval()
            network = network.to(device, dtype, memory_format=layout)
            module = torch.compile(network) if variant == "compile" else network

            def run(slices: NDArray[np.float32], module=module) -> NDArray[np.float32]:  # type: ignore[no-untyped-def]
                with torch.inference_mode():
                    given = torch.from_numpy(slices).to(device, dtype, memory_format=layout)
                    return np.asarray(module(given).float().cpu().numpy())

            side[bundle.manifest.name] = run
        return side

    return open_side


def run_case(side: Side, loaded: list[Bundle], volume: Volume) -> None:
    """Prepare, run and restore the Series of every segmentor."""
    for bundle in loaded:
        prepared = prepare([volume] * len(bundle.manifest.inputs), bundle.manifest.preprocessing)
        logits = side[bundle.manifest.name](prepared.slices)
        lesion_mask(probabilities(logits, prepared), bundle.manifest.postprocessing)


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
        run_case(sides()[side](opened), bundles(), ellipsoid(slices))
        taken = gpu_used() - before
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(round(peak_kib / KIB_IN_MIB), round(taken / (1 << 20)))


def gpu_used() -> int:
    """Return how many bytes of the first GPU are in use, 0 where there is none."""
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    except pynvml.NVMLError:
        return 0


def processor() -> str:
    """Name the processor and what bounds its speed here."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.name == "posix" else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    widest = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{model or platform.processor()}, {RunnerSettings().thread_count} cores, {' '.join(widest)}"


def report(rounds: int, slices: int) -> Iterator[str]:
    """Measure everything and yield the lines of the report."""
    from benchmarks.roofline import measure, work_of  # PyTorch measures it, see ``torch_side``

    loaded, volume = bundles(), ellipsoid(slices)
    device = measure(processor())
    peaks = f"{device.flop_s / 1e9:.0f} GFLOP/s in products, {device.bytes_s / 1e9:.1f} GB/s in copies"
    yield f"{device.name}: {peaks}"
    least = 0.0
    for bundle in loaded:
        work = work_of(bundle.model_path)
        by_arithmetic, by_traffic = device.least_ms(work, slices)
        megabytes = work.values * device.value_bytes / 1e6
        least += max(by_arithmetic, by_traffic)
        yield (
            f"{bundle.manifest.name} {bundle.manifest.version}: {work.flop / 1e9:.2f} GFLOP and "
            f"{megabytes:.0f} MB a slice; {slices} slices: at least {by_arithmetic:.0f} ms by "
            f"arithmetic, {by_traffic:.0f} ms by traffic"
        )
    with ExitStack() as opened:
        steps: dict[str, Callable[[], object]] = {
            "preparing and restoring alone": partial(run_case, blank(), loaded, volume)
        }
        for name, open_side in sides().items():
            try:
                steps[name] = partial(run_case, open_side(opened), loaded, volume)
            except RunnerError as error:
                yield f"left out: {name}: {error}"
        take_turns(steps, 1)
        times = take_turns(steps, rounds)
    yield f"A case of {len(loaded)} Series x {slices} slices, best of {rounds}; roofline {least:.0f} ms"
    yield "| side | ms a case | ms CPU | share of the roofline | peak memory MiB |"
    yield "| --- | --- | --- | --- | --- |"
    for name, (wall_ms, cpu_ms) in times.items():
        memory = peak_mib(name, slices) if name in sides() else "–"
        share = f"{least / wall_ms:.0%}" if name in sides() else "–"
        yield f"| {name} | {wall_ms:.0f} | {cpu_ms:.0f} | {share} | {memory} |"


def blank() -> Side:
    """Return a side that finds nothing, at no cost."""
    return defaultdict(lambda: lambda slices: np.full((len(slices), 1, *slices.shape[2:]), -9.0, np.float32))


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
