"""Smooth random fields: what varies slowly over a head, from coil sensitivity to tissue texture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def smooth_field(
    shape: Sequence[int], scale: Sequence[float], rng: np.random.Generator, mirrored: bool = False
) -> Field:
    """Draw a field of unit variance whose values decorrelate over ``scale`` voxels.

    Args:
        shape: (slices, rows, columns), or fewer axes.
        scale: distance of the knots along each axis, voxels.
        rng: where the knots come from.
        mirrored: whether left and right (the last axis) share most of it, as anatomy does.

    Returns: float32 of that shape.
    """
    knots = [max(2, round(size / step) + 2) for size, step in zip(shape, scale, strict=True)]
    values = rng.normal(size=knots).astype(np.float32)
    if mirrored:
        values = (0.9 * (values + values[..., ::-1]) / np.sqrt(2) + 0.44 * values).astype(np.float32)
    for axis, (size, count) in enumerate(zip(shape, knots, strict=True)):
        values = np.moveaxis(np.tensordot(_weights(size, count, rng), values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values / max(float(values.std()), 1e-6), dtype=np.float32)


def _weights(size: int, knots: int, rng: np.random.Generator) -> Field:
    """Return (size, knots) weights of a quadratic B-spline with a random phase."""
    step = (knots - 2) / max(size, 1)
    where = np.arange(size) * step + rng.random() * max(0.0, 1 - step) + 0.5
    distance = np.abs(where[:, None] - np.arange(knots)[None, :])
    inner = 0.75 - distance**2
    outer = 0.5 * np.clip(1.5 - distance, 0, None) ** 2
    weights: Field = np.where(distance < 0.5, inner, outer).astype(np.float32)
    return weights
