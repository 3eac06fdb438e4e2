"""NIfTI files as volumes of patient space."""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from engines.errors import GeometryError
from engines.volume import Grid, Volume

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI counts x to the right and y to the front; patient space here is LPS."""

OTHER_UNITS = {1: "metres", 3: "micrometres"}
"""Codes of lengths other than mm in ``xyzt_units``; 0 says nothing, and is taken for mm."""

UNREADABLE = (OSError, ImageFileError, EOFError, ValueError, RuntimeError, GeometryError, zlib.error)
"""What readers, of NIfTI and of DICOM, raise about a file that is no image."""


def is_nifti(file: str) -> bool:
    """Tell whether a path is that of a NIfTI file."""
    return file.endswith((".nii", ".nii.gz"))


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file as slices from bottom to top, rows to the back, columns to the left.

    Returns: Volume of float32, or of the file's own type where it holds integers without a scale.
    Raises: whatever nibabel, the file system or the geometry says; callers name the case.
    Source: NIfTI-1 (affine to RAS, ``xyzt_units``); DICOM PS3.3 C.7.6.2.1.1 (LPS).
    """
    loaded = nibabel.squeeze_image(nibabel.load(path))
    if len(loaded.shape) != 3:
        sizes = " x ".join(map(str, loaded.shape))
        raise ValueError(f"{sizes} values, expected one volume of three axes; give each volume a file")
    if not any(loaded.header.get(code, 1) for code in ("qform_code", "sform_code")):
        raise ValueError("it does not say where it lies (qform and sform code are 0); write its affine")
    if unit := OTHER_UNITS.get(int(loaded.header["xyzt_units"]) & 7):
        raise ValueError(f"its header counts in {unit} (xyzt_units); write it anew in mm")
    try:
        image = nibabel.as_closest_canonical(loaded)
        values: NDArray[np.generic] = np.asanyarray(image.dataobj)
    except MemoryError as error:
        sizes = " x ".join(map(str, loaded.shape))
        raise ValueError(f"there is no memory for {sizes} voxels, which its header claims") from error
    if values.dtype.kind not in "biuf":
        raise ValueError("its voxels are colours or complex; write it anew with one number for each")
    # (x to the right, y to the front, z up) -> (z up, y to the back, x to the left)
    array = np.ascontiguousarray(values[::-1, ::-1, :].transpose(2, 1, 0))
    if array.dtype.kind == "f":
        if np.isnan(array).all():
            raise ValueError("no voxel holds a number; write the file anew")
        # not a number is what programs write where they masked; infinite is no value of an image
        array = np.nan_to_num(array.astype(np.float32), posinf=np.inf, neginf=-np.inf)
        if np.isinf(array).any():
            raise ValueError("some voxels are infinite; write the file anew")
    columns, rows, slices = image.shape
    reversal = np.array([[0.0, 0, -1, columns - 1], [0, -1, 0, rows - 1], [1, 0, 0, 0], [0, 0, 0, 1]])
    return Volume(array, Grid((slices, rows, columns), RAS_TO_LPS @ image.affine @ reversal))
