"""The lesions that are painted into the demo Study: where they lie, their shape and extent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.segments import Segment
from engines.volume import Grid

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion of the demo patient.

    Attributes:
        name: where it lies, in words.
        segment: what it is.
        index: (slice, row, column) of its centre in the T2-FLAIR.
        diameters_mm: along the T2-FLAIR's (slices, rows, columns).
    """

    name: str
    segment: Segment
    index: tuple[float, float, float]
    diameters_mm: tuple[float, float, float]

    def centre_lps(self, grid: Grid) -> NDArray[np.float64]:
        """Return (3,) LPS mm in the space of the T2-FLAIR."""
        return np.asarray(grid.to_lps(np.array([self.index]))[0])


def _bleed(name: str, index: tuple[float, float, float], diameter_mm: float) -> Lesion:
    return Lesion(name, Segment.MICROBLEED, index, (diameter_mm,) * 3)


LESIONS = (
    Lesion("right putamen", Segment.LACUNE, (9.0, 101.0, 102.0), (8.0, 9.0, 6.5)),
    Lesion("left corona radiata", Segment.LACUNE, (12.0, 122.0, 172.0), (7.5, 7.0, 6.0)),
    Lesion("left thalamus", Segment.INFARCT, (9.0, 119.0, 144.0), (9.0, 11.0, 9.0)),
    Lesion("right centrum semiovale", Segment.INFARCT, (12.0, 104.0, 96.0), (12.0, 15.0, 11.0)),
    _bleed("right thalamus", (9.0, 121.0, 115.0), 4.5),
    _bleed("left temporal lobe", (5.4, 122.0, 182.0), 5.0),
    _bleed("left cerebellar hemisphere", (4.3, 172.0, 156.0), 5.5),
    _bleed("right occipital lobe", (9.6, 187.0, 104.0), 4.0),
    _bleed("left frontal lobe", (13.3, 72.0, 160.0), 3.6),
    _bleed("right parietal lobe", (14.2, 165.0, 96.0), 6.0),
)
"""Placed by eye in the white matter, basal ganglia and thalamus, clear of the patient's own lesions."""

RIM_MM = 1.8
"""Width of the gliotic rim of a lacune on T2-FLAIR."""


def _bumps(directions: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return a factor near 1 for each of (3, ...) unit vectors, so that no lesion is a perfect ellipsoid."""
    generator = np.random.default_rng(seed)
    waves = generator.normal(size=(6, 3)) * 2.2
    phases = generator.uniform(0, 2 * np.pi, 6)
    field = np.cos(
        np.tensordot(waves, directions, axes=1) + phases.reshape((6,) + (1,) * (directions.ndim - 1))
    )
    return np.asarray(1.0 + 0.05 * field.sum(axis=0))


def distance_outside_mm(
    lesion: Lesion, flair: Grid, points_lps: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Return the signed distance to the lesion's surface, mm, negative inside.

    Args:
        lesion: of which.
        flair: the T2-FLAIR's grid, whose axes are the lesion's.
        points_lps: (3, ...) in the space of the T2-FLAIR, mm.
        seed: of the shape.
    """
    axes = flair.affine[:3, :3] / np.linalg.norm(flair.affine[:3, :3], axis=0)
    centre = lesion.centre_lps(flair).reshape((3,) + (1,) * (points_lps.ndim - 1))
    local = np.tensordot(axes.T, points_lps - centre, axes=1)
    half_axes = np.asarray(lesion.diameters_mm).reshape((3,) + (1,) * (points_lps.ndim - 1)) / 2
    scaled = local / half_axes
    radius = np.sqrt((scaled**2).sum(axis=0)) + 1e-6
    shape = _bumps(scaled / radius, seed)
    return np.asarray((radius - shape) * half_axes.mean(axis=0))


def coverage(distance_mm: NDArray[np.float64], edge_mm: float = 0.35) -> Array:
    """Return how much of the tissue at a point is lesion, 1 inside and 0 outside with a soft edge."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance_mm / edge_mm, -30, 30))), dtype=np.float32)
