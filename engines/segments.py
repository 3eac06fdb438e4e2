"""The lesions that are looked for and the kinds of Series that they are looked for on."""

from __future__ import annotations

from enum import StrEnum


class SeriesType(StrEnum):
    """A kind of MR Series, named by what it weighs."""

    T2_FLAIR = "T2_FLAIR"
    T1 = "T1"
    DWI_B1000 = "DWI_B1000"
    T2_STAR = "T2_STAR"

    @property
    def label(self) -> str:
        """As radiologists write it."""
        return _SERIES_LABELS[self]


class Segment(StrEnum):
    """A kind of lesion; the order is the order of reporting and of segment numbers."""

    WMH = "WMH"
    LACUNE = "LACUNE"
    INFARCT = "INFARCT"
    MICROBLEED = "MICROBLEED"

    @property
    def label(self) -> str:
        """Its name in words, with a capital; Segment Label (0062,0005) too."""
        return _SEGMENT_LABELS[self]

    @property
    def series_type(self) -> SeriesType:
        """Where the method looks for it; the first input of a bundle may be another."""
        return _LOOKED_FOR_ON[self]


_SERIES_LABELS = {
    SeriesType.T2_FLAIR: "T2-FLAIR",
    SeriesType.T1: "T1",
    SeriesType.DWI_B1000: "DWI b1000",
    SeriesType.T2_STAR: "T2*",
}

_SEGMENT_LABELS = {
    Segment.WMH: "White matter hyperintensity",
    Segment.LACUNE: "Lacune",
    Segment.INFARCT: "Recent small subcortical infarct",
    Segment.MICROBLEED: "Cerebral microbleed",
}

_LOOKED_FOR_ON = {
    Segment.WMH: SeriesType.T2_FLAIR,
    Segment.LACUNE: SeriesType.T1,
    Segment.INFARCT: SeriesType.DWI_B1000,
    Segment.MICROBLEED: SeriesType.T2_STAR,
}
