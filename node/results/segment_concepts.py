"""How each segment is coded and coloured wherever it appears."""

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
    """What a segment is in results, beside its name and label.

    Attributes:
        plural: for sentences.
        property_type: Segmented Property Type: the morphology.
        finding: Finding of the report: the most exact code there is, which may be a disorder.
        site: anatomic region and Finding Site.
        rgb: display colour, told apart from grey and from each other also by the colour-blind.
    """

    plural: str
    property_type: Code
    finding: Code
    site: Code
    rgb: Rgb


SEGMENT_CONCEPTS: Mapping[Segment, SegmentConcept] = MappingProxyType(
    {
        Segment.WMH: SegmentConcept(
            "white matter hyperintensities",
            codes.WHITE_MATTER_HYPERINTENSITY,
            codes.WHITE_MATTER_HYPERINTENSITY,
            codes.CEREBRAL_WHITE_MATTER,
            (240, 228, 66),
        ),
        Segment.LACUNE: SegmentConcept(
            "lacunes",
            codes.LACUNAR_INFARCT,
            codes.LACUNAR_INFARCT,
            codes.BRAIN,
            (86, 180, 233),
        ),
        Segment.INFARCT: SegmentConcept(
            "recent small subcortical infarcts",
            codes.ACUTE_INFARCT,
            codes.ACUTE_LACUNAR_INFARCTION,
            codes.BRAIN,
            (255, 100, 20),
        ),
        Segment.MICROBLEED: SegmentConcept(
            "cerebral microbleeds",
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
