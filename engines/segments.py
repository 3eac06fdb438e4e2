"""The four lesions that are looked for and the four kinds of Series that they are looked for on."""

from __future__ import annotations

from enum import StrEnum


class SeriesType(StrEnum):
    """A kind of MR Series, named by what it weighs."""

    T2_FLAIR = "T2_FLAIR"
    T1 = "T1"
    DWI_B1000 = "DWI_B1000"
    T2_STAR = "T2_STAR"


class Segment(StrEnum):
    """A kind of lesion; the order is the order of reporting and of segment numbers."""

    WMH = "WMH"
    LACUNE = "LACUNE"
    INFARCT = "INFARCT"
    MICROBLEED = "MICROBLEED"
