"""Fills a pool with simulated cases, in several processes, and goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from engines.segments import Segment
from training.errors import SimulationSourceError
from training.pool import Split, write_pool_case
from training.simulation.anatomy import Anatomy, load_anatomy
from training.simulation.shapes import LesionLibrary, read_lesion_library
from training.simulation.simulator import simulate

LABEL_MAPS = "synthesis/synthseg_labelmaps"
LESION_MASKS = "synthesis/ms_lesion_masks_mni152_1mm/lesions_packed.npz"

ANATOMIES: Mapping[Split, tuple[int, ...]] = {
    Split.TRAIN: tuple(range(1, 15)),
    Split.VALIDATION: tuple(range(15, 18)),
    Split.TEST: tuple(range(18, 21)),
}
"""Numbers of the label maps of each split: no head is in two."""

COUNTS: Mapping[Split, int] = {Split.TRAIN: 220, Split.VALIDATION: 36, Split.TEST: 42}
"""Simulated cases of one segment: a few minutes on one core, about a gigabyte."""


@dataclass(frozen=True, slots=True)
class Order:
    """One case to be made.

    Attributes:
        segment: what is wanted.
        split: where it belongs.
        number: within its split.
        data: folder that holds the label maps and lesion masks.
        pool: folder that is filled.
        seed: of the whole pool.
    """

    segment: Segment
    split: Split
    number: int
    data: Path
    pool: Path
    seed: int

    @property
    def anatomy(self) -> str:
        """Name of the label map."""
        numbers = ANATOMIES[self.split]
        return f"training_seg_{numbers[self.number % len(numbers)]:02d}"

    @property
    def name(self) -> str:
        """Name of the case."""
        return f"simulated_{self.number:04d}_{self.anatomy}"

    @property
    def path(self) -> Path:
        """File of the case."""
        return self.pool / self.segment / self.split / f"{self.name}.npz"


def orders(
    segment: Segment, data: Path, pool: Path, counts: Mapping[Split, int] = COUNTS, seed: int = 0
) -> tuple[Order, ...]:
    """List the cases of a pool, all splits growing together."""
    listed = [
        Order(segment, split, number, data, pool, seed)
        for split, count in counts.items()
        for number in range(count)
    ]
    return tuple(sorted(listed, key=lambda order: order.number / counts[order.split]))


def fill_pool(listed: tuple[Order, ...], workers: int = 1) -> Iterator[Path]:
    """Make the cases that are not there yet, and yield each file when it is written.

    Args:
        listed: what is wanted.
        workers: processes.

    Raises:
        SimulationSourceError: if a label map or the lesion library is missing or unreadable.
    """
    missing = [order for order in listed if not order.path.is_file()]
    if missing and not (missing[0].data / LABEL_MAPS).is_dir():
        raise SimulationSourceError(missing[0].data / LABEL_MAPS, "is no folder")
    if workers <= 1:
        yield from map(make, missing)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        for done in as_completed([executor.submit(make, order) for order in missing]):
            yield done.result()


def make(order: Order) -> Path:
    """Simulate one case and write it."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(
        [order.seed, list(Segment).index(order.segment), list(Split).index(order.split), order.number]
    )
    anatomy = _anatomy(order.data / LABEL_MAPS / f"{order.anatomy}.nii.gz", order.pool / "anatomies")
    library = _library(order.data / LESION_MASKS)
    case = simulate(order.segment, order.name, anatomy, library, rng)
    return write_pool_case(order.path.parent, case, order.segment)


@lru_cache(maxsize=20)
def _anatomy(label_map: Path, cache: Path) -> Anatomy:
    return load_anatomy(label_map, cache)


@lru_cache(maxsize=1)
def _library(path: Path) -> LesionLibrary:
    return read_lesion_library(path)
