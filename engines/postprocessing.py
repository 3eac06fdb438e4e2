"""From a network's logits to a mask on the Series' own grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import expit

from engines.components import keep, label, peaks, sizes
from engines.errors import RunnerError
from engines.preprocessing import Prepared, restore
from engines.volume import Volume

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
    maps: NDArray[np.floating] = expit(logits[:, 0])
    volume = restore(maps.astype(np.float32, copy=False), prepared)
    return volume.with_array(np.clip(volume.array, 0.0, 1.0))


def lesion_mask(probability: Volume, spec: PostprocessingSpec) -> Volume:
    """Decide which voxels are lesion.

    Args:
        probability: float32 in 0..1.
        spec: threshold, smallest lesion and least peak.

    Returns: bool on the same grid.
    """
    mask = probability.array >= spec.threshold
    if spec.min_lesion_ml > 0 or spec.min_peak > spec.threshold:
        labels, count = label(mask)
        volumes_ml = sizes(labels, count) * probability.grid.voxel_mm3 / MM3_PER_ML
        # A lesion of exactly the smallest volume stays, whatever the rounding of the spacing.
        large = volumes_ml >= spec.min_lesion_ml * (1 - 1e-9)
        mask = keep(labels, large & (peaks(labels, count, probability.array) >= spec.min_peak))
    return probability.with_array(mask)
