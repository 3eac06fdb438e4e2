"""Intensity scales: what a grey value means to a network, whatever the scanner called it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError

MAX_SAMPLES = 500_000
"""About how many blocks of 2x2 voxels are looked at for a histogram; more change nothing but the time."""

HISTOGRAM_BINS = 512
"""Bins between the floor and the robust maximum; the smoothing below spans several of them."""

SMOOTHING_BINS = 10.0
"""Standard deviation of the histogram's smoothing, bins: 2% of the range, below the width of a tissue."""

ROBUST_MAXIMUM = 99.0
"""Percentile of the non-zero voxels that counts as the brightest; above lie fat, vessels and artefacts."""

ROBUST_MINIMUM = 0.1
"""Percentile of the voxels that counts as air where there are negative ones."""

FLAT_SHARE = 35.0
"""Percentile of the local contrast below which a place counts as flat, inside one tissue."""


class Normalisation(StrEnum):
    """How intensities are scaled.

    ``WHITE_MATTER_PEAK`` divides by the mode of white matter, so that white matter is 1 and air is 0.
    ``Z_SCORE`` gives zero mean and unit variance over all voxels of the volume as acquired, air included,
    as the FLAIR method published it; padding takes the value of air.
    """

    WHITE_MATTER_PEAK = "white_matter_peak"
    Z_SCORE = "z_score"


@dataclass(frozen=True, slots=True)
class Scale:
    """An intensity scale: a value v becomes (v - origin) / unit.

    Attributes:
        air: intensity outside the head, and so of padding.
        origin: intensity that becomes 0.
        unit: intensity difference that becomes 1.
    """

    air: float
    origin: float
    unit: float


def measure_scale(array: NDArray[np.float32], normalisation: Normalisation) -> Scale:
    """Find the intensity scale of a volume.

    Args:
        array: (slices, rows, columns) finite intensities.
        normalisation: which scale.

    Raises: InputError: if no voxel is brighter than the others.
    """
    air, _ = measure_range(array)
    if normalisation is Normalisation.Z_SCORE:
        return Scale(air, float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64)))
    return Scale(air, air, white_matter_peak(array, air) - air)


def measure_range(array: NDArray[np.float32]) -> tuple[float, float]:
    """Return the intensities of air and of the brightest voxel.

    Raises: InputError: if no voxel is brighter than the others.
    """
    air, brightest = background(array), float(array.max())
    if float(array.min()) == brightest or brightest <= air:
        raise InputError("All voxels have the same value: send the original Series again from the scanner")
    return air, brightest


def background(array: NDArray[np.float32]) -> float:
    """Return the intensity of air: 0, or the robust minimum of a volume with negative values.

    A volume that is cut to the brain has no air, so its minimum must not be taken for it.
    """
    lowest = float(array.min())
    return 0.0 if lowest >= 0 else percentile(array.ravel(), ROBUST_MINIMUM)


def head_threshold(array: NDArray[np.float32]) -> float:
    """Return Otsu's threshold between air and head; nothing of a constant array is above it.

    Args:
        array: finite intensities, any shape, not empty.
    """
    air = background(array)
    head = _above_air(array.ravel(), air)
    return float(array.max()) if head is None else air + head.threshold


def percentile(values: NDArray[np.float32], share: float) -> float:
    """Return NumPy's linear percentile of (n,) finite values, n at least 1, in a fifth of its time.

    Only one place is sorted for; the value after it is the least of those behind.
    """
    place = (len(values) - 1) * share / 100
    lower = int(place)
    parted = np.partition(values, lower)
    below = float(parted[lower])
    above = float(parted[lower + 1 :].min()) if lower + 1 < len(values) else below
    return below + (above - below) * (place - lower)


def white_matter_peak(array: NDArray[np.float32], air: float) -> float:
    """Find the mode of white matter in any contrast, with or without skull.

    White matter is the largest tissue without inner edges, while grey matter is a thin ribbon. So only
    places of little local contrast are counted, above Otsu's threshold between air and head; the mode of
    their smoothed histogram is white matter on T1 (where it is the brightest tissue) as well as on FLAIR,
    DWI and T2* (where it is darker than grey matter).

    Args:
        array: (slices, rows, columns) finite intensities, not constant.
        air: its ``background``.

    Returns: the mode, in the units of the array.
    """
    means, contrasts = _blocks(array)
    above = _above_air(means, air)
    if above is None:
        return float(array.max())
    head = (above.level > above.threshold) & (above.level <= above.top)
    if not head.any():
        return air + above.top
    inside, edges = above.level[head], contrasts[head] / above.level[head]
    flat = inside[edges <= percentile(edges, FLAT_SHARE)]
    return air + _mode(flat, above.top)


@dataclass(frozen=True, slots=True)
class _AboveAir:
    """Intensities above air, where the head among them begins (Otsu), and their robust maximum."""

    level: NDArray[np.float32]
    threshold: float
    top: float


def _above_air(values: NDArray[np.float32], air: float) -> _AboveAir | None:
    """Tell head from air among (n,) intensities; None if none is brighter than air."""
    level = np.maximum(values - air, 0.0)
    positive = level[level > 0]
    if positive.size == 0:
        return None
    top = percentile(positive, ROBUST_MAXIMUM)
    return _AboveAir(level, _otsu(np.minimum(level, top), top), top)


def _blocks(array: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and the range of blocks of 2x2 voxels of every slice, thinned out evenly.

    An axis of a single voxel is repeated, so that a volume of any shape has blocks.
    """
    for axis in (1, 2):
        if array.shape[axis] == 1:
            array = np.repeat(array, 2, axis=axis)
    step = max(1, round(array.size / 4 / MAX_SAMPLES))
    rows, columns = (size - size % 2 for size in array.shape[1:])
    kept = array[::step, :rows, :columns]
    # Rows first, as they lie side by side in memory: then half as many steps from column to column.
    upper, lower = np.maximum(kept[:, ::2], kept[:, 1::2]), np.minimum(kept[:, ::2], kept[:, 1::2])
    contrast = np.maximum(upper[..., ::2], upper[..., 1::2]) - np.minimum(lower[..., ::2], lower[..., 1::2])
    corners = [kept[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    mean = (corners[0] + corners[1] + corners[2] + corners[3]) * np.float32(0.25)
    return mean.ravel(), contrast.ravel()


def _histogram(values: NDArray[np.float32], top: float) -> NDArray[np.int64]:
    bins = (values * np.float32(HISTOGRAM_BINS / top)).astype(np.int64)
    return np.bincount(np.minimum(bins, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)


def _otsu(values: NDArray[np.float32], top: float) -> float:
    """Return the threshold in 0..top with the largest variance between the two classes (Otsu 1979)."""
    counts = _histogram(values, top).astype(np.float64)
    levels = np.arange(HISTOGRAM_BINS) + 0.5
    below, weighted = np.cumsum(counts), np.cumsum(counts * levels)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = weighted / below - (weighted[-1] - weighted) / above
        variance = np.nan_to_num(below * above * gap**2)
    return float((int(np.argmax(variance)) + 1) * top / HISTOGRAM_BINS)


def _mode(values: NDArray[np.float32], top: float) -> float:
    """Return the place of the highest point of the smoothed histogram, between the bins."""
    reach = np.arange(-4 * SMOOTHING_BINS, 4 * SMOOTHING_BINS + 1)
    kernel = np.exp(-0.5 * (reach / SMOOTHING_BINS) ** 2)
    smooth = np.convolve(_histogram(values, top), kernel, mode="same")
    peak = int(np.clip(np.argmax(smooth), 1, HISTOGRAM_BINS - 2))
    left, centre, right = smooth[peak - 1 : peak + 2]
    bend = left - 2 * centre + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float((peak + 0.5 + np.clip(shift, -1, 1)) * top / HISTOGRAM_BINS)
