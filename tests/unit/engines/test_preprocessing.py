from __future__ import annotations

import time

import numpy as np
import pytest
from pydantic import ValidationError

from engines.errors import InputError
from engines.intensity import background, head_threshold, percentile, white_matter_peak
from engines.preprocessing import Fit, Normalisation, PreprocessingSpec, prepare, prepare_mask, restore
from engines.segments import SeriesType
from engines.volume import Grid, Volume
from tests.support.head import CONTRASTS, WHITE, axial_grid, head

GRID = axial_grid((20, 96, 96), (6.5, 2.2, 2.2))

PEAK_TOLERANCE = 0.05
"""White matter is found within 5% of its true intensity."""


def spec(
    normalisation: Normalisation = Normalisation.WHITE_MATTER_PEAK, neighbours: int = 0
) -> PreprocessingSpec:
    return PreprocessingSpec(
        pixel_grid=(64, 64), fit=Fit.PAD_RESIZE, normalisation=normalisation, neighbours=neighbours
    )


@pytest.mark.parametrize("contrast", list(SeriesType))
@pytest.mark.parametrize("skull", [True, False], ids=["skull", "stripped"])
@pytest.mark.parametrize("noise", [True, False], ids=["noisy", "clean"])
def test_white_matter_is_found_in_every_contrast(contrast: SeriesType, skull: bool, noise: bool) -> None:
    image = head(GRID, contrast, skull=skull, noise=noise)
    truth = CONTRASTS[contrast][WHITE]
    assert white_matter_peak(image.array, background(image.array)) == pytest.approx(truth, rel=PEAK_TOLERANCE)


@pytest.mark.parametrize("stripes", [(2, 0), (0, 2), (2, 2)], ids=["rows", "columns", "both"])
def test_tissue_with_inner_edges_is_not_taken_for_white_matter(stripes: tuple[int, int]) -> None:
    """Beside air 40% are one even tissue of 100; the rest alternates between 130 and 170."""
    array = np.zeros((4, 60, 120), np.float32)
    rows, columns = np.indices((60, 36))
    odd = sum(place % step for place, step in zip((rows, columns), stripes, strict=True) if step) % 2
    array[:, :, 60:84], array[:, :, 84:] = 100.0, 130 + 40 * odd
    assert white_matter_peak(array, 0.0) == pytest.approx(100, rel=PEAK_TOLERANCE)


@pytest.mark.parametrize("air_share", [0.2, 0.5, 0.9])
def test_head_is_told_from_air_whatever_their_shares(air_share: float) -> None:
    values = np.random.default_rng(0).uniform(0, 20, 10_000).astype(np.float32)
    head_voxels = np.arange(10_000) >= 10_000 * air_share
    values[head_voxels] += 80
    assert 20 <= head_threshold(values) <= 80


@pytest.mark.parametrize("share", [0.0, 0.1, 35.0, 99.0, 100.0])
@pytest.mark.parametrize("count", [1, 2, 7, 1001])
def test_a_percentile_is_numpys(share: float, count: int) -> None:
    values = np.random.default_rng(count).integers(-40, 40, count).astype(np.float32)
    assert percentile(values, share) == pytest.approx(np.percentile(values.astype(float), share), abs=1e-9)
    assert percentile(np.arange(5, dtype=np.float32), 35.0) == pytest.approx(1.4)


@pytest.mark.parametrize("gain", [0.001, 1.0, 37.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scanner_gain_does_not_reach_the_network(gain: float, dtype: type) -> None:
    image = head(GRID)
    reference = prepare([image], spec()).slices
    scaled = image.with_array((image.array * gain).astype(dtype))
    np.testing.assert_allclose(prepare([scaled], spec()).slices, reference, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32])
def test_integers_are_scaled_like_floats(dtype: type) -> None:
    image = head(GRID)
    stored = image.with_array(np.rint(image.array).astype(dtype))
    expected = prepare([image], spec()).slices
    np.testing.assert_allclose(prepare([stored], spec()).slices, expected, atol=0.01)


def test_a_negative_offset_of_the_scanner_is_air() -> None:
    """A rescale intercept of -50 makes air -50; white matter is still 1 and padding still 0."""
    image = head(axial_grid((20, 96, 70), (6.5, 2.2, 2.2)), noise=False)
    shifted = image.with_array(image.array - 50)
    prepared = prepare([shifted], spec()).slices
    np.testing.assert_allclose(prepared, prepare([image], spec()).slices, atol=0.01)
    assert np.abs(prepared[..., :4]).max() == 0


def test_z_score_has_zero_mean_and_unit_variance_over_the_volume() -> None:
    image = head(axial_grid((10, 64, 64), (6.5, 3.0, 3.0)))
    slices = prepare([image], spec(Normalisation.Z_SCORE)).slices
    assert slices.mean() == pytest.approx(0, abs=1e-4)
    assert slices.std() == pytest.approx(1, abs=1e-4)


def test_z_score_pads_with_air() -> None:
    image = head(axial_grid((10, 64, 40), (6.5, 3.0, 3.0)), noise=False)
    slices = prepare([image], spec(Normalisation.Z_SCORE)).slices
    expected = -image.array.mean(dtype=np.float64) / image.array.std(dtype=np.float64)
    assert slices[:, 0, :, :10] == pytest.approx(np.full((10, 64, 10), expected), abs=1e-4)


def test_neighbours_become_channels_and_the_ends_repeat() -> None:
    first, second = head(GRID, SeriesType.T2_FLAIR), head(GRID, SeriesType.T1)
    alone = prepare([first], spec()).slices[:, 0], prepare([second], spec()).slices[:, 0]
    both = prepare([first, second], spec(neighbours=1)).slices
    assert both.shape == (20, 6, 64, 64)
    assert both.dtype == np.float32
    assert both.flags.c_contiguous
    for channel, (image, offset) in enumerate((image, offset) for image in alone for offset in (-1, 0, 1)):
        for k in (0, 7, 19):
            np.testing.assert_array_equal(both[k, channel], image[min(max(k + offset, 0), 19)])


def test_slices_of_one_input_lie_in_memory_once() -> None:
    image = head(GRID)
    alone, windows = prepare([image], spec()).slices, prepare([image], spec(neighbours=2)).slices
    assert windows.shape == (20, 5, 64, 64)
    assert windows.strides[0] == windows.strides[1] == 64 * 64 * 4
    np.testing.assert_array_equal(windows[3], alone[1:6, 0])
    np.testing.assert_array_equal(windows[19], alone[[17, 18, 19, 19, 19], 0])


def test_a_missing_optional_input_is_zeros() -> None:
    slices = prepare([head(GRID), None], spec()).slices
    assert slices.shape == (20, 2, 64, 64)
    assert not slices[:, 1].any()
    assert slices[:, 0].any()


def test_a_mask_keeps_its_volume() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[8:12, 30:50, 40:60] = True
    pixels = prepare_mask(Volume(mask, GRID), spec())
    # 96 voxels on 64 pixels: a pixel holds 1.5 x 1.5 voxels.
    assert pixels.sum() * 1.5**2 == pytest.approx(mask.sum(), rel=1e-4)


def test_preparing_leaves_the_volume_as_it_was() -> None:
    image = head(GRID)
    before = image.array.copy()
    prepare([image], spec(Normalisation.Z_SCORE))
    np.testing.assert_array_equal(image.array, before)


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        pytest.param(np.zeros((4, 16, 16)), "same value", id="empty"),
        pytest.param(np.full((4, 16, 16), 7.0), "same value", id="constant"),
        pytest.param(
            np.where(np.arange(4)[:, None, None] == 1, np.nan, np.ones((4, 16, 16))), "finite", id="nan"
        ),
        pytest.param(np.full((4, 16, 16), 1e300) * np.eye(16), "finite", id="beyond-float32"),
    ],
)
@pytest.mark.parametrize("normalisation", list(Normalisation))
def test_a_volume_without_an_image_is_refused(
    array: np.ndarray, complaint: str, normalisation: Normalisation
) -> None:
    volume = Volume(array, Grid((4, 16, 16), GRID.affine))
    with pytest.raises(InputError, match=complaint):
        prepare([volume], spec(normalisation))


def test_no_volume_is_refused() -> None:
    with pytest.raises(InputError, match="no volume"):
        prepare([None], spec())


def test_inputs_on_different_grids_are_refused() -> None:
    with pytest.raises(InputError, match="different grids"):
        prepare([head(GRID), head(axial_grid((20, 96, 96), (6.5, 2.3, 2.2)))], spec())


def test_maps_of_other_slices_are_refused() -> None:
    with pytest.raises(InputError, match="do not belong"):
        restore(np.zeros((3, 64, 64), np.float32), prepare([head(GRID)], spec()))


@pytest.mark.parametrize("shape", [(1, 16, 16), (5, 1, 9), (3, 9, 1), (1, 2, 2)])
def test_small_volumes_are_prepared(shape: tuple[int, int, int]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    prepared = prepare([Volume(array, Grid(shape, axial_grid(shape).affine))], spec())
    assert np.isfinite(prepared.slices).all()


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        PreprocessingSpec.model_validate({**spec().model_dump(), "colour": "blue"})


def test_a_usual_volume_takes_less_than_a_quarter_of_a_second_of_cpu() -> None:
    """24 slices of 256 x 256 take about 20 ms of CPU time."""
    image = head(axial_grid((24, 256, 256), (6.0, 0.9, 0.9)))
    wanted = spec().model_copy(update={"pixel_grid": (224, 224)})
    best = min(_elapsed_s(image, wanted) for _ in range(3))
    assert best < 0.25


def _elapsed_s(image: Volume, wanted: PreprocessingSpec) -> float:
    start = time.process_time()
    prepare([image], wanted)
    return time.process_time() - start
