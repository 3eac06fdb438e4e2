"""When a delivery is tried again: pauses that grow to a bound, until the patience ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from node.outbound import DestinationSettings, RetrySettings, SenderSettings
from node.receiver_settings import ReceiverSettings
from node.sender import next_attempt_at

QUEUED = datetime(2024, 1, 15, 9, 0, 0, tzinfo=UTC)
SETTINGS = RetrySettings()


@pytest.mark.parametrize(
    ("attempts", "pause_s"),
    [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 320), (7, 640), (8, 900), (9, 900), (5000, 900)],
)
def test_pause_doubles_up_to_a_quarter_of_an_hour(attempts: int, pause_s: float) -> None:
    now = QUEUED + timedelta(hours=1)
    assert next_attempt_at(attempts, QUEUED, now, SETTINGS) == now + timedelta(seconds=pause_s)


@pytest.mark.parametrize(
    ("waited", "expected"),
    [
        pytest.param(timedelta(days=3, seconds=-900), timedelta(days=3), id="one-pause-left"),
        pytest.param(timedelta(days=3, seconds=-5), timedelta(days=3), id="last-time-at-the-end"),
        pytest.param(timedelta(days=3), None, id="three-days-over"),
        pytest.param(timedelta(days=9), None, id="node-was-off-for-long"),
    ],
)
def test_patience_ends_after_three_days(waited: timedelta, expected: timedelta | None) -> None:
    found = next_attempt_at(50, QUEUED, QUEUED + waited, SETTINGS)
    assert found == (None if expected is None else QUEUED + expected)


@pytest.mark.parametrize(
    ("attempts", "asked_s", "pause_s"),
    [
        pytest.param(1, 120, 120, id="longer-than-ours"),
        pytest.param(6, 1, 320, id="shorter-than-ours"),
        pytest.param(1, 0, 10, id="none-at-all"),
        pytest.param(1, 86400, 900, id="beyond-the-longest"),
    ],
)
def test_pause_that_a_destination_asks_for_is_kept_within_the_longest(
    attempts: int, asked_s: float, pause_s: float
) -> None:
    now = QUEUED + timedelta(hours=1)
    found = next_attempt_at(attempts, QUEUED, now, SETTINGS, asked_s)
    assert found == now + timedelta(seconds=pause_s)


def test_outage_of_a_weekend_is_tried_some_hundred_times_and_no_more() -> None:
    """15 minutes apart over 3 days are 288 attempts; the short first ones add a few."""
    now, attempts = QUEUED, 0
    while True:
        attempts += 1
        again = next_attempt_at(attempts, QUEUED, now, SETTINGS)
        if again is None:
            break
        now = again
    assert now == QUEUED + timedelta(days=3)
    assert 288 <= attempts <= 300


@pytest.mark.parametrize("title", ["", "A" * 17, "A\\B", " PACS", "PACS ", "PÄCS", "A\nB"])
def test_impossible_ae_titles_are_refused(title: str) -> None:
    with pytest.raises(ValidationError):
        DestinationSettings(ae_title=title, host="pacs", port=104)
    with pytest.raises(ValidationError):
        ReceiverSettings(ae_title=title)
    with pytest.raises(ValidationError):
        SenderSettings(ae_title=title)


@pytest.mark.parametrize("title", ["A", "MY PACS", "A" * 16, "PACS_1-2"])
def test_possible_ae_titles_are_taken(title: str) -> None:
    assert str(DestinationSettings(ae_title=title, host="pacs", port=104)) == f"{title}@pacs:104"


@pytest.mark.parametrize(
    "values",
    [
        {"port": 70000},
        {"maximum_pdu_bytes": 100},
        {"maximum_associations": 0},
        {"ae_titel": "X"},
        {"host": ""},
    ],
)
def test_impossible_receiver_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ReceiverSettings.model_validate(values)
