"""Where the head is in a volume: what is brighter than air, without ghosts and noise around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.components import keep, label, sizes
from engines.intensity import head_threshold
from engines.volume import Volume

SAMPLE_MM = 6.0
"""Voxels of the head are looked at about this far apart, mm: about ten thousand of them, in milliseconds."""

Points = NDArray[np.float64]


def head_points(volume: Volume) -> Points:
    """Return the (n, 3) LPS mm centres of voxels of the head, about ``SAMPLE_MM`` apart; n may be 0.

    The head is the largest connected part that is brighter than air.
    """
    steps = _steps(volume)
    values = _sampled(volume, steps)
    labels, count = label(values > head_threshold(values))
    voxels = sizes(labels, count)
    return volume.grid.to_lps(np.argwhere(keep(labels, voxels == voxels.max(initial=0))) * steps)


def share_in_head(points_lps: Points, volume: Volume) -> float:
    """Return which share of points lies in voxels that are brighter than air, 0 to 1.

    Args:
        points_lps: (n, 3) LPS mm, n at least 1, in the volume's patient space.
        volume: shows a head.
    """
    nearest = np.rint(volume.grid.to_index(points_lps)).astype(np.int64)
    inside = nearest[((nearest >= 0) & (nearest < volume.grid.shape)).all(axis=1)]
    bright = volume.array[tuple(inside.T)] > head_threshold(_sampled(volume, _steps(volume)))
    return float(np.count_nonzero(bright)) / len(points_lps)


def _steps(volume: Volume) -> list[int]:
    return [max(1, round(SAMPLE_MM / spacing)) for spacing in volume.grid.spacing_mm]


def _sampled(volume: Volume, steps: list[int]) -> NDArray[np.float32]:
    sampled: NDArray[Any] = volume.array[tuple(slice(None, None, step) for step in steps)]
    return np.asarray(sampled, dtype=np.float32)
