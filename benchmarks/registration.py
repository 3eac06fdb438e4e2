"""How exactly and how fast known movements are found, beside SimpleITK with the same constants.

Both sides get the same two volumes: a FLAIR and another Series whose grid was moved by a known amount, so
that the truth is exact up to how well the two lay on each other before. Heads are drawn; real pairs are
read from folders that hold flair.nii.gz and t1.nii.gz. Seconds are CPU seconds; both sides work on one core,
in turn. Memory is the peak of a process of its own on top of what it held with both volumes in hand.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.memory import forget_peak, memory_mib
from engines.rigid_search import FoundMovement, find_movement
from engines.segments import SeriesType
from engines.volume import Grid, Volume
from tests.support.head import axial_grid, head
from training.nifti import read_nifti

Search = Callable[[Volume, Volume, np.ndarray], FoundMovement]

SIDES = ("node", "SimpleITK")

MAX_TURN_DEG, MAX_SHIFT_MM = 12.0, 15.0
"""Movements are drawn up to these: within what the node believes."""


@dataclass(frozen=True, slots=True)
class Miss:
    """How far from the truth a side ended, and what it cost."""

    turn_deg: float
    shift_mm: float
    cpu_s: float
    converged: bool


def search_of(side: str) -> Search:
    """Import one side alone: what the other needs must not count."""
    if side == "node":
        return find_movement
    from tests.support.itk_registration import find_movement_by_itk

    return find_movement_by_itk


def heads() -> Iterator[tuple[str, Volume, Volume]]:
    """Draw a head as FLAIR and, on another grid, in the other weightings."""
    fixed = head(axial_grid((22, 128, 128), (6.5, 1.8, 1.8)), SeriesType.T2_FLAIR)
    grid = axial_grid((26, 96, 112), (5.0, 2.2, 2.0), centre_mm=(3.0, -2.0, 4.0))
    for kind in (SeriesType.T1, SeriesType.DWI_B1000, SeriesType.T2_STAR):
        yield f"head, {kind}", fixed, head(grid, kind, seed=1)


def pairs(folder: Path) -> Iterator[tuple[str, Volume, Volume]]:
    """Read the real pairs."""
    for flair in sorted(folder.glob("*/flair.nii.gz")):
        yield flair.parent.name, read_nifti(flair), read_nifti(flair.with_name("t1.nii.gz"))


def movement(random: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """Draw a movement: any direction, up to the limits."""
    turn, shift = random.normal(size=(2, 3))
    turn *= random.uniform(1, MAX_TURN_DEG) / np.linalg.norm(turn)
    shift *= random.uniform(1, MAX_SHIFT_MM) / np.linalg.norm(shift)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn, degrees=True).as_matrix()
    matrix[:3, 3] = centre + shift - matrix[:3, :3] @ centre
    return matrix


def measure(search: Search, fixed: Volume, still: Volume, truth: np.ndarray) -> Miss:
    """Find a known movement and say how far off it is."""
    moving = Volume(still.array, Grid(still.grid.shape, truth @ still.grid.affine))
    centre = fixed.grid.centre_lps
    began = time.process_time()
    found = search(fixed, moving, centre)
    cpu_s = time.process_time() - began
    turn = Rotation.from_matrix(found.fixed_to_moving[:3, :3] @ truth[:3, :3].T).magnitude()
    point = np.append(centre, 1)
    shift = np.linalg.norm(found.fixed_to_moving @ point - truth @ point)
    return Miss(float(np.degrees(turn)), float(shift), cpu_s, found.converged)


def added_mib(side: str) -> float:
    """Register once in a process of its own; return the memory that came on top, MiB."""
    command = [sys.executable, "-m", "benchmarks.registration", "--once", side]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def once(side: str) -> None:
    """Do one side once in this process and print the memory that came on top."""
    search = search_of(side)
    _, fixed, moving = next(heads())
    forget_peak()
    before = memory_mib("VmRSS")
    search(fixed, moving, fixed.grid.centre_lps)
    print(memory_mib("VmHWM") - before)


def main() -> None:
    """Measure both sides and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="folder of real pairs")
    parser.add_argument("--movements", type=int, default=5, help="of each pair")
    parser.add_argument("--once", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        once(arguments.once)
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    random = np.random.default_rng(20261126)
    misses: dict[tuple[str, str], list[Miss]] = {}
    for group, cases in (("heads", heads()), ("real", pairs(arguments.folder) if arguments.folder else ())):
        for name, fixed, still in cases:
            for _ in range(arguments.movements):
                truth = movement(random, fixed.grid.centre_lps)
                for side in SIDES:
                    miss = measure(search_of(side), fixed, still, truth)
                    misses.setdefault((group, side), []).append(miss)
            print(name, file=sys.stderr)
    print(f"{'':24s}{'':>4s}  degrees off     mm off          CPU s   not converged")
    print(f"{'':24s}{'n':>4s}  median worst    median worst    median")
    for (group, side), found in misses.items():
        turns, shifts, seconds = (
            [getattr(one, k) for one in found] for k in ("turn_deg", "shift_mm", "cpu_s")
        )
        print(
            f"{group + ', ' + side:24s}{len(found):4d}  {np.median(turns):6.2f} {max(turns):5.2f}    "
            f"{np.median(shifts):6.2f} {max(shifts):5.2f}    {np.median(seconds):6.2f}"
            f"{sum(not one.converged for one in found):10d}"
        )
    print("memory on top:", ", ".join(f"{side} {added_mib(side):.0f} MiB" for side in SIDES))


if __name__ == "__main__":
    main()
