"""Real cases as other hospitals would send them: without the skull, in thick slices, resampled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import numpy as np

from engines.resampling import Interpolation, resample
from engines.segments import SeriesType
from engines.volume import Grid, Volume
from training.cases import Case, same_place

THICK_STEPS = (3, 5)
"""Thin slices that are averaged into thick ones, to have clinical slices from an isotropic volume."""

THIN_MM = 2.0
"""Volumes with slices below this are also looked at with thick slices, mm."""

ISOTROPIC_MM = 1.0
"""Spacing that research pipelines bring volumes to before they segment, mm."""

STRIPPED, THICK, ISOTROPIC = "skull-stripped", "in thick slices", "resampled to 1 mm"
"""What is said of an altered case."""


def alterations(case: Case) -> Iterator[tuple[str, Case]]:
    """Yield what was done to a case, and the case: as far as it is not like that already."""
    if case.brain is not None:
        yield STRIPPED, without_skull(case)
    spacing = next(iter(case.volumes.values())).grid.spacing_mm
    if spacing[0] < THIN_MM:
        for step in THICK_STEPS:
            yield THICK, in_thick_slices(case, step)
    if max(spacing) > THIN_MM:
        yield ISOTROPIC, isotropic(case)


def without_inputs(case: Case, missing: Collection[SeriesType]) -> Case:
    """Return a case whose Study lacks these Series."""
    kept = {series: volume for series, volume in case.volumes.items() if series not in missing}
    return replace(case, volumes=kept)


def without_skull(case: Case) -> Case:
    """Return a case whose images, as far as they lie where its brain mask does, are 0 outside the brain.

    Raises: ValueError: if it has no brain mask.
    """
    if case.brain is None:
        raise ValueError(f"{case.name} has no brain mask")
    brain = case.brain
    volumes = {
        kind: v.with_array(np.where(brain.array, v.array, 0)) if same_place(brain.grid, v.grid) else v
        for kind, v in case.volumes.items()
    }
    return replace(case, name=f"{case.name}_stripped", volumes=volumes, brain=None)


def in_thick_slices(case: Case, step: int) -> Case:
    """Return a case of which each ``step`` slices are averaged into one."""
    return _changed(case, f"thick{step}", lambda volume: thicken(volume, step))


def isotropic(case: Case) -> Case:
    """Return a case on voxels of ``ISOTROPIC_MM``, images interpolated, masks not."""
    return _changed(case, "isotropic", _to_isotropic)


def _changed(case: Case, suffix: str, change: Callable[[Volume], Volume]) -> Case:
    return replace(
        case,
        name=f"{case.name}_{suffix}",
        volumes={kind: change(volume) for kind, volume in case.volumes.items()},
        masks={segment: change(mask) for segment, mask in case.masks.items()},
        unsure={segment: change(mask) for segment, mask in case.unsure.items()},
        excluded={segment: change(mask) for segment, mask in case.excluded.items()},
        brain=None,
    )


def thicken(volume: Volume, step: int) -> Volume:
    """Average each ``step`` slices into one; a mask keeps voxels of which at least half was in it."""
    count = volume.array.shape[0] // step
    groups = volume.array[: count * step].reshape(count, step, *volume.array.shape[1:])
    mean = groups.mean(axis=1, dtype=np.float32)
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (step - 1) / 2
    affine[:3, 0] *= step
    values = mean >= 0.5 if volume.array.dtype == bool else mean
    return Volume(values, Grid((count, *volume.grid.shape[1:]), affine))


def _to_isotropic(volume: Volume) -> Volume:
    spacing = np.array(volume.grid.spacing_mm)
    shape = np.maximum(1, np.floor(np.array(volume.grid.shape) * spacing / ISOTROPIC_MM)).astype(int)
    affine = volume.grid.affine.copy()
    affine[:3, :3] *= ISOTROPIC_MM / spacing
    # Voxels are boxes: the first new one begins where the first old one does.
    affine[:3, 3] += volume.grid.affine[:3, :3] @ (ISOTROPIC_MM / spacing - 1) / 2
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    is_mask = volume.array.dtype == bool
    return resample(volume, grid, None, Interpolation.NEAREST if is_mask else Interpolation.LINEAR)
