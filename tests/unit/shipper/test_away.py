"""A server that fails for a moment is no news, for a minute it is, once."""

from __future__ import annotations

from common.events import Event
from shipper.away import NEWS_S, Away


def test_a_failure_that_lasts_is_news_once_and_so_is_its_end() -> None:
    """With how long it was, and what was said of it."""
    events: list[Event] = []
    away = Away(events.append)
    for second in (0, 5, NEWS_S, NEWS_S + 30):
        away.failed("503", 1000.0 + second)
    away.over(1000.0 + 300)
    away.over(1000.0 + 301)
    assert [("server_away", "no upload for 60 s: 503"), ("server_back", "uploads succeed again, after 300 s")] == [
        (event.kind, event.text) for event in events
    ]


def test_a_failure_that_is_soon_over_is_none() -> None:
    """However often."""
    events: list[Event] = []
    away = Away(events.append)
    for at_s in range(0, 600, 30):
        away.failed("reset", at_s)
        away.over(at_s + 20)
    assert [] == events
