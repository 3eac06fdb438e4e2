"""A pool of ready-made cases on disk: written once by the simulator, read by every training run.

Convention: ``<pool>/<SEGMENT>/<split>/<name>.npz`` holds one case: an array per Series type, all on one grid,
``mask`` (bits along the last axis packed), ``affine`` (4, 4) and ``about`` (JSON: shape, provenance).
The split of a case is the split of its anatomy or patient, so that nothing seen in training is ever scored.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from training.cases import Case, CaseKind, Provenance
from training.errors import CaseError
from training.whole_files import opened_whole


class Split(StrEnum):
    """What a case may be used for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def case_paths(pool: Path, segment: Segment, split: Split) -> tuple[Path, ...]:
    """Return the files of a segment's cases in one split, sorted by name; empty if there are none."""
    return tuple(sorted((pool / segment / split).glob("*.npz")))


def iterate(pool: Path, segment: Segment, split: Split) -> Iterator[Case]:
    """Read a segment's cases of one split in the order of their names.

    Raises:
        CaseError: if a file is no case of a pool.
    """
    for path in case_paths(pool, segment, split):
        yield read_pool_case(path)


def write_pool_case(folder: Path, case: Case, segment: Segment) -> Path:
    """Write one case under its name, complete or not at all.

    Args:
        folder: the split's folder; made if missing.
        case: all its volumes int16 on the grid of its mask of ``segment``.
        segment: whose mask is kept.
    Returns: the file.

    Raises:
        StorageError: if the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mask = case.masks[segment]
    arrays: dict[str, NDArray[np.generic]] = {
        series.value: volume.array.astype(np.int16) for series, volume in case.volumes.items()
    }
    origin = case.provenance
    about = {
        "shape": mask.grid.shape,
        "segment": segment.value,
        "patient": origin.patient,
        "dataset": origin.dataset,
        "licence": origin.licence,
        "kind": origin.kind.value,
        "details": dict(origin.details),
    }
    path = folder / f"{case.name}.npz"
    needed_mb = sum(array.nbytes for array in arrays.values()) / 1e6
    with opened_whole(path, needed_mb) as file:
        np.savez(
            file,
            mask=np.packbits(mask.array.astype(bool), axis=-1),
            affine=mask.grid.affine,
            about=np.array(json.dumps(about)),
            **arrays,  # type: ignore[arg-type]  # numpy's stub takes the arrays for allow_pickle
        )
    return path


def read_pool_case(path: Path) -> Case:
    """Read one case of a pool.

    Returns: Case with int16 volumes and one bool mask, all on one grid.

    Raises:
        CaseError: if the file is no case of a pool or was cut off.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            about = json.loads(str(held["about"]))
            shape = (int(about["shape"][0]), int(about["shape"][1]), int(about["shape"][2]))
            grid = Grid(shape, held["affine"])
            mask = np.unpackbits(held["mask"], axis=-1, count=shape[2]).astype(bool)
            volumes = {
                series: Volume(held[series.value], grid) for series in SeriesType if series in held.files
            }
        segment, kind = Segment(about["segment"]), CaseKind(about["kind"])
        origin = Provenance(about["patient"], about["dataset"], about["licence"], kind, about["details"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as exc:
        raise CaseError(
            path.stem, f"is no case of a pool: {exc}; delete {path.name} and fill the pool"
        ) from exc
    return Case(path.stem, volumes, {segment: Volume(mask, grid)}, origin)
