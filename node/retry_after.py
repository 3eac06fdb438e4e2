"""Reads how long an HTTP server asks not to be tried again.

Source: RFC 9110 10.2.3 (Retry-After), 15.6.4 (status 503); RFC 6585 4 (status 429).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Statuses that say "later": of others Retry-After means something else, or nothing."""

LONGEST_S = 10 * 365 * 86400
"""More seconds than any server means; bounds what a date could overflow by."""


def pause_asked_for(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the pause that an answer asks for, s, at least 0; None if it asks for none.

    Args:
        status: of the answer.
        headers: of the answer, by names in any case.
        now: the current time, with a time zone; used where the answer does not say what time it was there.
    """
    asked = headers.get("Retry-After", "").strip()
    if status not in BUSY or not asked:
        return None
    if asked.isascii() and asked.isdigit():
        # Not int(): thousands of digits would raise, and all mean the same.
        return float(min(float(asked), LONGEST_S))
    until = _moment(asked)
    if until is None:
        return None
    began = _moment(headers.get("Date", "")) or now
    return min(max(0.0, (until - began).total_seconds()), LONGEST_S)


def _moment(text: str) -> datetime | None:
    """Read an HTTP date, None if it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # RFC 9110 5.6.7: every HTTP date is in GMT, whether it says so or not.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
