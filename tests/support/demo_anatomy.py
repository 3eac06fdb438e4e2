"""One real head as a continuous anatomy: T1, T2-FLAIR and labels, sampled at any point of patient space.

The source has a slice every 6.4 mm. A plain blend of two neighbours would show every edge twice, so
the neighbours are first matched by a smooth flow in the plane, and the value between them is taken along it.

Convention: arrays are (slices, rows, columns), indices run the same way, patient space is LPS in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from engines.volume import Grid

FIRST, LAST = 1, 18
"""First and last source slice in which the T1 is complete."""

STEPS = 4
"""Planes of the refined volume for each source slice."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Source:
    """The case as it was published: values by name, all on one grid."""

    grid: Grid
    flair: Array
    t1: Array
    label: Array
    brain: Array


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The refined head: ``maps`` of (planes, rows, columns) by name; plane n is slice FIRST + n / STEPS."""

    grid: Grid
    maps: dict[str, Array]

    def sample(self, name: str, indices: NDArray[np.float64], order: Literal[1, 3] = 1) -> Array:
        """Return the values of one map at (3, ...) source indices (slice, row, column).

        Beyond the first and last plane the outermost one is repeated.
        """
        refined = np.stack([(indices[0] - FIRST) * STEPS, indices[1], indices[2]])
        values = ndimage.map_coordinates(self.maps[name], refined, order=order, mode="nearest")
        return np.asarray(values, dtype=np.float32)


def read_source(folder: Path) -> Source:
    """Read flair, t1, label and brain_mask of a case stored along the axes L-A-S."""
    images: dict[str, Any] = {
        name: nibabel.load(folder / f"{name}.nii.gz") for name in ("flair", "t1", "label", "brain_mask")
    }
    affine_ras = images["flair"].affine
    rows = images["flair"].shape[1]
    # (column to left, row to anterior, slice) -> (slice, row to posterior, column)
    arrays = {
        name: np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)[:, ::-1])
        for name, image in images.items()
    }
    flip = np.array([[0, 0, 1, 0], [0, -1, 0, rows - 1], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    affine_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras @ flip
    shape = arrays["flair"].shape
    grid = Grid((shape[0], shape[1], shape[2]), affine_lps)
    return Source(grid, arrays["flair"], arrays["t1"], arrays["label"], arrays["brain_mask"])


def in_plane_flow(first: Array, second: Array) -> NDArray[np.float64]:
    """Return (2, rows, columns): first[x] looks like second[x + flow], in pixels."""
    sitk: Any = SimpleITK
    fixed, moving = sitk.GetImageFromArray(first), sitk.GetImageFromArray(second)
    start = sitk.Image(fixed.GetSize(), sitk.sitkVectorFloat64, 2)
    field: Any = start
    for factor, iterations in ((4, 60), (2, 60), (1, 30)):
        size = [int(length / factor) for length in fixed.GetSize()]
        level: Any = sitk.Image(size, sitk.sitkFloat32)
        level.SetSpacing([float(factor)] * 2)
        level.SetOrigin([(factor - 1) / 2] * 2)
        pair = [
            sitk.Resample(sitk.SmoothingRecursiveGaussian(image, 0.7 * factor), level)
            for image in (fixed, moving)
        ]
        demons: Any = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(1.8)
        field = demons.Execute(*pair, sitk.Resample(field, level))
    # SimpleITK keeps (x, y), that is (column, row), as the last axis
    return np.asarray(np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1], dtype=np.float64)


def refine(source: Source) -> Anatomy:
    """Return the head between the slices FIRST and LAST with STEPS planes a slice."""
    scale = np.percentile(source.t1[source.brain > 0], 75)
    guide = np.clip(source.t1 / scale, 0, 1.5) + 0.5 * np.clip(source.flair / source.flair.mean() / 4, 0, 1.5)
    maps = {
        "flair": source.flair, "t1": source.t1, "brain": source.brain,
        "ventricle": (source.label == 2).astype(np.float32), "wmh": (source.label == 1).astype(np.float32),
    }  # fmt: skip
    planes: dict[str, list[Array]] = {name: [] for name in maps}
    rows_columns = np.indices(source.grid.shape[1:], dtype=np.float64)
    for k in range(FIRST, LAST):
        flow = in_plane_flow(guide[k].astype(np.float32), guide[k + 1].astype(np.float32))
        for step in range(STEPS):
            t = step / STEPS
            for name, values in maps.items():
                below = ndimage.map_coordinates(values[k], rows_columns - t * flow, order=1, mode="nearest")
                above = ndimage.map_coordinates(
                    values[k + 1], rows_columns + (1 - t) * flow, order=1, mode="nearest"
                )
                planes[name].append(((1 - t) * below + t * above).astype(np.float32))
    for name, values in maps.items():
        planes[name].append(values[LAST])
    return Anatomy(source.grid, {name: np.stack(stack) for name, stack in planes.items()})
