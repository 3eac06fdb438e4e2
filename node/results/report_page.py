"""The findings on a page: a table, pictures, and what a reader must know; for viewers of documents.

All of what must be known stands here, since some readers have no other form; what the first page has no room
for follows on further ones.

fpdf2 sets the page. All letters come from one embedded font, so that a name in any script looks the same
everywhere. Times and identifiers are those of the evaluation: equal findings give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory

from fpdf import FPDF
from fpdf.enums import Align, TableCellFillMode, XPos, YPos
from fpdf.fonts import FontFace
from PIL import Image

from engines.findings import SegmentFinding, StudyFindings
from engines.segments import Segment, SeriesType
from node.model import SourceVolume
from node.results import texts
from node.results.context import PRODUCT_NAME, EvaluationContext
from node.results.fonts import BOLD, REGULAR, true_type, with_known_letters
from node.results.identity_lines import IdentityLines
from node.results.picture_slices import telling_slices
from node.results.picture_tiles import draw_tile
from node.results.pictures import slice_tiles, tile_scale
from node.results.segment_concepts import SEGMENT_CONCEPTS

TITLE = "Cerebral small vessel disease on MR"
RESEARCH = "Research software, not a medical device."
FAMILY = "Page"
MARGIN_MM, GAP_MM = 14.0, 3.0
TILE_PX = (360, 360)
"""(width, height) of a slice's picture."""

PICTURES_A_SEGMENT = 2
PICTURES_END_MM = 218.0
"""Where the pictures must end, which leaves room for notes."""

FOOTER_MM = 8.0
"""Room for the last line of a page."""

_ASCII = "".join(chr(code) for code in range(32, 127))
_WARNING, _GREY = (178, 84, 0), (90, 96, 104)


class _Page(FPDF):
    """A document whose identifier is that of the evaluation: fpdf2 would else derive it from the clock.

    fpdf2 calls ``header`` and ``footer`` of each page.
    """

    identifier = made = patient = ""

    def file_id(self) -> str:
        return f"<{self.identifier}><{self.identifier}>"

    def header(self) -> None:
        if self.page_no() > 1:
            _line(self, f"{TITLE}, continued", 11, "B")
            _line(self, self.patient, 9)
            self.ln(2)

    def footer(self) -> None:
        self.set_y(self.h - MARGIN_MM)
        self.set_text_color(*_GREY)
        self.set_font(FAMILY, "", 7)
        self.cell(0, 3.5, f"{self.made}, page {self.page_no()}. {texts.NOT_REVIEWED}. {RESEARCH}")
        self.set_text_color(0)


def report_page(
    findings: StudyFindings,
    sources: Mapping[SeriesType, SourceVolume],
    identity: IdentityLines,
    context: EvaluationContext,
) -> bytes:
    """Return the page as PDF.

    Args:
        findings: of one Study.
        sources: what they lie on.
        identity: patient and Study in words.
        context: of the evaluation.
    """
    letters = "".join((_ASCII, identity.name, identity.patient, identity.study, *_notes(findings)))
    page = _page(context)
    page.patient = "   ".join(filter(None, (identity.name, identity.patient)))
    with TemporaryDirectory() as folder:
        for style, weight in (("", REGULAR), ("B", BOLD)):
            # fpdf2 takes fonts from files only.
            path = Path(folder) / f"{weight}.ttf"
            path.write_bytes(true_type(letters, identity.face, weight, f"{FAMILY}{weight}"))
            page.add_font(FAMILY, style, path)
        page.add_page()
        _draw_header(page, identity)
        _draw_table(page, findings)
        page.set_y(_draw_pictures(page, findings, sources))
        _draw_notes(page, findings)
        return bytes(page.output())


def _page(context: EvaluationContext) -> _Page:
    page = _Page(format="A4")
    page.identifier = context.fingerprint[:32].upper()
    page.set_creation_date(context.created_at)
    page.set_title(f"{TITLE} ({texts.NOT_REVIEWED})")
    page.set_creator(f"{PRODUCT_NAME} {context.software_version}")
    made_at = context.created_at.astimezone(UTC)
    page.made = f"{PRODUCT_NAME} {context.software_version}, {made_at:%Y-%m-%d %H:%M %Z}"
    page.set_lang("en-US")
    page.set_margin(MARGIN_MM)
    page.set_auto_page_break(True, MARGIN_MM + FOOTER_MM)
    return page


def _draw_header(page: _Page, identity: IdentityLines) -> None:
    _line(page, TITLE, 15, "B")
    page.set_text_color(*_WARNING)
    _line(page, f"{texts.NOT_REVIEWED}. Not for diagnosis without a radiologist's review.", 10, "B")
    page.set_text_color(0)
    page.ln(1.5)
    for text, size, style in ((identity.name, 12, "B"), (identity.patient, 9, ""), (identity.study, 9, "")):
        if text:
            _line(page, text, size, style)
    page.ln(2)


def _line(page: _Page, text: str, size: float, style: str = "") -> None:
    page.set_font(FAMILY, style, size)
    page.cell(0, size * 0.5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _draw_table(page: _Page, findings: StudyFindings) -> None:
    page.set_font(FAMILY, "", 9)
    heading = FontFace(emphasis="BOLD", fill_color=(228, 231, 235))
    with page.table(
        col_widths=(33, 15, 13, 12, 16, 11),
        text_align=("LEFT", "LEFT", "RIGHT", "RIGHT", "RIGHT", "RIGHT"),
        line_height=5,
        padding=0.6,
        headings_style=heading,
        cell_fill_mode=TableCellFillMode.NONE,
        borders_layout="HORIZONTAL_LINES",
    ) as table:
        table.row(_HEADINGS)
        for segment in Segment:
            row = table.row()
            cells = _cells(segment, findings)
            row.cell(cells[0], style=FontFace(emphasis="BOLD"))
            if len(cells) == len(_HEADINGS):
                for cell in cells[1:]:
                    row.cell(cell)
            else:
                row.cell(cells[1], colspan=len(_HEADINGS) - 1, align="LEFT", style=FontFace(color=_WARNING))
    page.set_font(FAMILY, "", 7)
    page.set_text_color(*_GREY)
    note = "Diameter: on an axial slice, smallest to largest. Flagged: outside the size limits of the method."
    page.cell(0, 4, note, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.set_text_color(0)


_HEADINGS = ("Segment", "Series", "Lesions", "Volume, ml", "Diameter, mm", "Flagged")


def _cells(segment: Segment, findings: StudyFindings) -> tuple[str, ...]:
    name, found = segment.label, findings.of(segment)
    if found is None:
        return (name, "Not assessed, which does not mean absent")
    return (name, found.series_type.label, *_numbers(found))


def _numbers(found: SegmentFinding) -> tuple[str, str, str, str]:
    if not found.lesions:
        return "none found", "0.00", "", ""
    diameters = sorted(lesion.max_axial_diameter_mm for lesion in found.lesions)
    extent = dict.fromkeys((f"{diameters[0]:.1f}", f"{diameters[-1]:.1f}"))
    outside = sum(not lesion.within_limits for lesion in found.lesions)
    return str(len(found.lesions)), texts.volume(found.volume_ml), " to ".join(extent), str(outside)


def _draw_pictures(page: _Page, findings: StudyFindings, sources: Mapping[SeriesType, SourceVolume]) -> float:
    """Draw two slices of each assessed segment, two segments a row; return where the room below is, mm."""
    top = below = page.get_y() + GAP_MM
    width = page.w - 2 * MARGIN_MM
    columns = 2 * PICTURES_A_SEGMENT
    side = min((width - (columns - 1) * GAP_MM) / columns, (PICTURES_END_MM - top) / 2 - 10)
    for place, found in enumerate(findings.findings):
        row, half = divmod(place, 2)
        left = MARGIN_MM + half * PICTURES_A_SEGMENT * (side + GAP_MM)
        above = top + row * (side + 10)
        below = above + side + 10
        page.set_xy(left, above)
        page.set_font(FAMILY, "B", 8)
        page.set_fill_color(*SEGMENT_CONCEPTS[found.segment].rgb)
        page.rect(left, above + 0.8, 2.6, 2.6, style="F")
        page.set_x(left + 3.5)
        page.cell(0, 4.5, found.segment.label)
        pictures = _pictures(found, sources[found.series_type])
        for column, picture in enumerate(pictures):
            page.image(picture, left + column * (side + GAP_MM), above + 5, side, side)
    return below


def _pictures(found: SegmentFinding, source: SourceVolume) -> Iterator[Image.Image]:
    scale = tile_scale(source, TILE_PX)
    for tile in slice_tiles(found, source, telling_slices(found.labels, PICTURES_A_SEGMENT)):
        yield draw_tile(tile, TILE_PX, scale)


def _notes(findings: StudyFindings) -> Iterator[str]:
    """Say what a reader must know beside the numbers, the most important first."""
    for absent in findings.not_assessed:
        yield texts.not_assessed(absent.segment, absent.reason)
    yield from texts.remarks(findings)
    ruled = [(found.segment.label, found.rule) for found in findings.findings if found.rule]
    if ruled:
        rules = "; ".join(f"{label}: {texts.counted(rule)}" for label, rule in ruled)
        yield f"What counts as a lesion. {rules}."
    models = dict.fromkeys(found.model for found in findings.findings)
    said = (f"{model.name} {model.version} (SHA-256 {model.sha256[:16]})" for model in models)
    if models:
        yield with_known_letters(f"Models: {', '.join(said)}")


def _draw_notes(page: _Page, findings: StudyFindings) -> None:
    page.set_font(FAMILY, "", 8)
    for note in _notes(findings):
        page.multi_cell(0, 3.8, note, align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        page.ln(0.8)
