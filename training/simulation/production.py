"""Fills a pool with simulated and painted cases, in several processes, and goes on where it was stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from engines.segments import Segment
from training.cases import CaseKind
from training.errors import SimulationSourceError, SimulationStoppedError
from training.pool import Split, write_pool_case
from training.simulation.anatomy import load_anatomy
from training.simulation.painting import paint_scan
from training.simulation.scans import Scan, scan_sources
from training.simulation.shapes import read_lesion_library
from training.simulation.simulator import simulate

LABEL_MAPS = "synthesis/synthseg_labelmaps"
LESION_MASKS = "synthesis/ms_lesion_masks_mni152_1mm/lesions_packed.npz"

ANATOMIES: Mapping[Split, tuple[int, ...]] = {
    Split.TRAIN: tuple(range(1, 15)),
    Split.VALIDATION: tuple(range(15, 18)),
    Split.TEST: tuple(range(18, 21)),
}
"""Numbers of the label maps of each split: no head is in two."""

COUNTS: Mapping[Split, int] = {Split.TRAIN: 720, Split.VALIDATION: 72, Split.TEST: 72}
"""Simulated cases of one segment: those of infarcts take a quarter of an hour on one core."""

SEEDS: Mapping[Split, int] = {Split.TRAIN: 0, Split.VALIDATION: 0, Split.TEST: 11}
"""Where chance starts in each split. That of the test rises when models, recipes or simulation were changed
after a look at scores on test cases, so that what is published was measured on cases that chose nothing."""


def counts_for(training: int) -> dict[Split, int]:
    """Return how many cases each split gets for so many to learn from: in the proportion of ``COUNTS``."""
    return {split: max(1, round(count * training / COUNTS[Split.TRAIN])) for split, count in COUNTS.items()}


@dataclass(frozen=True, slots=True)
class Order:
    """One case to be made.

    Attributes:
        segment: what is wanted.
        split: where it belongs.
        kind: simulated from an anatomy, or painted into a real scan.
        source: name of the label map or of the scan.
        number: within its split and kind.
        data: folder that holds the sources.
        pool: folder that is filled.
        seed: of its split.
    """

    segment: Segment
    split: Split
    kind: CaseKind
    source: str
    number: int
    data: Path
    pool: Path
    seed: int

    @property
    def name(self) -> str:
        """Name of the case."""
        return f"{self.kind}_{self.number:04d}_{self.source}"

    @property
    def path(self) -> Path:
        """File of the case."""
        return self.pool / self.segment / self.split / f"{self.name}.npz"

    def generator(self) -> np.random.Generator:
        """Return the source of chance of this case alone, so that any one can be made again."""
        places = [list(Segment).index(self.segment), list(Split).index(self.split)]
        places.append(list(CaseKind).index(self.kind))
        return np.random.default_rng([self.seed, *places, self.number])


def orders(
    segment: Segment,
    data: Path,
    pool: Path,
    counts: Mapping[Split, int] = COUNTS,
    variants: int | None = None,
) -> tuple[Order, ...]:
    """List the cases of a pool, all splits and kinds growing together.

    Args:
        segment: what is wanted.
        data: folder that holds the sources.
        pool: folder that is filled.
        counts: simulated cases of each split.
        variants: times each real scan is painted; as its source says if None.
    """
    listed: list[tuple[float, Order]] = []
    for split, count in counts.items():
        names = [f"training_seg_{number:02d}" for number in ANATOMIES[split]]
        for number in range(count):
            source = names[number % len(names)]
            order = Order(segment, split, CaseKind.SIMULATED, source, number, data, pool, SEEDS[split])
            listed.append((number / count, order))
    for place, scan in enumerate(scan_sources(segment)):
        times = scan.variants if variants is None else variants
        for number in range(times):
            unique = place * 1000 + number
            order = Order(
                segment, scan.split, CaseKind.PAINTED, scan.name, unique, data, pool, SEEDS[scan.split]
            )
            listed.append((number / times, order))
    return tuple(order for _, order in sorted(listed, key=lambda entry: entry[0]))


def fill_pool(listed: tuple[Order, ...], workers: int = 1) -> Iterator[Path]:
    """Make the cases that are not there yet, and yield each file when it is written.

    Args:
        listed: what is wanted.
        workers: processes.

    Raises:
        SimulationSourceError: if a label map or the lesion library is missing or unreadable.
        SimulationStoppedError: if a process was ended from outside.
        StorageError: if the disk is full.
    """
    missing = [order for order in listed if not order.path.is_file()]
    if missing and not (missing[0].data / LABEL_MAPS).is_dir():
        raise SimulationSourceError(missing[0].data / LABEL_MAPS, "is no folder")
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        # read by the children's libraries: processes that each take all cores only wait for one another
        os.environ.setdefault(threads, "1")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        try:
            for done in as_completed([executor.submit(make, order) for order in missing]):
                yield done.result()
        except BrokenProcessPool as error:
            raise SimulationStoppedError(missing[0].pool) from error
        finally:
            # what one process met is told when the cases that are begun have ended, not when all have
            executor.shutdown(wait=False, cancel_futures=True)


def make(order: Order) -> Path:
    """Make one case and write it."""
    torch.set_num_threads(1)
    rng = order.generator()
    if order.kind is CaseKind.PAINTED:
        scan = _scan(order.segment, order.source, order.data)
        new_tracts = order.split is Split.TRAIN
        case = paint_scan(order.segment, order.name, scan, rng, new_tracts=new_tracts)
    else:
        anatomy = _anatomy(order.data / LABEL_MAPS / f"{order.source}.nii.gz", order.pool / "anatomies")
        case = simulate(order.segment, order.name, anatomy, _library(order.data / LESION_MASKS), rng)
    return write_pool_case(order.path.parent, case, order.segment)


_anatomy = lru_cache(maxsize=20)(load_anatomy)
_library = lru_cache(maxsize=1)(read_lesion_library)


@lru_cache(maxsize=16)
def _scan(segment: Segment, name: str, data: Path) -> Scan:
    return next(source for source in scan_sources(segment) if source.name == name).read(data)
