from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from engines.segments import Segment, SeriesType
from engines.volume import Grid
from tests.support.label_head import write_label_head
from training.cases import CaseKind, Provenance
from training.errors import CaseError, SimulationSourceError, TrainingError
from training.evaluation import made_traits
from training.simulation.anatomy import Anatomy, Site, load_anatomy
from training.simulation.canvas import rasterise
from training.simulation.painting import paint_scan
from training.simulation.scans import Scan, scan_sources
from training.simulation.shapes import LesionLibrary, Shape, blob, read_lesion_library, tube
from training.simulation.simulator import SERIES_OF, simulate
from training.simulation.tissues import Tissue
from training.simulation.visibility import BRIGHT, drop_unseen, visible


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another cost more than these small volumes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def anatomy(tmp_path_factory: pytest.TempPathFactory) -> Anatomy:
    folder = tmp_path_factory.mktemp("anatomy")
    return load_anatomy(write_label_head(folder / "head.nii.gz"), folder / "cache")


@pytest.fixture
def library() -> LesionLibrary:
    mask = np.ones((3, 4, 5), bool)
    box = np.array([[10, 20, 30, 3, 4, 5]], np.int16)
    offsets = np.array([0, len(np.packbits(mask))])
    return LesionLibrary(np.packbits(mask), offsets, box, np.array([60], np.int32), np.eye(4))


def test_anatomy_comes_from_the_cache_as_it_was_prepared(anatomy: Anatomy, tmp_path: Path) -> None:
    path = write_label_head(tmp_path / "head.nii.gz")
    first = load_anatomy(path, tmp_path / "cache")
    path.unlink()
    again = load_anatomy(path, tmp_path / "cache")
    np.testing.assert_array_equal(first.tissue, again.tissue)
    np.testing.assert_array_equal(first.field_ppm, again.field_ppm)
    assert {site: len(places) for site, places in first.sites.items()} == {
        site: len(places) for site, places in again.sites.items()
    }


@pytest.mark.parametrize(
    ("site", "tissues"),
    [
        (Site.BASAL_GANGLIA, {Tissue.CAUDATE, Tissue.PUTAMEN, Tissue.PALLIDUM}),
        (Site.THALAMUS, {Tissue.THALAMUS}),
        (Site.DEEP_WHITE, {Tissue.WHITE_MATTER}),
        (Site.BRAINSTEM, {Tissue.BRAINSTEM}),
        (Site.SULCUS, {Tissue.SULCAL_CSF}),
    ],
)
def test_sites_lie_in_their_tissue(anatomy: Anatomy, site: Site, tissues: set[Tissue]) -> None:
    places = anatomy.sites[site]
    assert len(places) > 10
    assert {Tissue(value) for value in anatomy.tissue[tuple(places.T)]} <= tissues


def test_blob_has_the_volume_of_its_ellipsoid() -> None:
    shape = blob((40.2, 30.7, 20.1), (6, 5, 4), np.random.default_rng(0), irregularity=0.0)
    assert shape.occupancy.sum() == pytest.approx(4 / 3 * np.pi * 6 * 5 * 4, rel=0.05)
    centre = np.array(ndimage.center_of_mass(shape.occupancy)) + shape.corner
    np.testing.assert_allclose(centre, (40.2, 30.7, 20.1), atol=0.15)


def test_thin_tube_fills_the_volume_of_its_cylinder() -> None:
    path = np.stack([np.full(41, 10.0), np.full(41, 12.0), np.arange(0, 20.5, 0.5)], axis=-1)
    volume = tube(path, 1.5).occupancy.sum()
    assert volume == pytest.approx(np.pi * 1.5**2 * 20 + 4 / 3 * np.pi * 1.5**3, rel=0.12)


def test_library_mask_lands_where_the_affine_says(library: LesionLibrary) -> None:
    to_voxel = np.array([[0, 0, 1.0, 3], [0, -1, 0, 60], [-1, 0, 0, 50], [0, 0, 0, 1]])
    shape = library.place(0, to_voxel)
    centre = np.array(ndimage.center_of_mass(shape.occupancy)) + shape.corner
    np.testing.assert_allclose(centre, to_voxel[:3, :3] @ [11, 21.5, 32] + to_voxel[:3, 3], atol=1e-5)
    assert shape.occupancy.sum() == pytest.approx(60, rel=1e-3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.5, 0.8), (3.0, 1.75, 1.75)])
def test_shape_keeps_its_volume_on_any_grid(spacing: tuple[float, float, float]) -> None:
    fine = blob((41.3, 50.2, 60.4), (5, 5, 5), np.random.default_rng(0), irregularity=0.0)
    affine = np.diag([*spacing, 1.0])
    coarse = rasterise(fine, Grid((20, 200, 200), affine))
    assert coarse.occupancy.sum() * np.prod(spacing) == pytest.approx(fine.occupancy.sum(), rel=0.05)
    centre = (np.array(ndimage.center_of_mass(coarse.occupancy)) + coarse.corner) * spacing
    np.testing.assert_allclose(centre, (41.3, 50.2, 60.4), atol=0.3)


def test_lesion_is_outlined_at_half_of_its_own_height() -> None:
    occupancy = np.zeros((3, 12, 12), np.float32)
    occupancy[1, 2, 2:6] = (0.3, 0.45, 0.6, 0.31)
    occupancy[1, 9, 2:5] = (1.0, 0.49, 0.51)
    occupancy[1, 6, 9] = 0.27
    np.testing.assert_array_equal(
        np.argwhere(visible(occupancy)), [[1, 2, 3], [1, 2, 4], [1, 2, 5], [1, 9, 2], [1, 9, 4]]
    )


def grey_plane(noise: float) -> np.ndarray:
    """Return (1, 40, 40) int16 pixels of 1000 with a regular noise: half of them above, half below."""
    signs = np.where(np.indices((1, 40, 40)).sum(axis=0) % 2, 1, -1)
    return (1000 + noise * signs).astype(np.int16)


def square(corner: int, side: int) -> tuple[int, slice, slice]:
    return (0, slice(corner, corner + side), slice(corner, corner + side))


def test_lesion_that_nobody_sees_is_not_marked() -> None:
    image, mask = grey_plane(noise=0), np.zeros((1, 40, 40), np.bool_)
    faint, clear, dark = square(5, 4), square(15, 4), square(27, 4)
    for place, level in ((faint, 1050), (clear, 1200), (dark, 800)):
        image[place], mask[place] = level, True
    kept = drop_unseen(mask, image, Segment.INFARCT)
    assert kept[clear].all()
    assert kept.sum() == 16  # neither the faint one nor the one that should be bright and is dark
    assert drop_unseen(mask, image, Segment.MICROBLEED)[dark].all()


@pytest.mark.parametrize(("side", "seen"), [(2, False), (4, True)])
def test_in_noise_a_larger_lesion_of_the_same_contrast_is_seen(side: int, seen: bool) -> None:
    # A spread of 1.4826 x 100 and 200 of contrast: 2 x 200 / 148 is below five, 4 x 200 / 148 is above.
    image, mask = grey_plane(noise=100), np.zeros((1, 40, 40), np.bool_)
    place = square(18, side)
    image[place], mask[place] = image[place] + 200, True
    assert drop_unseen(mask, image, Segment.INFARCT).any() == seen
    assert drop_unseen(mask, image, Segment.WMH).any()


def test_a_ventricle_beside_a_lesion_is_no_noise() -> None:
    image, mask = grey_plane(noise=20), np.zeros((1, 40, 40), np.bool_)
    image[0, :, 24:] = 100
    mask[0, 18:21, 18:21], image[0, 18:21, 18:21] = True, 1200
    assert drop_unseen(mask, image, Segment.INFARCT).sum() == 9


@pytest.mark.parametrize("segment", list(Segment))
def test_lesions_differ_from_their_surroundings_as_they_should(segment: Segment, anatomy: Anatomy) -> None:
    found = 0
    for seed in range(6):
        case = simulate(segment, "x", anatomy, None, np.random.default_rng(seed))
        mask = case.masks[segment].array
        assert set(case.volumes) == set(SERIES_OF[segment])
        if mask.sum() < 8 or case.provenance.details["stripped"] == "True":
            continue
        found += 1
        image = case.volumes[SERIES_OF[segment][0]].array.astype(float)
        around = ndimage.binary_dilation(mask, np.ones((1, 5, 5)), iterations=2)
        around &= ~ndimage.binary_dilation(mask, np.ones((1, 3, 3)))
        assert bool(np.median(image[mask]) > np.median(image[around])) is BRIGHT[segment]
    assert found >= 1


def test_some_heads_are_free_of_lesions(anatomy: Anatomy) -> None:
    cases = [simulate(Segment.INFARCT, "x", anatomy, None, np.random.default_rng(seed)) for seed in range(7)]
    counts = [case.provenance.details["lesions"] for case in cases]
    assert 0 in counts
    assert max(counts) > 0
    for case in cases:
        if not case.provenance.details["lesions"]:
            assert not case.masks[Segment.INFARCT].array.any()


def test_same_seed_gives_the_same_case(anatomy: Anatomy) -> None:
    one, two = (simulate(Segment.MICROBLEED, "x", anatomy, None, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(
        one.volumes[SeriesType.T2_STAR].array, two.volumes[SeriesType.T2_STAR].array
    )
    assert one.provenance == two.provenance


def real_scan(segment: Segment) -> Scan:
    """A head of the right tissue brightness with noise, standing for a real scan."""
    z, y, x = np.meshgrid(*(np.arange(size) - (size - 1) / 2 for size in (16, 110, 96)), indexing="ij")
    radius = np.sqrt((z / 8) ** 2 + (y / 52) ** 2 + (x / 45) ** 2)
    image = np.where(radius < 0.95, 1000.0, 30.0) + np.random.default_rng(0).normal(0, 15, radius.shape)
    affine = np.array([[0, 0, 1.4, 0], [0, 1.4, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = Grid((16, 110, 96), affine)
    images = {series: image.astype(np.float32) for series in SERIES_OF[segment]}
    origin = Provenance("patient", "set", "MIT", CaseKind.REAL)
    return Scan(images, grid, radius < 0.95, np.zeros(radius.shape, np.bool_), origin)


@pytest.mark.parametrize("segment", list(Segment))
def test_painted_lesions_differ_from_the_scan_they_are_painted_into(segment: Segment) -> None:
    scan = real_scan(segment)
    painted = 0
    for seed in range(6):
        case = paint_scan(segment, "x", scan, np.random.default_rng(seed))
        assert case.provenance.kind is CaseKind.PAINTED
        assert case.provenance.patient == "patient"
        mask = case.masks[segment].array
        image = case.volumes[SERIES_OF[segment][0]].array.astype(float)
        if mask.sum() > 5:
            painted += 1
            around = ndimage.binary_dilation(mask, np.ones((1, 7, 7))) & ~ndimage.binary_dilation(mask)
            assert bool(np.median(image[mask]) > np.median(image[around])) is BRIGHT[segment]
    assert painted >= 2


def test_lacunes_are_painted_into_a_t1_without_a_flair() -> None:
    scan = real_scan(Segment.LACUNE)
    alone = replace(scan, images={SeriesType.T1: scan.images[SeriesType.T1]})
    cases = [paint_scan(Segment.LACUNE, "x", alone, np.random.default_rng(seed)) for seed in range(3)]
    assert all(set(case.volumes) == {SeriesType.T1} for case in cases)
    assert any(case.masks[Segment.LACUNE].array.any() for case in cases)


def test_what_is_dark_on_t1_and_bright_on_flair_to_its_middle_is_no_lacune() -> None:
    for seed in range(4):
        case = paint_scan(Segment.LACUNE, "x", real_scan(Segment.LACUNE), np.random.default_rng(seed))
        t1, flair = (case.volumes[kind].array / 1.0 for kind in (SeriesType.T1, SeriesType.T2_FLAIR))
        tissue = [np.median(image[image > image.mean()]) for image in (t1, flair)]
        solid = (t1 < 0.8 * tissue[0]) & (flair > 1.25 * tissue[1])
        parts, count = ndimage.label(solid)
        large = [number for number in range(1, count + 1) if (parts == number).sum() > 4]
        if large:
            assert not case.masks[Segment.LACUNE].array[np.isin(parts, large)].any()
            return
    pytest.fail("none was painted")


def test_a_painted_case_says_what_diffusion_its_scan_shows() -> None:
    scan = real_scan(Segment.INFARCT)
    told = replace(scan, provenance=replace(scan.provenance, details={"diffusion": "single direction"}))
    for one, traits in ((scan, ()), (told, ("single direction",))):
        case = paint_scan(Segment.INFARCT, "x", one, np.random.default_rng(0))
        assert made_traits(case, case.volumes[SeriesType.DWI_B1000])[2:] == traits


def test_scan_without_a_brain_is_refused() -> None:
    scan = real_scan(Segment.WMH)
    scan.brain[:] = False
    with pytest.raises(CaseError, match="Case x: no brain"):
        paint_scan(Segment.WMH, "x", scan, np.random.default_rng(0))


def test_real_lesions_stay_marked_under_what_is_painted() -> None:
    scan = real_scan(Segment.WMH)
    scan.marked[8, 50:54, 40:44] = True
    for seed in range(3):
        case = paint_scan(Segment.WMH, "x", scan, np.random.default_rng(seed))
        assert case.masks[Segment.WMH].array[8, 50:54, 40:44].all()


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_unreadable_label_map_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(SimulationSourceError, match=r"a\.nii\.gz"):
        load_anatomy(tmp_path / "a.nii.gz", tmp_path / "cache")


def test_label_map_without_a_brain_is_refused(tmp_path: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.ones((8, 8, 8), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(SimulationSourceError, match="no white matter"):
        load_anatomy(tmp_path / "a.nii.gz", tmp_path / "cache")


def test_broken_lesion_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(SimulationSourceError, match="lesions"):
        read_lesion_library(tmp_path / "lesions.npz")


@pytest.mark.parametrize("segment", list(Segment))
def test_missing_real_scan_is_named(segment: Segment, tmp_path: Path) -> None:
    for source in scan_sources(segment):
        with pytest.raises(TrainingError, match=re.escape(str(tmp_path))):
            source.read(tmp_path)


def test_shape_over_the_edge_is_cut_off(anatomy: Anatomy) -> None:
    from training.simulation.contrast import SpinEcho
    from training.simulation.scene import build_scene
    from training.simulation.tissues import draw_tissues, one_tissue

    rng = np.random.default_rng(0)
    scene = build_scene(anatomy, draw_tissues(rng), {SeriesType.T1: SpinEcho(500, 10, 1)}, rng)
    corner = Shape((-3, -3, -3), np.ones((5, 5, 5), np.float32))
    assert scene.paint(corner, one_tissue(1, 1000, 100, 50, 1), wanted=True) == 8
    assert scene.target.sum() == 8
    outside = Shape((999, 0, 0), np.ones((5, 5, 5), np.float32))
    assert scene.paint(outside, one_tissue(1, 1000, 100, 50, 1)) == 0
