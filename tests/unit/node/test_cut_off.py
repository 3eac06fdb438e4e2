"""Real Series that a test file keeps three slices of lack the rest; whole ones lack nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.cut_off import absent_slices
from node.inventory import identify_paths
from node.stacks import Stack
from tests.support.header_patterns import SIEMENS_FLAIR_TSE, PrivateElement
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume
from tests.support.series_files import write_series
from tests.support.shared_data import SHARED, needs_shared

DATA = Path(__file__).resolve().parents[2] / "data" / "dicom"
PROTOCOL = b"### ASCCONV BEGIN ###\nsSliceArray.lSize                       = 0x10\n"
"""Sixteen slices, as older software writes numbers."""

SIEMENS, GE = "SIEMENS CSA HEADER", "GEMS_RELA_01"


def first_stack(folder: Path) -> Stack:
    return identify_paths([folder]).studies[0].selection.candidates[0].stack


@pytest.mark.parametrize(
    ("folder", "absent"),
    [
        pytest.param("philips_achieva_dwi", 57, id="philips-60"),
        pytest.param("philips_elition_t1_mprage", 167, id="philips-3d-170"),
        pytest.param("siemens_prisma_dwi_mosaic", 0, id="mosaic-is-whole"),
        pytest.param("ge_signa_fse_pd", 0, id="images-in-acquisition-is-1"),
        pytest.param("hitachi_anatomical_001", 0, id="nobody-says"),
    ],
)
def test_scanners_count_tells_how_many_slices_are_absent(folder: str, absent: int) -> None:
    assert absent_slices(first_stack(DATA / folder)) == absent


@needs_shared
@pytest.mark.parametrize(
    ("folder", "absent"),
    [
        pytest.param("siemens_prisma_t1_fl2d_sag", 0, id="all-of-35"),
        pytest.param("header_only_noise_pixels_dicom2nifti/siemens_dti_classic_001", 36, id="4-of-40"),
        pytest.param("header_only_noise_pixels_dicom2nifti/siemens_anatomical_001", 0, id="3d-counts-slabs"),
    ],
)
def test_protocol_of_real_siemens_series_tells_it(folder: str, absent: int) -> None:
    assert absent_slices(first_stack(SHARED / "dicom" / folder)) == absent


@pytest.mark.parametrize(
    ("element", "kind", "absent"),
    [
        pytest.param(PrivateElement(0x0021, GE, 0x4F, "SS", 9), "2D", 5, id="ge"),
        pytest.param(PrivateElement(0x0021, GE, 0x4F, "SS", 2), "3D", 0, id="ge-interpolates"),
        pytest.param(PrivateElement(0x0021, GE, 0x4F, "SS", 0), "2D", 0, id="zero-says-nothing"),
        pytest.param(PrivateElement(0x0029, SIEMENS, 0x20, "OB", PROTOCOL), "2D", 12, id="siemens"),
        pytest.param(PrivateElement(0x0029, SIEMENS, 0x20, "OB", PROTOCOL), "3D", 0, id="siemens-slabs"),
        pytest.param(PrivateElement(0x0029, SIEMENS, 0x20, "OB", b"no protocol "), "2D", 0, id="no-protocol"),
    ],
)
def test_each_vendor_counts_in_an_element_of_its_own(
    tmp_path: Path, element: PrivateElement, kind: str, absent: int
) -> None:
    pattern = SIEMENS_FLAIR_TSE.but(MRAcquisitionType=kind).with_private(element)
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((4, 16, 16), (9, 12, 12)))
    write_series(
        volume, pattern, tmp_path, study_uid="1.2.3", frame_of_reference_uid="1.2.4", series_number=1
    )
    assert absent_slices(first_stack(tmp_path)) == absent


@pytest.mark.parametrize(
    ("image_type", "absent"),
    [(("DERIVED", "PRIMARY", "DIFFUSION"), 57), (("DERIVED", "SECONDARY", "MPR"), 0)],
)
def test_slices_laid_anew_are_not_those_that_were_counted(image_type: tuple[str, ...], absent: int) -> None:
    stack = first_stack(DATA / "philips_achieva_dwi")
    (item, *others) = stack.frames
    computed = replace(item.frame.acquisition, image_type=image_type)
    frames = (replace(item, frame=replace(item.frame, acquisition=computed)), *others)
    assert absent_slices(replace(stack, frames=frames)) == absent
