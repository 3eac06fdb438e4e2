"""The same search by SimpleITK: reference of the tests, and the other side of the benchmark."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from numpy.typing import NDArray

from engines.rigid_search import (
    FIRST_STEP_MM,
    KEPT_SIZE,
    LAST_STEP_MM,
    LEVELS_MM,
    MAX_STEPS,
    ROBUST_PERCENTILES,
    ROTATION_ARM_MM,
    SMOOTHING,
    FoundMovement,
)
from engines.volume import Volume

BINS = 32
"""Bins of the joint histogram along each Series, of which ITK keeps two at each end free."""

SAMPLES = 40_000
"""Points that a metric evaluation looks at, about."""

SEED = 20261121
"""Seed of the random sampling."""

WORK_UNITS = 1
"""Parts that a metric evaluation is split into. ITK adds up the parts in the order in which they end, so
only one part gives the same transform every time."""


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


def find_movement_by_itk(fixed: Volume, moving: Volume, centre: NDArray[np.float64]) -> FoundMovement:
    """Maximise the mutual information from coarse to fine.

    Raises:
        RuntimeError: as SimpleITK does.
    """
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    images = _clipped(fixed), _clipped(moving)
    converged = True
    for level_mm, step_mm in zip(LEVELS_MM, FIRST_STEP_MM, strict=True):
        coarse = _coarsened(images[0], level_mm), _coarsened(images[1], level_mm)
        method = _method(coarse[0], step_mm)
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(*coarse)
        converged = converged and method.GetOptimizerIteration() < MAX_STEPS
    information = -method.MetricEvaluate(*coarse)
    method.SetInitialTransform(sitk.Euler3DTransform(), inPlace=False)
    before = -method.MetricEvaluate(*coarse)
    return FoundMovement(_matrix(transform), information, before, converged)


def _method(fixed: sitk.Image, step_mm: float) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(WORK_UNITS)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / fixed.GetNumberOfPixels()), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step_mm, minStep=LAST_STEP_MM, numberOfIterations=MAX_STEPS
    )
    method.SetOptimizerScales([ROTATION_ARM_MM**2] * 3 + [1.0] * 3)
    return method


def _matrix(transform: sitk.Euler3DTransform) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _clipped(volume: Volume) -> sitk.Image:
    lowest, highest = np.percentile(volume.array, ROBUST_PERCENTILES)
    return to_image(volume.with_array(np.clip(volume.array, lowest, highest)))


def _coarsened(image: sitk.Image, level_mm: float) -> sitk.Image:
    """Average voxels up to a size, along each axis on its own: thick slices are not joined."""
    sizes = zip(image.GetSize(), image.GetSpacing(), strict=True)
    factors = [max(1, min(round(level_mm / spacing), size // KEPT_SIZE)) for size, spacing in sizes]
    smooth: sitk.Image = sitk.SmoothingRecursiveGaussian(sitk.BinShrink(image, factors), SMOOTHING * level_mm)
    return smooth
