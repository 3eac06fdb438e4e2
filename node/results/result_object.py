"""One result of an evaluation, ready to be written."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset

from node.results.references import SegmentReference


@dataclass(frozen=True, slots=True)
class ResultObject:
    """A result, ready to be written.

    Attributes:
        role: what it is within its evaluation: "seg-WMH", "seg-combined", "sr"; usable as a file name.
        dataset: with file meta information; Explicit VR Little Endian.
        source_series_uid: Series Instance UID of the images that a Segmentation lies on.
    """

    role: str
    dataset: Dataset
    source_series_uid: str = ""

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID."""
        return str(self.dataset.SOPClassUID)

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        return str(self.dataset.SeriesInstanceUID)

    def segment(self, number: int) -> SegmentReference:
        """Refer to a segment of this Segmentation."""
        return SegmentReference(
            self.sop_class_uid, self.sop_instance_uid, self.series_uid, number, self.source_series_uid
        )
