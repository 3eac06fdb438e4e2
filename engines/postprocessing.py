"""From a network's logits to a mask on the Series' own grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import expit

from engines.components import keep, label, peaks, sizes
from engines.errors import RunnerError
from engines.preprocessing import Prepared, restore
from engines.volume import Grid, Volume

MM3_PER_ML = 1000.0
"""Cubic millimetres in a millilitre."""


class PostprocessingSpec(BaseModel):
    """How probabilities become lesions.

    Two levels make it a hysteresis: the lower one outlines, the higher one decides what is a lesion at all.

    Attributes:
        threshold: a voxel belongs to a lesion from this probability on.
        min_lesion_ml: components of less volume are taken for noise and dropped, ml.
        min_peak: components without a voxel of this probability are dropped; nothing at or below the
            threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, gt=0, lt=1)
    min_lesion_ml: float = Field(default=0.0, ge=0)
    min_peak: float = Field(default=0.0, ge=0, lt=1)


def probabilities(logits: NDArray[np.float32], prepared: Prepared) -> Volume:
    """Turn logits into probabilities on the volume's own grid.

    The sigmoid comes first, so that what is interpolated is bounded and 0 outside the field of the network.

    Args:
        logits: (slices, 1, rows, columns), one map for each prepared slice.
        prepared: the slices that the network saw.

    Returns: float32 in 0..1 on the original grid.
    Raises: RunnerError: if the shape is another or a value is not a number.
    """
    slices, _, rows, columns = prepared.slices.shape
    if logits.shape != (slices, 1, rows, columns):
        raise RunnerError(f"The model returned shape {logits.shape}, expected {(slices, 1, rows, columns)}")
    if np.isnan(logits).any():
        raise RunnerError("The model returned values that are not numbers")
    volume = restore(expit(logits[:, 0]), prepared)
    np.clip(volume.array, 0.0, 1.0, out=volume.array)
    return volume


def lesion_mask(probability: Volume, spec: PostprocessingSpec) -> Volume:
    """Decide which voxels are lesion.

    Args:
        probability: float32 in 0..1.
        spec: threshold, smallest lesion and least peak.

    Returns: bool on the same grid.
    """
    mask = probability.with_array(np.ascontiguousarray(probability.array >= spec.threshold))
    return only_lesions(mask, probability, spec)


def only_lesions(mask: Volume, probability: Volume, spec: PostprocessingSpec) -> Volume:
    """Drop the components of a mask that are no lesion: too small, or nowhere as probable as one must be.

    Args:
        mask: bool.
        probability: float32 in 0..1 on the same grid.
        spec: smallest lesion and least peak.

    Returns: bool on the same grid; the mask itself where nothing can be dropped.
    """
    if spec.min_lesion_ml <= 0 and spec.min_peak <= spec.threshold:
        return mask
    labels, count = label(mask.array)
    # Looked at are voxels of lesions only: they fill a small part of a volume.
    inside = np.flatnonzero(mask.array)
    numbers = labels.ravel()[inside]
    volumes_ml = sizes(numbers, count) * mask.grid.voxel_mm3 / MM3_PER_ML
    # A lesion of exactly the smallest volume stays, whatever the rounding of the spacing.
    large = volumes_ml >= spec.min_lesion_ml * (1 - 1e-9)
    high = peaks(numbers, count, probability.array.ravel()[inside]) >= spec.min_peak
    kept = np.zeros(mask.array.shape, dtype=bool)
    kept.ravel()[inside] = keep(numbers, large & high)
    return mask.with_array(kept)


def lesion_pixels(logits: NDArray[np.float32], spec: PostprocessingSpec) -> NDArray[np.bool_]:
    """Decide which pixels of a network's own maps are lesion, by threshold and peak.

    The slices need not be those of a known grid, so that the smallest volume does not count.

    Args:
        logits: (slices, 1, rows, columns), finite, of slices that follow each other.
        spec: threshold and least peak.

    Returns: (slices, rows, columns).
    """
    maps = logits[:, 0]
    probability = Volume(expit(maps), Grid((len(maps), *maps.shape[1:]), np.eye(4)))
    mask: NDArray[np.bool_] = lesion_mask(probability, spec.model_copy(update={"min_lesion_ml": 0.0})).array
    return mask
