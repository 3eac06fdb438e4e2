"""How long a server asks not to be tried again, as RFC 9110 10.2.3 lets it say so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from node.retry_after import pause_asked_for

NOW = datetime(2026, 11, 26, 15, 0, 0, tzinfo=UTC)
TEN_PAST = "Thu, 26 Nov 2026 15:10:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "pause_s"),
    [
        pytest.param(503, {"Retry-After": "120"}, 120, id="seconds"),
        pytest.param(429, {"Retry-After": "120"}, 120, id="too-many-requests"),
        pytest.param(503, {"Retry-After": " 0 "}, 0, id="at-once"),
        pytest.param(503, {"Retry-After": TEN_PAST}, 600, id="date"),
        pytest.param(503, {"Retry-After": "Thursday, 26-Nov-26 15:10:00 GMT"}, 600, id="date-of-rfc-850"),
        pytest.param(503, {"Retry-After": "Thu Nov 26 15:10:00 2026"}, 600, id="date-of-asctime"),
        pytest.param(
            503, {"Retry-After": TEN_PAST, "Date": "Thu, 26 Nov 2026 15:09:00 GMT"}, 60, id="their-clock"
        ),
        pytest.param(503, {"Retry-After": TEN_PAST, "Date": "today"}, 600, id="their-clock-unreadable"),
        pytest.param(503, {"Retry-After": "Wed, 25 Nov 2026 15:00:00 GMT"}, 0, id="past"),
        pytest.param(503, {"Retry-After": "9" * 5000}, 10 * 365 * 86400, id="more-than-anybody-means"),
        pytest.param(503, {}, None, id="not-said"),
        pytest.param(503, {"Retry-After": ""}, None, id="empty"),
        pytest.param(503, {"Retry-After": "soon"}, None, id="neither-seconds-nor-date"),
        pytest.param(503, {"Retry-After": "-5"}, None, id="negative"),
        pytest.param(503, {"Retry-After": "²"}, None, id="digit-that-is-none"),
        pytest.param(500, {"Retry-After": "120"}, None, id="other-status"),
        pytest.param(301, {"Retry-After": "120"}, None, id="redirection"),
    ],
)
def test_pause_is_read_from_the_answer(status: int, headers: dict[str, str], pause_s: float | None) -> None:
    assert pause_asked_for(status, headers, NOW) == pause_s
