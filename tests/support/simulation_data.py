"""A data folder that the simulator can work from: a small head and a few lesion shapes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tests.support.label_head import write_label_head
from training.simulation.production import LABEL_MAPS, LESION_MASKS


def write_simulation_data(folder: Path) -> Path:
    """Write one head under the names of the first of each split, two for training, and a lesion library."""
    head = write_label_head(folder / LABEL_MAPS / "training_seg_01.nii.gz")
    for number in (2, 15, 18):
        shutil.copy(head, head.with_name(f"training_seg_{number:02d}.nii.gz"))
    (folder / LESION_MASKS).parent.mkdir(parents=True)
    np.savez(
        folder / LESION_MASKS,
        bits=np.packbits(np.ones((20, 3, 3, 3), bool).reshape(20, -1), axis=1).ravel(),
        off=np.arange(21) * 4,
        bbox=np.tile(np.array([[0, 0, 0, 3, 3, 3]], np.int16), (20, 1)),
        nvox=np.full(20, 27, np.int32),
        affine=np.eye(4),
    )
    return folder
