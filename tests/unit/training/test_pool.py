from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from training.cases import Case, CaseKind, Provenance
from training.errors import CaseError, StorageError
from training.pool import Split, case_paths, iterate, read_pool_case, write_pool_case


def case(name: str = "simulated_0001_a") -> Case:
    rng = np.random.default_rng(1)
    affine = np.array([[0, 0.1, 0.8, -90], [0.2, 0.8, 0, -100], [5.5, 0, 0, -60], [0, 0, 0, 1.0]])
    grid = Grid((5, 7, 11), affine)
    volumes = {
        kind: Volume(rng.integers(-900, 16000, grid.shape).astype(np.int16), grid)
        for kind in (SeriesType.T1, SeriesType.T2_FLAIR)
    }
    mask = Volume(rng.random(grid.shape) > 0.7, grid)
    origin = Provenance(
        "anatomy_1", "simulated", "MIT", CaseKind.SIMULATED, {"slice_mm": 5.5, "load": "mild"}
    )
    return Case(name, volumes, {Segment.LACUNE: mask}, origin)


def test_case_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = case()
    found = read_pool_case(write_pool_case(tmp_path, written, Segment.LACUNE))
    assert found.name == written.name
    assert found.provenance == written.provenance
    assert set(found.volumes) == set(written.volumes)
    for kind, volume in written.volumes.items():
        np.testing.assert_array_equal(found.volumes[kind].array, volume.array)
        np.testing.assert_array_equal(found.volumes[kind].grid.affine, volume.grid.affine)
    np.testing.assert_array_equal(found.masks[Segment.LACUNE].array, written.masks[Segment.LACUNE].array)


def test_cases_come_in_the_order_of_their_names_and_of_their_split_alone(tmp_path: Path) -> None:
    for split, names in ((Split.TRAIN, ("b", "a", "c")), (Split.TEST, ("d",))):
        for name in names:
            write_pool_case(tmp_path / Segment.LACUNE / split, case(name), Segment.LACUNE)
    assert [found.name for found in iterate(tmp_path, Segment.LACUNE, Split.TRAIN)] == ["a", "b", "c"]
    assert [found.name for found in iterate(tmp_path, Segment.LACUNE, Split.TEST)] == ["d"]
    assert case_paths(tmp_path, Segment.WMH, Split.TRAIN) == ()


def test_nothing_unfinished_is_left_beside_a_case(tmp_path: Path) -> None:
    path = write_pool_case(tmp_path, case(), Segment.LACUNE)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_case(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(StorageError, match=r"simulated_0001_a\.npz: .* MB needed; free space"):
            write_pool_case(tmp_path, case(), Segment.LACUNE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 10, 500])
def test_file_that_was_cut_off_names_the_case(tmp_path: Path, kept: int) -> None:
    path = write_pool_case(tmp_path, case(), Segment.LACUNE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CaseError, match=r"Case simulated_0001_a: .*delete"):
        read_pool_case(path)


def test_file_of_other_arrays_is_no_case(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros(3))
    with pytest.raises(CaseError, match="Case x"):
        read_pool_case(tmp_path / "x.npz")
