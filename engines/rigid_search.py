"""The rigid movement under which two volumes tell most of each other, sought from coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from engines.mutual_information import Comparison, NothingToCompareError
from engines.volume import Grid, Volume

Floats = NDArray[np.float64]

LEVELS_MM = (10.0, 6.0, 3.0)
"""Voxels are averaged up to about this size at each level, coarse to fine, mm. On 12 FLAIR and T1 pairs of
the development data a finer last level was no more exact and took longer."""

SMOOTHING = 0.5
"""Standard deviation of the smoothing at each level, share of its voxel size."""

FIRST_STEP_MM = (4.0, 2.0, 1.0)
"""First step at each level, mm."""

LAST_STEP_MM = 0.01
"""The search has converged when its step is shorter, mm."""

MAX_STEPS = 200
"""Of one level; a level that needs them all has not converged. 10 to 30 are usual."""

LEAPS = (-1.0, -0.5, 0.5, 1.0)
"""Shifts across the slices, in distances of the thicker ones, that are tried from where a climb of a coarse
level ended. Where slices lie on slices information has tops of its own: in one of 131 known movements of real
scans it was 4.4 mm from the truth."""

KEPT_SIZE = 8
"""Averaging leaves at least this many voxels along an axis that has them."""

ROBUST_PERCENTILES = (0.5, 99.5)
"""Intensities are clipped to these percentiles, so that no artefact stretches the histogram's bins."""

ROTATION_ARM_MM = 30.0
"""Distance from the centre at which a turn is weighed against a shift, mm. The corners of the volume, 150 mm
away, weigh turns too lightly: searches stopped up to 8 degrees short of the truth on a head phantom."""


@dataclass(frozen=True, slots=True)
class FoundMovement:
    """Where a search ended.

    Attributes:
        fixed_to_moving: (4, 4), LPS mm.
        information: mutual information there, nats.
        information_before: in the scanner geometry, nats.
        converged: whether each level ended before its last step.
    """

    fixed_to_moving: Floats
    information: float
    information_before: float
    converged: bool


def find_movement(fixed: Volume, moving: Volume, centre: Floats) -> FoundMovement:
    """Maximise the mutual information of two volumes, from the scanner geometry on.

    Args:
        fixed: the volume whose patient space is the target.
        moving: the volume that may have moved.
        centre: (3,) LPS mm; turns are about it.

    Raises:
        NothingToCompareError: if the two do not overlap, or one is constant.
    """
    volumes = fixed, moving
    bounds = [np.percentile(volume.array, ROBUST_PERCENTILES) for volume in volumes]
    across = max((volume.grid.affine[:3, 0] for volume in volumes), key=np.linalg.norm)
    movement, converged = np.eye(4), True
    for level_mm, step_mm in zip(LEVELS_MM, FIRST_STEP_MM, strict=True):
        coarse_fixed, coarse_moving = (
            _coarsened(volume, within, level_mm) for volume, within in zip(volumes, bounds, strict=True)
        )
        comparison = Comparison(coarse_fixed, coarse_moving, centre)
        movement, ended = _climb(comparison, movement, centre, step_mm)
        start = _leap(comparison, movement, across, centre) if level_mm > LEVELS_MM[-1] else movement
        if start is not movement:
            movement, ended = _climb(comparison, start, centre, step_mm)
        converged = converged and ended
    return FoundMovement(movement, comparison.at(movement).nats, comparison.at(np.eye(4)).nats, converged)


def _climb(comparison: Comparison, movement: Floats, centre: Floats, step_mm: float) -> tuple[Floats, bool]:
    """Go up the slope in steps that are halved whenever it turns back; say whether the top was reached."""
    before = np.zeros(6)
    for _ in range(MAX_STEPS):
        slope = comparison.at(movement).slope / np.repeat([ROTATION_ARM_MM, 1.0], 3)
        direction = slope / max(float(np.linalg.norm(slope)), np.finfo(np.float64).tiny)
        if direction @ before < 0:
            step_mm /= 2
        if step_mm < LAST_STEP_MM:
            return movement, True
        movement, before = _moved(movement, step_mm * direction, centre), direction
    return movement, False


def _leap(comparison: Comparison, movement: Floats, across: Floats, centre: Floats) -> Floats:
    """Return what has most information: the movement, or half a slice or a slice further up or down."""
    leaps = [_moved(movement, np.concatenate([np.zeros(3), leap * across]), centre) for leap in LEAPS]
    return max([movement, *leaps], key=lambda place: _nats(comparison, place))


def _nats(comparison: Comparison, movement: Floats) -> float:
    """Return the information under a movement that is only tried; without overlap it is the least."""
    try:
        return comparison.at(movement).nats
    except NothingToCompareError:
        return -np.inf


def _moved(movement: Floats, step_mm: Floats, centre: Floats) -> Floats:
    """Turn about where the movement brings the centre to, and shift."""
    turn = Rotation.from_rotvec(step_mm[:3] / ROTATION_ARM_MM).as_matrix()
    moved = np.eye(4)
    moved[:3, :3] = turn @ movement[:3, :3]
    moved[:3, 3] = movement[:3, :3] @ centre + movement[:3, 3] + step_mm[3:] - moved[:3, :3] @ centre
    return moved


def _coarsened(volume: Volume, bounds: Floats, level_mm: float) -> Volume:
    """Average voxels up to a size, along each axis on its own: thick slices are not joined.

    Each coarse slice is made on its own: a whole volume of thin slices, clipped, would take gigabytes.

    Args:
        volume: what is averaged.
        bounds: lowest and highest intensity that counts; beyond them it counts as they do.
        level_mm: the size.
    """
    sides = zip(volume.grid.spacing_mm, volume.grid.shape, strict=True)
    factors = [max(1, min(round(level_mm / spacing), size // KEPT_SIZE)) for spacing, size in sides]
    grid = _coarse_grid(volume.grid, factors)
    (slices, rows, columns), (in_slice, in_row, in_column) = grid.shape, factors
    kept = volume.array[:, : rows * in_row, : columns * in_column]
    means = np.empty(grid.shape)
    for number in range(slices):
        slab = np.clip(kept[number * in_slice : (number + 1) * in_slice], *bounds)
        # (in a slice, rows * in a row, columns * in a column) -> (rows, columns)
        blocks = slab.reshape(in_slice, rows, in_row, columns, in_column)
        means[number] = blocks.mean(axis=(0, 2, 4), dtype=np.float64)
    sigmas = SMOOTHING * level_mm / np.array(grid.spacing_mm)
    return Volume(gaussian_filter(means, sigmas, mode="nearest"), grid)


def _coarse_grid(grid: Grid, factors: list[int]) -> Grid:
    """Join voxels along each axis; what is left over at the end is cut off."""
    slices, rows, columns = (size // factor for size, factor in zip(grid.shape, factors, strict=True))
    affine = grid.affine.copy()
    affine[:3, :3] *= factors
    affine[:3, 3] = grid.to_lps((np.array([factors]) - 1) / 2)[0]
    return Grid((slices, rows, columns), affine)
