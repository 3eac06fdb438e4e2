"""The sentences of the results, in words that any character set can hold."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator

from engines.findings import ExclusionRecord, Lesion, RegistrationRecord, SegmentFinding, StudyFindings
from engines.postprocessing import MM3_PER_ML, PostprocessingSpec
from engines.segments import Segment
from node.results.context import SupersededReport
from node.results.segment_concepts import SEGMENT_CONCEPTS

NOT_REVIEWED = "AI result, not reviewed"
"""On every result: no person has looked at it."""

_PLAIN = str.maketrans(
    {"°": " deg", "×": "x", "–": "-", "—": "-", "−": "-", "µ": "u", "²": "2", "³": "3", "≥": ">=", "≤": "<="}
)


LONGEST_STATEMENT = 4096
"""Characters of a statement: far more than a reader reads, and no more than a picture can hold."""

_CUT = " ..."
"""Ends a text that was cut."""


def ascii_text(text: str, longest: int | None = None) -> str:
    """Write a text with ASCII letters only, on one line, cut at ``longest`` characters.

    The result takes over the character set of its source, which may hold no other letters.
    """
    plain = unicodedata.normalize("NFKD", " ".join(text.split()).translate(_PLAIN))
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return letters.encode("ascii", "replace").decode("ascii")[:longest]


def statement(text: str) -> str:
    """Write what a reader must know with ASCII letters only; where it is cut, that is seen."""
    return cut(ascii_text(text), LONGEST_STATEMENT)


def cut(text: str, longest: int) -> str:
    """Cut a text so that the cut is seen, if it has more characters than ``longest``."""
    return text if len(text) <= longest else f"{text[: longest - len(_CUT)]}{_CUT}"


def volume(ml: float, decimals: int = 2) -> str:
    """Write a volume, ml, with at least two digits that count: a microbleed has a few thousandths of one.

    Args:
        ml: the volume.
        decimals: how many there are at least.
    """
    needed = 1 - math.floor(math.log10(ml)) if ml > 0 else decimals
    return f"{ml:.{max(decimals, needed)}f}"


def lesion_count(number: int) -> str:
    """Say how many lesions."""
    return "1 lesion" if number == 1 else f"{number} lesions"


def _none_found_on(finding: SegmentFinding) -> str:
    """Say that nothing was found, and from which size on something would have been."""
    least_ml = finding.rule.min_lesion_ml if finding.rule else 0.0
    of = f" of {least_ml:g} ml or more" if least_ml else ""
    return f"none{of} found on {finding.series_type.label}"


def counted(rule: PostprocessingSpec) -> str:
    """Say what a model counts as a lesion, without which nobody can tell what a count of zero means."""
    said = f"probability from {rule.threshold:g}"
    if rule.min_peak > rule.threshold:
        said += f", {rule.min_peak:g} at its peak"
    if rule.min_lesion_ml:
        diameter_mm = (6 * rule.min_lesion_ml * MM3_PER_ML / math.pi) ** (1 / 3)
        said += f", at least {rule.min_lesion_ml:g} ml, which is a ball of {diameter_mm:.1f} mm"
    return said


def found_on(finding: SegmentFinding) -> str:
    """Say in a few words what was found of a segment, and on which Series."""
    where = finding.series_type.label
    if not finding.lesions:
        return _none_found_on(finding)
    outside = sum(not lesion.within_limits for lesion in finding.lesions)
    flagged = f"; {outside} outside the size limits" if outside else ""
    return f"{lesion_count(len(finding.lesions))}, {volume(finding.volume_ml)} ml on {where}{flagged}"


def summary(finding: SegmentFinding) -> str:
    """Say in one line what was found of a segment."""
    where = finding.series_type.label
    if not finding.lesions:
        return f"{finding.segment.label}: {_none_found_on(finding)}. {NOT_REVIEWED}."
    outside = sum(not lesion.within_limits for lesion in finding.lesions)
    flagged = f"; {outside} outside the size limits of the method" if outside else ""
    found = f"{lesion_count(len(finding.lesions))}, {volume(finding.volume_ml, 3)} ml on {where}{flagged}"
    return f"{finding.segment.label}: {found}. {NOT_REVIEWED}."


def lesion_line(finding: SegmentFinding, lesion: Lesion) -> str:
    """Say in one line what is known of a lesion."""
    line = (
        f"{finding.segment.label} {lesion.number} of {len(finding.lesions)}: "
        f"{volume(lesion.volume_ml, 3)} ml, diameter {lesion.max_axial_diameter_mm:.1f} mm on an axial slice "
        f"and {lesion.max_diameter_mm:.1f} mm in 3D, largest area {lesion.max_area_mm2:.1f} mm2"
    )
    if not lesion.within_limits and finding.size_limits_mm:
        line += f"; outside the size limits of the method, {_limits(*finding.size_limits_mm)}"
    return line


def _limits(low_mm: float, high_mm: float) -> str:
    if math.isinf(high_mm):
        return f"at least {low_mm:g} mm"
    return f"{low_mm:g} to {high_mm:g} mm" if low_mm > 0 else f"at most {high_mm:g} mm"


def not_assessed(segment: Segment, reason: str) -> str:
    """Say that no statement is made on a segment, and why."""
    return statement(f"{segment.label}: not assessed, which does not mean absent. {reason}")


def registration(record: RegistrationRecord) -> str:
    """Say how one Series was brought onto another."""
    fixed, moving = record.fixed.label, record.moving.label
    if record.refused and not record.shares_frame:
        done, transform = "not applied; they lie in different Frames of Reference, which nothing relates", ""
    else:
        done = "applied" if record.applied else "not applied, the scanner's geometry was used"
        rows = "; ".join(" ".join(f"{value:.5f}" for value in row) for row in record.fixed_to_moving[:3])
        transform = f" Transform of LPS mm points from {fixed} to {moving}: {rows}"
    return statement(
        f"{moving} to {fixed}: rigid registration {done}; rotation {record.rotation_deg:.2f} deg, "
        f"shift {record.translation_mm:.2f} mm. {_sentence(record.reason)}{transform}"
    )


def _sentence(text: str) -> str:
    """Begin a text with a capital and end it with a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def exclusion(record: ExclusionRecord) -> str:
    """Say what was subtracted from what."""
    minuend, subtrahend = (SEGMENT_CONCEPTS[one].plural for one in (record.minuend, record.subtrahend))
    if not record.performed:
        return statement(f"{subtrahend} were not subtracted from {minuend}: {record.reason}")
    return statement(
        f"{subtrahend} were subtracted from {minuend}: {record.removed_voxels} voxels, "
        f"{volume(record.removed_ml, 3)} ml removed. {record.reason}".strip()
    )


def superseded(report: SupersededReport) -> str:
    """Name a report that this one takes the place of."""
    return f"This report supersedes the report with SOP Instance UID {report.sop_instance_uid}"


def remarks(findings: StudyFindings) -> Iterator[str]:
    """Return what else a reader must know."""
    return (statement(remark) for remark in findings.remarks)
