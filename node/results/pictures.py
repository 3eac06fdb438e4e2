"""All findings of a Study on one sheet: a row a segment, with the slices that show most of it, and remarks.

The sheet holds no data of the patient, and says on top that no person has looked at the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from engines.findings import SegmentFinding, StudyFindings
from engines.segments import Segment, SeriesType
from engines.volume import Grid
from node.model import SourceVolume
from node.results import texts
from node.results.picture_slices import head_box, telling_slices, to_grey, view_of
from node.results.picture_texts import LINE_GAP_PX, WARNING, draw_wrapped, wrapped
from node.results.picture_tiles import BLACK, GREY, WHITE, Tile, draw_tile, font
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.texts import NOT_REVIEWED, lesion_count

TILES_IN_A_ROW = 4
TILE_PX = (300, 340)
"""(width, height) of a slice's picture."""

PANEL_PX, HEADER_PX, GAP_PX, TEXT_ROW_PX = 230, 64, 8, 96
"""Width of the legend beside a row; heights of the header and of a row without pictures; space between."""

ROW_WIDTH_PX = PANEL_PX + TILES_IN_A_ROW * (TILE_PX[0] + GAP_PX)

MARGIN_MM = 6.0
"""Space kept around the head."""

BACKGROUND = (18, 20, 24)
TEXT_PX = 14
"""Size of letters in a row without pictures."""


def overlay_sheet(findings: StudyFindings, sources: Mapping[SeriesType, SourceVolume]) -> bytes:
    """Draw the sheet and return it as PNG; equal findings give equal bytes.

    Args:
        findings: of one Study.
        sources: the volumes the findings lie on.
    """
    scale = _px_per_mm([sources[found.series_type] for found in findings.findings])
    rows = [_row(segment, findings, sources, scale) for segment in Segment]
    if findings.remarks:
        rows.append(_text_row(list(texts.remarks(findings))))
    width = ROW_WIDTH_PX + 2 * GAP_PX
    height = HEADER_PX + sum(row.height + GAP_PX for row in rows) + GAP_PX
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    _draw_header(sheet)
    top = HEADER_PX
    for row in rows:
        sheet.paste(row, (GAP_PX, top))
        top += row.height + GAP_PX
    buffer = BytesIO()
    sheet.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _px_per_mm(sources: list[SourceVolume]) -> float:
    """Return the largest scale at which every head fits its tile."""
    extents = [_shown_extent_mm(source) for source in sources] or [(200.0, 200.0)]
    right, down = (max(extent[axis] for extent in extents) for axis in (0, 1))
    return min(TILE_PX[0] / right, TILE_PX[1] / down)


def _shown_extent_mm(source: SourceVolume) -> tuple[float, float]:
    """Return (right, down) of what is shown of a slice, mm."""
    view, box = view_of(source.volume.grid), _box(source)
    shape = view.shown(np.empty((box[0].stop - box[0].start, box[1].stop - box[1].start))).shape
    return shape[1] * view.spacing_mm[1], shape[0] * view.spacing_mm[0]


def _box(source: SourceVolume) -> tuple[slice, slice]:
    _, rows_mm, columns_mm = source.volume.grid.spacing_mm
    return head_box(source.volume.array, (rows_mm, columns_mm), MARGIN_MM)


def tile_scale(source: SourceVolume, size: tuple[int, int]) -> float:
    """Return the px per mm at which the head fits a picture of (width, height) px."""
    right_mm, down_mm = _shown_extent_mm(source)
    return min(size[0] / right_mm, size[1] / down_mm)


def _draw_header(sheet: Image.Image) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((2 * GAP_PX, 14), "Cerebral small vessel disease on MR", WHITE, font(24))
    draw.text((sheet.width - 2 * GAP_PX, 14), NOT_REVIEWED, WARNING, font(24), anchor="ra")
    note = (
        f"Lesions are counted in 3D; at most {TILES_IN_A_ROW} slices of a Series are shown. Outlines lie "
        "just outside the lesions. Sides of the patient: R L A P H F. One scale for all slices."
    )
    draw.text((2 * GAP_PX, 43), note, GREY, font(13))


def _row(
    segment: Segment, findings: StudyFindings, sources: Mapping[SeriesType, SourceVolume], scale: float
) -> Image.Image:
    finding = findings.of(segment)
    if finding is None:
        reasons = [absent.reason for absent in findings.not_assessed if absent.segment is segment]
        row = _text_row([texts.statement(reason) for reason in reasons])
        _draw_panel(row, segment, ["Not assessed"], WARNING)
        return row
    row = Image.new("RGB", (ROW_WIDTH_PX, TILE_PX[1]), BLACK)
    _draw_panel(row, segment, _legend(finding), WHITE)
    for place, tile in enumerate(_tiles(finding, sources[finding.series_type])):
        row.paste(draw_tile(tile, TILE_PX, scale), (PANEL_PX + place * (TILE_PX[0] + GAP_PX), 0))
    return row


def _text_row(sentences: Sequence[str]) -> Image.Image:
    """Draw a row of sentences beside an empty panel, as high as they need."""
    width = ROW_WIDTH_PX - PANEL_PX - GAP_PX
    lines = sum(len(wrapped(one, width, TEXT_PX)) for one in sentences)
    height = max(TEXT_ROW_PX, lines * (TEXT_PX + LINE_GAP_PX) + 2 * TEXT_PX)
    row = Image.new("RGB", (ROW_WIDTH_PX, height), BLACK)
    top = TEXT_PX
    for one in sentences:
        top = draw_wrapped(row, one, (PANEL_PX, top), width, TEXT_PX, GREY)
    return row


def _tiles(finding: SegmentFinding, source: SourceVolume) -> list[Tile]:
    return slice_tiles(finding, source, telling_slices(finding.labels, TILES_IN_A_ROW))


def slice_tiles(finding: SegmentFinding, source: SourceVolume, indices: Sequence[int]) -> list[Tile]:
    """Return what the pictures of some slices show: the head, and the lesions on it."""
    box, array = _box(source), source.volume.array
    grey = to_grey(array[(list(indices), *box)], array)
    return [
        Tile(
            shown,
            finding.labels[index][box],
            view_of(source.volume.grid),
            SEGMENT_CONCEPTS[finding.segment].rgb,
            f"{slice_name(source, index)}{slice_side(source.volume.grid, index)}",
        )
        for shown, index in zip(grey, indices, strict=True)
    ]


def slice_name(source: SourceVolume, index: int) -> str:
    """Name a slice as viewers do, by the numbers of Series and Instance or frame, or else by its place."""
    frame = source.frames[index]
    series = "" if source.series_number is None else f"Series {source.series_number}, "
    if frame.frame_number is not None:
        return f"{series}frame {frame.frame_number}"
    if frame.instance_number is not None and not source.is_mosaic:
        return f"{series}image {frame.instance_number}"
    return f"{series}slice {index + 1} of {len(source.frames)}"


def slice_side(grid: Grid, index: int) -> str:
    """Say of a sagittal slice on which side it lies and how far from the origin of patient space, mm.

    Nothing else on such a picture tells left from right; other slices show both sides, named at their edges.
    """
    normal = np.cross(grid.affine[:3, 2], grid.affine[:3, 1])
    if int(np.abs(normal).argmax()) != 0:
        return ""
    middle = [[index, (grid.shape[1] - 1) / 2, (grid.shape[2] - 1) / 2]]
    x_mm = float(grid.to_lps(np.array(middle))[0, 0])
    return f", {'L' if x_mm > 0 else 'R'} {abs(x_mm):.0f} mm"


def _legend(finding: SegmentFinding) -> list[str]:
    """Return the lines beside a row; the first is the result."""
    where = f"on {finding.series_type.label}"
    model = f"{finding.model.name} {finding.model.version}"
    if not finding.lesions:
        return ["None found", where, "", model]
    diameters = sorted({f"{one.max_axial_diameter_mm:.1f}" for one in finding.lesions}, key=float)
    lines = [
        f"{lesion_count(len(finding.lesions))}, {texts.volume(finding.volume_ml)} ml",
        where,
        f"axial diameter {' to '.join(dict.fromkeys((diameters[0], diameters[-1])))} mm",
    ]
    outside = sum(not lesion.within_limits for lesion in finding.lesions)
    if outside:
        lines.append(f"{outside} outside the size limits")
    return [*lines, "", model]


def _draw_panel(
    row: Image.Image, segment: Segment, lines: list[str], first_colour: tuple[int, int, int]
) -> None:
    """Draw the colour, the name and the lines of a segment at the left of its row."""
    draw = ImageDraw.Draw(row)
    concept = SEGMENT_CONCEPTS[segment]
    draw.rectangle([0, 0, 5, row.height], concept.rgb)
    top = draw_wrapped(row, segment.label, (16, 12), PANEL_PX - 24, 18, concept.rgb) + 8
    for place, line in enumerate(lines):
        colour, size = (first_colour, 18) if place == 0 else (GREY, 13)
        top = draw_wrapped(row, line, (16, top), PANEL_PX - 24, size, colour) + 2
