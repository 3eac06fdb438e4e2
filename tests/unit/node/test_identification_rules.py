"""The table of identification, and what an administrator can add to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from engines.segments import SeriesType
from node.facts import Surroundings
from node.identification import IdentificationRule, identify
from node.identification_rules import DEFAULT_RULES, parse_rules, rules_with
from tests.support.mr_headers import mr_series, one_stack

BOLD = {
    "ScanningSequence": ["EP", "GR"], "RepetitionTime": 2000, "EchoTime": 30, "FlipAngle": 90,
    "PixelSpacing": [3.0, 3.0],
}  # fmt: skip
FLAIR_3D = {
    "ScanningSequence": ["SE", "IR"], "RepetitionTime": 5000, "EchoTime": 388, "InversionTime": 1800,
    "FlipAngle": 120, "MRAcquisitionType": "3D",
}  # fmt: skip
DWI = {"ScanningSequence": ["EP", "SE"], "RepetitionTime": 6300, "EchoTime": 92, "DiffusionBValue": 1000.0}


def test_configured_rule_decides_before_the_table() -> None:
    (rule,) = parse_rules(
        """
        - kind: haemorrhage EPI of scanner 7
          series_type: T2_STAR
          ranges: {EchoTime: [25, 35], PixelSpacing: [null, 3.5]}
          any_of: {ScanningSequence: [ep]}
          text: hemo
        """
    )
    stack = one_stack(mr_series(24, **BOLD, SeriesDescription="ep_hemo"))
    found = identify(stack, rules_with([rule]))
    assert (found.series_type, found.kind) == (SeriesType.T2_STAR, "haemorrhage EPI of scanner 7")
    assert identify(stack, DEFAULT_RULES).series_type is None


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"kind": "x", "ranges": {"EchoTime": [1, 2]}, "typ": "T1"}, "typ"),
        ({"kind": "x", "ranges": {"EchoTim": [1, 2]}}, "EchoTim"),
        (
            {"kind": "x", "ranges": {"EchoTime": [20, 10]}},
            "the smallest value 20.0 is above the largest 10.0",
        ),
        ({"kind": "x", "any_of": {"ImageTyp": ["M"]}}, "ImageTyp"),
        ({"kind": "x", "sequence_name": "*swi"}, "not a regular expression"),
        ({"kind": "x", "text": "flair"}, "text alone decides nothing"),
        ({"kind": "", "ranges": {"EchoTime": [1, 2]}}, "kind"),
        ({"kind": "x", "series_type": "T3", "ranges": {"EchoTime": [1, 2]}}, "series_type"),
    ],
)
def test_rule_that_is_none_is_refused_with_its_place(rule: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        IdentificationRule.model_validate(rule)
    assert complaint in str(caught.value)


def test_each_wanted_type_has_a_rule_of_first_rank() -> None:
    first = {rule.series_type for rule in DEFAULT_RULES if rule.rank == 0}
    assert set(SeriesType) <= first


def test_t2_star_gre_comes_before_swi_and_this_before_epi() -> None:
    ranks = {rule.kind: rule.rank for rule in DEFAULT_RULES if rule.series_type is SeriesType.T2_STAR}
    assert ranks["T2* GRE"] < ranks["magnitude image of SWI"] < ranks["SWI"] < ranks["T2* gradient-echo EPI"]


def test_example_of_the_documentation_can_be_configured() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "identification.md").read_text(encoding="utf-8")
    example = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    rules = [IdentificationRule.model_validate(rule) for rule in example["identification"]["rules"]]
    assert [(rule.kind, rule.series_type, rule.not_taken) for rule in rules] == [
        ("haemorrhage EPI of scanner 7", SeriesType.T2_STAR, None),
        ("T2 FLAIR, reformatted", SeriesType.T2_FLAIR, None),
        ("single direction of scanner 7", SeriesType.DWI_B1000, "it shows one direction of diffusion"),
        ("T1 spin echo", SeriesType.T1, None),
        ("research FLAIR", None, None),
    ]
    reformat = one_stack(
        mr_series(
            24, **FLAIR_3D, ImageType=["DERIVED", "SECONDARY", "MPR"], SeriesDescription="flair_mpr_tra"
        )
    )
    assert identify(reformat, rules_with(rules)).series_type is SeriesType.T2_FLAIR
    assert identify(reformat, DEFAULT_RULES).series_type is None
    for description, expected in (("t1 se", SeriesType.T1), ("t1 se post gd", None)):
        agent = {"ContrastBolusAgent": "Gadobutrol", "SeriesDescription": description}
        t1 = one_stack(mr_series(24, ScanningSequence="SE", RepetitionTime=550, EchoTime=9, **agent))
        everywhere = Surroundings(agent_everywhere=True)
        assert identify(t1, rules_with(rules), everywhere).series_type is expected
        assert identify(t1, DEFAULT_RULES, everywhere).series_type is None
    direction = one_stack(mr_series(24, **DWI, SeriesDescription="b1000_dir2"))
    found = identify(direction, rules_with(rules))
    assert (found.series_type, found.not_taken_as) == (None, SeriesType.DWI_B1000)
    assert found.not_taken == "it shows one direction of diffusion"
