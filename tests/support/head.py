"""A head drawn in patient space: known tissues that any grid can be laid over."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from engines.segments import SeriesType
from engines.volume import Grid, Volume

AIR, SCALP, FLUID, GREY, WHITE = range(5)

CONTRASTS: dict[SeriesType, tuple[float, float, float, float, float]] = {
    SeriesType.T1: (0.0, 1500.0, 250.0, 620.0, 900.0),
    SeriesType.T2_FLAIR: (0.0, 700.0, 90.0, 480.0, 400.0),
    SeriesType.DWI_B1000: (0.0, 60.0, 25.0, 210.0, 190.0),
    SeriesType.T2_STAR: (0.0, 500.0, 800.0, 640.0, 560.0),
}
"""Intensities of air, scalp, fluid, grey and white matter, ordered as in each weighting."""

NOISE_SHARE = 0.03
"""Standard deviation of the Rician noise, share of white matter; clinical images have 2 to 5%."""


def axial_grid(
    shape: tuple[int, int, int] = (24, 128, 128),
    spacing_mm: tuple[float, float, float] = (6.0, 1.8, 1.8),
    turn: Rotation | None = None,
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Grid:
    """Return an axial lattice around a centre, turned about it."""
    # Columns of the affine: slices along z, rows along y, columns along x.
    axes = np.eye(3)[:, ::-1] * np.array(spacing_mm)
    turned = (turn or Rotation.identity()).as_matrix() @ axes
    affine = np.eye(4)
    affine[:3, :3] = turned
    affine[:3, 3] = np.array(centre_mm) - turned @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def grid_points(grid: Grid) -> NDArray[np.float64]:
    """Return the (n, 3) LPS points of all voxel centres."""
    return grid.to_lps(np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3))


def tissues(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Tell the tissue at (n, 3) LPS points; nothing in this head is symmetric."""

    def inside(centre: tuple[float, ...], radii: tuple[float, ...]) -> NDArray[Any]:
        return (((points - np.array(centre)) / np.array(radii)) ** 2).sum(axis=1) < 1

    x, y, z = points.T
    folds = 3.0 * np.sin(x / 6.0) * np.cos(y / 7.0) + 2.0 * np.sin(z / 5.0 + 0.4)
    brain = np.sqrt(((points / np.array([66.0, 84.0, 60.0])) ** 2).sum(axis=1)) + folds / 70.0
    tissue = np.full(len(points), AIR)
    tissue[inside((0, 0, 0), (78, 97, 72))] = SCALP
    tissue[inside((0, 0, 0), (72, 91, 66))] = FLUID
    tissue[brain < 1.0] = GREY
    tissue[brain < 0.88] = WHITE
    for centre, radii in (((12, 5, 8), (7, 30, 12)), ((-13, 8, 9), (6, 26, 11)), ((2, 40, -20), (9, 8, 7))):
        tissue[inside(centre, radii)] = FLUID
    for centre, radii in (((28, 0, 0), (9, 16, 9)), ((-27, -2, 1), (9, 15, 10)), ((20, -30, 20), (6, 9, 5))):
        tissue[inside(centre, radii)] = GREY
    return tissue


def head(
    grid: Grid, contrast: SeriesType = SeriesType.T1, *, skull: bool = True, noise: bool = True, seed: int = 0
) -> Volume:
    """Image the head on a grid: float32, with Rician noise."""
    tissue = tissues(grid_points(grid)).reshape(grid.shape)
    levels = np.array(CONTRASTS[contrast])
    image = levels[tissue]
    if noise:
        sigma = NOISE_SHARE * levels[WHITE]
        real, imaginary = np.random.default_rng(seed).normal(0, sigma, (2, *grid.shape))
        image = np.hypot(image + real, imaginary)
    if not skull:
        image = np.where(tissue >= FLUID, image, 0.0)
    return Volume(image.astype(np.float32), grid)
