"""Brains of real scans that come without a mask, found by brightness and place.

Volumes have slices from bottom to top. Shares and steps were chosen by looking at the scans in
``training.simulation.scans``; a network for it would be better and slower.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.volume import Grid

COVER_MM = 17.0
"""Skin, skull and CSF between the surface of a head and its brain, mm: 5 to 7, 6 to 8 and 2 to 4."""

LOWEST_SHARE = 0.45
"""Share of a whole head's slices that lie below the floor of the cranium, counted generously."""

CRANIUM_MM = 130
"""How far below the vertex brain is looked for, mm: beneath it the neck has muscles as bright."""

ABOVE_BASE_MM = 90
"""How far below the vertex the inside of a head is brain alone, mm."""


def brightest_body(image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
    """Find the largest bright body of an echo-planar image, whose skull and skin are dark."""
    smooth = ndimage.gaussian_filter(image, [2.0 / size for size in grid.spacing_mm])
    bright = smooth > 0.45 * np.median(smooth[smooth > 0.2 * np.percentile(smooth, 99)])
    steps = max(1, round(4 / grid.spacing_mm[2]))
    cross = ndimage.generate_binary_structure(3, 1)
    cross[0] = cross[2] = False
    largest = _largest(ndimage.binary_erosion(bright, cross, iterations=steps))
    grown = ndimage.binary_dilation(largest, cross, iterations=steps) & bright
    return np.stack([ndimage.binary_fill_holes(plane) for plane in grown])


def below_surface(image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
    """Take for brain what lies ``COVER_MM`` below the surface of a whole head, whatever its contrast."""
    head = ndimage.gaussian_filter(image, [0, 2, 2]) > 0.12 * np.percentile(image, 99)
    spacing = grid.spacing_mm[1:]
    planes = [ndimage.distance_transform_edt(ndimage.binary_fill_holes(p), spacing) > COVER_MM for p in head]
    brain = np.stack(planes)
    brain[: round(len(brain) * LOWEST_SHARE)] = False
    return brain


def around_white_matter(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find the brain of a whole head on T1, voxels of 1 mm: its largest white body and the grey around."""
    head = image > 0.1 * np.percentile(image, 99)
    vertex = int(np.argwhere(head.any(axis=(1, 2))).max())
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in head])
    inner = ndimage.distance_transform_edt(filled) > 25
    inner[: max(0, vertex - ABOVE_BASE_MM)] = False
    share = ndimage.gaussian_filter(image, 0.7) / np.percentile(image[inner], 75)
    share[: max(0, vertex - CRANIUM_MM)] = 0
    cross = ndimage.generate_binary_structure(3, 1)
    white = (share > 0.62) & (share < 1.25)
    largest = _largest(ndimage.binary_erosion(white, cross, iterations=3))
    whole = ndimage.binary_dilation(largest, cross, iterations=3) & white
    brain = ndimage.binary_dilation(whole, cross, iterations=5) & (share > 0.4) & (share < 1.25)
    closed = ndimage.binary_closing(brain, cross, iterations=5)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in closed])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest body, of voxels that touch by their faces; nothing where there is none."""
    parts, count = ndimage.label(mask)
    if not count:
        return mask
    largest: NDArray[np.bool_] = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return largest
