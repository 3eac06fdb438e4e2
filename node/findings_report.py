"""The findings of a Study as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engines.findings import Lesion, SegmentFinding, SizeClass, StudyFindings
from engines.segments import Segment
from node.results.texts import counted, volume


def render_findings(findings: StudyFindings) -> RenderableType:
    """Show count, volume and size of each segment, what was not assessed and what must be known."""
    table = Table(title="Findings (AI result, not reviewed)", title_justify="left")
    table.add_column("Segment", no_wrap=True)
    for column in ("Lesions", "ml", "max 3D mm"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("Sizes")
    absent = {one.segment for one in findings.not_assessed}
    for segment in Segment:
        found = findings.of(segment)
        if found is not None:
            table.add_row(*_assessed(found))
        elif segment in absent:
            table.add_row(segment.label, "–", "–", "–", Text("not assessed", style="yellow"))
    return Group(table, *_remarks(findings))


def size_counts(lesions: Iterable[Lesion]) -> dict[str, int]:
    """Count the lesions of each size class, from small to large; classes without a lesion are left out."""
    classes = [lesion.size_class for lesion in lesions]
    return {size.value: classes.count(size) for size in SizeClass if size in classes}


def _assessed(found: SegmentFinding) -> tuple[str, ...]:
    largest = max((lesion.max_diameter_mm for lesion in found.lesions), default=None)
    return (
        found.segment.label,
        str(len(found.lesions)),
        volume(found.volume_ml),
        "" if largest is None else f"{largest:.1f}",
        ", ".join(f"{count} {size}" for size, count in size_counts(found.lesions).items()) or "none found",
    )


def _remarks(findings: StudyFindings) -> Iterator[Text]:
    for found in findings.findings:
        model = f"{found.model.name} {found.model.version} ({found.model.runner})"
        seen = " and ".join(kind.label for kind in found.inputs)
        rule = f"; a lesion: {counted(found.rule)}" if found.rule else ""
        yield Text(f"{found.segment.label} on {seen} by {model}{rule}")
    for absent in findings.not_assessed:
        yield Text(f"{absent.segment.label} not assessed: {absent.reason}", style="yellow")
    for found in findings.findings:
        outside = sum(not lesion.within_limits for lesion in found.lesions)
        if outside:
            yield Text(f"{found.segment.label}: {outside} outside the method's size limits, kept and flagged")
    for registration in findings.registrations:
        kept = "left as scanned beside" if registration.shares_frame else "in another Frame of Reference than"
        verb = "brought onto" if registration.applied else kept
        yield Text(f"{registration.moving.label} {verb} {registration.fixed.label}: {registration.reason}")
    for exclusion in findings.exclusions:
        if exclusion.performed:
            yield Text(
                f"{exclusion.minuend.label} minus {exclusion.subtrahend.label.lower()}: "
                f"{volume(exclusion.removed_ml)} ml removed"
            )
    for remark in findings.remarks:
        yield Text(remark)
