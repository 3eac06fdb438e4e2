"""The bundled demo Study: where it lies and what is known of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEMO_STUDY = Path(__file__).resolve().parents[1] / "data" / "demo_study"
DEMO_DICOM = DEMO_STUDY / "dicom"


def demo_files(folder: str = "") -> list[Path]:
    """Return the Part 10 files of one Series (t2_flair, t1, dwi, t2_star, adc, localizer), or of all."""
    return sorted((DEMO_DICOM / folder).rglob("*.dcm"))


def demo_truth() -> dict[str, Any]:
    """Return truth.json: painted lesions with their LPS positions, and the motions."""
    truth: dict[str, Any] = json.loads((DEMO_STUDY / "truth.json").read_text(encoding="utf-8"))
    return truth


def demo_flair_label(name: str) -> NDArray[np.bool_]:
    """Return wmh, ventricle or brain on the T2-FLAIR's grid: (slices, rows, columns), ascending."""
    with np.load(DEMO_STUDY / "flair_labels.npz") as packed:
        shape = tuple(int(size) for size in packed["shape"])
        bits = np.unpackbits(packed[name], count=int(np.prod(shape)))
    return bits.reshape(shape).astype(bool)
