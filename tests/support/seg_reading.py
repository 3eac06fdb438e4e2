"""Reads a Segmentation by the formulas of the Standard alone, as a check on those who wrote it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset


def frames_of(dataset: Dataset) -> Iterator[tuple[int, Dataset, NDArray[np.bool_]]]:
    """Yield segment number, functional groups and (rows, columns) voxels of each frame; BINARY only.

    Source: PS3.5 8.1.1, D.1: the first voxel is the lowest bit, frames follow without a gap.
    """
    rows, columns = dataset.Rows, dataset.Columns
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, dtype=np.uint8), bitorder="little")
    for place, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        voxels = bits[place * rows * columns : (place + 1) * rows * columns]
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        yield int(number), groups, voxels.reshape(rows, columns).astype(bool)


def lps_points(dataset: Dataset, segment_number: int) -> NDArray[np.float64]:
    """Return (n, 3) LPS mm of the centres of all voxels of a segment.

    Source: PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    shared = dataset.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    row_mm, column_mm = (float(x) for x in shared.PixelMeasuresSequence[0].PixelSpacing)
    points = [np.empty((0, 3))]
    for number, groups, voxels in frames_of(dataset):
        if number != segment_number:
            continue
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        indices = np.argwhere(voxels)
        points.append(
            position
            + indices[:, 1:] * column_mm * cosines[:3]  # along the row: column index
            + indices[:, :1] * row_mm * cosines[3:]
        )
    return np.concatenate(points)


def mask_points(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) LPS mm of the centres of a mask's voxels; affine maps (slice, row, column) to LPS."""
    return np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]


def largest_distance_mm(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return how far any point of two equally long sets is from its counterpart, after sorting; mm."""
    assert first.shape == second.shape
    if not len(first):
        return 0.0
    order = [np.lexsort(np.round(points, 2).T) for points in (first, second)]
    return float(np.linalg.norm(first[order[0]] - second[order[1]], axis=1).max())
