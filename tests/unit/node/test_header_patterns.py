"""The headers that phantom Series are written with are taken for what they stand for."""

from __future__ import annotations

import pytest

from engines.segments import SeriesType
from node.header_reader import read_image_header
from node.identification import identify
from node.identification_rules import DEFAULT_RULES
from tests.support import header_patterns as patterns
from tests.support.header_patterns import HeaderPattern
from tests.support.mr_headers import mr_dataset, one_stack
from tests.support.series_files import set_pattern

EXPECTED: dict[str, SeriesType | None] = {
    "SIEMENS_FLAIR_TSE": SeriesType.T2_FLAIR,
    "GE_FLAIR": SeriesType.T2_FLAIR,
    "GE_FLAIR_TI": SeriesType.T2_FLAIR,
    "PHILIPS_FLAIR": SeriesType.T2_FLAIR,
    "SIEMENS_T1_MPRAGE": SeriesType.T1,
    "PHILIPS_T1_MPRAGE": SeriesType.T1,
    "PHILIPS_T1_SE": SeriesType.T1,
    "PHILIPS_T1_TSE": SeriesType.T1,
    "SIEMENS_T1_SE": SeriesType.T1,
    "SIEMENS_T1_FL2D": SeriesType.T1,
    "POST_CONTRAST_T1": None,
    "SIEMENS_T2STAR_FL2D": SeriesType.T2_STAR,
    "GE_T2STAR_GRE": SeriesType.T2_STAR,
    "SIEMENS_SWI": SeriesType.T2_STAR,
    "PHILIPS_SWI": SeriesType.T2_STAR,
    "PHASE": None,
    "MIP": None,
    "SIEMENS_BOLD_EPI": None,
    "SIEMENS_EP2D_B0": None,
    "SIEMENS_EP2D_TRACEW_B0": None,
    "SIEMENS_EP2D_TRACEW_B1000": SeriesType.DWI_B1000,
    "SIEMENS_EP2D_ADC": None,
    "PHILIPS_DWI_B0": None,
    "PHILIPS_DWI_B1000": SeriesType.DWI_B1000,
    "GE_DWI_B0": None,
    "GE_DWI_B1000": SeriesType.DWI_B1000,
    "UIH_DWI_B1000": SeriesType.DWI_B1000,
    "T2_TSE": None,
    "LOCALIZER": None,
    "MPR": None,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_pattern_is_taken_for_what_it_stands_for(name: str) -> None:
    headers = []
    for number in range(1, 9):
        dataset = mr_dataset(number, PixelSpacing=[2.0, 2.0])
        set_pattern(dataset, getattr(patterns, name))
        headers.append(read_image_header(dataset))
    assert identify(one_stack(headers), DEFAULT_RULES).series_type is EXPECTED[name]


def test_every_pattern_is_expected_to_be_something() -> None:
    named = {name for name, value in vars(patterns).items() if isinstance(value, HeaderPattern)}
    assert named == set(EXPECTED)
