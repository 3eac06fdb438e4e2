"""The same is said once a minute, and at once if things were well in between."""

from __future__ import annotations

from node.repeating import Repeated


def test_the_same_is_news_once_a_minute_or_after_something_else() -> None:
    seconds = 0.0
    said = Repeated(lambda: seconds)
    assert said.is_news("full")
    seconds = 59.9
    assert not said.is_news("full")
    seconds = 60.0
    assert said.is_news("full"), "a minute later"
    assert said.is_news("away"), "another reason"
    assert not said.is_news("away")
    said.forget()
    assert said.is_news("away"), "it was well in between"
