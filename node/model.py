"""The values that pass between the node's parts; no files, sockets or clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engines.volume import Volume


@dataclass(frozen=True, slots=True)
class FrameReference:
    """One image frame as DICOM refers to it.

    ``frame_number`` is 1-based for multi-frame Instances and None for single-frame ones. Viewers call an
    image by its ``instance_number``, which is no part of the reference.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None
    instance_number: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SourceVolume:
    """A volume read from one Series, with the way back to its frames.

    Attributes:
        study_uid: Study Instance UID.
        series_uid: Series Instance UID.
        frame_of_reference_uid: Frame of Reference UID.
        volume: array float32 after rescale; slices ascend along the normal (row x column cosines).
        frames: (slices,) the frame each slice came from; the same one for all slices of a mosaic.
        paths: the Part 10 files that hold the frames, each once, in slice order.
        is_mosaic: True if one single-frame Instance holds all slices as tiles.
        series_number: Series Number, by which viewers call the Series; None if it has none.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    volume: Volume
    frames: tuple[FrameReference, ...]
    paths: tuple[Path, ...]
    is_mosaic: bool = False
    series_number: int | None = None
