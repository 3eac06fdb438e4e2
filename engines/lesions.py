"""What each lesion measures.

Definitions, all in patient space:

- A lesion is a 26-connected component of the mask. Its volume is its voxel count times the voxel volume.
- Its surface is that of the marching cubes mesh halfway between voxels inside and outside; the vertices of
  this mesh are the centres of the voxel faces on the border. ``max_diameter_mm`` is the largest distance
  between two of them, the Maximum 3D Diameter of the IBSI (L0JK). One voxel measures its longest edge.
- Axial slices are those along the axis nearest to the superior direction. ``max_area_mm2`` is the largest
  area on one of them, ``max_axial_diameter_mm`` the largest diameter within one.
- The size class goes by that area: small below 20, medium from 20 to 150, large above 150 mm2, since a
  reader classifies on the slice that shows a lesion at its largest.
- The method's bounds are compared with the axial diameter, which is what a reader measures (STRIVE-2). A
  3D diameter would call every microbleed on two slices of 6 mm too large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from engines.components import keep, label
from engines.findings import Lesion, SizeClass
from engines.placement import closest_axial
from engines.postprocessing import MM3_PER_ML
from engines.segments import Segment
from engines.volume import Grid, Volume

Limits = tuple[float, float]

METHOD_LIMITS_MM: Mapping[Segment, Limits] = MappingProxyType(
    {Segment.LACUNE: (3.0, 15.0), Segment.INFARCT: (0.0, 20.0), Segment.MICROBLEED: (2.0, 10.0)}
)
"""Smallest and largest diameter by the method's Table 1, mm; white matter hyperintensities have none."""

SMALL_BELOW_MM2 = 20.0
"""Area from which on a lesion is medium, mm2."""

LARGE_ABOVE_MM2 = 150.0
"""Area above which a lesion is large, mm2."""

LIMIT_TOLERANCE_MM = 1e-3
"""Rounding allowance of a diameter at a bound, mm; headers carry spacings to about this."""

HULL_FROM = 100
"""Number of points from which on a convex hull is faster than all distances."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The lesions of a mask.

    Attributes:
        mask: bool, without lesions that were dropped.
        labels: int32, n inside lesion number n.
        lesions: by number.
    """

    mask: Volume
    labels: NDArray[np.int32]
    lesions: tuple[Lesion, ...]


def measure(mask: Volume, limits_mm: Limits | None = None, *, drop: bool = False) -> Measured:
    """Number and measure the lesions of a mask.

    Args:
        mask: bool.
        limits_mm: smallest and largest plausible axial diameter, both included; None for no bounds.
        drop: True removes lesions outside the bounds, False keeps and marks them.
    """
    labels, count = label(mask.array)
    boxes = ndimage.find_objects(labels, max_label=count)
    lesions = tuple(
        _lesion(number, np.argwhere(labels[box] == number) + _corner(box), mask.grid, limits_mm)
        for number, box in enumerate(boxes, start=1)
    )
    if drop and not all(lesion.within_limits for lesion in lesions):
        kept = keep(labels, np.array([lesion.within_limits for lesion in lesions]))
        return measure(mask.with_array(kept), limits_mm)
    return Measured(mask, labels, lesions)


def size_class(area_mm2: float) -> SizeClass:
    """Classify a lesion by the area of its largest axial slice, mm2."""
    if area_mm2 < SMALL_BELOW_MM2:
        return SizeClass.SMALL
    return SizeClass.MEDIUM if area_mm2 <= LARGE_ABOVE_MM2 else SizeClass.LARGE


def _corner(box: tuple[slice, ...]) -> NDArray[np.int64]:
    return np.array([part.start for part in box])


def _lesion(number: int, voxels: NDArray[np.int64], grid: Grid, limits_mm: Limits | None) -> Lesion:
    """Measure the lesion of voxels (n, 3), indices (slice, row, column) of the grid."""
    order = closest_axial(grid).order
    counts, axial_mm = _axial_extent(voxels, grid, order)
    normal_mm2 = float(np.linalg.norm(np.cross(*grid.affine[:3, list(order[1:])].T)))
    area_mm2 = max(counts) * normal_mm2
    centroid = grid.to_lps(voxels.mean(axis=0)[None])[0]
    return Lesion(
        number=number,
        voxel_count=len(voxels),
        volume_ml=len(voxels) * grid.voxel_mm3 / MM3_PER_ML,
        max_diameter_mm=_diameter_mm(voxels, grid.affine[:3, :3]),
        max_axial_diameter_mm=axial_mm,
        max_area_mm2=area_mm2,
        centroid_lps_mm=(float(centroid[0]), float(centroid[1]), float(centroid[2])),
        size_class=size_class(area_mm2),
        within_limits=_is_within(axial_mm, limits_mm),
    )


def _is_within(diameter_mm: float, limits_mm: Limits | None) -> bool:
    if limits_mm is None:
        return True
    return limits_mm[0] - LIMIT_TOLERANCE_MM <= diameter_mm <= limits_mm[1] + LIMIT_TOLERANCE_MM


def _axial_extent(
    voxels: NDArray[np.int64], grid: Grid, order: tuple[int, int, int]
) -> tuple[list[int], float]:
    """Return the voxel count of each axial slice and the largest diameter within one, mm."""
    plane = list(order[1:])
    sliced = voxels[np.argsort(voxels[:, order[0]], kind="stable")]
    ends = np.flatnonzero(np.diff(sliced[:, order[0]])) + 1
    slices = np.split(sliced[:, plane], ends)
    axes = grid.affine[:3, plane]
    return [len(one) for one in slices], max(_diameter_mm(one, axes) for one in slices)


def _diameter_mm(voxels: NDArray[np.int64], axes: NDArray[np.float64]) -> float:
    """Return the largest distance of two face centres of voxels (n, d) with axes (3, d), mm.

    Face centres inside the lesion do no harm: they lie between others, so no distance from them is longest.
    """
    voxels = _line_ends(voxels)
    steps = np.concatenate([np.eye(voxels.shape[1]), -np.eye(voxels.shape[1])]) / 2
    points = (voxels[:, None, :] + steps).reshape(-1, voxels.shape[1])
    if len(points) > HULL_FROM:
        # The faces of even one voxel span all dimensions, so the hull is never flat.
        points = points[ConvexHull(points).vertices]
    return float(pdist(points @ axes.T).max())


def _line_ends(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep the first and last voxel of each run along the last axis; the faces of others lie between theirs.

    Args:
        voxels: (n, d), ascending, the last index fastest.
    """
    begins = np.diff(voxels[:, :-1], axis=0).any(axis=1)
    ends: NDArray[np.int64] = voxels[np.append(True, begins) | np.append(begins, True)]
    return ends
