"""Source images as a Presentation State has to know them: how they are displayed, and nothing of the patient.

A Presentation State has one Modality LUT for all the images it refers to (PS3.3 C.11.15). Enhanced MR images
give each frame a rescale of its own, mostly the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pydicom
from pydicom import Dataset
from pydicom.multival import MultiValue

from node.model import FrameReference, SourceVolume
from node.results.source_header import TYPE_2

DISPLAYED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""What a Presentation State takes over from images, beside the patient."""

VOI_LUT_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
"""Of windows (PS3.3 C.11.2.1.3)."""


def displayed_images(source: SourceVolume, planes: Sequence[int]) -> dict[str, Dataset]:
    """Read how the images of some planes are displayed, by SOP Instance UID.

    Args:
        source: the volume; its files must still be there.
        planes: slice indices.

    Returns: the images; none if their values are rescaled differently, so that no state fits all.
    """
    frames = [source.frames[plane] for plane in planes]
    images = _read(source, {frame.sop_instance_uid for frame in frames})
    if len({_rescale(images[frame.sop_instance_uid], frame) for frame in frames}) > 1:
        return {}
    for frame in frames:
        _share_rescale(images[frame.sop_instance_uid], frame)
    return images


def _read(source: SourceVolume, wanted: set[str]) -> dict[str, Dataset]:
    images: dict[str, Dataset] = {}
    for path in source.paths:
        image = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(DISPLAYED))
        if image.SOPInstanceUID in wanted:
            for keyword in TYPE_2:
                setattr(image, keyword, "")
            # pydicom reads it unasked, highdicom does not know all of its values; ``stamp`` sets it.
            image.pop("SpecificCharacterSet", None)
            _drop_unusable_windows(image)
            _complete_rescale(image)
            images[str(image.SOPInstanceUID)] = image
    return images


def _drop_unusable_windows(image: Dataset) -> None:
    """Leave windows out that show nothing, of the image and of its frames, and a table beside a window."""
    if not _has_usable_window(image):
        for keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction"):
            image.pop(keyword, None)
    if "WindowCenter" in image:
        # Both are views to choose among, and a state says which one is meant.
        image.pop("VOILUTSequence", None)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in image.get(keyword) or ():
            windows = groups.get("FrameVOILUTSequence")
            if not windows or not all(map(_has_usable_window, windows)):
                groups.pop("FrameVOILUTSequence", None)


def _has_usable_window(described: Dataset) -> bool:
    """Tell whether a window shows something: numbers in pairs, no width below 1, a function that there is."""
    widths, centers = (_floats(described.get(keyword)) for keyword in ("WindowWidth", "WindowCenter"))
    return (
        len(widths) == len(centers) > 0
        and all(width >= 1 for width in widths)
        and all(map(math.isfinite, (*widths, *centers)))
        and described.get("VOILUTFunction") in (None, "", *VOI_LUT_FUNCTIONS)
    )


def _complete_rescale(image: Dataset) -> None:
    """Say what an image leaves out that states only one of slope and intercept: read so were its values."""
    if ("RescaleSlope" in image) is not ("RescaleIntercept" in image):
        image.RescaleSlope, image.RescaleIntercept = (
            image.get("RescaleSlope", 1),
            image.get("RescaleIntercept", 0),
        )


def _floats(value: object) -> list[float]:
    """Read numbers; what is none, as a decimal comma makes it, is not finite."""
    values = value if isinstance(value, MultiValue) else [value]
    return [_float(str(one)) for one in values if one is not None]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _rescale(image: Dataset, frame: FrameReference) -> tuple[float | None, float | None, str]:
    """Return slope, intercept and type of a frame; None is not said."""
    said = next(_transformations(image, frame), image)
    slope, intercept = (said.get(keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    return (
        None if slope is None else float(slope),
        None if intercept is None else float(intercept),
        str(said.get("RescaleType", "")),
    )


def _transformations(image: Dataset, frame: FrameReference) -> Iterator[Dataset]:
    """Return the items that say how a frame of a multi-frame image is rescaled, its own first."""
    groups: list[Dataset] = []
    if frame.frame_number is not None and "PerFrameFunctionalGroupsSequence" in image:
        groups.append(image.PerFrameFunctionalGroupsSequence[frame.frame_number - 1])
    groups += image.get("SharedFunctionalGroupsSequence") or []
    for each in groups:
        yield from each.get("PixelValueTransformationSequence") or []


def _share_rescale(image: Dataset, frame: FrameReference) -> None:
    """Say once for the whole image how the frames that are shown are rescaled, as highdicom wants it."""
    found = next(_transformations(image, frame), None)
    if found is None:
        return
    for groups in image.get("PerFrameFunctionalGroupsSequence") or []:
        groups.pop("PixelValueTransformationSequence", None)
    if not image.get("SharedFunctionalGroupsSequence"):
        image.SharedFunctionalGroupsSequence = [Dataset()]
    image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [found]
