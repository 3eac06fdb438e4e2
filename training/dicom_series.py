"""DICOM Series as volumes, through SimpleITK (GDCM): slices in files of their own, or tiles of a mosaic.

Convention: volumes have slices from bottom to top, rows to the back, columns to the left, as nearly as their
orientation allows by swapping and flipping axes.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from engines.volume import Grid, Volume

IMAGE_TYPE, FRAMES, SEQUENCE_NAME = "0008|0008", "0028|0008", "0018|0024"
POSITION, ORIENTATION, FRAME_OF_REFERENCE = "0020|0032", "0020|0037", "0020|0052"
"""Image Position (Patient), Image Orientation (Patient), Frame of Reference UID."""

B_VALUES = ("0018|9087", "0019|100c", "2001|1003", "0065|1009", "0043|1039")
"""Diffusion b-value, and where Siemens, Philips, UIH and GE write it."""

GE_B_VALUE_BIAS = 1_000_000_000
"""Added by GE to the b-value of several kinds of Series."""

SIEMENS_SEQUENCE_NAME = re.compile(r"(?:ep|re)_b(\d+)", re.IGNORECASE)
"""``*ep_b1000t`` is a trace of b 1000."""

TILES, CSA_HEADER = "0019|100a", "0029|1010"
"""Of a Siemens mosaic: how many slices it holds, and the header with their normal."""

CSA_TAG_BYTES, CSA_ITEM_BYTES = 84, 16
"""Sizes of what stands before the items of an element of a CSA header, and before each item."""

UNEVEN = 0.1
"""Largest deviation of a slice distance from the mean, as a share; more means that a slice is missing."""

BValues = tuple[float, float]
"""Least and largest b-value that is wanted, s/mm2."""


@dataclass(frozen=True, slots=True)
class _Image:
    """One file of a Series: LPS position, row and column cosines, b-value or None, and what says more."""

    name: str
    position: NDArray[np.float64]
    cosines: NDArray[np.float64]
    b_value: float | None
    frames: int
    is_mosaic: bool


def read_series(path: Path, b_values: BValues | None = None) -> Volume:
    """Read the one Series of a folder, or one file.

    Args:
        path: of the folder or the file.
        b_values: which images are taken where the Series holds several b-values.

    Returns: Volume of float32.
    Raises: ValueError, RuntimeError: if there is not exactly one Series, it is multi-frame, slices are
        missing, or several images lie in the same place (b-values, directions or echoes in one folder).
    Source: DICOM PS3.3 C.7.6.2.1.1.
    """
    images = _of_b_value([_read_header(name) for name in _files_of(path)], b_values)
    if any(image.frames > 1 for image in images):
        raise ValueError(
            f"{images[0].frames} frames in one file, whose places cannot be told here; "
            "make a data set with `csvd-node export-dataset`"
        )
    if any(image.is_mosaic for image in images):
        if len(images) > 1:
            raise ValueError(f"{len(images)} mosaics; give each volume a folder of its own")
        return _volume(_read_mosaic(images[0]))
    if len(images) == 1:
        return _volume(SimpleITK.ReadImage(images[0].name))
    return _volume(SimpleITK.ReadImage([image.name for image in _stacked(images)]))


def frame_of_reference(path: Path) -> str:
    """Return the Frame of Reference UID of a Series' folder or of a file; "" if it has none."""
    return header_text(Path(_files_of(path)[0]), FRAME_OF_REFERENCE)


def header_text(file: Path, tag: str) -> str:
    """Return an element of a file's top level, as ``gggg|eeee``, as text; "" if it has none."""
    return _text(_open(str(file)), tag)


def to_volume(image: SimpleITK.Image) -> Volume:
    """Return an image of SimpleITK as it lies, float32."""
    array = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    affine = np.eye(4)
    # (x, y, z) of SimpleITK -> (slice, row, column)
    affine[:3, :3] = (np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return Volume(array, Grid((array.shape[0], array.shape[1], array.shape[2]), affine))


def cut_tiles(sheet: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the slices (count, rows, columns) of a mosaic, whose tiles fill a square row by row."""
    across = math.ceil(math.sqrt(count))
    rows, columns = (side // across for side in sheet.shape)
    tiles = sheet.reshape(across, rows, across, columns).swapaxes(1, 2)
    return tiles.reshape(-1, rows, columns)[:count]


def _files_of(path: Path) -> list[str]:
    if path.is_file():
        return [str(path)]
    if not path.is_dir():
        raise ValueError("there is no such file or folder")
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # it is told here
    series = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
    if not series:
        raise ValueError("there is no DICOM image in the folder itself")
    if len(series) > 1:
        raise ValueError(f"{len(series)} Series in the folder, expected 1; give each a folder of its own")
    return list(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0]))


def _open(file: str) -> SimpleITK.ImageFileReader:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(file)
    reader.LoadPrivateTagsOn()
    reader.ReadImageInformation()
    return reader


def _text(reader: SimpleITK.ImageFileReader, tag: str) -> str:
    return str(reader.GetMetaData(tag)).strip(" \0") if reader.HasMetaDataKey(tag) else ""


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array([float(part) for part in text.split("\\") if part])


def _read_header(file: str) -> _Image:
    reader = _open(file)
    return _Image(
        name=file,
        position=_numbers(_text(reader, POSITION)),
        cosines=_numbers(_text(reader, ORIENTATION)),
        b_value=_b_value(reader),
        frames=int(_text(reader, FRAMES) or 1),
        is_mosaic="MOSAIC" in _text(reader, IMAGE_TYPE).split("\\"),
    )


def _b_value(reader: SimpleITK.ImageFileReader) -> float | None:
    """Return the first b-value above 0 that an image states, or else 0; None if it states none."""
    named = SIEMENS_SEQUENCE_NAME.search(_text(reader, SEQUENCE_NAME))
    texts = [_text(reader, tag).split("\\")[0] for tag in B_VALUES] + ([named.group(1)] if named else [])
    stated = [float(text) % GE_B_VALUE_BIAS for text in texts if re.fullmatch(r"\d+(\.\d*)?", text)]
    return max(stated[:1] + [value for value in stated if value], default=None) if stated else None


def _of_b_value(images: Sequence[_Image], wanted: BValues | None) -> list[_Image]:
    held = {image.b_value for image in images}
    if wanted is None or len(held) == 1:
        return list(images)
    fitting = [value for value in held if value is not None and wanted[0] <= value <= wanted[1]]
    if len(fitting) != 1:
        told = ", ".join(sorted("none" if value is None else f"{value:g}" for value in held))
        raise ValueError(f"images of b {told}; of these one has to be from {wanted[0]:g} to {wanted[1]:g}")
    return [image for image in images if image.b_value == fitting[0]]


def _stacked(images: Sequence[_Image]) -> list[_Image]:
    """Return slices in their order along the normal.

    Raises: ValueError: if they do not make one volume.
    """
    if not all(len(image.position) == 3 and len(image.cosines) == 6 for image in images):
        raise ValueError("an image without Image Position or Orientation (Patient)")
    normal = np.cross(images[0].cosines[:3], images[0].cosines[3:])
    ordered = sorted(images, key=lambda image: float(image.position @ normal))
    steps = np.diff([float(image.position @ normal) for image in ordered])
    if steps.min() <= UNEVEN * steps.max():
        b_values = {image.b_value for image in images if image.b_value is not None}
        of = f" of b {', '.join(f'{value:g}' for value in sorted(b_values))}" if b_values else ""
        raise ValueError(
            f"several images{of} in one place; give each b-value, direction or echo a folder of its own"
        )
    if np.abs(steps / steps.mean() - 1).max() > UNEVEN:
        raise ValueError(f"slices {steps.min():.1f} to {steps.max():.1f} mm apart: one is missing")
    return ordered


def _read_mosaic(image: _Image) -> SimpleITK.Image:
    """Cut a mosaic into its slices and place them.

    Image Position (Patient) of a mosaic is that of a slice as large as the whole mosaic, concentric with the
    first tile. On which side of that one the others lie, the CSA header says.
    """
    reader = _open(image.name)
    sheet = reader.Execute()
    tiles = cut_tiles(
        SimpleITK.GetArrayFromImage(sheet)[0].astype(np.float32), int(_text(reader, TILES) or 0) or 1
    )
    normal = _slice_normal(base64.b64decode(_text(reader, CSA_HEADER)))
    if len(tiles) < 2 or normal is None:
        raise ValueError("a mosaic that does not say how many slices it holds, and in which direction")
    spacing = np.array(sheet.GetSpacing())
    direction = np.array(sheet.GetDirection()).reshape(3, 3)
    margin = (np.array(sheet.GetSize()[:2]) - tiles.shape[:0:-1]) / 2
    first = np.array(sheet.GetOrigin()) + direction[:, :2] @ (spacing[:2] * margin)
    if float(direction[:, 2] @ normal) < 0:
        first = first - direction[:, 2] * spacing[2] * (len(tiles) - 1)
        tiles = np.ascontiguousarray(tiles[::-1])
    placed = SimpleITK.GetImageFromArray(tiles)
    placed.SetSpacing(spacing.tolist())
    placed.SetDirection(direction.ravel().tolist())
    placed.SetOrigin(first.tolist())
    return placed


def _slice_normal(csa: bytes) -> NDArray[np.float64] | None:
    """Return SliceNormalVector of a CSA header, (3,) LPS, or None if it is not there.

    Source: layout as documented by nibabel, "Siemens format DICOM with CSA header".
    """
    start = csa.find(b"SliceNormalVector\0")
    numbers: list[float] = []
    try:
        offset = start + CSA_TAG_BYTES
        for _ in range(3 if start >= 0 else 0):
            (length,) = struct.unpack_from("<I", csa, offset)
            text = csa[offset + CSA_ITEM_BYTES : offset + CSA_ITEM_BYTES + length]
            numbers.append(float(text.split(b"\0", 1)[0]))
            offset += CSA_ITEM_BYTES + -(-length // 4) * 4
    except (struct.error, ValueError):
        return None
    return np.array(numbers) if numbers else None


def _volume(image: SimpleITK.Image) -> Volume:
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"{image.GetDimension()} axes, expected one grey volume")
    return to_volume(SimpleITK.DICOMOrient(image, "LPS"))
