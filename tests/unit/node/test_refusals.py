"""A destination that refuses a form gets its fallback, and nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from node.deliveries import Delivery, DeliveryState
from node.form_settings import FormSettings
from node.outcomes import Outcome
from node.refusals import replacement_of
from node.results.forms import Form

INSTANCES = {"seg-WMH": "1.1", "sr": "1.2", "key-image-001": "1.3", "key-image-002": "1.4", "pdf": "1.5"}
OUTCOME = Outcome(fingerprint="aa", choices=(), instances=INSTANCES, findings={}, destinations={})


def delivery(role: str, state: DeliveryState = DeliveryState.PENDING) -> Delivery:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    return Delivery(INSTANCES[role], "pacs", "e", "1.0", role, "1.2", "p", state, 0, None, "", now, None, now)


@pytest.mark.parametrize(
    ("role", "also_refused", "fallback", "instead"),
    [
        pytest.param("seg-WMH", [], [Form.KEY_IMAGES, Form.PDF], ["1.3", "1.4", "1.5"], id="masks"),
        pytest.param("sr", ["1.1"], [Form.PDF], ["1.5"], id="report"),
        pytest.param("seg-WMH", [], [], None, id="no-fallback"),
        pytest.param("pdf", [], [Form.KEY_IMAGES, Form.PDF], ["1.3", "1.4"], id="pdf-of-the-fallback"),
        pytest.param("pdf", ["1.3", "1.4"], [Form.KEY_IMAGES, Form.PDF], None, id="whole-fallback"),
    ],
)
def test_refused_form_is_replaced_by_what_is_left_of_the_fallback(
    role: str, also_refused: Sequence[str], fallback: Sequence[Form], instead: Sequence[str] | None
) -> None:
    settings = FormSettings(fallback=tuple(fallback))
    refused = [INSTANCES[role], *also_refused]
    found = replacement_of(delivery(role), "no context", settings, OUTCOME, [delivery(role)], refused)
    assert (None if found is None else list(found.instances)) == (None if instead is None else list(instead))


def test_what_was_refused_before_replaces_nothing() -> None:
    queued = [delivery("pdf", DeliveryState.REFUSED), delivery("key-image-001")]
    found = replacement_of(delivery("key-image-001"), "no", FormSettings(), OUTCOME, queued, ["1.3", "1.4"])
    assert found is None


def test_comment_says_what_is_sent_instead() -> None:
    found = replacement_of(delivery("sr"), "no context for SR", FormSettings(), OUTCOME, [])
    assert found is not None
    assert found.comment == "no context for SR; key images and pdf sent instead"
