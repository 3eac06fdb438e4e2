from __future__ import annotations

from datetime import datetime

import pytest

from node.results.errors import InvalidContextError, ResultError
from tests.support.result_studies import context


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        pytest.param({"created_at": datetime(2026, 1, 1)}, "time zone", id="time-without-zone"),
        pytest.param({"fingerprint": "not a digest"}, "fingerprint", id="fingerprint-not-hexadecimal"),
        pytest.param({"fingerprint": "abc"}, "fingerprint", id="fingerprint-too-short"),
        pytest.param({"software_version": " "}, "software_version", id="no-version"),
        pytest.param({"ae_title": ""}, "ae_title", id="no-ae-title"),
        pytest.param({"station_name": ""}, "station_name", id="no-station"),
        pytest.param({"manufacturer": ""}, "manufacturer", id="no-manufacturer"),
    ],
)
def test_context_that_says_too_little_is_refused(changed: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidContextError, match=named) as raised:
        context(**changed)
    assert raised.value.study_uid == context().study_uid
    assert isinstance(raised.value, ResultError)
    assert not raised.value.retryable
