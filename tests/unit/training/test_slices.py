"""Prepared slices: stored once, drawn reproducibly, refused when a case does not fit."""

import resource
from collections.abc import Iterator
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import torch

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from tests.support.training_cases import bright_spot_case, tiny_recipe
from training.alterations import ISOTROPIC, alterations
from training.cases import Case, CaseKind
from training.errors import CaseError, StorageError
from training.losses import IGNORE
from training.sampling import Sampler
from training.slices import case_digest, store_cases, variants


def test_a_case_is_stored_as_the_slices_that_serving_prepares(tmp_path) -> None:
    (stored,) = store_cases([bright_spot_case("a")], tiny_recipe(), tmp_path)
    assert stored.images.shape == (6, 3, 32, 32)
    assert stored.targets.shape == (6, 32, 32)
    # a lesion of 6 x 6 mm on pixels of 1.5 mm is 4 x 4 of them, on two slices
    assert stored.targets.sum() == pytest.approx(2 * 16, abs=12)
    assert stored.patient == "patient_a"


def test_a_stored_case_is_not_prepared_again(tmp_path) -> None:
    store_cases([bright_spot_case("a")], tiny_recipe(), tmp_path)
    first = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    store_cases([bright_spot_case("a")], tiny_recipe(), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == first


class Met(dict):
    """Volumes that are only given to a thread when another one asks for some, too."""

    barrier = Barrier(2, timeout=60)

    def get(self, key: object, default: object = None) -> object:
        self.barrier.wait()
        return super().get(key, default)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_as_many_cases_are_prepared_at_once_as_torch_has_threads(tmp_path) -> None:
    cases = [bright_spot_case(str(number), seed=number) for number in range(4)]
    together = [replace(case, volumes=Met(case.volumes)) for case in cases]
    stored = store_cases(together, tiny_recipe(), tmp_path / "together")
    assert [case.name for case in stored] == ["0", "1", "2", "3"]
    for case, found in zip(cases, stored, strict=True):
        (alone,) = store_cases([case], tiny_recipe(), tmp_path / "alone")
        assert np.array_equal(alone.images, found.images)
        assert np.array_equal(alone.targets, found.targets)


@pytest.mark.usefixtures("two_threads")
def test_few_cases_are_read_before_the_first_ones_are_prepared(tmp_path) -> None:
    read: list[int] = []

    def cases() -> Iterator[Case]:
        for number in range(50):
            read.append(number)
            case = bright_spot_case(str(number), lesion=number > 0)
            yield case if number else replace(case, masks={})

    with pytest.raises(CaseError, match="Case 0: no WMH mask"):
        store_cases(cases(), tiny_recipe(), tmp_path)
    assert len(read) < 10


def test_cases_whose_names_hold_points_are_kept_apart(tmp_path) -> None:
    names = [f"1.2.826.{number}" for number in (3, 4)]
    cases = [bright_spot_case(name, seed=seed) for seed, name in enumerate(names)]
    first, second = store_cases(cases, tiny_recipe(), tmp_path)
    assert not np.array_equal(first.targets, second.targets)


def test_a_full_disk_is_told_and_leaves_no_half_of_an_array(tmp_path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"images\.npy: .* MB needed; free space"):
            store_cases([bright_spot_case("a")], tiny_recipe(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_another_mask_is_another_digest() -> None:
    recipe = tiny_recipe()
    with_lesion, without = bright_spot_case("a"), bright_spot_case("a", lesion=False)
    same_image = Case("a", with_lesion.volumes, without.masks, with_lesion.provenance)
    assert case_digest(with_lesion, recipe) != case_digest(same_image, recipe)
    assert case_digest(with_lesion, recipe) == case_digest(bright_spot_case("a"), recipe)


def test_the_same_voxels_in_another_orientation_are_prepared_anew(tmp_path) -> None:
    case, turned = bright_spot_case("a"), bright_spot_case("a")
    upside_down = Grid((6, 48, 48), case.masks[Segment.WMH].grid.affine @ np.diag([-1.0, 1.0, 1.0, 1.0]))
    volumes = {kind: Volume(volume.array, upside_down) for kind, volume in turned.volumes.items()}
    masks = {Segment.WMH: Volume(turned.masks[Segment.WMH].array, upside_down)}
    turned = Case("a", volumes, masks, turned.provenance)
    first, second = (store_cases([each], tiny_recipe(), tmp_path)[0] for each in (case, turned))
    assert first.digest == second.digest
    assert first.geometry != second.geometry
    assert np.array_equal(first.targets[::-1], second.targets)
    assert not np.array_equal(first.images[:, 1], second.images[:, 1])


@pytest.mark.parametrize("part", ["unsure", "excluded"])
def test_what_does_not_count_becomes_ignored_pixels_but_never_hides_a_lesion(tmp_path, part) -> None:
    case = bright_spot_case("a")
    everywhere = Volume(np.ones((6, 48, 48), dtype=bool), case.masks[Segment.WMH].grid)
    doubted = replace(case, **{part: {Segment.WMH: everywhere}})
    plain, ignored = (store_cases([each], tiny_recipe(), tmp_path)[0].targets for each in (case, doubted))
    assert np.array_equal(plain == 1, ignored == 1)
    assert set(np.unique(ignored)) == {1, IGNORE}


def test_a_case_without_a_series_is_named(tmp_path) -> None:
    with pytest.raises(CaseError, match="Case a: no T1"):
        store_cases([bright_spot_case("a")], tiny_recipe(inputs=(SeriesType.T1,)), tmp_path)


def test_a_mask_on_another_series_of_the_same_size_is_refused(tmp_path) -> None:
    case, other = bright_spot_case("a"), bright_spot_case("b")
    affine = case.volumes[SeriesType.T2_FLAIR].grid.affine.copy()
    affine[2, 3] += 8
    flair = Volume(other.volumes[SeriesType.T2_FLAIR].array, Grid((6, 48, 48), affine))
    volumes = {SeriesType.T2_FLAIR: flair, SeriesType.T1: case.volumes[SeriesType.T2_FLAIR]}
    with pytest.raises(CaseError, match="WMH mask is not on the grid of its T2_FLAIR"):
        store_cases([Case("a", volumes, case.masks, case.provenance)], tiny_recipe(), tmp_path)


def test_an_image_that_shows_nothing_is_named(tmp_path) -> None:
    case = bright_spot_case("a")
    flat = case.volumes[SeriesType.T2_FLAIR]
    volumes = {SeriesType.T2_FLAIR: flat.with_array(np.full(flat.array.shape, 7))}
    with pytest.raises(CaseError, match="Case a: All voxels have the same value"):
        store_cases([Case("a", volumes, case.masks, case.provenance)], tiny_recipe(), tmp_path)


def test_an_optional_series_may_be_missing(tmp_path) -> None:
    inputs = (SeriesType.T2_FLAIR, SeriesType.T1)
    recipe = tiny_recipe(inputs=inputs, optional_inputs=(SeriesType.T1,))
    (stored,) = store_cases([bright_spot_case("a")], recipe, tmp_path)
    assert stored.images.shape == (6, 6, 32, 32)
    assert not stored.images[:, 3:].any()


def test_a_case_without_the_segment_is_named(tmp_path) -> None:
    with pytest.raises(CaseError, match="Case a: no LACUNE mask"):
        store_cases([bright_spot_case("a")], tiny_recipe(segment=Segment.LACUNE), tmp_path)


def test_a_mask_on_the_grid_of_another_series_is_refused(tmp_path) -> None:
    case = bright_spot_case("a")
    grid = Grid((5, 48, 48), case.volumes[SeriesType.T2_FLAIR].grid.affine)
    volumes = {**case.volumes, SeriesType.T1: Volume(np.zeros(grid.shape), grid)}
    masks = {Segment.WMH: Volume(np.zeros(grid.shape, dtype=bool), grid)}
    with pytest.raises(CaseError, match="not on the grid of its T2_FLAIR"):
        store_cases([Case("a", volumes, masks, case.provenance)], tiny_recipe(), tmp_path)


def test_real_scans_also_come_without_skull_and_simulated_ones_do_not() -> None:
    case = bright_spot_case("a", CaseKind.REAL)
    brain = Volume(np.ones((6, 48, 48), dtype=bool), case.masks[Segment.WMH].grid)
    scanned = Case("a", case.volumes, case.masks, case.provenance, brain)
    assert [variant.name for variant in variants(scanned)] == ["a", "a_stripped"]
    assert [variant.name for variant in variants(bright_spot_case("b"))] == ["b"]


def test_thin_slices_of_a_real_scan_are_also_averaged_into_thick_ones() -> None:
    case = bright_spot_case("a", CaseKind.REAL)
    array = np.arange(7.0)[:, None, None] * np.ones((7, 4, 4))
    grid = Grid((7, 4, 4), np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])
    mask = Volume(array >= 2, grid)
    thin = Case("a", {SeriesType.T2_FLAIR: Volume(array, grid)}, {Segment.WMH: mask}, case.provenance)
    thick = {variant.name: variant for variant in variants(thin)}["a_thick3"]
    volume = thick.volumes[SeriesType.T2_FLAIR]
    # slices 0-2 and 3-5 average to 1 and 4, at heights 1 and 4 mm, 3 mm apart; slice 6 is left over
    assert volume.array[:, 0, 0].tolist() == [1.0, 4.0]
    assert volume.grid.spacing_mm[0] == 3.0
    assert volume.grid.to_lps(np.array([[0, 0, 0], [1, 0, 0]]))[:, 2].tolist() == [1.0, 4.0]
    assert thick.masks[Segment.WMH].array[:, 0, 0].tolist() == [False, True]


def test_thick_slices_become_voxels_of_one_millimetre_in_the_same_place() -> None:
    case = bright_spot_case("a", CaseKind.REAL)
    what, altered = list(alterations(case))[-1]
    volume, mask = altered.volumes[SeriesType.T2_FLAIR], altered.masks[Segment.WMH]
    assert what == ISOTROPIC
    assert volume.grid.shape == (24, 48, 48)
    assert volume.grid.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    # slices of 4 mm begin at -2 mm, so the first of 1 mm lies at -1.5 mm
    assert volume.grid.to_lps(np.array([[0, 0, 0]]))[0].tolist() == [0.0, 0.0, -1.5]
    np.testing.assert_array_equal(mask.array, np.repeat(case.masks[Segment.WMH].array, 4, axis=0))


def test_a_draw_depends_on_seed_and_step_alone(tmp_path) -> None:
    cases = store_cases([bright_spot_case("a"), bright_spot_case("b", seed=1)], tiny_recipe(), tmp_path)
    weights = {CaseKind.SIMULATED: 1.0}
    one, other = Sampler(cases, weights, 0.5, seed=7), Sampler(cases, weights, 0.5, seed=7)
    one.draw(0, 4)
    assert np.array_equal(one.draw(5, 4)[0], other.draw(5, 4)[0])
    assert not np.array_equal(one.draw(5, 4)[0], one.draw(6, 4)[0])


def test_the_wanted_share_of_slices_shows_a_lesion(tmp_path) -> None:
    cases = store_cases([bright_spot_case("a"), bright_spot_case("b", seed=1)], tiny_recipe(), tmp_path)
    _, targets = Sampler(cases, {CaseKind.SIMULATED: 1.0}, 1.0, seed=7).draw(0, 32)
    assert targets.any(axis=(1, 2, 3)).all()


def test_kinds_without_a_case_give_their_weight_to_the_others(tmp_path) -> None:
    cases = store_cases([bright_spot_case("a")], tiny_recipe(), tmp_path)
    sampler = Sampler(cases, {CaseKind.SIMULATED: 0.1, CaseKind.REAL: 0.9}, 0.5, seed=7)
    assert sampler.slices == 6
    assert sampler.draw(0, 8)[0].shape == (8, 3, 32, 32)
