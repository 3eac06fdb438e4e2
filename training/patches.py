"""Patch-wise Dice: how well two masks agree on where something is, coarsely.

Convention: each slice is cut into squares from its first row and column on; the last ones may
be smaller.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.metrics import Mask, VoxelScores, voxel_scores


def patch_side(rows: int, columns: int) -> int:
    """Return the side of a patch, pixels: about the square root of the image size, its longer side.

    384 x 384 pixels have patches of 20, 224 x 224 patches of 15.

    Source: the FLAIR study (Shan et al., Front. Med. 2021): a square grid whose spacing is about the square
    root of the image size. The size is read as the side: the root of the number of pixels is one patch.
    """
    return max(1, round(math.sqrt(max(rows, columns))))


def patches(mask: Mask) -> NDArray[np.bool_]:
    """Reduce a mask (slices, rows, columns) to its patches, each positive when any of its pixels is."""
    count, rows, columns = mask.shape
    side = patch_side(rows, columns)
    padded = np.pad(mask, ((0, 0), (0, -rows % side), (0, -columns % side)))
    # (slices, rows, columns) -> (slices, patch rows, side, patch columns, side)
    squares = padded.reshape(count, padded.shape[1] // side, side, padded.shape[2] // side, side)
    return np.asarray(squares.any(axis=(2, 4)), dtype=bool)


def patch_scores(found: Mask, reference: Mask) -> VoxelScores:
    """Return Dice, precision, recall and accuracy of patches."""
    return voxel_scores(patches(found), patches(reference))
