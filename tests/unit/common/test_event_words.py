"""What an event says steers no terminal."""

from __future__ import annotations

from common import events
from common.events import Event


def test_what_an_event_says_steers_no_terminal() -> None:
    """A modem's model, a server's answer or a file's name may be in it."""
    sample = events.sample(Event("collector_failed", "\x1b]0;owned\x07no\ndisk\u202e", "s\x1b[31mda\n"), "disk")
    assert ("no disk", "sda") == (sample.value, sample.tags["subject"])
