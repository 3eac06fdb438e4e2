"""A small Study for tests of the running node: four Series with a lesion, quick to send and to evaluate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines.segments import Segment
from tests.support.header_patterns import (
    SIEMENS_EP2D_TRACEW_B1000,
    SIEMENS_FLAIR_TSE,
    SIEMENS_T1_SE,
    SIEMENS_T2STAR_FL2D,
    HeaderPattern,
)
from tests.support.peers import storescu
from tests.support.phantoms import PhantomKind, Sphere, phantom_grid, phantom_volume
from tests.support.running_node import RunningNode
from tests.support.series_files import DEMO_PATIENT, Patient, uid_from, write_series

GRID = phantom_grid((10, 64, 64), (14.0, 3.4, 3.4))
LESIONS = (
    Sphere(Segment.INFARCT, (-30.0, 10.0, 14.0), 18.0),
    Sphere(Segment.WMH, (-30.0, -20.0, 14.0), 16.0),
)
WANTED: dict[str, tuple[PhantomKind, HeaderPattern]] = {
    "flair": (PhantomKind.T2_FLAIR, SIEMENS_FLAIR_TSE),
    "t1": (PhantomKind.T1, SIEMENS_T1_SE),
    "dwi": (PhantomKind.DWI_B1000, SIEMENS_EP2D_TRACEW_B1000),
    "t2star": (PhantomKind.T2_STAR, SIEMENS_T2STAR_FL2D),
}
PATIENT = replace(DEMO_PATIENT, accession_number="CSVD-ACC-4711")
"""Bears every attribute that no log may tell."""

RESULTS = 6
"""Four Segmentations, the combined one, and the report."""

ENDED = ("delivered", "failed")


def study_of(name: str) -> str:
    """Return the Study Instance UID of a Study by its name."""
    return str(uid_from("study", name))


def write_study(
    folder: Path, name: str, series: tuple[str, ...] = tuple(WANTED), patient: Patient = PATIENT
) -> dict[str, list[Path]]:
    """Write a small Study with a lesion on FLAIR and one on DWI."""
    return {
        each: write_series(
            phantom_volume(WANTED[each][0], GRID, lesions=LESIONS),
            WANTED[each][1],
            folder / name / each,
            study_uid=study_of(name),
            frame_of_reference_uid=str(uid_from("frame of reference", name)),
            series_number=number,
            seed=number,
            patient=patient,
        )
        for number, each in enumerate(series, 1)
    }


def all_of(series: dict[str, list[Path]]) -> list[Path]:
    """List the files of all Series."""
    return [path for paths in series.values() for path in paths]


def push(node: RunningNode, paths: list[Path], *options: str, calling: str = "MR1") -> None:
    """Send files to a node with storescu, which must succeed."""
    sent = storescu(node.port, paths, *options, calling=calling)
    assert sent.returncode == 0, sent.stderr
