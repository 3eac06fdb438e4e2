"""A small head as a label map in the numbers of SynthSeg, for simulations without real anatomies."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

SHAPE = (104, 104, 104)
"""Slices, rows, columns; 1 mm voxels."""


def label_head() -> NDArray[np.int16]:
    """Return nested ellipsoids, (slices from bottom to top, rows to the back, columns to the left)."""
    z, y, x = np.meshgrid(*(np.arange(size) - (size - 1) / 2 for size in SHAPE), indexing="ij")

    def ball(
        radii: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0)
    ) -> NDArray[np.bool_]:
        parts = zip((z, y, x), radii, at, strict=True)
        return sum(((axis - centre) / radius) ** 2 for axis, radius, centre in parts) < 1

    head = np.zeros(SHAPE, np.int16)
    for label, size in ((511, 50), (507, 47), (515, 42), (24, 39), (3, 36), (2, 32)):
        head[ball((size, size, size * 0.9))] = label
    right = x < 0
    head[(head == 2) & right] = 41
    head[(head == 3) & right] = 42
    for label, side in ((4, 6), (43, -6)):
        head[ball((7, 14, 4), (6, 0, side))] = label
    for thing, (labels, radii, at) in {
        "thalamus": ((10, 49), (5, 6, 4), (-4, 6, 8)),
        "caudate": ((11, 50), (4, 4, 3), (2, -12, 13)),
        "putamen": ((12, 51), (5, 8, 3), (-4, -4, 19)),
        "pallidum": ((13, 52), (3, 5, 2), (-4, -3, 14.5)),
        "choroid": ((136, 163), (1.5, 3, 1.5), (6, 6, 6)),
    }.items():
        del thing
        for label, side in zip(labels, (1, -1), strict=True):
            head[ball(radii, (at[0], at[1], side * at[2]))] = label
    head[ball((4, 6, 2), (-8, 2, 0))] = 14
    head[ball((12, 6, 6), (-28, 4, 0))] = 16
    head[ball((9, 9, 14), (-26, 20, 0))] = 8
    head[ball((5, 5, 8), (-26, 20, 0))] = 7
    head[ball((4, 4, 4), (-10, -44, 12))] = 506
    return head


def write_label_head(path: Path) -> Path:
    """Write the head as NIfTI, RAS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = label_head()[:, ::-1, ::-1].transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array), np.eye(4)), path)
    return path
