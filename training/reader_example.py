"""A reader study of invented readers, to see what the report looks like before doctors spend hours."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.errors import ReaderStudyError

READERS = {
    "synthetic A": (0.05, 0.3, 600.0),
    "synthetic B": (0.25, 0.6, 420.0),
    "synthetic C": (0.15, 1.2, 900.0),
}
"""Share of lesions missed, shift of borders in pixels, seconds a case."""

MODEL = (0.1, 0.5, 4.0)

CASES, SHAPE = 12, (64, 64, 12)
AFFINE = np.diag([1.0, 1.0, 6.0, 1.0])


def write_example(folder: Path) -> None:
    """Write masks and times of three invented readers and an invented model.

    Raises: ReaderStudyError: if the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ReaderStudyError(folder, "is not empty; name another folder for the example")
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, str]] = []
    for number in range(1, CASES + 1):
        case = f"case_{number:02d}"
        lesions = _lesions(rng)
        _write(folder / "reference", case, sum(lesions, start=np.zeros(SHAPE, bool)))
        for reader, (missed, shift, seconds) in {**READERS, "model": MODEL}.items():
            place = folder / "model" if reader == "model" else folder / "readers" / reader
            _write(place, case, _read(lesions, missed, shift, rng))
            rows.append((reader, case, f"{seconds * rng.uniform(0.7, 1.4):.1f}"))
    with (folder / "times.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("reader", "case", "seconds"), *rows])
    (folder / "study.yaml").write_text("segment: WMH\n", encoding="utf-8")


def _lesions(rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    places = np.indices(SHAPE).transpose(1, 2, 3, 0)
    found = []
    for _ in range(int(rng.integers(3, 9))):
        centre = rng.uniform((8, 8, 1), (56, 56, 10))
        radius = rng.uniform(1.5, 6)
        distance = np.linalg.norm((places - centre) * (1, 1, 3), axis=-1)
        found.append(distance <= radius)
    return [lesion for lesion in found if lesion.any()]


def _read(
    lesions: list[NDArray[np.bool_]], missed: float, shift: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return what a reader makes of the lesions: some overlooked, borders moved, sometimes one too many."""
    marked = np.zeros(SHAPE, bool)
    for lesion in lesions:
        if rng.random() >= missed:
            offset = rng.normal(0, shift, size=2)
            marked |= ndimage.shift(lesion.astype(np.float32), (*offset, 0), order=1) > 0.5
    if rng.random() < missed:
        x, y, z = rng.integers((4, 4, 0), (60, 60, 12))
        marked[x : x + 3, y : y + 3, z] = True
    return marked


def _write(folder: Path, case: str, mask: NDArray[np.bool_]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(mask.astype(np.uint8), AFFINE)
    nibabel.save(image, folder / f"{case}.nii.gz")
