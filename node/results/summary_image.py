"""All findings of a Study in words on one picture: the key image that is read first.

It alone of the key images has room for why a segment was not assessed, and for the remarks. It is as high as
its texts are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw

from engines.findings import StudyFindings
from engines.segments import Segment
from node.results import texts
from node.results.identity_lines import IdentityLines
from node.results.picture_texts import (
    EDGE_PX,
    IDENTITY_PX,
    LINE_GAP_PX,
    WARNING,
    draw_identity,
    draw_wrapped,
    wrapped,
)
from node.results.picture_tiles import BLACK, GREY, WHITE
from node.results.segment_concepts import SEGMENT_CONCEPTS, Rgb

INDENT_PX, BLOCK_GAP_PX = 26, 12
"""Where texts begin, right of the segment's colour; space between blocks."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A text with its size, colour, and that of the segment it speaks of; None without one."""

    text: str
    size: int
    colour: Rgb
    mark: Rgb | None = None


def draw_summary(findings: StudyFindings, identity: IdentityLines, size_px: tuple[int, int]) -> Image.Image:
    """Draw the picture.

    Args:
        findings: of one Study.
        identity: patient and Study in words.
        size_px: (width, least height).
    """
    width = size_px[0] - 2 * EDGE_PX - INDENT_PX
    blocks = list(_blocks(findings))
    heights = [len(wrapped(one.text, width, one.size)) * (one.size + LINE_GAP_PX) for one in blocks]
    needed = IDENTITY_PX + sum(heights) + len(blocks) * BLOCK_GAP_PX + EDGE_PX
    picture = Image.new("RGB", (size_px[0], max(size_px[1], needed)), BLACK)
    draw_identity(picture, identity)
    top = IDENTITY_PX + BLOCK_GAP_PX
    for block, height in zip(blocks, heights, strict=True):
        if block.mark is not None:
            ImageDraw.Draw(picture).rectangle([EDGE_PX, top + 1, EDGE_PX + 16, top + 17], block.mark)
        draw_wrapped(picture, block.text, (EDGE_PX + INDENT_PX, top), width, block.size, block.colour)
        top += height + BLOCK_GAP_PX
    return picture


def sentences(findings: StudyFindings) -> list[str]:
    """Return what the picture says."""
    return [block.text for block in _blocks(findings)]


def _blocks(findings: StudyFindings) -> Iterator[_Block]:
    yield _Block("Cerebral small vessel disease on MR", 20, WHITE)
    reasons = {one.segment: one.reason for one in findings.not_assessed}
    for segment in Segment:
        concept, found = SEGMENT_CONCEPTS[segment], findings.of(segment)
        if found is not None:
            yield _Block(f"{segment.label}: {texts.found_on(found)}", 15, WHITE, concept.rgb)
        elif segment in reasons:
            yield _Block(texts.not_assessed(segment, reasons[segment]), 15, WARNING, concept.rgb)
    for remark in texts.remarks(findings):
        yield _Block(remark, 13, GREY)
