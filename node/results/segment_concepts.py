"""How each segment is named, coded and coloured wherever it appears."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydicom.sr.coding import Code

from engines.findings import SizeClass
from engines.segments import Segment
from node.results import codes

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SegmentConcept:
    """One segment's names and codes.

    Attributes:
        label: Segment Label (0062,0005).
        plural: for sentences.
        content_label: Content Label (0070,0080), CS.
        property_type: Segmented Property Type: the morphology.
        finding: Finding of the report: the most exact code there is, which may be a disorder.
        site: anatomic region and Finding Site.
        rgb: display colour, told apart from grey and from each other also by the colour-blind.
    """

    label: str
    plural: str
    content_label: str
    property_type: Code
    finding: Code
    site: Code
    rgb: Rgb


SEGMENT_CONCEPTS: Mapping[Segment, SegmentConcept] = MappingProxyType(
    {
        Segment.WMH: SegmentConcept(
            Segment.WMH.label,
            "white matter hyperintensities",
            "WMH",
            codes.WHITE_MATTER_HYPERINTENSITY,
            codes.WHITE_MATTER_HYPERINTENSITY,
            codes.CEREBRAL_WHITE_MATTER,
            (240, 228, 66),
        ),
        Segment.LACUNE: SegmentConcept(
            Segment.LACUNE.label,
            "lacunes",
            "LACUNE",
            codes.LACUNAR_INFARCT,
            codes.LACUNAR_INFARCT,
            codes.BRAIN,
            (86, 180, 233),
        ),
        Segment.INFARCT: SegmentConcept(
            Segment.INFARCT.label,
            "recent small subcortical infarcts",
            "INFARCT",
            codes.ACUTE_INFARCT,
            codes.ACUTE_LACUNAR_INFARCTION,
            codes.BRAIN,
            (255, 100, 20),
        ),
        Segment.MICROBLEED: SegmentConcept(
            Segment.MICROBLEED.label,
            "cerebral microbleeds",
            "MICROBLEED",
            codes.HEMORRHAGE,
            codes.SILENT_MICRO_HEMORRHAGE,
            codes.BRAIN,
            (0, 220, 150),
        ),
    }
)
"""Colours after Okabe and Ito, "Color Universal Design" (2008), brightened where grey would swallow them."""

SIZE_CODES: Mapping[SizeClass, Code] = MappingProxyType(
    {SizeClass.SMALL: codes.SMALL, SizeClass.MEDIUM: codes.MEDIUM, SizeClass.LARGE: codes.LARGE}
)
