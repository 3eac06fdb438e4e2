"""Mosaics: one single-frame Instance whose tiles are the slices of a volume, of Siemens and of UIH (GRID).

Convention: tiles run row by row from the top left. Of Siemens the first is the slice that Image Position
(Patient) belongs to, and the others follow along the slice normal; UIH lists the position of each.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace

import numpy as np

from node.header_layers import Layer
from node.headers import Plane, Vector3

_CSA, _UIH = "SIEMENS CSA HEADER", "Image Private Header"
_CSA_NAME_BYTES, _CSA_TAG_BYTES, _CSA_ITEM_BYTES = 64, 84, 16
_MAX_TILES = 4096


@dataclass(frozen=True, slots=True)
class Mosaic:
    """How a mosaic is laid out.

    Attributes:
        tiles: slices in it.
        tiles_across: tiles in a row; the last row may not be full.
        tiles_down: rows of tiles.
        normal: unit vector from the first slice to the next, LPS; None if the header does not tell.
        spacing_mm: distance of slices; None if the header does not tell.
        positions_mm: of the first voxel of each tile, LPS, if the header lists them.
    """

    tiles: int
    tiles_across: int
    tiles_down: int
    normal: Vector3 | None = None
    spacing_mm: float | None = None
    positions_mm: tuple[Vector3, ...] = ()


def read_mosaic(layer: Layer, image_type: tuple[str, ...]) -> Mosaic | None:
    """Tell how a mosaic is laid out, or None if the Instance is none.

    Siemens: the number of tiles comes from (0019,xx0A) or the CSA image header (0029,xx10), the direction
    from the latter's SliceNormalVector. UIH: the number is (0065,xx50), the positions are in (0065,xx51).
    """
    if "VFRAME" in image_type:
        return _read_grid(layer)
    return _read_siemens(layer) if "MOSAIC" in image_type else None


def _read_grid(layer: Layer) -> Mosaic | None:
    """Read the GRID format of UIH.

    Source: dcm2niix, UIH/README.md: as many columns as the root of the number, rounded up, and as many rows
    as these need.
    """
    stated = layer.private.numbers(0x0065, 0x50, _UIH, "DS")
    if not stated or not 1 < stated[0] <= _MAX_TILES:
        return None
    tiles = int(stated[0])
    across = math.ceil(math.sqrt(tiles))
    listed = [
        Layer.of(item).numbers("ImagePositionPatient") for item in layer.private.items(0x0065, 0x51, _UIH)
    ]
    positions = tuple((place[0], place[1], place[2]) for place in listed if len(place) == 3)
    if len(positions) != tiles:
        positions = ()
    return Mosaic(tiles, across, math.ceil(tiles / across), positions_mm=positions)


def _read_siemens(layer: Layer) -> Mosaic | None:
    element = layer.private.element(0x0029, 0x10, _CSA)
    csa = read_csa(element.value) if element is not None and isinstance(element.value, bytes) else {}
    stated = layer.private.numbers(0x0019, 0x0A, "SIEMENS MR HEADER", "US") or _floats(
        csa.get("NumberOfImagesInMosaic", ())
    )
    if not stated or not 1 < stated[0] <= _MAX_TILES:
        return None
    normal = _floats(csa.get("SliceNormalVector", ()))
    spacing = layer.numbers("SpacingBetweenSlices") or layer.numbers("SliceThickness")
    side = math.ceil(math.sqrt(stated[0]))
    return Mosaic(
        int(stated[0]),
        side,
        side,
        (normal[0], normal[1], normal[2]) if len(normal) == 3 else None,
        spacing[0] if spacing and spacing[0] > 0 else None,
    )


def read_csa(header: bytes) -> dict[str, tuple[str, ...]]:
    """Read a Siemens CSA header into its non-empty texts by name; a damaged one yields what was readable.

    Source: layout as documented by nibabel, "Siemens format DICOM with CSA header".
    """
    found: dict[str, tuple[str, ...]] = {}
    offset = 8 if header[:4] == b"SV10" else 0
    try:
        (count,) = struct.unpack_from("<I", header, offset)
        offset += 8
        for _ in range(count):
            name = header[offset : offset + _CSA_NAME_BYTES].split(b"\0", 1)[0].decode("latin-1")
            (items,) = struct.unpack_from("<I", header, offset + 76)
            offset += _CSA_TAG_BYTES
            texts = []
            for _ in range(items):
                (length,) = struct.unpack_from("<I", header, offset + 4)
                offset += _CSA_ITEM_BYTES
                texts.append(header[offset : offset + length].split(b"\0", 1)[0].decode("latin-1").strip())
                offset += -(-length // 4) * 4
            found[name] = tuple(text for text in texts if text)
    except struct.error:
        return found
    return found


def tile_planes(mosaic: Mosaic, plane: Plane, rows: int, columns: int) -> tuple[Plane | None, ...]:
    """Place the tiles of a mosaic in patient space.

    Image Position (Patient) of a Siemens mosaic is that of a slice as large as the whole mosaic, concentric
    with the first tile: the tile's own first voxel lies half the difference of the sizes further in.

    Args:
        mosaic: its layout.
        plane: of the mosaic as if it were one slice.
        rows: of the mosaic.
        columns: of the mosaic.

    Returns: one plane a tile; None for all if the header does not tell their distance or on which side of the
        first one the others lie, for a guess could turn the head upside down.
    """
    if mosaic.positions_mm:
        return tuple(replace(plane, position_mm=position) for position in mosaic.positions_mm)
    if mosaic.spacing_mm is None or mosaic.normal is None:
        return (None,) * mosaic.tiles
    row_cosines, column_cosines = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
    row_mm, column_mm = plane.spacing_mm
    inset_rows = (rows - rows // mosaic.tiles_down) / 2
    inset_columns = (columns - columns // mosaic.tiles_across) / 2
    first = (
        np.array(plane.position_mm)
        + row_cosines * column_mm * inset_columns
        + column_cosines * row_mm * inset_rows
    )
    normal = np.cross(row_cosines, column_cosines)
    # The header's vector has few digits: it decides the direction, the cosines the exact normal.
    if float(normal @ np.array(mosaic.normal)) < 0:
        normal = -normal
    positions = [first + normal * mosaic.spacing_mm * tile for tile in range(mosaic.tiles)]
    return tuple(replace(plane, position_mm=(float(x), float(y), float(z))) for x, y, z in positions)


def _floats(texts: tuple[str, ...]) -> tuple[float, ...]:
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        return ()
