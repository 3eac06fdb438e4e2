"""From volumes to a network's input and back: one implementation for serving and for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engines.errors import InputError
from engines.intensity import Normalisation, measure_range, measure_scale
from engines.placement import Placement, place
from engines.volume import Grid, Volume

GRID_TOLERANCE_MM = 1e-2
"""Affines that differ by less count as one grid, mm; headers carry five to six digits."""

PixelCount = Annotated[int, Field(ge=8, le=2048)]


class Fit(StrEnum):
    """How a slice is brought to the pixel grid.

    ``PAD_RESIZE`` pads it to a square and resizes all of it. ``PAD_CROP`` pads it to a square and keeps its
    resolution: a larger square is cropped around its centre, a smaller one is enlarged.
    """

    PAD_RESIZE = "pad_resize"
    PAD_CROP = "pad_crop"


class PreprocessingSpec(BaseModel):
    """What a network expects to see.

    Attributes:
        pixel_grid: (rows, columns) of the network's input.
        fit: how slices are brought to it.
        normalisation: how intensities are scaled.
        neighbours: slices on each side that are added as channels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel_grid: tuple[PixelCount, PixelCount]
    fit: Fit
    normalisation: Normalisation
    neighbours: int = Field(default=0, ge=0, le=8)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network's input and where it came from.

    Attributes:
        slices: (slices, channels, rows, columns) float32, read-only. With one input it is a view in which a
            slice lies once for all that have it as a neighbour: copy a batch to have it contiguous.
        placement: the way back to the volume's own grid.
    """

    slices: NDArray[np.float32]
    placement: Placement


def prepare(volumes: Sequence[Volume | None], spec: PreprocessingSpec) -> Prepared:
    """Turn volumes on one grid into the slices that a network sees.

    Args:
        volumes: one for each input, in channel order; None for an optional input that the Study does not
            have, which becomes channels of zeros.
        spec: what the network expects.

    Returns: slices (axial slices, inputs * (2 * neighbours + 1), rows, columns). For each input the
        channels are the slices k - neighbours to k + neighbours; beyond the ends the last slice repeats.
    Raises: InputError: if there is no volume, the grids differ, or a volume is constant or not finite.
    """
    placement = _place(_shared_grid(volumes), spec)
    present = [None if volume is None else _normalised(volume, placement, spec) for volume in volumes]
    blank = np.zeros_like(next(pixels for pixels in present if pixels is not None))
    inputs = np.stack([blank if pixels is None else pixels for pixels in present])
    return Prepared(_with_neighbours(inputs, spec.neighbours), placement)


def prepare_mask(mask: Volume, spec: PreprocessingSpec) -> NDArray[np.float32]:
    """Bring a mask to the pixels of ``prepare``: the training target.

    Returns: (slices, rows, columns) float32, the share of each pixel that lies in the mask, 0 to 1.
    """
    placement = _place(mask.grid, spec)
    inside = np.ascontiguousarray(placement.orientation.apply(mask.array != 0), dtype=np.float32)
    return placement.to_pixels(inside)


def restore(maps: NDArray[np.float32], prepared: Prepared) -> Volume:
    """Bring a network's maps back to the volume's own grid.

    Args:
        maps: (slices, rows, columns), one map for each prepared slice.
        prepared: what ``prepare`` returned for these slices.

    Returns: float32 on the original grid; 0 where the network did not look.
    Raises: InputError: if the shape is not that of the prepared slices.
    """
    slices, _, rows, columns = prepared.slices.shape
    if maps.shape != (slices, rows, columns):
        raise InputError(f"Maps of shape {maps.shape} do not belong to slices of {(slices, rows, columns)}")
    array = prepared.placement.to_voxels(np.asarray(maps, dtype=np.float32))
    return Volume(array, prepared.placement.grid)


def check_image(volume: Volume) -> None:
    """Tell whether there is an image in a volume.

    Raises: InputError: if a voxel is not finite in float32, or all have the same value.
    """
    measure_range(_finite(volume.array))


def same_grid(first: Grid, second: Grid) -> bool:
    """Tell whether two grids are one, within the digits that headers carry."""
    return first.shape == second.shape and np.allclose(
        first.affine, second.affine, rtol=0, atol=GRID_TOLERANCE_MM
    )


def _place(grid: Grid, spec: PreprocessingSpec) -> Placement:
    return place(grid, spec.pixel_grid, keep_resolution=spec.fit is Fit.PAD_CROP)


def _shared_grid(volumes: Sequence[Volume | None]) -> Grid:
    grids = [volume.grid for volume in volumes if volume is not None]
    if not grids:
        raise InputError("There is no volume to prepare: give at least one input")
    if not all(same_grid(grids[0], grid) for grid in grids[1:]):
        raise InputError("The inputs lie on different grids: resample them onto the first one")
    return grids[0]


def _finite(array: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("Some voxels are not finite numbers: send the original Series again")
    return values


def _with_neighbours(inputs: NDArray[np.float32], neighbours: int) -> NDArray[np.float32]:
    """Join each slice with those beside it: (inputs, slices, rows, columns) to (slices, channels, ...)."""
    ends = ((0, 0), (neighbours, neighbours), (0, 0), (0, 0))
    windows = sliding_window_view(np.pad(inputs, ends, mode="edge"), 2 * neighbours + 1, axis=1)
    # (inputs, slices, rows, columns, window) -> (slices, inputs, window, rows, columns) -> channels joined
    joined = windows.transpose(1, 0, 4, 2, 3)
    channels = joined.reshape(joined.shape[0], -1, *inputs.shape[2:])
    channels.setflags(write=False)
    return channels


def _normalised(volume: Volume, placement: Placement, spec: PreprocessingSpec) -> NDArray[np.float32]:
    """Return (slices, rows, columns) scaled pixels; padding has the value of air."""
    array = _finite(placement.orientation.apply(volume.array))
    scale = measure_scale(array, spec.normalisation)
    # Air is 0 while the slice is padded, so padding is air in every normalisation.
    above_air = array if scale.air == 0 else np.maximum(array - np.float32(scale.air), 0)
    pixels = placement.to_pixels(above_air)
    pixels -= np.float32(scale.origin - scale.air)
    pixels /= np.float32(scale.unit)
    return pixels
