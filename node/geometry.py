"""Where the slices of a stack lie: sorted along the normal, checked, and as one lattice in patient space.

Convention: LPS mm. The normal is row cosines x column cosines; slices ascend along it. Array order, Instance
Number and Slice Location play no part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engines.volume import Grid
from node.headers import Plane
from node.stacks import Stack, StackFrame
from node.volume_errors import (
    DuplicatePositionError,
    InvalidOrientationError,
    MissingGeometryError,
    MissingSliceError,
    MixedFrameOfReferenceError,
    MixedMatrixError,
    MixedOrientationError,
    NonUniformSpacingError,
    PixelDataError,
    SlantedStackError,
    TooFewSlicesError,
    TooLargeError,
    TooManyVoxelsError,
)

COSINE_TOLERANCE = 1e-3
"""How far cosines may be from perpendicular unit vectors; some systems write them with three decimals."""

SAME_POSITION_MM = 0.01
"""Slices nearer than this lie at one position; scanners write positions with at least one decimal and are
never stacked this closely."""

MISSING_FROM = 1.5
"""A distance of this many spacings or more is a gap with a slice missing; less is an uneven spacing."""

MOST_VOXELS = 2**28
"""Voxels of a volume, a gigabyte of them: a head in voxels of 0.4 mm has half as many. More are a header that
lies, or nothing that a machine of the stated size could evaluate."""

LARGEST_MM = 2000.0
"""How long no side of a volume is: no scanner sees as much; a network would get a grid without end."""

MOST_ABSENT = 10_000
"""Absent slices that are looked for: a position that lies would ask for more than the memory holds."""


class VolumeSettings(BaseModel):
    """What a stack must fulfil to become a volume."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spacing_tolerance: float = Field(
        default=0.05,
        ge=0,
        lt=0.5,
        description="how far a slice may lie off the regular spacing, as a share of the spacing",
    )
    orientation_tolerance_deg: float = Field(
        default=0.1, ge=0, lt=5, description="how far slices may be tilted against each other, degrees"
    )
    slant_tolerance_deg: float = Field(
        default=1.0, ge=0, lt=10, description="how far the stack may run off the slices' normal, degrees"
    )
    min_slices: int = Field(default=3, ge=2, description="fewest slices that make a volume")


@dataclass(frozen=True, slots=True)
class StackGeometry:
    """A stack's slices in order, and the lattice they form.

    Attributes:
        frames: (slices,) ascending along the normal.
        grid: of all voxels, index (slice, row, column) to LPS mm.
    """

    frames: tuple[StackFrame, ...]
    grid: Grid


def arrange(stack: Stack, settings: VolumeSettings) -> StackGeometry:
    """Sort a stack's slices along the normal and place them on a lattice.

    Args:
        stack: frames in any order.
        settings: tolerances.

    Raises:
        VolumeError: of the class that names what is wrong with the positions, orientations, Frames of
            Reference or matrices.

    Source: PS3.3 C.7.6.2.1.1.
    """
    planes = _planes(stack)
    _check_frames_of_reference(stack)
    _check_matrices(stack, planes)
    normal = _normal(stack, planes[0])
    along = np.array([plane.position_mm for plane in planes]) @ normal
    _check_orientations(stack, planes, along, settings)
    order = np.argsort(along, kind="stable")
    ordered = [planes[index] for index in order]
    _check_positions(stack, along[order], settings)
    step = _step(stack, ordered, normal, along[order], settings)
    geometry = StackGeometry(tuple(stack.frames[index] for index in order), _grid(stack, ordered[0], step))
    sides_mm = np.linalg.norm(geometry.grid.affine[:3, :3], axis=0) * geometry.grid.shape
    if sides_mm.max() > LARGEST_MM:
        raise TooLargeError(stack.study_uid, stack.series_uid, sides_mm.tolist(), LARGEST_MM)
    return geometry


def normal_of(plane: Plane) -> NDArray[np.float64]:
    """Return the unit normal of a plane, row cosines x column cosines, (3,) LPS."""
    normal = np.cross(np.array(plane.orientation[:3]), np.array(plane.orientation[3:]))
    unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
    return unit


def extent_mm(stack: Stack) -> float:
    """Return how far a stack's slices reach along the normal, from centre to centre, mm; 0 without planes."""
    planes = [item.plane for item in stack.frames if item.plane is not None]
    if not planes:
        return 0.0
    along = np.array([plane.position_mm for plane in planes]) @ normal_of(planes[0])
    return float(np.ptp(along))


def _planes(stack: Stack) -> list[Plane]:
    planes = [item.plane for item in stack.frames if item.plane is not None]
    if len(planes) < len(stack.frames):
        raise MissingGeometryError(
            stack.study_uid, stack.series_uid, len(stack.frames) - len(planes), len(stack.frames)
        )
    return planes


def _check_frames_of_reference(stack: Stack) -> None:
    found = sorted({item.instance.frame_of_reference_uid for item in stack.frames})
    if len(found) > 1:
        raise MixedFrameOfReferenceError(stack.study_uid, stack.series_uid, found)


def _check_matrices(stack: Stack, planes: Sequence[Plane]) -> None:
    header = stack.header
    if header.rows < 1 or header.columns < 1:
        raise PixelDataError(
            stack.study_uid, stack.series_uid, header.sop_instance_uid, "Rows or Columns is missing"
        )
    found = {
        f"{item.instance.rows} x {item.instance.columns} at "
        f"{plane.spacing_mm[0]:.4g} x {plane.spacing_mm[1]:.4g} mm"
        for item, plane in zip(stack.frames, planes, strict=True)
    }
    if len(found) > 1:
        raise MixedMatrixError(stack.study_uid, stack.series_uid, sorted(found))
    shape = (len(stack.frames), header.rows, header.columns)
    if math.prod(shape) > MOST_VOXELS:
        raise TooManyVoxelsError(stack.study_uid, stack.series_uid, shape, MOST_VOXELS)


def _normal(stack: Stack, plane: Plane) -> NDArray[np.float64]:
    rows, columns = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
    off = (np.linalg.norm(rows) - 1, np.linalg.norm(columns) - 1, rows @ columns)
    if max(abs(float(value)) for value in off) > COSINE_TOLERANCE:
        raise InvalidOrientationError(stack.study_uid, stack.series_uid, plane.orientation)
    return normal_of(plane)


def _check_orientations(
    stack: Stack,
    planes: Sequence[Plane],
    along: NDArray[np.float64],
    settings: VolumeSettings,
) -> None:
    """Compare the cosines of all slices with their median, so that the odd ones are named."""
    cosines = np.array([plane.orientation for plane in planes])
    middle = np.median(cosines, axis=0)
    # The chord between unit vectors is the angle for small ones, and exact where a dot product is not.
    chords = np.maximum(
        np.linalg.norm(cosines[:, :3] - middle[:3], axis=1),
        np.linalg.norm(cosines[:, 3:] - middle[3:], axis=1),
    )
    angles = np.degrees(2 * np.arcsin(np.clip(chords / 2, 0, 1)))
    tilted = np.flatnonzero(angles > settings.orientation_tolerance_deg)
    if tilted.size:
        raise MixedOrientationError(
            stack.study_uid,
            stack.series_uid,
            float(angles.max()),
            settings.orientation_tolerance_deg,
            sorted(float(along[index]) for index in tilted),
        )


def _check_positions(stack: Stack, along: NDArray[np.float64], settings: VolumeSettings) -> None:
    """Check number, distinctness and distances of (slices,) ascending places along the normal, mm."""
    uids = (stack.study_uid, stack.series_uid)
    distances = np.diff(along)
    same = np.flatnonzero(distances < SAME_POSITION_MM)
    if same.size:
        raise DuplicatePositionError(*uids, [float(along[index]) for index in same], len(along))
    if len(along) < settings.min_slices:
        raise TooFewSlicesError(*uids, along.tolist(), settings.min_slices)
    spacing = float(np.median(distances))
    gaps = np.flatnonzero(distances >= MISSING_FROM * spacing)
    if gaps.size:
        absent = _absent(along[gaps], distances[gaps], spacing)
        raise MissingSliceError(*uids, absent, len(absent), spacing)
    _check_stated_spacing(stack, along, spacing, settings)
    tolerance = settings.spacing_tolerance * spacing
    regular = np.linspace(along[0], along[-1], len(along))
    off = np.maximum(np.abs(along - regular), np.r_[0.0, np.abs(distances - spacing)])
    if off.max() > tolerance:
        wrong = [float(place) for place in along[off > tolerance]]
        raise NonUniformSpacingError(*uids, wrong, spacing, float(off.max()), tolerance)


def _check_stated_spacing(
    stack: Stack, along: NDArray[np.float64], spacing: float, settings: VolumeSettings
) -> None:
    """Find out whether every second slice is absent, or more, which leaves the spacing as even as before.

    Half of an interleaved acquisition looks so. A stated spacing is doubted where the slices' thickness fills
    what is between them: it should be from centre to centre (PS3.3 C.8.3.1), but some write the gap.
    """
    stated = stack.first.acquisition.spacing_between_slices_mm
    if stated is None:
        return
    thickness = stack.first.acquisition.slice_thickness_mm or stated
    steps = round(spacing / stated)
    is_multiple = abs(spacing - steps * stated) <= settings.spacing_tolerance * stated
    if is_multiple and spacing >= MISSING_FROM * max(stated, thickness):
        absent = _absent(along[:-1], np.diff(along), stated)
        raise MissingSliceError(stack.study_uid, stack.series_uid, absent, len(absent), stated)


def _absent(places: NDArray[np.float64], distances: NDArray[np.float64], spacing_mm: float) -> list[float]:
    """List where slices are absent between places and the next ones, mm; no more than ``MOST_ABSENT``."""
    absent = (
        float(place + spacing_mm * number)
        for place, distance in zip(places, distances, strict=True)
        for number in range(1, round(min(float(distance) / spacing_mm, MOST_ABSENT + 2)))
    )
    return list(islice(absent, MOST_ABSENT))


def _step(
    stack: Stack,
    planes: Sequence[Plane],
    normal: NDArray[np.float64],
    along: NDArray[np.float64],
    settings: VolumeSettings,
) -> NDArray[np.float64]:
    """Return the (3,) vector from one slice to the next, the mean over the stack, LPS mm."""
    whole = np.array(planes[-1].position_mm) - np.array(planes[0].position_mm)
    angle = math.degrees(math.atan2(float(np.linalg.norm(np.cross(normal, whole))), float(normal @ whole)))
    if angle > settings.slant_tolerance_deg:
        raise SlantedStackError(
            stack.study_uid, stack.series_uid, along.tolist(), angle, settings.slant_tolerance_deg
        )
    step: NDArray[np.float64] = whole / (len(planes) - 1)
    return step


def _grid(stack: Stack, first: Plane, step: NDArray[np.float64]) -> Grid:
    """Build the lattice: row indices run along the column cosines, column indices along the row cosines."""
    row_mm, column_mm = first.spacing_mm
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = np.array(first.orientation[3:]) * row_mm
    affine[:3, 2] = np.array(first.orientation[:3]) * column_mm
    affine[:3, 3] = first.position_mm
    header = stack.header
    return Grid((len(stack.frames), header.rows, header.columns), affine)
