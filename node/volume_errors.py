"""Why a stack cannot become a volume; each error names Study, Series, positions and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from node.errors import NodeError

SHOWN_POSITIONS = 8
"""An error's message lists at most this many positions; the error itself carries all."""


class VolumeError(NodeError):
    """A stack cannot become a volume.

    Attributes:
        study_uid: Study Instance UID.
        series_uid: Series Instance UID.
        told: what is wrong and what to do, where it is clear of which Series.
    """

    def __init__(self, study_uid: str, series_uid: str, problem: str, what_to_do: str) -> None:
        self.study_uid, self.series_uid = study_uid, series_uid
        self.told = f"{problem}; {what_to_do}"
        super().__init__(f"Study {study_uid}, Series {series_uid}: {self.told}")


class PositionsError(VolumeError):
    """A stack's slices do not lie as those of a volume must.

    Attributes:
        positions_mm: places along the normal that the error is about, mm, ascending.
    """

    def __init__(
        self, study_uid: str, series_uid: str, problem: str, positions_mm: Sequence[float], what_to_do: str
    ) -> None:
        self.positions_mm = tuple(positions_mm)
        super().__init__(study_uid, series_uid, f"{problem} {shown_positions(positions_mm)}", what_to_do)


class MissingGeometryError(VolumeError):
    """Frames without position, orientation or spacing, or a mosaic that does not tell its direction."""

    def __init__(self, study_uid: str, series_uid: str, without: int, frames: int) -> None:
        self.without, self.frames = without, frames
        super().__init__(
            study_uid,
            series_uid,
            f"{without} of {frames} frames state no Image Position (Patient), Image Orientation (Patient), "
            "Pixel Spacing, or as a mosaic no slice normal",
            "send the images as the scanner made them",
        )


class UnreadEncodingError(VolumeError):
    """Images in an encoding that is not read, as it may have changed grey values."""

    def __init__(self, study_uid: str, series_uid: str, encoding: str) -> None:
        self.encoding = encoding
        super().__init__(
            study_uid,
            series_uid,
            f"images are encoded in {encoding}, in which grey values may have been changed",
            "send them uncompressed, or in a lossless encoding",
        )


class InvalidOrientationError(VolumeError):
    """Row and column cosines that are no perpendicular unit vectors."""

    def __init__(self, study_uid: str, series_uid: str, orientation: Sequence[float]) -> None:
        self.orientation = tuple(orientation)
        super().__init__(
            study_uid,
            series_uid,
            f"Image Orientation (Patient) {_numbers(orientation)} holds no two perpendicular unit vectors",
            "correct the header at its source",
        )


class MissingFrameOfReferenceError(VolumeError):
    """Slices that state no Frame of Reference: nothing could say where a mask of them lies."""

    def __init__(self, study_uid: str, series_uid: str) -> None:
        super().__init__(
            study_uid,
            series_uid,
            "Frame of Reference UID is missing or empty",
            "add it at the source and send the Series again",
        )


class MixedFrameOfReferenceError(VolumeError):
    """Slices in several Frames of Reference: the patient was moved between them."""

    def __init__(self, study_uid: str, series_uid: str, found: Sequence[str]) -> None:
        self.found = tuple(found)
        super().__init__(
            study_uid,
            series_uid,
            f"{len(found)} Frames of Reference ({', '.join(found)}), expected 1",
            "send each part as a Series of its own",
        )


class MixedOrientationError(VolumeError):
    """Slices that are tilted against each other."""

    def __init__(
        self,
        study_uid: str,
        series_uid: str,
        largest_deg: float,
        tolerance_deg: float,
        positions_mm: Sequence[float],
    ) -> None:
        self.largest_deg, self.positions_mm = largest_deg, tuple(positions_mm)
        super().__init__(
            study_uid,
            series_uid,
            f"orientations differ by {largest_deg:.2f} degrees, allowed are {tolerance_deg:g}, "
            f"from the slice {shown_positions(positions_mm)}",
            "send one stack of parallel slices",
        )


class MixedMatrixError(VolumeError):
    """Slices of several matrix sizes or pixel spacings."""

    def __init__(self, study_uid: str, series_uid: str, found: Sequence[str]) -> None:
        self.found = tuple(found)
        super().__init__(
            study_uid,
            series_uid,
            f"{len(found)} matrices ({', '.join(found)}), expected 1",
            "send each part as a Series of its own",
        )


class TooManyVoxelsError(VolumeError):
    """A volume that would fill the memory."""

    def __init__(self, study_uid: str, series_uid: str, shape: Sequence[int], most: int) -> None:
        self.shape = tuple(shape)
        slices, rows, columns = shape
        super().__init__(
            study_uid,
            series_uid,
            f"{slices} slices of {rows} x {columns} pixels are more than {most} voxels",
            "send the images as the scanner made them",
        )


class TooLargeError(VolumeError):
    """A volume that is larger than what a scanner sees."""

    def __init__(self, study_uid: str, series_uid: str, sides_mm: Sequence[float], longest_mm: float) -> None:
        self.sides_mm = tuple(sides_mm)
        sides = " x ".join(f"{side:.0f}" for side in sides_mm)
        super().__init__(
            study_uid,
            series_uid,
            f"it would measure {sides} mm, and {longest_mm:.0f} mm are the most",
            "correct position and Pixel Spacing at their source",
        )


class TooFewSlicesError(PositionsError):
    """Too few slices for a volume."""

    def __init__(self, study_uid: str, series_uid: str, positions_mm: Sequence[float], needed: int) -> None:
        self.needed = needed
        super().__init__(
            study_uid,
            series_uid,
            f"{len(positions_mm)} slices, at least {needed} are needed,",
            positions_mm,
            "send the Series completely",
        )


class DuplicatePositionError(PositionsError):
    """Several slices at one position."""

    def __init__(self, study_uid: str, series_uid: str, positions_mm: Sequence[float], slices: int) -> None:
        self.slices = slices
        super().__init__(
            study_uid,
            series_uid,
            f"of {slices} slices several lie at the same position:",
            positions_mm,
            "send every slice once, or repeated volumes as Series of their own",
        )


class MissingSliceError(PositionsError):
    """Gaps in which one or more slices are missing."""

    def __init__(
        self, study_uid: str, series_uid: str, positions_mm: Sequence[float], missing: int, spacing_mm: float
    ) -> None:
        self.missing, self.spacing_mm = missing, spacing_mm
        slices = "1 slice is" if missing == 1 else f"{missing} slices are"
        super().__init__(
            study_uid,
            series_uid,
            f"{slices} missing at a spacing of {spacing_mm:.3f} mm:",
            positions_mm,
            "send the Series again completely",
        )


class NonUniformSpacingError(PositionsError):
    """Distances of slices that differ by more than the tolerance, without a whole slice missing."""

    def __init__(
        self,
        study_uid: str,
        series_uid: str,
        positions_mm: Sequence[float],
        spacing_mm: float,
        worst_mm: float,
        tolerance_mm: float,
    ) -> None:
        self.spacing_mm, self.worst_mm, self.tolerance_mm = spacing_mm, worst_mm, tolerance_mm
        super().__init__(
            study_uid,
            series_uid,
            f"slices lie up to {worst_mm:.3f} mm off a regular spacing of {spacing_mm:.3f} mm, "
            f"allowed are {tolerance_mm:.3f} mm (volumes.spacing_tolerance):",
            positions_mm,
            "acquire with one slice distance, or raise the tolerance knowing that the result is less exact",
        )


class SlantedStackError(PositionsError):
    """Slices that move sideways from one to the next: the stack does not run along its normal."""

    def __init__(
        self,
        study_uid: str,
        series_uid: str,
        positions_mm: Sequence[float],
        angle_deg: float,
        tolerance_deg: float,
    ) -> None:
        self.angle_deg = angle_deg
        super().__init__(
            study_uid,
            series_uid,
            f"the stack runs {angle_deg:.2f} degrees off its normal, allowed are {tolerance_deg:g}:",
            positions_mm,
            "send the images as the scanner made them, not resampled",
        )


class PixelDataError(VolumeError):
    """Pixel data that cannot be decoded, or is not what the header says.

    Attributes:
        sop_instance_uid: the Instance that holds it.
    """

    def __init__(self, study_uid: str, series_uid: str, sop_instance_uid: str, problem: str) -> None:
        self.sop_instance_uid = sop_instance_uid
        super().__init__(
            study_uid,
            series_uid,
            f"the pixel data of Instance {sop_instance_uid} cannot be used: {problem}",
            "send the Instance again",
        )


class MissingFileError(VolumeError):
    """The file of an Instance is not where it should be."""

    def __init__(self, study_uid: str, series_uid: str, sop_instance_uid: str) -> None:
        self.sop_instance_uid = sop_instance_uid
        super().__init__(
            study_uid,
            series_uid,
            f"the file of Instance {sop_instance_uid} is gone",
            "send the Instance again, or restore the folder of the store",
        )


def shown_positions(positions_mm: Sequence[float]) -> str:
    """Write places along the normal as a reader wants them: a few, in mm."""
    shown = ", ".join(f"{value:.2f}" for value in positions_mm[:SHOWN_POSITIONS])
    more = len(positions_mm) - SHOWN_POSITIONS
    return f"at {shown}{f' and {more} more' if more > 0 else ''} mm along the normal"


def _numbers(values: Sequence[float]) -> str:
    return "\\".join(f"{value:g}" for value in values)
