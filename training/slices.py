"""Prepared slices on disk: each case is preprocessed as in serving once; training reads memory maps.

Convention: a case becomes two arrays, images (slices, channels, rows, columns) float16 and targets
(slices, rows, columns) uint8, in a folder that is named by a digest of the preprocessing.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines.errors import InputError
from engines.manifest import Manifest
from engines.preprocessing import Prepared, prepare, prepare_mask
from engines.volume import Grid, Volume
from training.alterations import ISOTROPIC, alterations
from training.cases import Case, CaseKind, same_place
from training.errors import CaseError
from training.losses import IGNORE
from training.recipe import SegmentRecipe
from training.whole_files import opened_whole

LESION_COVERAGE = 0.4
"""Share of a pixel that a mask must cover to make it a target; below one half, so that lesions of a pixel or
two survive a matrix that is shrunk."""

MAX_SLICES = 44
"""Slices kept of one case: a volume of 1 mm slices takes no more room than some clinical ones."""

AT_ONCE = 8
"""Threads at most: each holds a whole case, 100 MB if its slices are thin."""

AHEAD = 2
"""Cases that wait for each thread that prepares some: more only take memory."""

LABELS = "labels"
"""Name of the digest of what is marked on a case."""

Seen = SegmentRecipe | Manifest
"""What says which inputs of a case are seen, and how: both name them alike."""


def _nowhere() -> NDArray[np.intp]:
    return np.zeros((0, 3), np.intp)


@dataclass(frozen=True, slots=True)
class PreparedCase:
    """A case as a network sees it.

    Attributes:
        name: of the case, with its variant.
        patient: what splits go by.
        kind: real, painted or simulated.
        images: (slices, channels, rows, columns) float16, memory-mapped.
        targets: (slices, rows, columns) uint8, memory-mapped.
        dataset: it belongs to.
        licence: of what it was made of.
        digest: SHA-256 of the case's volumes and mask.
        geometry: digest of the grid that they lie on, which says how they are turned and padded.
        alarms: (n, 3) slice, row, column of what a network took for a lesion and is none.
    """

    name: str
    patient: str
    kind: CaseKind
    dataset: str
    licence: str
    images: NDArray[np.float16]
    targets: NDArray[np.uint8]
    digest: str
    geometry: str
    alarms: NDArray[np.intp] = field(default_factory=_nowhere)


def variants(case: Case) -> Iterator[Case]:
    """Yield a case, and real scans also without the skull and, if their slices are thin, with thick ones."""
    yield case
    if case.provenance.kind is CaseKind.REAL:
        yield from (altered for what, altered in alterations(case) if what != ISOTROPIC)


def store_cases(cases: Iterable[Case], recipe: SegmentRecipe, folder: Path) -> list[PreparedCase]:
    """Prepare cases that are not yet in the folder, and open all of them.

    As many are prepared at once as torch has threads; numpy's work on large arrays leaves them to each other.

    Args:
        cases: each with the recipe's Series and, for its segment, a mask; a few are read ahead.
        recipe: the preprocessing, the inputs and the segment.
        folder: where the arrays are kept; shared by runs with the same preprocessing.

    Raises:
        CaseError: if a case lacks a Series or its mask lies on another grid than its first input.
        StorageError: if the disk cannot hold the arrays.
    """
    key = json.dumps([recipe.preprocessing.model_dump(mode="json"), recipe.inputs, MAX_SLICES])
    place = folder / recipe.segment / hashlib.sha256(key.encode()).hexdigest()[:12]
    place.mkdir(parents=True, exist_ok=True)
    threads = min(torch.get_num_threads(), AT_ONCE)
    stored: list[PreparedCase] = []
    waiting: deque[Future[PreparedCase]] = deque()
    with ThreadPoolExecutor(threads) as executor:
        for case in cases:
            waiting.append(executor.submit(_store, case, recipe, place))
            if len(waiting) > AHEAD * threads:
                stored.append(waiting.popleft().result())
        stored += [case.result() for case in waiting]
    return stored


def case_digest(case: Case, recipe: SegmentRecipe) -> str:
    """Return the SHA-256 of what is learned from a case: its input volumes and its mask, hex."""
    digest = hashlib.sha256()
    for kind in recipe.inputs:
        if kind in case.volumes:
            digest.update(np.ascontiguousarray(case.volumes[kind].array).tobytes())
    for mask in (case.masks[recipe.segment], case.uncounted(recipe.segment)):
        digest.update(b"" if mask is None else np.packbits(mask.array != 0).tobytes())
    return digest.hexdigest()


def part_digests(case: Case, recipe: Seen) -> dict[str, str]:
    """Return the first digits of the SHA-256 of a case's inputs and labels, each with its grid, hex."""
    uncounted = case.uncounted(recipe.segment)
    labels = [mask for mask in (case.masks[recipe.segment], uncounted) if mask is not None]
    parts = {kind.value: [case.volumes[kind]] for kind in recipe.inputs if kind in case.volumes}
    return {name: _digest_of(volumes) for name, volumes in {**parts, LABELS: labels}.items()}


def _digest_of(volumes: Sequence[Volume]) -> str:
    digest = hashlib.sha256()
    for volume in volumes:
        digest.update(np.ascontiguousarray(volume.array).tobytes())
        digest.update(grid_digest(volume.grid).encode())
    return digest.hexdigest()[:16]


def grid_digest(grid: Grid) -> str:
    """Return the first digits of the SHA-256 of a grid's shape and affine, the latter to 0.001 mm, hex."""
    places = np.round(grid.affine, 3) + 0.0  # no negative zero
    return hashlib.sha256(json.dumps([grid.shape, places.tolist()]).encode()).hexdigest()[:8]


def input_volumes(case: Case, recipe: Seen) -> list[Volume | None]:
    """Return a case's volumes in channel order; None for an optional one that it lacks.

    Raises: CaseError: if one that is not optional is missing.
    """
    chosen: list[Volume | None] = []
    for kind in recipe.inputs:
        volume = case.volumes.get(kind)
        if volume is None and kind not in recipe.optional_inputs:
            raise CaseError(
                case.name,
                f"no {kind}, which {recipe.name} needs for {recipe.segment}; add it to the description of "
                f"{case.provenance.dataset}, or move that out of the folder",
            )
        chosen.append(volume)
    return chosen


def prepare_case(case: Case, recipe: Seen) -> Prepared:
    """Prepare the inputs of a case as in serving.

    Raises: CaseError: if one is missing or shows nothing, or they, or the mask, lie on different grids.
    """
    volumes = input_volumes(case, recipe)
    first, mask = volumes[0], case.masks.get(recipe.segment)
    if mask is not None and (first is None or not same_place(mask.grid, first.grid)):
        raise CaseError(case.name, f"its {recipe.segment} mask is not on the grid of its {recipe.inputs[0]}")
    try:
        return prepare(volumes, recipe.preprocessing)
    except InputError as error:
        raise CaseError(case.name, str(error)) from error


def _store(case: Case, recipe: SegmentRecipe, place: Path) -> PreparedCase:
    if recipe.segment not in case.masks:
        raise CaseError(case.name, f"no {recipe.segment} mask; label it or leave the case out")
    digest, geometry = case_digest(case, recipe), grid_digest(case.masks[recipe.segment].grid)
    stem = f"{case.provenance.dataset}_{case.name}_{digest[:8]}_{geometry}"
    images, targets = place / f"{stem}.images.npy", place / f"{stem}.targets.npy"
    if not targets.is_file():
        pixels, labels = _prepare(case, recipe)
        _save(images, pixels)
        _save(targets, labels)
    return PreparedCase(
        name=case.name,
        patient=case.provenance.patient,
        kind=case.provenance.kind,
        dataset=case.provenance.dataset,
        licence=case.provenance.licence,
        images=np.load(images, mmap_mode="r"),
        targets=np.load(targets, mmap_mode="r"),
        digest=digest,
        geometry=geometry,
    )


def _save(path: Path, array: NDArray[np.float16] | NDArray[np.uint8]) -> None:
    """Write an array whole or not at all: another process may want the same.

    Raises: StorageError: if there is no room for it.
    """
    with opened_whole(path, array.nbytes / 1e6) as file:
        np.save(file, array)


def _prepare(case: Case, recipe: SegmentRecipe) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    pixels = prepare_case(case, recipe).slices
    labels = (prepare_mask(case.masks[recipe.segment], recipe.preprocessing) >= LESION_COVERAGE).astype(
        np.uint8
    )
    uncounted = case.uncounted(recipe.segment)
    if uncounted is not None:
        labels[(prepare_mask(uncounted, recipe.preprocessing) > 0) & (labels == 0)] = IGNORE
    kept = _choose(labels, pixels)
    return pixels[kept].astype(np.float16), labels[kept]


def _choose(labels: NDArray[np.uint8], pixels: NDArray[np.float32]) -> NDArray[np.intp]:
    """Choose up to ``MAX_SLICES`` slices that show something, those with a lesion first, spread evenly."""
    lesion = np.flatnonzero((labels == 1).any(axis=(1, 2)))
    shown = np.flatnonzero(pixels.std(axis=(1, 2, 3)) > 0)
    other = np.setdiff1d(shown, lesion)
    lesion = _thin_out(lesion, MAX_SLICES * 2 // 3 if len(other) else MAX_SLICES)
    return np.sort(np.concatenate([lesion, _thin_out(other, MAX_SLICES - len(lesion))]))


def _thin_out(numbers: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    if len(numbers) <= count:
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, count).round().astype(np.intp)]
