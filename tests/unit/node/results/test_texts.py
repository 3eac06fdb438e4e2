from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engines.findings import ExclusionRecord, RegistrationRecord
from engines.postprocessing import PostprocessingSpec
from engines.segments import Segment, SeriesType
from node.results.texts import (
    ascii_text,
    counted,
    exclusion,
    found_on,
    lesion_line,
    not_assessed,
    registration,
    summary,
    volume,
)
from tests.support.result_studies import ResultStudy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("31° is implausible", "31 deg is implausible"),
        ("384×384", "384x384"),
        ("Köln – Übung", "Koln - Ubung"),
        ("two\n lines", "two lines"),
        ("頭部", "??"),
        ("≥ 3 mm²", ">= 3 mm2"),
    ],
)
def test_text_is_written_with_ascii_letters(text: str, expected: str) -> None:
    assert ascii_text(text) == expected


def test_long_text_is_cut() -> None:
    assert ascii_text("x" * 100, 64) == "x" * 64


def test_what_a_reader_must_know_is_whole_or_seen_to_be_cut() -> None:
    """Forty reformats of a Study are each named in the reason why its T1 was not assessed."""
    names = ", ".join(f"Series {number} (...123456789012)" for number in range(301, 341))
    reason = f"{names}, reformatted image (MPR), not taken as T1: they were interpolated."
    assert len(reason) > 1024
    assert not_assessed(Segment.LACUNE, reason).endswith("they were interpolated.")
    assert not_assessed(Segment.LACUNE, reason * 100).endswith(" ...")
    assert len(not_assessed(Segment.LACUNE, reason * 100)) == 4096


@pytest.mark.parametrize(
    ("ml", "decimals", "said"),
    [
        (0.0, 2, "0.00"),
        (12.345, 2, "12.35"),
        (0.104, 2, "0.10"),
        (0.0442, 2, "0.044"),
        (0.0041, 2, "0.0041"),
        (0.0041, 3, "0.0041"),
        (0.000027, 3, "0.000027"),
    ],
)
def test_volume_is_never_rounded_to_nothing(ml: float, decimals: int, said: str) -> None:
    assert volume(ml, decimals) == said


def test_small_lesion_is_said_with_a_volume_wherever_it_is_said(study: ResultStudy) -> None:
    """A microbleed of 2 mm has 0.0042 ml."""
    finding = study.findings.of(Segment.MICROBLEED)
    assert finding is not None
    lesion = replace(finding.lesions[0], volume_ml=0.0042)
    small = replace(finding, lesions=(lesion,))
    assert found_on(small).startswith("1 lesion, 0.0042 ml on T2*")
    assert "1 lesion, 0.0042 ml on T2*" in summary(small)
    assert ": 0.0042 ml, diameter" in lesion_line(small, lesion)


def test_summary_of_no_lesions_says_none_and_not_reviewed(study_without_lesions: ResultStudy) -> None:
    finding = study_without_lesions.findings.of(Segment.LACUNE)
    assert finding is not None
    assert summary(finding) == "Lacune: none of 0.025 ml or more found on T1. AI result, not reviewed."


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        # A ball of 25 mm3 has a diameter of (6 x 25 / pi)^(1/3) = 3.63 mm.
        (PostprocessingSpec(threshold=0.2, min_lesion_ml=0.025, min_peak=0.95),
         "probability from 0.2, 0.95 at its peak, at least 0.025 ml, which is a ball of 3.6 mm"),
        (PostprocessingSpec(threshold=0.5, min_lesion_ml=0.006),
         "probability from 0.5, at least 0.006 ml, which is a ball of 2.3 mm"),
        (PostprocessingSpec(), "probability from 0.5"),
    ],
)  # fmt: skip
def test_what_counts_as_a_lesion_is_said_by_probability_and_size(rule: PostprocessingSpec, said: str) -> None:
    assert counted(rule) == said


def test_finding_that_an_earlier_version_kept_says_no_size(study_without_lesions: ResultStudy) -> None:
    finding = study_without_lesions.findings.of(Segment.LACUNE)
    assert finding is not None
    assert found_on(replace(finding, rule=None)) == "none found on T1"


def test_summary_counts_lesions_outside_the_limits(study: ResultStudy) -> None:
    finding = study.findings.of(Segment.INFARCT)
    assert finding is not None
    assert "1 lesion, " in summary(finding)
    assert "1 outside the size limits of the method" in summary(finding)


@pytest.mark.parametrize(
    ("limits", "said"),
    [((3.0, 15.0), "3 to 15 mm"), ((0.0, 20.0), "at most 20 mm"), ((2.0, math.inf), "at least 2 mm")],
)
def test_lesion_outside_the_limits_is_said_with_them(
    study: ResultStudy, limits: tuple[float, float], said: str
) -> None:
    finding = study.findings.of(Segment.INFARCT)
    assert finding is not None
    lesion = replace(finding.lesions[0], within_limits=False)
    assert lesion_line(replace(finding, size_limits_mm=limits), lesion).endswith(said)


def test_lesion_within_the_limits_is_not_flagged(study: ResultStudy) -> None:
    finding = study.findings.of(Segment.LACUNE)
    assert finding is not None
    assert "outside" not in lesion_line(finding, finding.lesions[0])


def test_not_assessed_is_never_said_as_absent() -> None:
    sentence = not_assessed(Segment.MICROBLEED, "No T2*.")
    assert sentence == "Cerebral microbleed: not assessed, which does not mean absent. No T2*."


def test_applied_registration_is_said_with_its_transform() -> None:
    record = RegistrationRecord(SeriesType.T2_FLAIR, SeriesType.T1, np.eye(4), 1.25, 2.5, True, "moved")
    assert registration(record) == (
        "T1 to T2-FLAIR: rigid registration applied; rotation 1.25 deg, shift 2.50 mm. Moved. Transform "
        "of LPS mm points from T2-FLAIR to T1: "
        "1.00000 0.00000 0.00000 0.00000; 0.00000 1.00000 0.00000 0.00000; 0.00000 0.00000 1.00000 0.00000"
    )


def test_refused_registration_says_that_the_scanner_geometry_was_used() -> None:
    record = RegistrationRecord(SeriesType.T2_FLAIR, SeriesType.T1, np.eye(4), 31, 4, False, "too far")
    assert "not applied, the scanner's geometry was used" in registration(record)


def test_refused_registration_of_two_frames_of_reference_states_no_transform() -> None:
    record = RegistrationRecord(
        SeriesType.T2_FLAIR,
        SeriesType.T1,
        np.eye(4),
        31,
        4,
        False,
        "Too far.",
        refused=True,
        shares_frame=False,
    )
    assert registration(record) == (
        "T1 to T2-FLAIR: rigid registration not applied; they lie in different Frames of Reference, which "
        "nothing relates; rotation 31.00 deg, shift 4.00 mm. Too far."
    )


def test_exclusion_says_what_was_removed() -> None:
    record = ExclusionRecord(Segment.WMH, Segment.LACUNE, True, 12, 0.23)
    assert exclusion(record) == (
        "lacunes were subtracted from white matter hyperintensities: 12 voxels, 0.230 ml removed."
    )


def test_exclusion_that_was_not_performed_says_why() -> None:
    record = ExclusionRecord(Segment.WMH, Segment.LACUNE, False, 0, 0.0, "Lacunes were not assessed.")
    assert exclusion(record) == (
        "lacunes were not subtracted from white matter hyperintensities: Lacunes were not assessed."
    )
