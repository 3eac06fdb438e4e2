"""Texts in pictures: whose they are, and sentences broken into lines."""

from __future__ import annotations

from PIL import Image, ImageDraw

from node.results.fonts import picture_font
from node.results.identity_lines import IdentityLines
from node.results.picture_tiles import GREY, WHITE, font
from node.results.segment_concepts import Rgb
from node.results.texts import NOT_REVIEWED

WARNING: Rgb = (255, 190, 90)
"""What a reader must not overlook."""

LINE_GAP_PX, EDGE_PX, IDENTITY_PX = 5, 10, 76
"""Space between lines; space at the edges; height of the lines that say whose a picture is."""


def wrapped(text: str, width_px: float, size: int) -> list[str]:
    """Break a text between words into lines of at most a width; a longer word has a line of its own."""
    letters, lines = font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and letters.getlength(longer) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def draw_wrapped(
    picture: Image.Image, text: str, corner: tuple[int, int], width_px: float, size: int, colour: Rgb
) -> int:
    """Write a text in lines from a corner (left, top); return where the next line would begin."""
    draw, (left, top) = ImageDraw.Draw(picture), corner
    for line in wrapped(text, width_px, size):
        draw.text((left, top), line, colour, font(size))
        top += size + LINE_GAP_PX
    return top


def draw_identity(picture: Image.Image, identity: IdentityLines) -> None:
    """Write above a picture whose it is, and that nobody has reviewed it."""
    draw = ImageDraw.Draw(picture)
    small = picture_font(13, identity.face)
    draw.text((EDGE_PX, 4), identity.name, WHITE, picture_font(17, identity.face))
    draw.text((EDGE_PX, 30), identity.patient, GREY, small)
    draw.text((EDGE_PX, 50), identity.study, GREY, small)
    draw.text((picture.width - EDGE_PX, 50), NOT_REVIEWED, WARNING, font(16), anchor="ra")
