"""One table of how a Study can come in, and what is to be thought of it at which second."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from node.completeness import (
    ArrivalState,
    AssociationEnd,
    Carriage,
    CompletenessSettings,
    StudyArrival,
    is_complete,
)

START = datetime(2024, 1, 15, 9, 0, 0, tzinfo=UTC)
SETTINGS = CompletenessSettings(series_quiet_s=5, abandoned_after_s=3600)

OPEN, RELEASED, ABORTED = AssociationEnd.OPEN, AssociationEnd.RELEASED, AssociationEnd.ABORTED
RECEIVING, HELD, COMPLETE, KEPT, ABANDONED = ArrivalState


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def carried(
    name: str,
    opened: float,
    last: float,
    closed: float | None,
    end: AssociationEnd = RELEASED,
    *,
    sender: str = "SCANNER1",
    series: str = "1.1",
    refused: int = 0,
    **why: str,
) -> Carriage:
    """Describe by seconds what an association carried: opened, last Instance, closed."""
    return Carriage(
        association_id=name,
        calling_ae=sender,
        series_uid=series,
        end=end,
        opened_at=at(opened),
        closed_at=None if closed is None else at(closed),
        last_instance_at=at(last),
        refused=refused,
        **why,
    )


def arrival(*carriages: Carriage, instances: int = 24, images: int | None = None) -> StudyArrival:
    return StudyArrival("1.2.3", 1, instances, instances if images is None else images, carriages, at(0))


DONE = carried("a", 0, 10, 11)
STILL_OPEN = carried("a", 0, 10, None, OPEN)
BROKEN = carried("a", 0, 10, 11, ABORTED)


@pytest.mark.parametrize(
    ("carriages", "second", "expected"),
    [
        pytest.param([DONE], 12, RECEIVING, id="released-not-yet-quiet"),
        pytest.param([DONE], 15.9, RECEIVING, id="quiet-counts-from-the-release"),
        pytest.param([DONE], 16, COMPLETE, id="released-and-quiet"),
        pytest.param([STILL_OPEN], 20000, RECEIVING, id="open-association-however-long"),
        pytest.param(
            [DONE, carried("b", 12, 13, None, OPEN)], 60, RECEIVING, id="second-association-still-open"
        ),
        pytest.param([DONE, carried("b", 12, 20, 21)], 25, RECEIVING, id="second-association-not-yet-quiet"),
        pytest.param(
            [DONE, carried("b", 12, 20, 21)], 26, COMPLETE, id="two-associations-released-and-quiet"
        ),
        pytest.param(
            [DONE, carried("b", 1, 9, None, OPEN, series="1.2")], 60, RECEIVING, id="other-series-still-open"
        ),
        pytest.param(
            [DONE, carried("a", 0, 40, 41, series="1.2")],
            44,
            RECEIVING,
            id="interleaved-series-not-yet-quiet",
        ),
        pytest.param(
            [DONE, carried("a", 0, 40, 41, series="1.2")], 46, COMPLETE, id="interleaved-series-both-quiet"
        ),
        pytest.param([BROKEN], 12, HELD, id="aborted"),
        pytest.param([BROKEN], 3600, HELD, id="aborted-still-waited-for"),
        pytest.param([BROKEN], 3611, ABANDONED, id="aborted-and-not-sent-again"),
        pytest.param([BROKEN, carried("b", 20, 30, None, OPEN)], 40, RECEIVING, id="aborted-sent-again-now"),
        pytest.param(
            [BROKEN, carried("b", 20, 30, 31)], 35, RECEIVING, id="aborted-sent-again-not-yet-quiet"
        ),
        pytest.param([BROKEN, carried("b", 20, 30, 31)], 36, COMPLETE, id="aborted-sent-again"),
        pytest.param(
            [BROKEN, carried("b", 20, 30, 31, sender="SCANNER2")], 60, HELD, id="another-sender-heals-nothing"
        ),
        pytest.param([BROKEN, carried("b", 5, 30, 31)], 60, HELD, id="association-beside-it-heals-nothing"),
        pytest.param(
            [BROKEN, carried("b", 20, 30, 31, ABORTED)], 60, HELD, id="sent-again-and-aborted-again"
        ),
        pytest.param(
            [BROKEN, carried("b", 20, 30, 31, ABORTED), carried("c", 40, 50, 51)],
            56,
            COMPLETE,
            id="third-time",
        ),
        pytest.param(
            [BROKEN, carried("b", 20, 30, 31, ABORTED)],
            3625,
            HELD,
            id="patience-counts-from-the-last-attempt",
        ),
        pytest.param(
            [BROKEN, carried("b", 3700, 3720, 3721)], 3800, COMPLETE, id="sent-again-after-giving-up"
        ),
        pytest.param(
            [DONE, carried("b", 20, 30, 31, ABORTED, series="1.2")], 60, HELD, id="later-series-aborted"
        ),
        pytest.param(
            [BROKEN, carried("b", 20, 30, 31, series="1.2")], 36, COMPLETE, id="sent-again-in-another-series"
        ),
        pytest.param([carried("a", 0, 10, 11, refused=2)], 60, HELD, id="instances-refused"),
        pytest.param(
            [carried("a", 0, 10, 11, refused=2), carried("b", 20, 30, 31)],
            36,
            COMPLETE,
            id="refused-sent-again",
        ),
        pytest.param(
            [
                carried("a", 0, 10, 11, refused=2),
                carried("b", 20, 30, 31, series="1.2", refused=1),
                carried("b", 20, 30, 31),
            ],
            60,
            HELD,
            id="refused-again-in-part",
        ),
        pytest.param([carried("a", 0, 10, 11, refused=2)], 3611, ABANDONED, id="refused-and-not-sent-again"),
    ],
)
def test_state_of_a_study(carriages: list[Carriage], second: float, expected: ArrivalState) -> None:
    verdict = is_complete(arrival(*carriages), at(second), SETTINGS)
    assert verdict.state is expected
    assert verdict.reason.endswith(".")
    assert is_complete(arrival(*reversed(carriages)), at(second), SETTINGS) == verdict


@pytest.mark.parametrize(
    ("carriage", "reachable_since", "second", "expected"),
    [
        pytest.param(DONE, 100, 104.9, RECEIVING, id="the-sender-may-go-on-now-that-it-can"),
        pytest.param(DONE, 100, 105, COMPLETE, id="quiet-counts-from-when-it-could"),
        pytest.param(DONE, None, 20000, RECEIVING, id="nobody-listens"),
        pytest.param(BROKEN, 7200, 10799, HELD, id="patience-counts-from-when-it-could-send-again"),
        pytest.param(BROKEN, 7200, 10800, ABANDONED, id="not-sent-again-though-it-could"),
        pytest.param(BROKEN, None, 20000, HELD, id="nobody-listens-to-an-aborted-one"),
    ],
)
def test_only_time_counts_in_which_a_receiver_could_be_reached(
    carriage: Carriage, reachable_since: float | None, second: float, expected: ArrivalState
) -> None:
    since = None if reachable_since is None else at(reachable_since)
    verdict = is_complete(StudyArrival("1.2.3", 1, 24, 24, (carriage,), since), at(second), SETTINGS)
    assert verdict.state is expected
    assert ("waits for a receiver" in verdict.reason.lower()) is (since is None)


def test_open_association_of_its_sender_may_still_carry_the_study() -> None:
    study = StudyArrival("1.2.3", 1, 24, 24, (DONE,), at(0), undeclared=("SCANNER1",))
    verdict = is_complete(study, at(60), SETTINGS)
    assert (verdict.state, verdict.reason) == (RECEIVING, "Association of SCANNER1 is still open.")


def test_study_of_which_nothing_could_be_taken_is_given_up() -> None:
    verdict = is_complete(arrival(DONE, instances=0), at(60), SETTINGS)
    assert verdict.state is ABANDONED
    assert "UIDs belong to Instances stored before" in verdict.reason


@pytest.mark.parametrize(("second", "expected"), [(12, RECEIVING), (16, KEPT)])
def test_study_without_an_mr_image_is_kept(second: float, expected: ArrivalState) -> None:
    verdict = is_complete(arrival(DONE, instances=3, images=0), at(second), SETTINGS)
    assert verdict.state is expected
    assert ("not evaluated" in verdict.reason) is (expected is KEPT)


@pytest.mark.parametrize(("refused", "counted"), [(1, "1 Instance"), (2, "2 Instances")])
def test_reason_says_how_many_instances_whom_it_refused(refused: int, counted: str) -> None:
    verdict = is_complete(arrival(carried("a", 0, 10, 11, refused=refused), instances=3), at(4000), SETTINGS)
    assert f"SCANNER1 had {counted} refused before" in verdict.reason
    assert "UTC (the log says why)" in verdict.reason, "an index of before does not"
    assert "and did not send the Study again" in verdict.reason


def test_broken_off_study_without_an_mr_image_is_not_to_be_retried() -> None:
    verdict = is_complete(arrival(BROKEN, instances=3, images=0), at(4000), SETTINGS)
    assert verdict.state is ABANDONED
    assert verdict.reason.endswith("there is no MR image in the 3 Instances that came.")


@pytest.mark.parametrize(
    ("series", "has_results", "expected"),
    [("1.9", True, COMPLETE), ("1.9", False, HELD), ("1.1", True, HELD)],
    ids=["results come back", "before there are results", "images sent again"],
)
def test_association_that_breaks_off_with_results_changes_nothing(
    series: str, has_results: bool, expected: ArrivalState
) -> None:
    back = carried("b", 20, 30, 31, ABORTED, sender="PACS", series=series)
    study = replace(arrival(DONE, back), without_mr_image=frozenset({"1.9"}), has_results=has_results)
    assert is_complete(study, at(60), SETTINGS).state is expected


@pytest.mark.parametrize(("series", "expected"), [("1.9", HELD), ("1.2", COMPLETE)])
def test_screenshot_does_not_make_good_images_that_broke_off(series: str, expected: ArrivalState) -> None:
    study = replace(
        arrival(BROKEN, carried("b", 20, 30, 31, series=series)), without_mr_image=frozenset({"1.9"})
    )
    assert is_complete(study, at(60), SETTINGS).state is expected


@pytest.mark.parametrize(("second", "expected"), [(60, HELD), (3611, ABANDONED)])
def test_study_of_which_all_was_refused_is_waited_for(second: float, expected: ArrivalState) -> None:
    verdict = is_complete(arrival(carried("a", 0, 10, 11, refused=2), instances=0), at(second), SETTINGS)
    assert verdict.state is expected
    assert ("nothing of it is here" in verdict.reason) is (expected is ABANDONED)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            carried("a", 0, 10, 11, refused=1, refused_because="too many Studies wait, send again later"),
            "SCANNER1 had 1 Instance refused before 2024-01-15 09:00:11 UTC: too many Studies wait, send",
        ),
        (
            carried("a", 0, 10, 11, ABORTED, broke_because="its connection was lost"),
            "The association of SCANNER1 broke off at 2024-01-15 09:00:11 UTC: its connection was lost",
        ),
    ],
)
def test_reason_says_what_the_index_knows_of_why(broken: Carriage, reason: str) -> None:
    assert is_complete(arrival(broken), at(60), SETTINGS).reason.startswith(reason)


def test_reason_names_the_sender_that_is_waited_for() -> None:
    verdict = is_complete(arrival(BROKEN), at(60), SETTINGS)
    assert verdict.reason == (
        "SCANNER1 aborted its association at 2024-01-15 09:00:11 UTC; "
        "waits until 2024-01-15 10:00:11 UTC for SCANNER1 to send the Study again."
    )


def test_reason_of_an_abandoned_study_says_what_to_do() -> None:
    verdict = is_complete(arrival(BROKEN), at(4000), SETTINGS)
    assert "did not send the Study again within 3600 s" in verdict.reason
    assert "`csvd-node retry 1.2.3`" in verdict.reason


@pytest.mark.parametrize("values", [{"series_quiet_s": 0}, {"abandoned_after_s": -1}, {"quiet": 5}])
def test_impossible_waits_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        CompletenessSettings.model_validate(values)
