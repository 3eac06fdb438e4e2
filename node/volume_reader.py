"""Reads the pixels of a stack into a volume in patient space."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels

from engines.volume import Volume
from node.codestreams import check_codestreams
from node.damaged_files import READING_ERRORS, is_panic, reason_of
from node.errors import CodestreamError
from node.geometry import VolumeSettings, arrange
from node.model import FrameReference, SourceVolume
from node.stacks import Stack, StackFrame
from node.volume_errors import MissingFileError, PixelDataError

__all__ = ["VolumeSettings", "read_volume"]


def read_volume(
    stack: Stack, paths: Mapping[str, Path], settings: VolumeSettings | None = None
) -> SourceVolume:
    """Read a stack's frames, sorted along the normal, with rescale slope and intercept of each frame applied.

    What a viewer shows bright is bright: MONOCHROME1 is turned about its brightest value, and what pads a
    frame becomes as dark as air, for it is no signal.

    Args:
        stack: the frames; only these are decoded.
        paths: Part 10 file by SOP Instance UID.
        settings: tolerances of the geometry.

    Returns: the volume as float32 and the way back to its frames.

    Raises:
        VolumeError: of the class that names what is wrong with geometry, files or pixel data.
    Source: PS3.3 C.7.6.3.1.2 (MONOCHROME1), C.7.5.1.1.2 (Pixel Padding Value).
    """
    geometry = arrange(stack, settings or VolumeSettings())
    array = np.empty(geometry.grid.shape, dtype=np.float32)
    padded = np.zeros(geometry.grid.shape, dtype=bool)
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
        decoded, padding = _stored_frames(stack, items, path)
        for place, item, stored in zip(slices, items, decoded, strict=True):
            array[place] = stored * item.frame.rescale_slope + item.frame.rescale_intercept
            if padding is not None:
                padded[place] = padding.is_in(stored)
    _turn([item.frame.acquisition.photometric_interpretation for item in geometry.frames], array, padded)
    if padded.any():
        array[padded] = min(0.0, float(array.min(where=~padded, initial=np.inf)))
    return SourceVolume(
        study_uid=stack.study_uid,
        series_uid=stack.series_uid,
        frame_of_reference_uid=stack.header.frame_of_reference_uid,
        volume=Volume(array, geometry.grid),
        frames=tuple(_reference(item) for item in geometry.frames),
        paths=tuple(files),
        is_mosaic=stack.header.mosaic_tiles_across > 0,
        series_number=stack.header.series_number,
    )


@dataclass(frozen=True, slots=True)
class _Padding:
    """Stored values that pad a frame, from the first to the last of them."""

    first: int
    last: int

    def is_in(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which pixels hold padding; headers may write a signed value as an unsigned one."""
        first, last = sorted(np.array([self.first, self.last]).astype(stored.dtype))
        return np.asarray((stored >= first) & (stored <= last))


def _padding(dataset: Dataset) -> _Padding | None:
    value = dataset.get("PixelPaddingValue")
    limit = dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    return _Padding(value, limit if isinstance(limit, int) else value)


def _turn(interpretations: Sequence[str], array: NDArray[np.float32], padded: NDArray[np.bool_]) -> None:
    """Turn the frames in which low values are bright, all about one value, so that the darkest become 0."""
    inverted = [place for place, one in enumerate(interpretations) if one == "MONOCHROME1"]
    if inverted:
        top = array[inverted].max(where=~padded[inverted], initial=-np.inf)
        array[inverted] = top - array[inverted]


def _reference(item: StackFrame) -> FrameReference:
    instance = item.instance
    return FrameReference(
        instance.sop_class_uid, instance.sop_instance_uid, item.frame.number, instance.instance_number
    )


def _stored_frames(
    stack: Stack, items: Sequence[StackFrame], path: Path
) -> tuple[list[NDArray[Any]], _Padding | None]:
    """Decode the frames of one Instance in the order of the items, each (rows, columns) of stored values."""
    instance = items[0].instance
    indices = [(item.frame.number or 1) - 1 for item in items] if instance.is_multi_frame else None
    try:
        dataset = pydicom.dcmread(path)
    except READING_ERRORS as error:
        # The error may quote the patient's data: neither log nor traceback may hold it.
        raise _pixel_error(stack, instance.sop_instance_uid, reason_of(error)) from None
    try:
        check_codestreams(dataset)
        # Given the path instead, pydicom finds no pixel data in deflated files.
        decoded = list(iter_pixels(dataset, indices=indices))
        padding = _padding(dataset)
    except CodestreamError as error:
        raise _pixel_error(stack, instance.sop_instance_uid, str(error)) from error
    except READING_ERRORS as error:
        reason = reason_of(error, only_pixels=True)
        raise _pixel_error(stack, instance.sop_instance_uid, reason) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise _pixel_error(stack, instance.sop_instance_uid, "the decoder broke off") from error
    if instance.mosaic_tiles_across:
        return [_tile(stack, item, decoded[0]) for item in items], padding
    if not instance.is_multi_frame:
        decoded = decoded[:1] * len(items)
    for image in decoded:
        if image.shape != (instance.rows, instance.columns):
            expected = (instance.rows, instance.columns)
            raise _pixel_error(stack, instance.sop_instance_uid, f"shape {image.shape}, expected {expected}")
    return decoded, padding


def _tile(stack: Stack, item: StackFrame, sheet: NDArray[Any]) -> NDArray[Any]:
    """Cut one tile out of a mosaic."""
    instance, across = item.instance, item.instance.mosaic_tiles_across
    row, column = divmod(item.frame.tile or 0, across)
    needed = ((row + 1) * instance.rows, across * instance.columns)
    if sheet.ndim != 2 or sheet.shape[0] < needed[0] or sheet.shape[1] < needed[1]:
        raise _pixel_error(stack, instance.sop_instance_uid, f"a mosaic of shape {sheet.shape}")
    return sheet[
        row * instance.rows : (row + 1) * instance.rows,
        column * instance.columns : (column + 1) * instance.columns,
    ]


def _pixel_error(stack: Stack, sop_instance_uid: str, problem: str) -> PixelDataError:
    return PixelDataError(stack.study_uid, stack.series_uid, sop_instance_uid, problem)
