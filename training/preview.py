"""Contact sheets: what a network will see, laid out so that a person can judge it beside real scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from engines.segments import Segment, SeriesType
from engines.volume import Volume
from training.cases import Case, CaseKind
from training.errors import NoSamplesError
from training.pool import Split, case_paths, read_pool_case
from training.simulation.scans import ScanSource, scan_sources
from training.simulation.simulator import SERIES_OF

TILE_MM = 230.0
"""Side of a tile in patient space, mm: a head with some air."""

TILE_PIXELS = 184
"""Side of a tile on the sheet."""

ROWS, COLUMNS = 6, 8
"""Cases of a sheet, real ones left out, and tiles of each."""

OUTLINE = (255, 60, 40)
"""Colour of a mask's border."""


def write_contact_sheets(
    pool: Path, folder: Path, split: Split = Split.TRAIN, data: Path | None = None
) -> tuple[Path, ...]:
    """Write one PNG per Series type of the cases of a pool, each row a case, and real scans below.

    Args:
        pool: as the simulator filled it.
        folder: where the PNGs go.
        split: of which cases are taken.
        data: folder of the real scans, or None to leave them out.

    Returns: the files, in the order of the segments.

    Raises:
        NoSamplesError: if the pool holds no case at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for segment, kinds in SERIES_OF.items():
        chosen = _choose(case_paths(pool, segment, split))
        if not chosen:
            continue
        cases = [read_pool_case(path) for path in chosen]
        if data is not None:
            cases += [_as_case(segment, source, data) for source in scan_sources(segment)[::3][:2]]
        for series in kinds:
            path = folder / f"{segment.value.lower()}_{series.value.lower()}.png"
            contact_sheet([case for case in cases if series in case.volumes], series).save(path)
            written.append(path)
    if not written:
        raise NoSamplesError("Contact sheets", (pool,))
    return tuple(written)


def contact_sheet(cases: Sequence[Case], series: SeriesType) -> Image.Image:
    """Lay out slices of cases, one case a row, twice where something is marked: without and with its outline.

    Args:
        cases: each with a volume of ``series``.
        series: what is shown.
    """
    sheet = Image.new("RGB", (COLUMNS * TILE_PIXELS, len(cases) * TILE_PIXELS))
    draw = ImageDraw.Draw(sheet)
    for row, case in enumerate(cases):
        volume = case.volumes[series]
        mask = _mask_on(case, volume)
        window = _window(volume.array)
        for column, (number, outlined) in enumerate(_pick_slices(mask)):
            border = mask[number] if outlined else np.zeros_like(mask[number])
            tile = _tile(volume, number, border, window)
            sheet.paste(tile, (column * TILE_PIXELS, row * TILE_PIXELS))
        slice_mm, _, pixel_mm = volume.grid.spacing_mm
        text = f"{case.name}  {slice_mm:.1f} mm slices, {pixel_mm:.2f} mm pixels, {case.provenance.kind}"
        draw.text((3, row * TILE_PIXELS + 2), text, fill=(255, 220, 90))
    return sheet


def _choose(paths: Sequence[Path]) -> list[Path]:
    """Take ``ROWS`` cases, half of them simulated and half painted, spread over the whole pool."""
    groups = [
        [path for path in paths if path.name.startswith(kind)]
        for kind in (CaseKind.SIMULATED, CaseKind.PAINTED)
    ]
    chosen: list[Path] = []
    for place, group in enumerate(group for group in groups if group):
        share = (ROWS + 1) // 2 if place == 0 and all(groups) else ROWS - len(chosen)
        chosen += [group[i] for i in np.linspace(0, len(group) - 1, min(share, len(group))).astype(int)]
    return chosen


def _as_case(segment: Segment, source: ScanSource, data: Path) -> Case:
    """Read a real scan as it is, nothing painted."""
    scan = source.read(data)
    volumes = {series: Volume(image, scan.grid) for series, image in scan.images.items()}
    return Case(f"real {source.name}", volumes, {segment: Volume(scan.marked, scan.grid)}, scan.provenance)


def _mask_on(case: Case, volume: Volume) -> NDArray[np.bool_]:
    marked = np.zeros(volume.grid.shape, np.bool_)
    for mask in case.masks.values():
        if mask.grid.shape == volume.grid.shape:
            marked |= mask.array
    return marked


def _pick_slices(mask: NDArray[np.bool_]) -> list[tuple[int, bool]]:
    """Take slices from bottom to top, and the two with most marked pixels without and with outline."""
    counts = mask.sum(axis=(1, 2))
    best = [int(number) for number in np.argsort(counts)[::-1][:2] if counts[number]]
    pairs = [(number, outlined) for number in sorted(best) for outlined in (False, True)]
    spread = np.linspace(mask.shape[0] * 0.12, mask.shape[0] * 0.85, max(0, COLUMNS - len(pairs)))
    return [(int(number), True) for number in spread] + pairs


def _window(array: NDArray[np.generic]) -> float:
    """Return the value shown white: a little above what is found in the middle of the head."""
    _, rows, columns = array.shape
    middle = array[:, rows // 4 : -(rows // 4), columns // 4 : -(columns // 4)]
    return max(1.15 * float(np.percentile(middle.astype(np.float32), 99.3)), 1e-6)


def _tile(volume: Volume, number: int, marked: NDArray[np.bool_], white: float) -> Image.Image:
    """Show ``TILE_MM`` of one slice around its centre."""
    _, row_mm, column_mm = volume.grid.spacing_mm
    grey = np.clip(volume.array[number].astype(np.float32) / white, 0, 1) * 255
    plane = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    height, width = marked.shape
    half = (TILE_MM / column_mm / 2, TILE_MM / row_mm / 2)
    frame = (width / 2 - half[0], height / 2 - half[1], width / 2 + half[0], height / 2 + half[1])
    size = (TILE_PIXELS, TILE_PIXELS)
    shown = plane.transform(size, Image.Transform.EXTENT, frame, Image.Resampling.BILINEAR)
    if marked.any():
        inside = Image.fromarray(marked.astype(np.uint8) * 255)
        large = (
            np.asarray(inside.transform(size, Image.Transform.EXTENT, frame, Image.Resampling.NEAREST)) > 0
        )
        pixels = np.array(shown)
        pixels[ndimage.binary_dilation(large) & ~large] = OUTLINE
        shown = Image.fromarray(pixels)
    return shown
