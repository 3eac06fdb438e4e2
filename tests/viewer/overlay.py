"""Compares what the viewer drew with the masks, pixel by pixel of a screenshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.volume import Grid
from tests.viewer.browser import Photograph

DRAWN = 30
"""Sum over the channels from which a pixel counts as changed by the overlay; 765 is the most."""

EDGE_PX = 2
"""Pixels at either side of a segment's border that are not judged: the outline and its smoothing."""

OUTLINE_PX = 5
"""Width of the outline that the viewer draws inside a segment, stronger than its filling."""

SMOOTHED_VOXELS = 0.75
"""The picture blends neighbouring voxels, so that its lesions have soft borders of this width."""

COLOUR = 14
"""Largest difference of one channel from the blend of picture and segment colour, of 255."""

PLANE_MM = 0.01
"""How far the displayed plane may lie from the slice of the mask."""

BRIGHT = 128

OVERLAP = 255
"""Label of a voxel that lies in several segments."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of pixels of one photograph.

    Attributes:
        expected: inside a segment and judged.
        missing: expected, but nothing is drawn there.
        surplus: drawn outside all segments.
        miscoloured: inside a segment, but not in the blend of picture and its colour.
        beside_lesion: drawn where the bare picture is dark, or bare where it is bright; of a slice only.
        plane_mm: distance of the displayed plane from the slice of the mask, mm; of a slice only.
    """

    expected: int
    missing: int
    surplus: int
    miscoloured: int
    beside_lesion: int
    plane_mm: float

    @property
    def exact(self) -> bool:
        """Whether every judged pixel is as the masks say."""
        wrong = self.missing + self.surplus + self.miscoloured + self.beside_lesion
        return wrong == 0 and self.plane_mm <= PLANE_MM


def label_map(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Return (slices, rows, columns) Segment Numbers, 0 without a segment, OVERLAP with several."""
    labels = np.zeros(masks[0].shape, dtype=np.uint8)
    for number, mask in enumerate(masks, 1):
        labels[mask] = np.where(labels[mask] > 0, OVERLAP, number)
    return labels


def _indices(photograph: Photograph, grid: Grid) -> NDArray[np.float64]:
    """Return (height, width, 3) fractional indices (slice, row, column) of the pixels' centres."""
    height, width = photograph.plain.shape[:2]
    down, right = np.mgrid[0:height, 0:width] + 0.5
    pixels = np.stack([np.ones_like(right), right, down], axis=-1).reshape(-1, 3)
    return grid.to_index(pixels @ photograph.to_lps.T).reshape(height, width, 3)


def _expected(indices: NDArray[np.float64], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (height, width) labels of the voxels under the pixels, 0 outside the grid."""
    nearest = np.rint(indices).astype(int)
    inside = np.all((nearest >= 0) & (nearest < labels.shape), axis=-1)
    found = np.zeros(inside.shape, dtype=np.uint8)
    found[inside] = labels[tuple(nearest[inside].T)]
    return found


def _near_border(labels: NDArray[np.uint8], width_px: int) -> NDArray[np.bool_]:
    size = 2 * width_px + 1
    highest = ndimage.maximum_filter(labels, size)
    return np.asarray(highest != ndimage.minimum_filter(labels, size))


def _beside_lesion(plain: NDArray[np.int_], drawn: NDArray[np.bool_], indices: NDArray[np.float64]) -> int:
    """Count pixels where overlay and bright lesion part, without any knowledge of masks or geometry."""
    bright = plain.mean(axis=-1) > BRIGHT
    steps = np.abs(indices[1, 1] - indices[0, 0])
    voxel_px = 1.0 / max(steps[1], steps[2])
    clear = ~_near_border(bright.astype(np.uint8), EDGE_PX + int(np.ceil(SMOOTHED_VOXELS * voxel_px)))
    return int((clear & (bright != drawn)).sum())


def compare(
    photograph: Photograph,
    grid: Grid,
    labels: NDArray[np.uint8],
    colours: Mapping[int, tuple[int, int, int]],
    fill: float,
) -> Agreement:
    """Hold one photograph against the masks.

    Args:
        photograph: of a picture whose lesions are bright and whose tissue is dark.
        grid: of the source.
        labels: as of ``label_map``.
        colours: red, green, blue by Segment Number; a segment without one is judged by its place alone.
        fill: share of the colour inside a segment.
    """
    indices = _indices(photograph, grid)
    expected = _expected(indices, labels)
    plain, overlay = photograph.plain.astype(int), photograph.overlay.astype(int)
    drawn = np.abs(overlay - plain).sum(axis=-1) > DRAWN
    sure = ~_near_border(expected, EDGE_PX)
    filled = np.isin(expected, list(colours)) & ~_near_border(expected, OUTLINE_PX)
    blended = plain.astype(float)
    for number, colour in colours.items():
        place = expected == number
        blended[place] = (1 - fill) * plain[place] + fill * np.array(colour)
    off_colour = np.abs(overlay - blended).max(axis=-1) > COLOUR
    slice_seen = photograph.slice is not None
    plane = indices[..., 0]
    return Agreement(
        expected=int((sure & (expected > 0)).sum()),
        missing=int((sure & (expected > 0) & ~drawn).sum()),
        surplus=int((sure & (expected == 0) & drawn).sum()),
        miscoloured=int((filled & off_colour).sum()),
        beside_lesion=_beside_lesion(plain, drawn, indices) if slice_seen else 0,
        plane_mm=float(np.abs(plane - np.rint(plane)).max() * grid.spacing_mm[0]) if slice_seen else 0.0,
    )
