from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from tests.support.shared_data import SHARED, needs_shared
from training.cases import Case, CaseKind, Provenance
from training.cli import app
from training.dataset_manifest import read_manifest
from training.datasets import Dataset
from training.errors import CaseError, ManifestError
from training.nifti import read_nifti
from training.sources import Sources

MANIFESTS = Path(__file__).parents[3] / "training" / "manifests"

MANIFEST = {
    "name": "set",
    "licence": "MIT",
    "source": "nowhere",
    "series": {"T2_FLAIR": "{case}/flair.nii.gz"},
    "labels": {"WMH": {"file": "{case}/label.nii.gz", "values": [1, 3], "known": [1, 2, 3]}},
    "cases": ["p*"],
    "reserved": ["p9"],
}


CORRUPT = gzip.compress(b"", mtime=0)[:10] + b"\xff" * 400
"""A gzip file whose first block is of no kind."""


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    manifest = tmp_path / "set.yaml"
    manifest.write_text(yaml.safe_dump(MANIFEST))
    label = np.zeros((4, 5, 6), np.uint8)
    label[0, 0, 0], label[1, 0, 0], label[2, 0, 0] = 1, 2, 3
    for name in ("p1", "p2", "p9"):
        save(tmp_path / name / "flair.nii.gz", np.ones((4, 5, 6), np.int16))
        save(tmp_path / name / "label.nii.gz", label)
    return Dataset(read_manifest(manifest), tmp_path)


@pytest.mark.parametrize(
    "orientation",
    [
        pytest.param(np.diag([-0.9, 0.9, 6.5, 1.0]), id="LAS"),
        pytest.param(np.diag([0.9, 0.9, 6.5, 1.0]), id="RAS"),
        pytest.param(np.array([[0, 0, 0.9, 5], [0.9, 0, 0, 3], [0, -6.5, 0, 2], [0, 0, 0, 1.0]]), id="AIR"),
    ],
)
def test_nifti_voxel_keeps_its_place_with_x_and_y_negated(tmp_path: Path, orientation: np.ndarray) -> None:
    array = np.zeros((4, 5, 6), np.int16)
    array[3, 1, 2] = 7
    save(tmp_path / "a.nii.gz", array, orientation)
    x, y, z = (orientation @ [3, 1, 2, 1])[:3]
    volume = read_nifti(tmp_path / "a.nii.gz")
    found = volume.grid.to_lps(np.argwhere(volume.array == 7))
    np.testing.assert_allclose(found, [[-x, -y, z]], atol=1e-4)


def test_axes_run_up_back_and_left(tmp_path: Path) -> None:
    save(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), np.int16), np.diag([-0.9, 0.9, 6.5, 1.0]))
    grid = read_nifti(tmp_path / "a.nii.gz").grid
    assert grid.shape == (6, 5, 4)
    np.testing.assert_allclose(grid.affine[:3, :3], [[0, 0, 0.9], [0, 0.9, 0], [6.5, 0, 0]], atol=1e-6)


def test_mask_holds_the_values_that_mean_the_segment(dataset: Dataset) -> None:
    assert int(dataset.read("p1").masks[Segment.WMH].array.sum()) == 2


def test_reserved_case_is_left_out_but_can_be_read(dataset: Dataset) -> None:
    assert [case.name for case in dataset.iterate()] == ["p1", "p2"]
    assert dataset.read("p9").provenance == Provenance("p9", "set", "MIT", CaseKind.REAL)
    assert dataset.reserved_folders() == ("p9",)


@pytest.mark.parametrize(
    ("reserved", "kept"),
    [
        pytest.param(["p[29]"], ("p2", "p9"), id="pattern"),
        pytest.param(["p09"], (), id="nobody"),
    ],
)
def test_reserved_cases_may_be_a_pattern_and_are_counted(dataset: Dataset, reserved, kept) -> None:
    manifest = dataset.manifest.model_copy(update={"reserved": tuple(reserved)})
    other = Dataset(manifest, dataset.root)
    assert other.reserved_folders() == kept
    assert set(other.case_folders()) == {"p1", "p2", "p9"} - set(kept)
    (dataset.root / "set.yaml").write_text(yaml.safe_dump({**MANIFEST, "reserved": reserved}))
    for case in ("p1", "p2", "p9"):
        save(dataset.root / case / "flair.nii.gz", np.arange(120, dtype=np.int16).reshape(4, 5, 6))
    told = CliRunner().invoke(app, ["data", "--mri", str(dataset.root)]).output
    assert f"{3 - len(kept)} cases for training, {len(kept)} reserved\n" in told


def test_of_some_patients_no_other_is_read(dataset: Dataset) -> None:
    (dataset.root / "p2/label.nii.gz").write_bytes(b"no image")
    assert [case.name for case in dataset.iterate(["p1", "p9"])] == ["p1"]
    with pytest.raises(CaseError, match="p2"):
        list(dataset.iterate())


def test_label_of_another_grid_names_the_case(dataset: Dataset) -> None:
    save(dataset.root / "p2/label.nii.gz", np.zeros((4, 5, 7), np.uint8))
    with pytest.raises(CaseError, match="Case p2: the WMH has 7 x 5 x 4 voxels, its images T2_FLAIR"):
        dataset.read("p2")


def test_label_of_another_place_names_the_case(dataset: Dataset) -> None:
    moved = np.eye(4)
    moved[0, 3] = 5
    save(dataset.root / "p2/label.nii.gz", np.zeros((4, 5, 6), np.uint8), moved)
    with pytest.raises(CaseError, match=r"Case p2: the WMH lies up to 5\.0 mm from its image"):
        dataset.read("p2")


def test_label_value_that_nobody_explained_is_refused(dataset: Dataset) -> None:
    save(dataset.root / "p2/label.nii.gz", np.full((4, 5, 6), 4, np.uint8))
    with pytest.raises(CaseError, match=r"Case p2: label\.nii\.gz holds 4, known are 1, 2, 3"):
        dataset.read("p2")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x1f\x8b\x08broken", CORRUPT])
def test_unreadable_image_names_the_case(dataset: Dataset, content: bytes) -> None:
    (dataset.root / "p1/flair.nii.gz").write_bytes(content)
    with pytest.raises(CaseError, match=r"Case p1: flair\.nii\.gz"):
        dataset.read("p1")


def test_a_file_of_several_volumes_is_refused_one_of_one_is_not(dataset: Dataset) -> None:
    save(dataset.root / "p1/flair.nii.gz", np.zeros((4, 5, 6, 2), np.int16))
    with pytest.raises(CaseError, match="4 x 5 x 6 x 2 values, expected one volume"):
        dataset.read("p1")
    save(dataset.root / "p1/flair.nii.gz", np.zeros((4, 5, 6, 1), np.int16))
    assert dataset.read("p1").volumes[SeriesType.T2_FLAIR].grid.shape == (6, 5, 4)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        pytest.param(np.zeros((4, 5, 6), [(c, "u1") for c in "RGB"]), "colours or complex", id="RGB"),
        pytest.param(np.zeros((4, 5, 6), np.complex64), "colours or complex", id="complex"),
        pytest.param(np.full((4, 5, 6), np.nan, np.float32), "no voxel holds a number", id="nothing"),
    ],
)
@pytest.mark.parametrize("file", ["flair", "label"])
def test_what_holds_no_numbers_is_refused(dataset: Dataset, file: str, array: np.ndarray, told: str) -> None:
    save(dataset.root / f"p1/{file}.nii.gz", array)
    with pytest.raises(CaseError, match=rf"Case p1: {file}\.nii\.gz cannot be read: .*{told}"):
        dataset.read("p1")


def test_a_header_that_claims_more_than_the_memory_holds_names_the_case(dataset: Dataset) -> None:
    header = bytearray(nibabel.Nifti1Image(np.ones((4, 5, 6), np.float64), np.eye(4)).to_bytes())
    header[42:48] = (32767).to_bytes(2, "little") * 3  # 281 TB
    (dataset.root / "p1/flair.nii.gz").write_bytes(gzip.compress(bytes(header)))
    with pytest.raises(CaseError, match=r"Case p1: flair.* there is no memory for 32767 x 32767 x"):
        dataset.read("p1")


def test_not_a_number_is_nothing_and_infinite_is_refused(dataset: Dataset) -> None:
    array = np.ones((4, 5, 6), np.float32)
    array[0, 0, 0] = np.nan
    save(dataset.root / "p1/flair.nii.gz", array)
    assert dataset.read("p1").volumes[SeriesType.T2_FLAIR].array.sum() == array.size - 1
    array[0, 0, 1] = -np.inf
    save(dataset.root / "p1/flair.nii.gz", array)
    with pytest.raises(CaseError, match="some voxels are infinite"):
        dataset.read("p1")


def test_a_label_that_its_scale_has_rounded_is_whole(dataset: Dataset) -> None:
    label = np.zeros((4, 5, 6), np.float32)
    label[1, 1, 1], label[2, 2, 2] = 1.0000001, np.nan
    save(dataset.root / "p1/label.nii.gz", label)
    assert int(dataset.read("p1").masks[Segment.WMH].array.sum()) == 1
    label[1, 1, 1] = 0.5
    save(dataset.root / "p1/label.nii.gz", label)
    with pytest.raises(CaseError, match=r"holds 0\.5, known are"):
        dataset.read("p1")


def test_a_file_without_a_place_is_refused(dataset: Dataset) -> None:
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), None)
    nibabel.save(image, dataset.root / "p1/flair.nii.gz")
    with pytest.raises(CaseError, match="does not say where it lies"):
        dataset.read("p1")


@pytest.mark.parametrize(("unit", "told"), [("meter", "metres"), ("micron", "micrometres")])
def test_a_file_that_does_not_count_in_mm_is_refused(dataset: Dataset, unit: str, told: str) -> None:
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, dataset.root / "p1/flair.nii.gz")
    with pytest.raises(CaseError, match=rf"Case p1: flair\.nii\.gz cannot be read: .* {told} "):
        dataset.read("p1")


def test_what_is_missing_is_said_file_by_file(dataset: Dataset) -> None:
    assert dataset.missing() == ()
    (dataset.root / "p1/label.nii.gz").unlink()
    assert dataset.missing() == ("set: p1/label.nii.gz is missing",)


def test_a_missing_file_hides_no_fault_of_another_case(dataset: Dataset) -> None:
    (dataset.root / "p1/label.nii.gz").unlink()
    save(dataset.root / "p2/flair.nii.gz", np.ones((4, 5, 6), np.int16))
    assert dataset.missing() == ("set: p1/label.nii.gz is missing",)
    (fault,) = dataset.faults()
    assert fault.startswith("set: Case p2: T2_FLAIR: All voxels have the same value")


def test_empty_folder_is_told_what_it_should_hold(dataset: Dataset, tmp_path: Path) -> None:
    (sentence,) = Dataset(dataset.manifest, tmp_path / "empty").missing()
    assert "p*" in sentence
    assert "nowhere" in sentence


def test_a_case_needs_a_volume() -> None:
    with pytest.raises(CaseError, match="no volume"):
        Case("x", {}, {}, Provenance("p", "d", "l", CaseKind.REAL))


@pytest.mark.parametrize("part", ["unsure", "excluded"])
def test_a_value_has_one_meaning(tmp_path: Path, part: str) -> None:
    label = {**MANIFEST["labels"]["WMH"], part: [3]}
    (tmp_path / "set.yaml").write_text(yaml.safe_dump({**MANIFEST, "labels": {"WMH": label}}))
    with pytest.raises(ManifestError, match="3 is in two of values, unsure and excluded"):
        read_manifest(tmp_path / "set.yaml")


def test_patients_are_named_without_an_image_being_read(dataset: Dataset) -> None:
    patients = [case.provenance.patient for case in Sources(dataset.root, None).real(Segment.WMH)]
    for image in dataset.root.glob("*/flair.nii.gz"):
        image.write_bytes(b"")
    assert Sources(dataset.root, None).patients(Segment.WMH) == patients == ["p1", "p2"]


@pytest.mark.parametrize(
    ("case", "patient"), [("site/sub-1/ses-2", "sub-1"), ("sub-1/ses-2", "sub-1"), ("sub-1", "sub-1")]
)
def test_patient_may_be_the_folder_right_above_a_case(tmp_path: Path, case: str, patient: str) -> None:
    (tmp_path / "set.yaml").write_text(yaml.safe_dump({**MANIFEST, "patient": "{parent}"}))
    assert Dataset(read_manifest(tmp_path / "set.yaml"), tmp_path).patient(case) == patient


def test_two_descriptions_of_one_name_are_refused(dataset: Dataset) -> None:
    (dataset.root / "tes.yaml").write_text((dataset.root / "set.yaml").read_text())
    with pytest.raises(ManifestError, match=r"Manifest tes\.yaml: name: set is that of set\.yaml, too"):
        Sources(dataset.root, None).datasets()


@pytest.mark.parametrize("part", ["unsure", "excluded"])
def test_a_part_that_does_not_count_must_fit(part: str) -> None:
    volume, other = (Volume(np.zeros(shape), Grid(shape, np.eye(4))) for shape in ((2, 3, 4), (2, 3, 5)))
    origin = Provenance("p", "d", "l", CaseKind.REAL)
    with pytest.raises(CaseError, match=f"the {part} part of WMH has 2 x 3 x 5 voxels"):
        Case("x", {SeriesType.T1: volume}, {Segment.WMH: volume}, origin, **{part: {Segment.WMH: other}})


def test_brain_mask_must_fit() -> None:
    volume, other = (Volume(np.zeros(shape), Grid(shape, np.eye(4))) for shape in ((2, 3, 4), (2, 3, 5)))
    with pytest.raises(CaseError, match="brain mask"):
        Case("x", {SeriesType.T1: volume}, {}, Provenance("p", "d", "l", CaseKind.REAL), other)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        pytest.param(yaml.safe_dump(MANIFEST | {"colour": 1}), "colour", id="unknown-key"),
        pytest.param(yaml.safe_dump(MANIFEST | {"cases": []}), "cases", id="no-cases"),
        pytest.param("name: [", "file", id="no-yaml"),
        pytest.param("", "file", id="empty"),
    ],
)
def test_wrong_manifest_names_the_key(tmp_path: Path, content: str, key: str) -> None:
    path = tmp_path / "set.yaml"
    path.write_text(content)
    with pytest.raises(ManifestError, match=r"Manifest set\.yaml: ") as raised:
        read_manifest(path)
    assert raised.value.key == key


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"gone\.yaml"):
        read_manifest(tmp_path / "gone.yaml")


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_manifest_loads_and_says_what_a_user_lacks(path: Path, tmp_path: Path) -> None:
    manifest = read_manifest(path)
    assert manifest.name == path.stem
    assert len(Dataset(manifest, tmp_path).missing()) == 1


def test_isles_layout_is_found(tmp_path: Path) -> None:
    name = "sub-strokecase0001"
    root = tmp_path / "ISLES-2022"
    save(root / name / "ses-0001/dwi" / f"{name}_ses-0001_dwi.nii.gz", np.ones((3, 3, 3), np.int16))
    save(
        root / "derivatives" / name / "ses-0001" / f"{name}_ses-0001_msk.nii.gz", np.ones((3, 3, 3), np.uint8)
    )
    data = Dataset(read_manifest(MANIFESTS / "isles2022.yaml"), tmp_path)
    assert data.missing() == ()
    (case,) = data.iterate()
    assert case.provenance.patient == "isles2022_sub-strokecase0001"
    assert bool(case.masks[Segment.INFARCT].array.all())


@needs_shared
def test_patient_of_the_demonstration_is_in_no_training() -> None:
    data = Dataset(read_manifest(MANIFESTS / "ms3seg.yaml"), SHARED / "mri")
    assert data.missing() == ()
    assert len(data.case_folders()) == 6
    assert "ms3seg_112776" not in data.case_folders()


@needs_shared
@pytest.mark.parametrize(
    ("name", "case", "voxels"), [("simvent", "simvent_104252", 2775), ("openms", "openms_07", 1300)]
)
def test_labels_of_the_real_sets_are_read(name: str, case: str, voxels: int) -> None:
    data = Dataset(read_manifest(MANIFESTS / f"{name}.yaml"), SHARED / "mri")
    label = nibabel.load(SHARED / "mri" / case / "label.nii.gz").get_fdata()
    expected = int(np.isin(label, [1, 3] if name == "simvent" else [1]).sum())
    assert expected == voxels
    found = data.read(case)
    marked = found.masks[Segment.WMH].array
    if Segment.WMH in found.unsure:
        marked = marked | found.unsure[Segment.WMH].array
    assert int(marked.sum()) == expected
