"""The findings of a Study as a table for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engines.findings import SegmentFinding, StudyFindings
from engines.segments import Segment
from node.results.segment_concepts import SERIES_NAMES

SEGMENT_NAMES = {
    Segment.WMH: "White matter hyperintensity",
    Segment.LACUNE: "Lacune",
    Segment.INFARCT: "Recent subcortical infarct",
    Segment.MICROBLEED: "Cerebral microbleed",
}
"""Names for people."""


def render_findings(findings: StudyFindings) -> RenderableType:
    """Show count, volume and size of each segment, what was not assessed and what must be known."""
    table = Table(title="Findings (AI result, not reviewed)", title_justify="left")
    table.add_column("Segment", no_wrap=True)
    for column in ("Lesions", "ml", "Largest mm"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("Sizes")
    for segment in Segment:
        found = findings.of(segment)
        if found is not None:
            table.add_row(*_assessed(found))
    for absent in findings.not_assessed:
        table.add_row(SEGMENT_NAMES[absent.segment], Text("not assessed", style="yellow"), "", "", "")
    return Group(table, *_remarks(findings))


def _assessed(found: SegmentFinding) -> tuple[str, ...]:
    sizes = Counter(lesion.size_class.value for lesion in found.lesions)
    largest = max((lesion.max_diameter_mm for lesion in found.lesions), default=None)
    return (
        SEGMENT_NAMES[found.segment],
        str(len(found.lesions)),
        f"{found.volume_ml:.2f}",
        "" if largest is None else f"{largest:.1f}",
        ", ".join(f"{count} {size}" for size, count in sizes.items()),
    )


def _remarks(findings: StudyFindings) -> Iterator[Text]:
    for found in findings.findings:
        model = f"{found.model.name} {found.model.version} ({found.model.runner})"
        yield Text(f"{SEGMENT_NAMES[found.segment]} on {SERIES_NAMES[found.series_type]} by {model}")
    for absent in findings.not_assessed:
        yield Text(f"{SEGMENT_NAMES[absent.segment]} not assessed: {absent.reason}", style="yellow")
    for found in findings.findings:
        outside = sum(not lesion.within_limits for lesion in found.lesions)
        if outside:
            yield Text(
                f"{SEGMENT_NAMES[found.segment]}: {outside} outside the method's size limits, "
                "kept and flagged"
            )
    for registration in findings.registrations:
        verb = "moved onto" if registration.applied else "left as scanned beside"
        yield Text(
            f"{SERIES_NAMES[registration.moving]} {verb} {SERIES_NAMES[registration.fixed]}: "
            f"{registration.rotation_deg:.1f} degrees, {registration.translation_mm:.1f} mm "
            f"({registration.reason})"
        )
    for exclusion in findings.exclusions:
        if exclusion.performed:
            yield Text(
                f"{SEGMENT_NAMES[exclusion.minuend]} minus {SEGMENT_NAMES[exclusion.subtrahend].lower()}: "
                f"{exclusion.removed_ml:.2f} ml removed"
            )
    for remark in findings.remarks:
        yield Text(remark)
