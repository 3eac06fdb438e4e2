"""Headers of real scanners: what each stack is taken for, its kind and its slices, by folder.

The tables were made by hand from the headers (dcmdump), not from what the code says.
"""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from pathlib import Path

import pytest

from engines.segments import SeriesType
from node.inventory import StudyInventory, identify_paths
from node.selection import Outcome
from tests.support.shared_data import SHARED, needs_shared

FLAIR, T1, DWI, T2_STAR = (
    SeriesType.T2_FLAIR,
    SeriesType.T1,
    SeriesType.DWI_B1000,
    SeriesType.T2_STAR,
)
REPOSITORY_DATA = Path(__file__).resolve().parents[2] / "data" / "dicom"
NOISE = "dicom/header_only_noise_pixels_dicom2nifti"

Row = tuple[SeriesType | None, str, int]
"""Taken for, kind, slices."""

ONE_DIRECTION = "DWI of one direction"
PHASE = "phase or complex image"
BOLD = "BOLD EPI time series"

IN_REPOSITORY: dict[str, list[Row]] = {
    "ge_anatomical_001": [(T1, "T1 MPRAGE", 3)],
    "ge_dti_001": [(None, "DWI b0", 3), (None, ONE_DIRECTION, 3)],
    "ge_genesis_flair": [(FLAIR, "T2 FLAIR without inversion time", 1)],
    "ge_signa_fse_pd": [(None, "proton density TSE", 3)],
    "hitachi_anatomical_001": [(None, "proton density TSE", 3)],
    "hyperfine_anatomical_001": [(FLAIR, "T2 FLAIR", 3)],
    "philips_achieva_dwi": [(None, "DWI b0", 3), (DWI, "trace DWI b1000", 3)],
    "philips_anatomical_001": [(FLAIR, "T2 FLAIR", 3)],
    "philips_anatomical_002": [(T2_STAR, "SWI", 3), (None, PHASE, 3)],
    "philips_dti_001": [(None, "DWI b0", 2), *[(None, ONE_DIRECTION, 2)] * 3],
    "philips_elition_field_map": [*[(None, "field map", 3)] * 2, *[(None, PHASE, 3)] * 2],
    "philips_elition_t1_mprage": [(T1, "T1 MPRAGE", 3)],
    "philips_enhanced_dti_001": [(None, "DWI b0", 3), *[(None, ONE_DIRECTION, 3)] * 3],
    "philips_ffe_epi": [(None, BOLD, 3)],
    "siemens_anatomical_001": [(FLAIR, "T2 FLAIR", 3)],
    "siemens_dti_classic_001": [(None, "DWI b0", 3), (None, ONE_DIRECTION, 3)],
    "siemens_prisma_dwi_mosaic": [(None, "DWI b0", 25), *[(None, ONE_DIRECTION, 25)] * 2],
    "siemens_prisma_t1_fl2d": [(T1, "T1 2D GRE", 3)],
    "siemens_trio_bold_mosaic": [(None, BOLD, 35)],
    "siemens_trio_t2_tse": [(None, "T2 TSE", 3)],
    "siemens_xa30": [
        (T1, "T1 MPRAGE", 3),
        (None, "field map", 3),
        (None, "field map", 3),
        (None, PHASE, 3),
        (None, "DWI b0", 3),
        (None, ONE_DIRECTION, 3),
        (None, "ADC map", 3),
        (None, "DWI of another b-value", 3),
    ],
}

IN_SHARED: dict[str, list[Row]] = {
    "dicom/ge_genesis_flair_1slice": [(FLAIR, "T2 FLAIR without inversion time", 1)],
    "dicom/ge_signa_fse_pd_ax": [(None, "proton density TSE", 20)],
    "dicom/philips_achieva_dwi_b1000": [(None, "DWI b0", 60), (DWI, "trace DWI b1000", 60)],
    "dicom/philips_elition_enhanced_and_raw_gz": [
        *[(None, "field map", 53)] * 2,
        *[(None, PHASE, 53)] * 2,
    ],
    "dicom/philips_elition_t1_mprage_sag_gz": [(T1, "T1 MPRAGE", 170)],
    "dicom/siemens_prisma_dwi_mosaic_b0_b1000": [(None, "DWI b0", 25), *[(None, ONE_DIRECTION, 25)] * 3],
    "dicom/siemens_prisma_t1_fl2d_sag": [(T1, "T1 2D GRE", 35)],
    "dicom/siemens_trio_t2_tse_axial": [(None, "T2 TSE", 55)],
    "dicom/siemens_xa30_enhanced": [
        (T1, "T1 MPRAGE", 96),
        (None, "field map", 33),
        (None, "field map", 33),
        (None, PHASE, 33),
        (None, "DWI b0", 39),
        (None, ONE_DIRECTION, 39),
        (None, ONE_DIRECTION, 39),
        (None, "ADC map", 39),
        (None, "DWI of another b-value", 39),
    ],
    "dicom/transfer_syntaxes_siemens_epi": [(None, BOLD, 35)] * 9,
    "dicom/reference_seg_sr": [],
    "t2star/ffe_epi_dicom": [(None, BOLD, 35)],
    f"{NOISE}/anatomical_001": [(T1, "T1 MPRAGE", 4)],
    f"{NOISE}/failing_slicecount_001": [(FLAIR, "T2 FLAIR", 2)],
    f"{NOISE}/ge_anatomical_001": [(T1, "T1 MPRAGE", 4)],
    f"{NOISE}/ge_anatomical_001_single_slice": [(T1, "T1 MPRAGE", 1)],
    f"{NOISE}/ge_dti_001": [(None, "DWI b0", 4), (None, ONE_DIRECTION, 4)],
    f"{NOISE}/generic_anatomical_001": [(FLAIR, "T2 FLAIR", 4)],
    f"{NOISE}/generic_anatomical_002_non_isotropic": [(None, "unrecognised", 4)],
    f"{NOISE}/generic_compressed_001": [(FLAIR, "T2 FLAIR", 4)],
    f"{NOISE}/generic_compressed_j2k_001": [(FLAIR, "T2 FLAIR", 4)],
    f"{NOISE}/generic_compressed_jpeg_001": [(FLAIR, "T2 FLAIR", 4)],
    f"{NOISE}/generic_compressed_jpegls_001": [(FLAIR, "T2 FLAIR", 4)],
    f"{NOISE}/generic_compressed_rle_001": [(FLAIR, "T2 FLAIR", 4)],
    f"{NOISE}/hitachi_anatomical_001": [(None, "proton density TSE", 4)],
    f"{NOISE}/hyperfine_anatomical_001": [(FLAIR, "T2 FLAIR", 8)],
    f"{NOISE}/philips_anatomical_001": [(FLAIR, "T2 FLAIR", 4)],
    f"{NOISE}/philips_anatomical_002": [(T2_STAR, "SWI", 4), (None, PHASE, 4)],
    f"{NOISE}/philips_dti_001": [(None, "DWI b0", 2), *[(None, ONE_DIRECTION, 2)] * 3],
    f"{NOISE}/philips_enhanced_dti_001": [(None, "DWI b0", 8), *[(None, ONE_DIRECTION, 8)] * 3],
    f"{NOISE}/siemens_anatomical_001": [(FLAIR, "T2 FLAIR", 4)],
    f"{NOISE}/siemens_dti_classic_001": [(None, "DWI b0", 4), (None, ONE_DIRECTION, 4)],
}


def rows(studies: tuple[StudyInventory, ...]) -> Counter[Row]:
    return Counter(
        (
            candidate.identified.identification.series_type,
            candidate.identified.identification.kind,
            candidate.stack.positions,
        )
        for study in studies
        for candidate in study.selection.candidates
    )


@pytest.mark.parametrize("folder", IN_REPOSITORY)
def test_header_in_the_repository_is_taken_for_what_it_is(folder: str) -> None:
    assert rows(identify_paths([REPOSITORY_DATA / folder]).studies) == Counter(IN_REPOSITORY[folder])


def test_table_covers_every_folder_in_the_repository() -> None:
    assert {path.name for path in REPOSITORY_DATA.iterdir() if path.is_dir()} == set(IN_REPOSITORY)


def unpacked(folder: Path, target: Path) -> Path:
    """Copy a folder whose files are gzipped, and return the copy; others are used where they lie."""
    packed = sorted(folder.glob("*.gz"))
    for path in packed:
        with gzip.open(path) as source, (target / path.stem).open("wb") as copy:
            shutil.copyfileobj(source, copy)
    return target if packed else folder


@needs_shared
@pytest.mark.parametrize("folder", IN_SHARED)
def test_shared_series_is_taken_for_what_it_is(folder: str, tmp_path: Path) -> None:
    studies = identify_paths([unpacked(SHARED / folder, tmp_path)]).studies
    assert rows(studies) == Counter(IN_SHARED[folder])


@needs_shared
def test_table_covers_every_shared_folder_with_images() -> None:
    folders = {
        path.parent.relative_to(SHARED).as_posix() for path in (SHARED / "dicom").rglob("*") if path.is_file()
    }
    covered = tuple(f"{folder}/" for folder in IN_SHARED)
    assert {folder for folder in folders - {"dicom"} if not f"{folder}/".startswith(covered)} == set()


@needs_shared
def test_real_scans_lose_and_win_for_the_right_reasons() -> None:
    """One imagined Study: what would be chosen if all real human scans had been made at once."""
    folders = ("philips_achieva_dwi_b1000", "siemens_trio_t2_tse_axial", "siemens_prisma_t1_fl2d_sag")
    studies = identify_paths([SHARED / "dicom" / folder for folder in folders]).studies
    outcomes = {
        candidate.identified.identification.kind: candidate.outcome
        for study in studies
        for candidate in study.selection.candidates
    }
    assert outcomes == {
        "DWI b0": Outcome.NOT_WANTED,
        "trace DWI b1000": Outcome.CHOSEN,
        "T2 TSE": Outcome.NOT_WANTED,
        "T1 2D GRE": Outcome.CHOSEN,
    }
