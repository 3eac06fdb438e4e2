"""Whatever way the slices lie: what is painted in patient space returns at the same points of it."""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from node.model import SourceVolume
from node.results.files import encode
from node.results.result_object import ResultObject
from node.results.seg import SegmentationPlan, SegmentMask, build_segmentation
from node.results.source_header import read_source_header
from tests.support.phantoms import phantom_grid, write_enhanced
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    STUDY_UID,
    ball,
    context,
    model_of,
    source_from,
)
from tests.support.seg_reading import lps_points, mask_points
from tests.support.series_files import Order, write_series

EDGE_MM = 0.01
"""Voxels this near to the edge of the ball may fall on either side: headers hold 16 characters a number."""

angles = st.tuples(*(st.floats(-180, 180) for _ in range(3)))
spacings = st.tuples(st.floats(1.0, 7.0), st.floats(0.4, 3.0), st.floats(0.4, 3.0))
shapes = st.tuples(st.integers(3, 7), st.integers(5, 14), st.integers(5, 14))
orders = st.sampled_from(["ascending", "descending", "shuffled"])
offsets = st.tuples(*(st.floats(-150, 150) for _ in range(3)))


def turned_grid(
    angles_deg: tuple[float, float, float],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    centre: tuple[float, float, float],
) -> Grid:
    """Return a grid in any orientation; its slices ascend along row cosines x column cosines."""
    turn = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    row_cosines, column_cosines = turn[:, 0], turn[:, 1]
    axes = np.stack([np.cross(row_cosines, column_cosines), column_cosines, row_cosines], axis=1)
    return phantom_grid(shape, spacing_mm, axes, centre)


def written_and_read(grid: Grid, order: Order, *, enhanced: bool, folder: Path) -> SourceVolume:
    volume = Volume(np.random.default_rng(0).uniform(0, 900, grid.shape).astype(np.float32), grid)
    pattern = PATTERN_OF[SeriesType.T2_FLAIR]
    identity = {"study_uid": STUDY_UID, "frame_of_reference_uid": FRAME_OF_REFERENCE_UID, "series_number": 1}
    if enhanced:
        return source_from([write_enhanced(volume, pattern, folder / "e.dcm", order=order, **identity)])  # type: ignore[arg-type]
    return source_from(write_series(volume, pattern, folder, order=order, **identity))  # type: ignore[arg-type]


def encoded(source: SourceVolume, mask: NDArray[np.bool_]) -> bytes:
    plan = SegmentationPlan(
        "seg-test", 9001, "test", "TEST", (SegmentMask(Segment.WMH, mask, model_of(Segment.WMH), ()),)
    )
    header = read_source_header(source, STUDY_UID)
    return encode(ResultObject(plan.role, build_segmentation(plan, source, header, context())))


def distances(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each point is from the nearest of the others, mm."""
    return np.asarray(np.linalg.norm(points[:, None] - others[None], axis=-1).min(axis=1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    angles_deg=angles, shape=shapes, spacing_mm=spacings, order=orders, centre=offsets, enhanced=st.booleans()
)
def test_ball_painted_in_patient_space_returns_at_the_same_points(
    angles_deg: tuple[float, float, float],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    order: Order,
    centre: tuple[float, float, float],
    enhanced: bool,
) -> None:
    truth = turned_grid(angles_deg, shape, spacing_mm, centre)
    middle = truth.to_lps(np.array([[size // 3 for size in shape]]))[0]
    diameter = 2.2 * max(spacing_mm)
    with tempfile.TemporaryDirectory() as folder:
        source = written_and_read(truth, order, enhanced=enhanced, folder=Path(folder))
        content = encoded(source, ball(source.volume.grid, middle, diameter))
    returned = lps_points(pydicom.dcmread(BytesIO(content)), 1)
    inner = mask_points(ball(truth, middle, diameter - EDGE_MM), truth.affine)
    outer = mask_points(ball(truth, middle, diameter + EDGE_MM), truth.affine)
    assert len(inner) <= len(returned) <= len(outer)
    assert distances(inner, returned).max() < min(spacing_mm) / 2
    assert distances(returned, outer).max() < min(spacing_mm) / 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(angles_deg=angles, shape=shapes, spacing_mm=spacings, order=orders, seed=st.integers(0, 99))
def test_highdicom_reads_the_same_mask_voxel_for_voxel(
    angles_deg: tuple[float, float, float],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    order: Order,
    seed: int,
) -> None:
    truth = turned_grid(angles_deg, shape, spacing_mm, (0.0, 0.0, 0.0))
    with tempfile.TemporaryDirectory() as folder:
        source = written_and_read(truth, order, enhanced=False, folder=Path(folder))
        mask = np.random.default_rng(seed).random(shape) > 0.9
        mask[[0, -1], 0, 0] = True
        segmentation = hd.seg.segread(BytesIO(encoded(source, mask)))
    volume = segmentation.get_volume(segment_numbers=[1], rtol=1e-3)
    read = mask_points(volume.array[..., 0] > 0, np.asarray(volume.affine))
    expected = mask_points(mask, source.volume.grid.affine)
    assert len(read) == len(expected)
    assert distances(expected, read).max() < EDGE_MM
