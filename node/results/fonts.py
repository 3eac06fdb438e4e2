"""Letters for names of any patient: Noto Sans CJK, which knows Latin, Greek, Cyrillic, Kana, Hangul and Han.

The font comes as a Python package under the SIL Open Font License. A letter that it does not know is written
as its code point, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from PIL import ImageFont

FILE = Path(str(files("manimgx_fonts_cjk") / "NotoSansCJK-VF.otf.ttc"))
"""A collection of one variable font in four regional forms."""

JAPANESE, KOREAN, SIMPLIFIED_CHINESE = 0, 1, 2
"""Place of the regional form in the collection."""

REGULAR, BOLD = 400, 700
"""Weights."""

_FACES = {"ISO 2022 IR 149": KOREAN, "GB18030": SIMPLIFIED_CHINESE, "GBK": SIMPLIFIED_CHINESE,
          "ISO 2022 IR 58": SIMPLIFIED_CHINESE}  # fmt: skip

_OUTLINE_ERROR = 1.0
"""How far a quadratic outline may lie off the font's cubic one, font units of a thousandth of the size."""


_FONT_TIME = 3_786_912_000
"""2024-01-01 in seconds since 1904, as fonts count: the time of making would make each document another."""


def face_of(character_sets: Iterable[str]) -> int:
    """Choose the regional form by Specific Character Set; one form has all letters, the shapes differ."""
    return next((_FACES[name] for name in character_sets if name in _FACES), JAPANESE)


def with_known_letters(text: str) -> str:
    """Write letters that the font does not know as their code points: [U+0645]."""
    known = _letters(JAPANESE)
    return "".join(sign if ord(sign) in known else f"[U+{ord(sign):04X}]" for sign in text)


@lru_cache(maxsize=32)
def picture_font(size: int, face: int = JAPANESE, weight: int = REGULAR) -> ImageFont.FreeTypeFont:
    """Return the font for drawing into pictures, size in px."""
    font = ImageFont.truetype(FILE, size, index=face)
    font.set_variation_by_axes([weight])
    return font


def true_type(text: str, face: int, weight: int, name: str) -> bytes:
    """Return a TrueType font of just the letters of a text: what a document can hold.

    Args:
        text: each of its letters must be known.
        face: the regional form.
        weight: of the strokes.
        name: family name of the new font.
    """
    source = _font(face)
    letters = source.getBestCmap()
    wanted = {ord(sign): letters[ord(sign)] for sign in sorted(set(text) | {" "})}
    outlines = source.getGlyphSet(location={"wght": weight})
    order = [".notdef", *dict.fromkeys(wanted.values())]
    builder = FontBuilder(source["head"].unitsPerEm, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap(wanted)
    builder.setupGlyf({glyph: _outline(outlines, glyph) for glyph in order})
    builder.setupHorizontalMetrics({glyph: (round(outlines[glyph].width), 0) for glyph in order})
    header = source["hhea"]
    builder.setupHorizontalHeader(ascent=header.ascent, descent=header.descent)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=header.ascent, sTypoDescender=header.descent, usWeightClass=weight)
    builder.setupPost()
    builder.font["head"].created = builder.font["head"].modified = _FONT_TIME
    builder.font.recalcTimestamp = False
    buffer = BytesIO()
    builder.save(buffer)
    return buffer.getvalue()


def _outline(outlines: Any, glyph: str) -> Any:
    pen = TTGlyphPen(None)
    outlines[glyph].draw(Cu2QuPen(pen, _OUTLINE_ERROR, reverse_direction=True))
    return pen.glyph()


@lru_cache(maxsize=4)
def _font(face: int) -> Any:
    return TTFont(FILE, fontNumber=face, lazy=True)


@lru_cache(maxsize=4)
def _letters(face: int) -> frozenset[int]:
    return frozenset(_font(face).getBestCmap())
