"""Which stack is chosen among several, and the reasons of all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from engines.segments import SeriesType
from node.header_reader import read_image_header
from node.headers import ImageHeader
from node.inventory import select_series
from node.selection import Candidate, Outcome, Selection
from tests.support.mr_headers import CORONAL, SAGITTAL, mr_dataset, mr_series

FLAIR = {
    "ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 89, "InversionTime": 2500,
    "FlipAngle": 150,
}  # fmt: skip
T1 = {"ScanningSequence": "SE", "RepetitionTime": 550, "EchoTime": 9, "FlipAngle": 90}
T2_STAR = {"ScanningSequence": "GR", "RepetitionTime": 800, "EchoTime": 26, "FlipAngle": 20}
SWI = {**T2_STAR, "ImageType": ["ORIGINAL", "PRIMARY", "M", "SWI"], "MRAcquisitionType": "3D"}
DWI = {"ScanningSequence": ["EP", "SE"], "RepetitionTime": 6300, "EchoTime": 92, "DiffusionBValue": 1000.0}
T2 = {"ScanningSequence": "SE", "RepetitionTime": 5000, "EchoTime": 92, "FlipAngle": 150}


def series(number: int, slices: int = 28, **elements: Any) -> list[ImageHeader]:
    return mr_series(slices, SeriesInstanceUID=f"1.2.3.{number}", SeriesNumber=number, **elements)


def chosen_number(selection: Selection, series_type: SeriesType) -> int | None:
    return selection.chosen[series_type].header.series_number


def candidate(selection: Selection, number: int) -> Candidate:
    (found,) = (one for one in selection.candidates if one.stack.header.series_number == number)
    return found


def test_images_in_a_lossy_encoding_are_left_out_with_the_reason() -> None:
    name = "JPEG Baseline (Process 1)"
    lossy = [replace(header, unread_encoding=name) for header in series(1, **FLAIR)]
    selection = select_series(lossy + series(2, **T1))
    assert candidate(selection, 1).outcome is Outcome.UNUSABLE
    assert f"encoded in {name}" in selection.unavailable[SeriesType.T2_FLAIR]
    assert chosen_number(selection, SeriesType.T1) == 2


def test_each_type_gets_its_only_series() -> None:
    selection = select_series(series(1, **FLAIR) + series(2, **T1) + series(3, **T2_STAR) + series(4, **DWI))
    numbers = {series_type: chosen_number(selection, series_type) for series_type in selection.chosen}
    assert numbers == {
        SeriesType.T2_FLAIR: 1,
        SeriesType.T1: 2,
        SeriesType.T2_STAR: 3,
        SeriesType.DWI_B1000: 4,
    }
    assert selection.unavailable == {}
    assert selection.message == "Found T2-FLAIR, T1, DWI b1000, T2* among 4 image stacks."


RANKING = [
    pytest.param(
        series(1, **FLAIR), series(2, **FLAIR, ImageType=["DERIVED", "PRIMARY", "M"]),
        "for its kind: T2 FLAIR against computed T2 FLAIR", id="original over derived",
    ),
    pytest.param(
        series(1, **T2_STAR), series(2, **T2_STAR, ContrastBolusAgent="Gadobutrol"),
        "for its contrast: without contrast agent against after contrast agent", id="without contrast agent",
    ),
    pytest.param(
        series(1, orientation=SAGITTAL, **FLAIR), series(2, **FLAIR, ContrastBolusAgent="Gadobutrol"),
        "for its kind: T2 FLAIR against T2 FLAIR after contrast agent", id="FLAIR without contrast agent",
    ),
    pytest.param(
        series(1, **FLAIR), series(2, orientation=SAGITTAL, **FLAIR),
        "for its orientation: axial against sagittal", id="axial over sagittal",
    ),
    pytest.param(
        series(1, **FLAIR), series(2, orientation=CORONAL, **FLAIR),
        "for its orientation: axial against coronal", id="axial over coronal",
    ),
    pytest.param(
        series(1, slices=24, **FLAIR), series(2, slices=12, **FLAIR),
        "for its coverage: 115 mm against 55 mm", id="coverage",
    ),
    pytest.param(
        series(1, orientation=SAGITTAL, **T1), series(2, slices=12, PixelSpacing=[0.5, 0.5], **T1),
        "for its coverage: 135 mm against 55 mm", id="the whole head, even if sagittal, over a thin slab",
    ),
    pytest.param(
        series(1, **SWI), series(2, slices=12, **T2_STAR),
        "for its coverage: 135 mm against 55 mm", id="SWI of the whole head over a slab of T2*-GRE",
    ),
    pytest.param(
        series(1, PixelSpacing=[0.5, 0.5], **FLAIR), series(2, PixelSpacing=[1.0, 1.0], **FLAIR),
        "for its resolution: 1.25 mm3 a voxel against 5.00 mm3 a voxel", id="resolution",
    ),
    pytest.param(
        series(1, DiffusionDirectionality="ISOTROPIC", **DWI), series(2, **DWI),
        "for its kind: trace DWI b1000 against DWI b1000 of unknown directionality", id="trace preferred",
    ),
    pytest.param(
        series(1, **DWI), series(2, **{**DWI, "DiffusionBValue": 800.0}),
        "for its b-value: 1000 s/mm2 against 800 s/mm2", id="nearest b1000",
    ),
    pytest.param(
        series(1, **T2_STAR), series(2, PixelSpacing=[0.5, 0.5], **SWI),
        "for its kind: T2* GRE against SWI", id="T2*-GRE over SWI, even a finer one",
    ),
    pytest.param(
        series(2, **FLAIR), series(1, **FLAIR),
        "for its later acquisition: Series 2 against Series 1", id="the repeated acquisition",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("better", "worse", "reason"), RANKING)
@pytest.mark.parametrize("reverse", [False, True])
def test_better_series_is_chosen_and_both_know_why(
    better: list[ImageHeader], worse: list[ImageHeader], reason: str, reverse: bool
) -> None:
    selection = select_series(worse + better if reverse else better + worse)
    winner = candidate(selection, better[0].series_number or 0)
    loser = candidate(selection, worse[0].series_number or 0)
    assert (winner.outcome, loser.outcome) == (Outcome.CHOSEN, Outcome.LOST)
    assert (
        winner.reason == f"Preferred to Series {worse[0].series_number} (...{worse[0].series_uid}) {reason}."
    )
    assert (
        loser.reason == f"Series {better[0].series_number} (...{better[0].series_uid}) is preferred {reason}."
    )


def test_whole_brain_is_enough_coverage() -> None:
    # 27 x 5 = 135 mm and 35 x 5 = 175 mm both cover the brain: the finer pixels decide.
    selection = select_series(
        series(1, slices=28, PixelSpacing=[0.5, 0.5], **FLAIR) + series(2, slices=36, **FLAIR)
    )
    assert chosen_number(selection, SeriesType.T2_FLAIR) == 1


def test_longest_useful_echo_of_a_multi_echo_series_is_taken() -> None:
    headers = [
        header
        for place, echo in enumerate((14.0, 24.0, 34.0, 44.0, 54.0))
        for header in series(1, first=1 + 28 * place, **{**T2_STAR, "EchoTime": echo})
    ]
    selection = select_series(headers)
    assert selection.chosen[SeriesType.T2_STAR].first.acquisition.echo_time_ms == 34.0
    (winner,) = (one for one in selection.candidates if one.outcome is Outcome.CHOSEN)
    assert "for its echo time (the longest up to 35 ms): 34 ms against 24 ms" in winner.reason


@pytest.mark.parametrize(
    ("elements", "chosen"),
    [
        pytest.param({"AcquisitionDate": "20240301", "AcquisitionTime": "101500.2"}, 1, id="time and date"),
        pytest.param({"AcquisitionDateTime": "20240301101500.2+0100"}, 1, id="date and time in one"),
        pytest.param({"StudyDate": "20240301", "AcquisitionTime": "093000"}, 3, id="before the agent"),
        pytest.param({"AcquisitionDate": "20240302", "AcquisitionTime": "080000"}, 1, id="past midnight"),
        pytest.param({"AcquisitionDate": "20240401", "AcquisitionTime": "101500"}, 3, id="a month later"),
        pytest.param({"AcquisitionDate": "20249901", "AcquisitionTime": "101500"}, 3, id="no date"),
        pytest.param({}, 3, id="nobody knows when"),
    ],
)
def test_t1_acquired_after_a_series_with_an_agent_is_not_taken(elements: dict[str, str], chosen: int) -> None:
    """The scanner states the agent in the perfusion Series only; the T1 after it says nothing."""
    day = {"StudyDate": "20240301"}
    perfusion = {"ScanningSequence": ["EP", "GR"], "RepetitionTime": 1500, "EchoTime": 30}
    selection = select_series(
        series(1, AcquisitionTime="090000", **day, **T1)
        + series(2, AcquisitionTime="100000", ContrastBolusAgent="Gadobutrol", **day, **perfusion)
        + series(3, **elements, **T1)
    )
    assert chosen_number(selection, SeriesType.T1) == chosen
    if chosen == 1:
        assert candidate(selection, 3).reason == (
            "Taken for T1 after contrast agent, and not taken as T1: "
            "a Series of the Study that was acquired before it states a contrast agent."
        )


def test_flair_acquired_after_a_series_with_an_agent_is_taken_only_if_there_is_no_other() -> None:
    """The scanner states the agent in the T1 only; the FLAIR after it says nothing."""
    day = {"StudyDate": "20240301"}
    before = series(1, AcquisitionTime="090000", **day, **FLAIR)
    after = series(2, AcquisitionTime="100000", ContrastBolusAgent="Gadobutrol", **day, **T1)
    after += series(3, AcquisitionTime="101500", **day, **FLAIR)
    assert chosen_number(select_series(before + after), SeriesType.T2_FLAIR) == 1
    alone = select_series(after)
    assert chosen_number(alone, SeriesType.T2_FLAIR) == 3
    identification = candidate(alone, 3).identified.identification
    assert identification.kind == "T2 FLAIR after contrast agent"
    assert identification.remark.startswith("it was acquired after a contrast agent")


def test_flair_of_a_study_that_states_an_agent_throughout_is_a_flair_like_any_other() -> None:
    agent = {"ContrastBolusAgent": "Gadobutrol"}
    selection = select_series(series(1, **agent, **FLAIR) + series(2, **agent, **T2))
    assert candidate(selection, 1).identified.identification.kind == "T2 FLAIR"


def test_agent_that_not_all_series_state_tells_of_those_that_do() -> None:
    selection = select_series(series(1, **FLAIR) + series(2, ContrastBolusAgent="Gadobutrol", **T1))
    reason = "and not taken as T1: a contrast agent changes what the model looks at."
    assert candidate(selection, 2).reason == f"Taken for contrast-enhanced T1, {reason}"


@pytest.mark.parametrize(("of_flair", "taken"), [("BRAIN", False), ("CSPINE", True), (None, True)])
def test_series_of_another_part_of_the_body_is_not_taken_beside_those_of_the_head(
    of_flair: str | None, taken: bool
) -> None:
    """Where none says that it shows the head, it is a scanner's default."""
    flair = {**FLAIR, **({"BodyPartExamined": of_flair} if of_flair else {})}
    selection = select_series(series(1, **flair) + series(2, BodyPartExamined="CSPINE", **T1))
    assert set(selection.chosen) == {SeriesType.T2_FLAIR, *({SeriesType.T1} if taken else set())}
    if not taken:
        assert selection.unavailable[SeriesType.T1].endswith(
            "Series 2 (...1.2.3.2), image of another part of the body, not taken as T1: "
            "its Body Part Examined is not the head, which other Series of the Study show."
        )


def test_agent_of_a_series_without_a_time_is_none_before_all_others() -> None:
    """A computed Series may come with the time 000000."""
    day = {"StudyDate": "20240301"}
    computed = {**T1, "ImageType": ["DERIVED", "SECONDARY", "SUB"], "ContrastBolusAgent": "Gadobutrol"}
    selection = select_series(
        series(1, AcquisitionTime="090000", **day, **T1)
        + series(2, AcquisitionTime="000000", **day, **computed)
    )
    assert chosen_number(selection, SeriesType.T1) == 1


def test_magnitude_is_taken_and_phase_is_not() -> None:
    phase = {**T2_STAR, "ImageType": ["ORIGINAL", "PRIMARY", "P"]}
    selection = select_series(series(1, **T2_STAR) + series(1, first=29, **phase))
    assert [one.outcome for one in selection.candidates] == [Outcome.CHOSEN, Outcome.NOT_WANTED]


def test_broken_series_loses_against_a_sound_one_whatever_its_rank() -> None:
    broken = [header for header in series(1, **FLAIR) if not header.sop_instance_uid.endswith(".10")]
    selection = select_series(broken + series(2, orientation=SAGITTAL, **FLAIR))
    assert chosen_number(selection, SeriesType.T2_FLAIR) == 2
    assert candidate(selection, 2).reason == "The only usable T2-FLAIR."
    assert candidate(selection, 1).outcome is Outcome.UNUSABLE
    assert "1 slice is missing" in candidate(selection, 1).reason


def test_only_series_of_a_type_that_is_broken_makes_the_type_unavailable_with_the_reason() -> None:
    broken = [header for header in series(1, **FLAIR) if not header.sop_instance_uid.endswith(".10")]
    selection = select_series(broken + series(2, **T1))
    assert SeriesType.T2_FLAIR not in selection.chosen
    assert (
        "No T2-FLAIR can become a volume: Series 1 (...1.2.3.1): 1 slice is missing"
        in selection.unavailable[SeriesType.T2_FLAIR]
    )
    assert candidate(selection, 1).reason.startswith("It cannot become a volume: 1 slice is missing")


def test_series_without_a_frame_of_reference_costs_its_type_only() -> None:
    selection = select_series(series(1, **FLAIR) + series(2, FrameOfReferenceUID=None, **T1))
    assert set(selection.chosen) == {SeriesType.T2_FLAIR}
    assert candidate(selection, 2).outcome is Outcome.UNUSABLE
    assert selection.unavailable[SeriesType.T1] == (
        "No T1 can become a volume: Series 2 (...1.2.3.2): Frame of Reference UID is missing or empty; "
        "add it at the source and send the Series again."
    )


def test_unwanted_series_says_what_it_is() -> None:
    selection = select_series(series(1, **T2))
    assert candidate(selection, 1).reason == "Taken for T2 TSE, which is none of the wanted types."


FLAIR_3D = {
    **FLAIR, "RepetitionTime": 5000, "EchoTime": 388, "InversionTime": 1800, "MRAcquisitionType": "3D"
}  # fmt: skip
PHILIPS_DWI = {  # seen: DWI of an Achieva without its private elements
    "ScanningSequence": "SE", "SequenceVariant": "SK", "ScanOptions": "FS", "RepetitionTime": 8808.8,
    "EchoTime": 58.4, "EchoTrainLength": 47, "ImageType": ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"],
    "SeriesDescription": "DT_HIGH_32DIR",
}  # fmt: skip
NOT_TAKEN = [
    pytest.param(
        FLAIR_3D, {"ImageType": ["DERIVED", "SECONDARY", "MPR", "NORM"]}, SeriesType.T2_FLAIR,
        "reformatted image (MPR)", "its slices were interpolated from those of another Series", id="MPR",
    ),
    pytest.param(
        SWI, {"ImageType": ["DERIVED", "PRIMARY", "MNIP", "NORM"]}, SeriesType.T2_STAR,
        "intensity projection", "it shows the darkest or brightest of several slices", id="minIP",
    ),
    pytest.param(
        SWI, {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, SeriesType.T2_STAR,
        "phase or complex image", "it is no magnitude image", id="phase",
    ),
    pytest.param(
        T1, {"ContrastBolusAgent": "Gadobutrol"}, SeriesType.T1,
        "T1 of a Study that states a contrast agent throughout",
        "every Series of the Study states a contrast agent, so that nothing tells whether this one came "
        "before it; where an archive writes it into all of them, a rule of your own takes it "
        "(docs/identification.md)",
        id="contrast agent throughout",
    ),
    pytest.param(
        T1, {"SeriesDescription": "t1 se km"}, SeriesType.T1,
        "contrast-enhanced T1", "a contrast agent changes what the model looks at", id="with contrast agent",
    ),
    pytest.param(
        DWI, {"EchoTime": 22, "DiffusionDirectionality": "ISOTROPIC"}, SeriesType.DWI_B1000,
        "EPI with a b-value and an early echo",
        "an echo before 25 ms leaves no time for diffusion gradients, so that its b-value is not believed",
        id="early echo",
    ),
    pytest.param(
        PHILIPS_DWI, {}, SeriesType.DWI_B1000, "diffusion image without b-value",
        "no element states its b-value; where private elements are removed on the way, it is lost",
        id="Philips without private elements",
    ),
    pytest.param(
        DWI, {"DiffusionDirectionality": "DIRECTIONAL"}, SeriesType.DWI_B1000,
        "DWI of one direction", "it shows one direction of diffusion and not the trace of all",
        id="direction",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("physics", "changed", "series_type", "kind", "why"), NOT_TAKEN)
def test_series_that_are_all_there_is_of_a_type_and_are_not_taken_are_named(
    physics: dict[str, Any], changed: dict[str, Any], series_type: SeriesType, kind: str, why: str
) -> None:
    selection = select_series(series(7, **physics | changed) + series(8, **physics | changed))
    label = series_type.label
    assert selection.unavailable[series_type] == (
        f"No Series of the Study was recognised as {label}. "
        f"Series 7 (...1.2.3.7), Series 8 (...1.2.3.8), {kind}, not taken as {label}: {why}."
    )
    assert candidate(selection, 7).reason == f"Taken for {kind}, and not taken as {label}: {why}."


def test_reformat_of_what_is_none_of_the_wanted_types_is_no_more_than_that() -> None:
    reformat = {**T2, "ImageType": ["DERIVED", "SECONDARY", "MPR"]}
    selection = select_series(series(1, **reformat))
    assert candidate(selection, 1).reason == (
        "Taken for reformatted image (MPR), which is none of the wanted types."
    )
    assert set(selection.unavailable.values()) == {
        f"No Series of the Study was recognised as {series_type.label}." for series_type in SeriesType
    }


def test_reformat_beside_its_original_leaves_that_to_be_taken() -> None:
    reformat = {**FLAIR_3D, "ImageType": ["DERIVED", "SECONDARY", "MPR"]}
    selection = select_series(series(1, **reformat) + series(2, orientation=SAGITTAL, **FLAIR_3D))
    assert chosen_number(selection, SeriesType.T2_FLAIR) == 2
    assert SeriesType.T2_FLAIR not in selection.unavailable


def test_directions_of_one_series_are_named_once() -> None:
    directions = [
        header
        for gradient in ([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0])
        for header in series(3, DiffusionGradientOrientation=gradient, **DWI)
    ]
    selection = select_series(directions)
    assert selection.unavailable[SeriesType.DWI_B1000].count("Series 3") == 1


def test_nothing_recognised_is_a_message_and_no_error() -> None:
    selection = select_series(series(1, **T2))
    assert selection.chosen == {}
    assert selection.message == (
        "None of 1 image stacks is usable as one of T2-FLAIR, T1, DWI b1000, T2*: "
        "there is nothing to segment."
    )
    assert selection.unavailable[SeriesType.T1] == "No Series of the Study was recognised as T1."


def test_slices_that_lie_all_but_at_one_place_are_no_error() -> None:
    """0.02 mm apart: far less than a scanner can do, and than a header says of a position."""
    close = [
        read_image_header(
            mr_dataset(
                place,
                ImagePositionPatient=[0.0, 0.0, 0.02 * place],
                SeriesInstanceUID=f"1.2.3.{uid}",
                **FLAIR,
            )
        )
        for uid in (1, 2)
        for place in range(3)
    ]
    assert len(select_series(close + series(3, **FLAIR)).candidates) == 3


def test_study_without_images_is_no_error() -> None:
    assert select_series([]).chosen == {}


def test_order_of_arrival_does_not_matter() -> None:
    headers = series(1, **FLAIR) + series(2, **FLAIR) + series(3, **T1)
    forward, backward = select_series(headers), select_series(headers[::-1])
    assert forward.to_record() == backward.to_record()


def test_last_of_several_acquisitions_in_one_series_is_taken_and_each_is_named() -> None:
    repeated = [header for number in (2, 1) for header in series(1, AcquisitionNumber=number, **FLAIR)]
    unique = [replace(header, sop_instance_uid=f"1.2.{place}") for place, header in enumerate(repeated)]
    selection = select_series(unique)
    assert selection.chosen[SeriesType.T2_FLAIR].label == "acquisition 2"
    (lost,) = (one for one in selection.candidates if one.outcome is Outcome.LOST)
    assert lost.reason == (
        "Series 1 (...1.2.3.1) [acquisition 2] is preferred for its later acquisition in the Series: "
        "acquisition 2 against acquisition 1."
    )


def test_series_equal_in_everything_are_decided_by_uid() -> None:
    first = mr_series(28, SeriesInstanceUID="1.2.3.7", SeriesNumber=4, **FLAIR)
    second = mr_series(28, SeriesInstanceUID="1.2.3.8", SeriesNumber=4, **FLAIR)
    selection = select_series(second + first)
    assert selection.chosen[SeriesType.T2_FLAIR].series_uid == "1.2.3.7"


def test_record_survives_json() -> None:
    selection = select_series(series(1, **FLAIR) + series(2, **FLAIR) + series(3, **T2))
    record = json.loads(json.dumps(selection.to_record()))
    assert record == selection.to_record()
    assert [stack["outcome"] for stack in record["stacks"]] == ["lost", "chosen", "not wanted"]
    assert record["stacks"][1]["series_type"] == "T2_FLAIR"
    assert record["unavailable"]["T1"] == "No Series of the Study was recognised as T1."
