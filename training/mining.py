"""What a network takes for a lesion and is none: the next round of training looks at it more often.

Most of a brain is easy, and windows drawn by chance seldom show the vein, the calcium or the bright tract
that a network is mistaken about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from training.errors import CheckpointError
from training.inference import device_at_hand, predict
from training.slices import PreparedCase
from training.whole_files import opened_whole

ALARM_LOGIT = -1.0
"""What counts as an alarm: a probability of 0.27, well below any operating point."""

MOST_ALARMS = 8
"""Alarms of one slice that are kept, the surest first."""

IN_PLANE = np.ones((3, 3), np.bool_)


def with_alarms(network: nn.Module, cases: Sequence[PreparedCase], path: Path) -> list[PreparedCase]:
    """Return the cases with the false alarms of a network, found once and kept in a file.

    Args:
        network: that raises them.
        cases: with an answer.
        path: of the ``.npz`` file that is written, or read if it is there.

    Raises: CheckpointError: if the file is damaged.
    """
    if not path.is_file():
        device = device_at_hand()
        found = {
            case.digest: false_alarms(predict(network, np.asarray(case.images, np.float32), device), case)
            for case in cases
        }
        needed_mb = sum(places.nbytes for places in found.values()) / 1e6
        with opened_whole(path, needed_mb) as file:
            np.savez(file, **found)  # type: ignore[arg-type]
    try:
        with np.load(path) as kept:
            return [replace(case, alarms=kept[case.digest]) for case in cases]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise CheckpointError(path, f"cannot be read: {error}; remove it to find them anew") from error


def false_alarms(logits: NDArray[np.float32], case: PreparedCase) -> NDArray[np.intp]:
    """Return (n, 3) slice, row and column of the surest pixel of each alarm that touches no lesion.

    Args:
        logits: (slices, 1, rows, columns).
        case: whose lesions, and pixels that neither teach nor count, are no false alarms.
    """
    places: list[tuple[int, int, int]] = []
    for number, (plane, target) in enumerate(zip(logits[:, 0], case.targets, strict=True)):
        parts, count = ndimage.label(plane > ALARM_LOGIT, structure=IN_PLANE)
        if count:
            touching = np.unique(parts[np.asarray(target) != 0])
            false = np.setdiff1d(np.arange(1, count + 1), touching)
            places.extend((number, *place) for place in _surest(plane, parts, false))
    return np.array(places, np.intp).reshape(-1, 3)


def _surest(
    plane: NDArray[np.float32], parts: NDArray[np.integer[Any]], numbers: NDArray[np.integer[Any]]
) -> Iterable[tuple[int, int]]:
    """Yield where the parts of these numbers are highest, the highest first."""
    places = ndimage.maximum_position(plane, parts, numbers) if len(numbers) else []
    ranked = sorted(places, key=lambda place: -plane[place])
    return ((int(row), int(column)) for row, column in ranked[:MOST_ALARMS])
