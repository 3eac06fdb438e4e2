"""The b-value and directionality of a frame, by vendor."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from node.b_values import read_diffusion
from node.header_layers import HeaderLayers
from node.headers import Diffusion, Directionality
from tests.support.mr_headers import add_private, item, sequence


def diffusion_of(*layers: Dataset, sequence_name: str = "") -> Diffusion:
    return read_diffusion(HeaderLayers.of(*layers), sequence_name)


def siemens(b_value: int, directionality: str = "") -> Dataset:
    dataset = add_private(Dataset(), 0x0019, "SIEMENS MR HEADER", b=(0x0C, "IS", b_value))
    if directionality:
        add_private(dataset, 0x0019, "SIEMENS MR HEADER", direction=(0x0D, "CS", directionality))
    return dataset


def ge(first_value: int, gradient: tuple[float, float, float] | None = None) -> Dataset:
    dataset = add_private(Dataset(), 0x0043, "GEMS_PARM_01", b=(0x39, "IS", [first_value, 8, 0, 0]))
    for offset, part in zip((0xBB, 0xBC, 0xBD), gradient or (), strict=False):
        add_private(dataset, 0x0019, "GEMS_ACQU_01", part=(offset, "DS", part))
    return dataset


def philips(b_value: float, letter: str) -> Dataset:
    return add_private(
        Dataset(),
        0x2001,
        "Philips Imaging DD 001",
        b=(0x03, "FL", b_value),
        direction=(0x04, "CS", letter),
    )


def uih(b_value: float) -> Dataset:
    return add_private(Dataset(), 0x0065, "Image Private Header", b=(0x09, "FD", b_value))


@pytest.mark.parametrize(
    ("dataset", "b_value", "directionality"),
    [
        pytest.param(item(DiffusionBValue=1000.0), 1000.0, None, id="standard"),
        pytest.param(
            item(DiffusionBValue=1000.0, DiffusionDirectionality="ISOTROPIC"),
            1000.0,
            Directionality.ISOTROPIC,
            id="standard isotropic",
        ),
        pytest.param(
            item(DiffusionBValue=2500.0, DiffusionDirectionality="BMATRIX"),
            2500.0,
            Directionality.DIRECTIONAL,
            id="standard b-matrix",
        ),
        pytest.param(siemens(1000), 1000.0, None, id="Siemens"),
        pytest.param(
            siemens(1000, "DIRECTIONAL"), 1000.0, Directionality.DIRECTIONAL, id="Siemens direction"
        ),
        pytest.param(siemens(0, "NONE"), 0.0, Directionality.NONE, id="Siemens b0"),
        pytest.param(ge(1000), 1000.0, None, id="GE"),
        pytest.param(ge(1_000_001_000), 1000.0, None, id="GE with the bias of 1e9"),
        pytest.param(ge(1_000_030_000), 30000.0, None, id="GE b30000 with the bias of 1e9"),
        pytest.param(ge(1_000_000_050), 50.0, None, id="GE b50 with the bias of 1e9"),
        pytest.param(
            ge(1000, (0.0, 0.0, 0.0)), 1000.0, Directionality.ISOTROPIC, id="GE zero gradient is isotropic"
        ),
        pytest.param(
            ge(1000, (1.0, 0.0, 0.0)), 1000.0, Directionality.DIRECTIONAL, id="GE gradient is a direction"
        ),
        pytest.param(philips(1000.0, "I"), 1000.0, Directionality.ISOTROPIC, id="Philips isotropic"),
        pytest.param(
            philips(1000.0, "O"), 1000.0, Directionality.DIRECTIONAL, id="Philips oblique direction"
        ),
        pytest.param(philips(0.0, "I"), 0.0, Directionality.NONE, id="Philips b0 is marked I as well"),
        pytest.param(uih(998.0), 998.0, None, id="UIH"),
        pytest.param(Dataset(), None, None, id="nothing stated"),
        pytest.param(item(DiffusionBValue=-1.0), None, None, id="negative is no b-value"),
    ],
)
def test_b_value_by_vendor(
    dataset: Dataset, b_value: float | None, directionality: Directionality | None
) -> None:
    found = diffusion_of(dataset)
    assert (found.b_value, found.directionality) == (b_value, directionality)


def test_philips_isotropic_with_zero_gradient_is_neither_direction_nor_adc() -> None:
    found = diffusion_of(item(DiffusionBValue=1000.0, DiffusionGradientOrientation=[0.0, 0.0, 0.0]))
    assert found == Diffusion(1000.0, Directionality.ISOTROPIC, None, "DiffusionBValue (0018,9087)")


def test_private_b_value_wins_over_a_standard_zero() -> None:
    dataset = ge(1400)
    dataset.DiffusionBValue = 0.0
    assert diffusion_of(dataset).b_value == 1400.0
    assert diffusion_of(dataset).source == "GE (0043,xx39)"


def test_frame_speaks_before_the_rest_of_the_object() -> None:
    frame = item(DiffusionBValue=0.0, DiffusionDirectionality="NONE")
    assert diffusion_of(frame, item(DiffusionBValue=1000.0)).b_value == 0.0


def test_gradient_direction_in_its_sequence_is_read() -> None:
    frame = item(
        DiffusionBValue=1000.0,
        DiffusionGradientDirectionSequence=sequence(DiffusionGradientOrientation=[0.0, 0.6, 0.8]),
    )
    found = diffusion_of(frame)
    assert found.directionality is Directionality.DIRECTIONAL
    assert found.gradient == (0.0, 0.6, 0.8)


def test_isotropic_without_b_value_stays_known_as_isotropic() -> None:
    found = diffusion_of(item(DiffusionDirectionality="ISOTROPIC"))
    assert found == Diffusion(None, Directionality.ISOTROPIC)


@pytest.mark.parametrize(
    ("name", "b_value", "directionality"),
    [
        ("*ep_b1000t", 1000.0, Directionality.ISOTROPIC),
        ("*ep_b1000#3", 1000.0, Directionality.DIRECTIONAL),
        ("*re_b1000t", 1000.0, Directionality.ISOTROPIC),
        ("*ep_b0", 0.0, Directionality.NONE),
        ("*ep_b0_1000", None, None),
        ("*tse2d1_19", None, None),
    ],
)
def test_siemens_sequence_name_tells_where_private_elements_were_removed(
    name: str, b_value: float | None, directionality: Directionality | None
) -> None:
    found = diffusion_of(Dataset(), sequence_name=name)
    assert (found.b_value, found.directionality) == (b_value, directionality)
