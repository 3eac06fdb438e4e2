from __future__ import annotations

import os
import resource
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from engines.segments import Segment, SeriesType
from tests.support.shared_data import SHARED, needs_shared
from tests.support.simulation_data import write_simulation_data
from training.cases import CaseKind
from training.errors import NoSamplesError, SimulationSourceError, SimulationStoppedError, StorageError
from training.pool import Split, iterate, read_pool_case
from training.preview import write_contact_sheets
from training.simulation.anatomy import load_anatomy
from training.simulation.painting import paint_scan
from training.simulation.production import ANATOMIES, LABEL_MAPS, Order, fill_pool, make, orders
from training.simulation.scans import LABELLED, scan_sources

FEW = {Split.TRAIN: 2, Split.VALIDATION: 1, Split.TEST: 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one head under the names of all that are needed, and a small lesion library."""
    return write_simulation_data(tmp_path_factory.mktemp("data"))


def test_no_head_is_in_two_splits() -> None:
    numbers = [number for split in Split for number in ANATOMIES[split]]
    assert sorted(numbers) == list(range(1, 21))


@pytest.mark.parametrize("segment", list(Segment))
def test_no_scanned_patient_is_in_two_splits(segment: Segment) -> None:
    splits: dict[str, set[Split]] = {}
    for source in scan_sources(segment):
        patient = source.name.removesuffix("_b0").removesuffix("_direction").split("_flair")[0]
        splits.setdefault(patient, set()).add(source.split)
    assert splits
    assert all(len(found) == 1 for found in splits.values())


def test_patient_of_the_demonstration_is_no_source() -> None:
    assert "ms3seg_112776" not in {case for cases in LABELLED.values() for case in cases}
    names = {source.name for segment in Segment for source in scan_sources(segment)}
    assert not [name for name in names if "112776" in name]


@pytest.mark.parametrize("segment", [Segment.WMH, Segment.INFARCT, Segment.MICROBLEED])
def test_nothing_is_tested_on_surrogates(segment: Segment) -> None:
    splits = {source.split for source in scan_sources(segment) if "_flair" in source.name}
    assert splits
    assert Split.TEST not in splits


def test_every_case_of_a_pool_has_a_name_of_its_own(tmp_path: Path) -> None:
    for segment in Segment:
        listed = orders(segment, tmp_path, tmp_path)
        assert len({order.path for order in listed}) == len(listed)


def test_splits_grow_together(tmp_path: Path) -> None:
    listed = orders(Segment.INFARCT, tmp_path, tmp_path)
    first = listed[: len(listed) // 4]
    assert {order.split for order in first} == set(Split)
    assert {order.kind for order in first} == {CaseKind.SIMULATED, CaseKind.PAINTED}


def test_pool_is_filled_and_goes_on_where_it_was_stopped(data: Path, tmp_path: Path) -> None:
    listed = orders(Segment.WMH, data, tmp_path / "pool", FEW, variants=0)
    first = make(listed[0])
    written = first.stat().st_mtime_ns
    made = list(fill_pool(listed))
    assert sorted(made) == sorted(order.path for order in listed if order.path != first)
    assert first.stat().st_mtime_ns == written
    assert list(fill_pool(listed)) == []
    names = {case.provenance.patient for case in iterate(tmp_path / "pool", Segment.WMH, Split.TRAIN)}
    assert names == {"training_seg_01", "training_seg_02"}
    sheets = write_contact_sheets(tmp_path / "pool", tmp_path / "sheets")
    assert [sheet.name for sheet in sheets] == ["wmh_t2_flair.png"]
    assert sheets[0].stat().st_size > 5000


def test_same_order_makes_the_same_case_anywhere(data: Path, tmp_path: Path) -> None:
    one, two = (make(orders(Segment.INFARCT, data, tmp_path / name, FEW, variants=0)[1]) for name in "ab")
    first, second = read_pool_case(one), read_pool_case(two)
    for kind, volume in first.volumes.items():
        np.testing.assert_array_equal(volume.array, second.volumes[kind].array)


def test_missing_label_maps_are_named_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SimulationSourceError, match="synthseg_labelmaps"):
        list(fill_pool(orders(Segment.WMH, tmp_path, tmp_path, FEW, variants=0)))


def test_a_damaged_source_is_named_by_the_process_that_meets_it(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "data" / LABEL_MAPS / "training_seg_01.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no image")
    listed = orders(Segment.INFARCT, tmp_path / "data", tmp_path / "pool", {Split.TRAIN: 1}, variants=0)
    with pytest.raises(SimulationSourceError, match=r"training_seg_01\.nii\.gz: cannot be read") as told:
        list(fill_pool(listed))
    assert told.value.source == path


def test_what_a_process_meets_is_told_before_the_other_cases_are_made(data: Path, tmp_path: Path) -> None:
    (one,) = orders(Segment.INFARCT, data, tmp_path / "pool", {Split.TRAIN: 1}, variants=0)
    sound = [replace(one, number=number) for number in range(1, 7)]
    with pytest.raises(SimulationSourceError, match="training_seg_99"):
        list(fill_pool((replace(one, source="training_seg_99"), *sound)))
    # a process has taken some already
    assert sum(order.path.is_file() for order in sound) < len(sound) - 1


@dataclass(frozen=True, slots=True)
class Deadly(Order):
    """An order that ends the process that takes it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def test_a_process_that_is_ended_from_outside_is_told(data: Path, tmp_path: Path) -> None:
    order = Deadly(Segment.INFARCT, Split.TRAIN, CaseKind.SIMULATED, "training_seg_01", 0, data, tmp_path, 0)
    with pytest.raises(SimulationStoppedError, match=r"cases in .* are safe.*fewer --workers"):
        list(fill_pool((order,)))


def test_a_disk_that_is_full_of_anatomies_is_named(data: Path, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"training_seg_01\.npz: .* MB free, .* MB needed"):
            load_anatomy(data / LABEL_MAPS / "training_seg_01.nii.gz", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_contact_sheets_of_an_empty_pool_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoSamplesError, match="Contact sheets: no case found in"):
        write_contact_sheets(tmp_path / "pool", tmp_path / "sheets")


@needs_shared
@pytest.mark.parametrize(
    ("name", "shape", "spacing"),
    [
        ("philips_achieva", (60, 128, 128), (2.5, 1.75, 1.75)),
        ("siemens_prisma", (25, 128, 128), (5.2, 1.719, 1.719)),
        ("siemens_xa30", (39, 72, 72), (3.0, 3.0, 3.0)),
    ],
)
def test_real_diffusion_scans_are_read_with_their_brain(
    name: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    source = next(source for source in scan_sources(Segment.INFARCT) if source.name == name)
    scan = source.read(SHARED)
    assert scan.grid.shape == shape
    np.testing.assert_allclose(scan.grid.spacing_mm, spacing, atol=0.01)
    # an adult brain with its CSF has 1.1 to 1.9 litres
    assert 1.1 < scan.brain.sum() * scan.grid.voxel_mm3 / 1e6 < 1.9


@needs_shared
def test_a_real_mprage_is_read_as_axial_slices_with_its_brain() -> None:
    source = next(source for source in scan_sources(Segment.LACUNE) if source.name == "philips_elition")
    scan = source.read(SHARED)
    assert set(scan.images) == {SeriesType.T1}
    assert scan.grid.shape == (256, 256, 170)
    assert (np.abs(scan.grid.affine[:3, :3]).argmax(axis=0) == [2, 1, 0]).all()
    # without part of the gyri and of the cerebellum
    assert 1.0 < scan.brain.sum() * scan.grid.voxel_mm3 / 1e6 < 1.6
    middle = [int(place.mean()) for place in np.nonzero(scan.brain)]
    assert 128 < middle[0] < 200, "the neck, not the vertex, is what lies in the lower half"


@needs_shared
@pytest.mark.parametrize(
    ("segment", "name", "shown", "series"),
    [
        (Segment.WMH, "siemens_trio_t2_flair", "T2", SeriesType.T2_FLAIR),
        (Segment.INFARCT, "simvent_104252_flair", "T2_FLAIR", SeriesType.DWI_B1000),
        (Segment.MICROBLEED, "openms_07_flair_bright_csf", "T2_FLAIR", SeriesType.T2_STAR),
    ],
)
def test_surrogates_show_real_heads_as_another_series(
    segment: Segment, name: str, shown: str, series: SeriesType
) -> None:
    source = next(source for source in scan_sources(segment) if source.name == name)
    scan = source.read(SHARED)
    assert set(scan.images) == {series}
    assert scan.provenance.dataset.endswith(f", {shown} as {series}")
    assert not scan.marked.any()
    assert np.median(scan.images[series][scan.brain]) == pytest.approx(1000, rel=0.1)
    case = paint_scan(segment, "x", scan, np.random.default_rng(1))
    assert case.masks[segment].array.any()
