"""How results refer to the Instances they were made of and to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engines.findings import SegmentFinding
from engines.segments import SeriesType
from node.model import FrameReference, SourceVolume
from node.results.explicit_vr import instance_reference, item, sequence, text_element


@dataclass(frozen=True, slots=True)
class SegmentReference:
    """Where a segment lies.

    Attributes:
        sop_class_uid: of the Segmentation.
        sop_instance_uid: of the Segmentation.
        series_uid: Series Instance UID of the Segmentation.
        segment_number: in the Segmentation.
        source_series_uid: Series Instance UID of the images that the Segmentation lies on.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    segment_number: int
    source_series_uid: str

    @property
    def instance(self) -> FrameReference:
        """The whole Segmentation."""
        return FrameReference(self.sop_class_uid, self.sop_instance_uid, None)


def instances_of(source: SourceVolume) -> tuple[FrameReference, ...]:
    """Return the Instances of a source, each once, in slice order."""
    unique = {frame.sop_instance_uid: frame for frame in source.frames}
    return tuple(
        FrameReference(frame.sop_class_uid, frame.sop_instance_uid, None) for frame in unique.values()
    )


def frame_numbers(source: SourceVolume, sop_instance_uid: str) -> tuple[int, ...]:
    """Return which frames of an Instance a source consists of; none for a single-frame Instance."""
    return tuple(
        sorted(
            frame.frame_number
            for frame in source.frames
            if frame.sop_instance_uid == sop_instance_uid and frame.frame_number is not None
        )
    )


def by_series(sources: Iterable[SourceVolume]) -> dict[str, list[FrameReference]]:
    """Return the Instances of some sources by Series UID, each once, in the order of the sources."""
    found: dict[str, dict[str, FrameReference]] = {}
    for source in sources:
        known = found.setdefault(source.series_uid, {})
        known.update({instance.sop_instance_uid: instance for instance in instances_of(source)})
    return {series_uid: list(known.values()) for series_uid, known in found.items()}


def network_inputs(finding: SegmentFinding, sources: Mapping[SeriesType, SourceVolume]) -> list[str]:
    """Name each Series that the network saw, the one that its mask lies on first."""
    return [f"input {kind.label}: Series {sources[kind].series_uid}" for kind in finding.inputs]


def series_item(series_uid: str, instances: Iterable[FrameReference]) -> bytes:
    """Encode an item of Referenced Series Sequence of the Common Instance Reference module."""
    return _series(0x0008114A, series_uid, instances)  # Referenced Instance Sequence


def study_item(study_uid: str, series: Mapping[str, Iterable[FrameReference]]) -> bytes:
    """Encode an item of the evidence and predecessor sequences of an SR document: Instances by Series UID."""
    # Referenced SOP Sequence
    items = (_series(0x00081199, series_uid, instances) for series_uid, instances in series.items())
    return item(
        sequence(0x00081115, *items),  # Referenced Series Sequence
        text_element(0x0020000D, b"UI", study_uid),  # Study Instance UID
    )


def _series(tag: int, series_uid: str, instances: Iterable[FrameReference]) -> bytes:
    references = (item(instance_reference(one.sop_class_uid, one.sop_instance_uid)) for one in instances)
    return item(sequence(tag, *references), text_element(0x0020000E, b"UI", series_uid))
