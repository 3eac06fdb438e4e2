"""Reads the pixels of a stack into a volume in patient space."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.utils import iter_pixels

from engines.volume import Volume
from node.damaged_files import READING_ERRORS, reason_of
from node.geometry import VolumeSettings, arrange
from node.model import FrameReference, SourceVolume
from node.stacks import Stack, StackFrame
from node.volume_errors import MissingFileError, PixelDataError

__all__ = ["VolumeSettings", "read_volume"]


def read_volume(
    stack: Stack, paths: Mapping[str, Path], settings: VolumeSettings | None = None
) -> SourceVolume:
    """Read a stack's frames, sorted along the normal, with rescale slope and intercept of each frame applied.

    Args:
        stack: the frames; only these are decoded.
        paths: Part 10 file by SOP Instance UID.
        settings: tolerances of the geometry.

    Returns: the volume as float32 and the way back to its frames.

    Raises:
        VolumeError: of the class that names what is wrong with geometry, files or pixel data.
    """
    geometry = arrange(stack, settings or VolumeSettings())
    array = np.empty(geometry.grid.shape, dtype=np.float32)
    places: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(geometry.frames):
        places[item.instance.sop_instance_uid].append(place)
    files = []
    for sop_instance_uid, slices in places.items():
        path = paths.get(sop_instance_uid)
        if path is None or not path.is_file():
            raise MissingFileError(stack.study_uid, stack.series_uid, sop_instance_uid)
        files.append(path)
        items = [geometry.frames[place] for place in slices]
        for place, item, stored in zip(slices, items, _stored_frames(stack, items, path), strict=True):
            array[place] = stored * item.frame.rescale_slope + item.frame.rescale_intercept
    return SourceVolume(
        study_uid=stack.study_uid,
        series_uid=stack.series_uid,
        frame_of_reference_uid=stack.header.frame_of_reference_uid,
        volume=Volume(array, geometry.grid),
        frames=tuple(_reference(item) for item in geometry.frames),
        paths=tuple(files),
        is_mosaic=stack.header.mosaic_tiles_per_side > 0,
    )


def _reference(item: StackFrame) -> FrameReference:
    instance = item.instance
    return FrameReference(
        instance.sop_class_uid, instance.sop_instance_uid, item.frame.number, instance.instance_number
    )


def _stored_frames(stack: Stack, items: Sequence[StackFrame], path: Path) -> list[NDArray[Any]]:
    """Decode the frames of one Instance in the order of the items, each (rows, columns) of stored values."""
    instance = items[0].instance
    indices = [(item.frame.number or 1) - 1 for item in items] if instance.is_multi_frame else None
    try:
        dataset = pydicom.dcmread(path)
    except READING_ERRORS as error:
        # The error may quote the patient's data: neither log nor traceback may hold it.
        raise _pixel_error(stack, instance.sop_instance_uid, reason_of(error)) from None
    try:
        # Given the path instead, pydicom finds no pixel data in deflated files.
        decoded = list(iter_pixels(dataset, indices=indices))
    except READING_ERRORS as error:
        reason = reason_of(error, only_pixels=True)
        raise _pixel_error(stack, instance.sop_instance_uid, reason) from error
    if instance.mosaic_tiles_per_side:
        return [_tile(stack, item, decoded[0]) for item in items]
    if not instance.is_multi_frame:
        decoded = decoded[:1] * len(items)
    for image in decoded:
        if image.shape != (instance.rows, instance.columns):
            expected = (instance.rows, instance.columns)
            raise _pixel_error(stack, instance.sop_instance_uid, f"shape {image.shape}, expected {expected}")
    return decoded


def _tile(stack: Stack, item: StackFrame, sheet: NDArray[Any]) -> NDArray[Any]:
    """Cut one tile out of a mosaic."""
    instance, side = item.instance, item.instance.mosaic_tiles_per_side
    if sheet.ndim != 2 or sheet.shape[0] < side * instance.rows or sheet.shape[1] < side * instance.columns:
        raise _pixel_error(stack, instance.sop_instance_uid, f"a mosaic of shape {sheet.shape}")
    row, column = divmod(item.frame.tile or 0, side)
    return sheet[
        row * instance.rows : (row + 1) * instance.rows,
        column * instance.columns : (column + 1) * instance.columns,
    ]


def _pixel_error(stack: Stack, sop_instance_uid: str, problem: str) -> PixelDataError:
    return PixelDataError(stack.study_uid, stack.series_uid, sop_instance_uid, problem)
