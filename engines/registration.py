"""Rigid registration: how the patient moved between two Series.

Convention: ``fixed_to_moving`` maps LPS mm points of the fixed Series to where the same tissue lies in the
moving one. SimpleITK works in LPS mm as well, with indices in (column, row, slice) order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engines.findings import RegistrationRecord
from engines.segments import SeriesType
from engines.volume import Grid, Volume

LEVELS_MM = (10.0, 6.0, 3.0)
"""Voxels are averaged up to about this size at each level, coarse to fine, mm. On 12 FLAIR and T1 pairs of
the development data a finer last level was no more exact and took longer."""

SMOOTHING = 0.5
"""Standard deviation of the smoothing at each level, share of its voxel size."""

FIRST_STEP_MM = (4.0, 2.0, 1.0)
"""First step of the optimiser at each level, mm."""

LAST_STEP_MM = 0.01
"""The optimiser has converged when its step is shorter, mm."""

MAX_ITERATIONS = 200
"""Of one level; a level that needs them all has not converged. 10 to 80 are usual."""

MIN_SIZE = 4
"""Voxels along each axis that the smoothing needs."""

KEPT_SIZE = 8
"""Averaging leaves at least this many voxels along an axis that has them."""

ROBUST_PERCENTILES = (0.5, 99.5)
"""Intensities are clipped to these percentiles, so that no artefact stretches the histogram's bins."""

HISTOGRAM_BINS = 32
"""Bins of the joint histogram along each Series; 50 were less exact on volumes of 20 thick slices."""

SAMPLES = 40_000
"""Points that a metric evaluation looks at, about."""

SEED = 20261121
"""Seed of the random sampling; the same volumes give the same transform."""

WORK_UNITS = 1
"""Parts that a metric evaluation is split into. ITK adds up the parts in the order in which they end, so
only one part gives the same transform every time."""

ROTATION_ARM_MM = 30.0
"""Distance from the centre at which a turn is weighed against a shift, mm. ITK's own estimate takes the
corners of the volume, 150 mm away, and stopped up to 8 degrees short of the truth on a head phantom."""


class RegistrationSpec(BaseModel):
    """What counts as a plausible and a useful registration.

    Attributes:
        max_rotation_deg: a head in a coil does not turn further, degrees.
        max_translation_mm: nor move further, at the centre of the fixed volume, mm.
        min_gain: mutual information that must be gained over the scanner geometry, share of its value
            there; below, the scanner geometry is kept. Thick slices can not be told apart more finely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rotation_deg: float = Field(
        default=15.0, gt=0, le=180, description="registrations that rotate further are refused, degrees"
    )
    max_translation_mm: float = Field(
        default=20.0, gt=0, description="registrations that shift the centre further are refused, mm"
    )
    min_gain: float = Field(
        default=0.03,
        ge=0,
        description="mutual information that a registration must gain, share of what it is",
    )


def register(
    fixed: Volume,
    moving: Volume,
    names: tuple[SeriesType, SeriesType],
    spec: RegistrationSpec | None = None,
) -> RegistrationRecord:
    """Find how the patient moved between two Series, and decide whether to believe it.

    Args:
        fixed: the Series whose patient space is the target.
        moving: the Series that may have moved.
        names: the types of the two, for the record.
        spec: limits.

    Returns: the record. If the registration failed, is implausible or gains nothing, its transform is the
        identity, which is the scanner geometry, and its reason says why.
    Source: Mattes et al., IEEE TMI 2003, doi 10.1109/TMI.2003.809072.
    """
    spec = spec or RegistrationSpec()
    fixed, moving = _without_blank_ends(fixed), _without_blank_ends(moving)
    if min(*fixed.grid.shape, *moving.grid.shape) < MIN_SIZE:
        return _refused(names, f"a Series has fewer than {MIN_SIZE} slices, rows or columns")
    try:
        found = _align(fixed, moving)
    except RuntimeError as exc:
        cause = str(exc).strip().splitlines()[-1]
        return _refused(names, f"the two Series could not be compared: {cause}")
    return _judge(found, _centre(fixed.grid), names, spec)


def to_image(volume: Volume) -> sitk.Image:
    """Convert a volume to a float32 image of the same voxels at the same LPS places.

    A direction matrix may be a reflection: ITK takes any that can be inverted.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array, dtype=np.float32))
    # (slices, rows, columns) of the affine -> (columns, rows, slices) of the image.
    axes = volume.grid.affine[:3, [2, 1, 0]]
    spacing = np.linalg.norm(axes, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    image.SetOrigin(volume.grid.affine[:3, 3].tolist())
    return image


@dataclass(frozen=True, slots=True)
class _Alignment:
    """The transform found, the mutual information there and in the scanner geometry."""

    fixed_to_moving: NDArray[np.float64]
    information: float
    information_before: float
    converged: bool


def _align(fixed: Volume, moving: Volume) -> _Alignment:
    """Maximise the mutual information from coarse to fine. Raises RuntimeError, as SimpleITK does."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter(_centre(fixed.grid).tolist())
    images = _clipped(fixed), _clipped(moving)
    converged = True
    for level_mm, step_mm in zip(LEVELS_MM, FIRST_STEP_MM, strict=True):
        coarse = _coarsened(images[0], level_mm), _coarsened(images[1], level_mm)
        method = _method(coarse[0], step_mm)
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(*coarse)
        converged = converged and method.GetOptimizerIteration() < MAX_ITERATIONS
    information = -method.MetricEvaluate(*coarse)
    method.SetInitialTransform(sitk.Euler3DTransform(), inPlace=False)
    before = -method.MetricEvaluate(*coarse)
    return _Alignment(_matrix(transform), information, before, converged)


def _method(fixed: sitk.Image, step_mm: float) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(WORK_UNITS)
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / fixed.GetNumberOfPixels()), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step_mm, minStep=LAST_STEP_MM, numberOfIterations=MAX_ITERATIONS
    )
    method.SetOptimizerScales([ROTATION_ARM_MM**2] * 3 + [1.0] * 3)
    return method


def _matrix(transform: sitk.Euler3DTransform) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _judge(
    found: _Alignment,
    centre: NDArray[np.float64],
    names: tuple[SeriesType, SeriesType],
    spec: RegistrationSpec,
) -> RegistrationRecord:
    matrix = found.fixed_to_moving
    cosine = (np.trace(matrix[:3, :3]) - 1) / 2
    rotation_deg = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    translation_mm = float(np.linalg.norm(matrix[:3, :3] @ centre + matrix[:3, 3] - centre))
    gain = found.information / found.information_before - 1 if found.information_before > 0 else np.inf
    movement = f"{rotation_deg:.1f} degrees and {translation_mm:.1f} mm"
    if gain < spec.min_gain:
        reason = f"the scanner geometry fits as well (mutual information {gain:+.1%} after registration)"
        return RegistrationRecord(*names, np.eye(4), rotation_deg, translation_mm, False, reason)
    if not found.converged:
        return _refused(names, f"it did not converge in {MAX_ITERATIONS} steps", rotation_deg, translation_mm)
    if rotation_deg > spec.max_rotation_deg or translation_mm > spec.max_translation_mm:
        limits = f"{spec.max_rotation_deg:g} degrees and {spec.max_translation_mm:g} mm"
        return _refused(names, f"{movement} are beyond {limits}", rotation_deg, translation_mm)
    reason = f"moved by {movement}; mutual information {gain:+.1%}"
    return RegistrationRecord(*names, matrix, rotation_deg, translation_mm, True, reason)


def _refused(
    names: tuple[SeriesType, SeriesType], problem: str, rotation_deg: float = 0.0, translation_mm: float = 0.0
) -> RegistrationRecord:
    reason = f"registration refused, scanner geometry used: {problem}"
    return RegistrationRecord(*names, np.eye(4), rotation_deg, translation_mm, False, reason, refused=True)


def _centre(grid: Grid) -> NDArray[np.float64]:
    centre: NDArray[np.float64] = grid.to_lps((np.array([grid.shape]) - 1) / 2)[0]
    return centre


def _without_blank_ends(volume: Volume) -> Volume:
    """Cut constant slices off both ends: the padding of a resampled Series has edges that are no anatomy."""
    ranges = np.ptp(volume.array.reshape(volume.grid.shape[0], -1), axis=1)
    filled = np.flatnonzero(ranges > 0)
    if not len(filled):
        return volume
    first, end = int(filled[0]), int(filled[-1]) + 1
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * first
    array = volume.array[first:end]
    return Volume(array, Grid((end - first, *volume.grid.shape[1:]), affine))


def _clipped(volume: Volume) -> sitk.Image:
    lowest, highest = np.percentile(volume.array, ROBUST_PERCENTILES)
    return to_image(volume.with_array(np.clip(volume.array, lowest, highest)))


def _coarsened(image: sitk.Image, level_mm: float) -> sitk.Image:
    """Average voxels up to a size, along each axis on its own: thick slices are not joined."""
    sizes = zip(image.GetSize(), image.GetSpacing(), strict=True)
    factors = [max(1, min(round(level_mm / spacing), size // KEPT_SIZE)) for size, spacing in sizes]
    smooth: sitk.Image = sitk.SmoothingRecursiveGaussian(sitk.BinShrink(image, factors), SMOOTHING * level_mm)
    return smooth
