"""One slice as a picture: grey image in true proportions, lesions outlined, sides, scale and place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from node.results.picture_slices import View
from node.results.segment_concepts import Rgb

OVERSAMPLING = 3
"""Outlines are drawn this much larger and averaged down, so that they are smooth."""

OUTLINE_PX, EDGE_PX, FILL = 1.6, 1.0, 0.16
"""Width of an outline, which lies outside the lesion so that the lesion itself stays visible; of the dark
edge around it, without which it would vanish on bright tissue; share of colour inside."""

RING_BELOW_PX, RING_GAP_PX = 18.0, 6.0
"""Lesions whose extent is smaller get a ring around them at this distance, or nobody would find them."""

SCALE_BAR_MM = 50
WHITE, GREY, BLACK = (255, 255, 255), (170, 176, 184), (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Tile:
    """What one picture of a slice shows.

    Attributes:
        grey: (rows, columns) uint8.
        labels: (rows, columns) lesion numbers; 0 outside.
        view: which way round.
        rgb: colour of the lesions.
        caption: bottom line.
    """

    grey: NDArray[np.uint8]
    labels: NDArray[np.int32]
    view: View
    rgb: Rgb
    caption: str


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that comes with Pillow: the same letters on any machine."""
    return ImageFont.load_default(size)


def draw_tile(tile: Tile, size: tuple[int, int], px_per_mm: float) -> Image.Image:
    """Draw a tile.

    Args:
        tile: what to show.
        size: (width, height) of the picture, px; the slice lies in its middle, on black.
        px_per_mm: the same for all tiles of a sheet, so that sizes can be compared.
    """
    shown, labels = tile.view.shown(tile.grey), tile.view.shown(tile.labels)
    down_mm, right_mm = tile.view.spacing_mm
    width = max(1, round(shown.shape[1] * right_mm * px_per_mm))
    height = max(1, round(shown.shape[0] * down_mm * px_per_mm))
    image = Image.fromarray(np.ascontiguousarray(shown)).resize((width, height), Image.Resampling.LANCZOS)
    colours = np.repeat(np.asarray(image, dtype=np.float32)[..., None], 3, axis=2)
    if labels.any():
        colours = _with_outline(colours, labels > 0, tile.rgb)
    canvas = Image.new("RGB", size, BLACK)
    corner = ((size[0] - width) // 2, (size[1] - height) // 2)
    picture = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    canvas.paste(picture, corner)
    _draw_rings(canvas, labels, corner, (width, height), tile.rgb)
    _annotate(canvas, tile, px_per_mm)
    return canvas


def _with_outline(colours: NDArray[np.float32], mask: NDArray[np.bool_], rgb: Rgb) -> NDArray[np.float32]:
    """Blend the outline and a faint fill of a mask into an image (height, width, 3)."""
    # What lies further from every lesion than the widest line stays as it is: most of the picture.
    part = _around(mask, colours.shape[:2])
    colours[part] = _outlined(colours[part], _large(mask, colours.shape[:2])[_enlarged(part)], rgb)
    return colours


def _around(mask: NDArray[np.bool_], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the part of a picture of this shape that holds the mask and the lines around it."""
    margin = math.ceil(OUTLINE_PX + EDGE_PX) + 2
    parts = []
    for axis, size in enumerate(shape):
        filled = np.flatnonzero(mask.any(axis=1 - axis)) * (size / mask.shape[axis])
        last = filled[-1] + size / mask.shape[axis]
        parts.append(slice(max(0, math.floor(filled[0]) - margin), min(size, math.ceil(last) + margin)))
    return parts[0], parts[1]


def _enlarged(part: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (slice(one.start * OVERSAMPLING, one.stop * OVERSAMPLING) for one in part)
    return rows, columns


def _large(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = shape
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        (width * OVERSAMPLING, height * OVERSAMPLING), Image.Resampling.BILINEAR
    )
    return np.asarray(large) > 127


def _outlined(colours: NDArray[np.float32], inside: NDArray[np.bool_], rgb: Rgb) -> NDArray[np.float32]:
    distance = ndimage.distance_transform_edt(~inside)
    ring = (distance > 0) & (distance <= OUTLINE_PX * OVERSAMPLING)
    edge = ~ring & (distance > 0) & (distance <= (OUTLINE_PX + EDGE_PX) * OVERSAMPLING)
    alpha = np.maximum(_averaged(ring), FILL * _averaged(inside))[..., None]
    darkened = colours * (1 - _averaged(edge))[..., None]
    blended: NDArray[np.float32] = darkened * (1 - alpha) + np.array(rgb, dtype=np.float32) * alpha
    return blended


def _averaged(large: NDArray[np.bool_]) -> NDArray[np.float32]:
    height, width = (size // OVERSAMPLING for size in large.shape)
    blocks = large.reshape(height, OVERSAMPLING, width, OVERSAMPLING).astype(np.float32)
    mean: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return mean


def _draw_rings(
    canvas: Image.Image, labels: NDArray[np.int32], corner: tuple[int, int], size: tuple[int, int], rgb: Rgb
) -> None:
    """Draw a ring around each lesion that is too small to be seen at once."""
    draw = ImageDraw.Draw(canvas)
    scale = np.array(size[::-1]) / labels.shape
    for box in ndimage.find_objects(labels):
        if box is None:
            continue
        first = np.array([part.start for part in box]) * scale
        last = np.array([part.stop for part in box]) * scale
        extent = float((last - first).max())
        if extent >= RING_BELOW_PX:
            continue
        middle = (first + last) / 2 + np.array(corner[::-1])
        for radius, colour in ((extent / 2 + RING_GAP_PX + 1, BLACK), (extent / 2 + RING_GAP_PX, rgb)):
            around = [middle[1] - radius, middle[0] - radius, middle[1] + radius, middle[0] + radius]
            draw.ellipse(around, outline=colour, width=1)


def _annotate(canvas: Image.Image, tile: Tile, px_per_mm: float) -> None:
    """Write the sides of the patient, the caption and a scale bar over the picture."""
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    left, right, top, bottom = tile.view.letters
    edge = 5
    for text, place, anchor in (
        (left, (edge, height / 2), "lm"),
        (right, (width - edge, height / 2), "rm"),
        (top, (width / 2, edge), "mt"),
        (bottom, (width / 2, height - edge - 16), "mb"),
    ):
        draw.text(place, text, WHITE, font(15), anchor=anchor, stroke_width=1, stroke_fill=BLACK)
    draw.text(
        (edge, height - edge), tile.caption, GREY, font(12), anchor="lb", stroke_width=1, stroke_fill=BLACK
    )
    _scale_bar(draw, (width - edge, height - edge), px_per_mm)


def _scale_bar(draw: Any, corner: tuple[int, int], px_per_mm: float) -> None:
    """Draw a bar with ticks that ends at a corner, and its length in words."""
    x, y = corner
    length = SCALE_BAR_MM * px_per_mm
    for width, colour in ((4, BLACK), (2, WHITE)):
        draw.line([x - length, y, x, y], colour, width)
        for tick in (x - length, x):
            draw.line([tick, y - 5, tick, y], colour, width)
    draw.text(
        (x - length / 2, y - 6),
        f"{SCALE_BAR_MM} mm",
        WHITE,
        font(12),
        anchor="mb",
        stroke_width=1,
        stroke_fill=BLACK,
    )
