"""Report the events of a process: rate-limited, redacted, logged and published at once.

Takes events, emits one batch for each through the process's publisher. Never fails: an event that is held back is
counted and published later.
"""

from __future__ import annotations

import time

from common import clock, events, log
from common.events import Event, Limiter, Timed
from common.instruments import Instruments
from common.publisher import Publisher


class Reporter:
    """Report the events of one process, or of one source in it.

    Args:
        source: its name.
        publisher: how they get to the buffer.
        process_log: where they are logged too.
        instruments: counts what is held back.
    """

    def __init__(self, source: str, publisher: Publisher, process_log: log.Log, instruments: Instruments) -> None:
        self._source = source
        self._publisher = publisher
        self._log = process_log
        self._instruments = instruments
        self._limiter = Limiter()

    def report(self, event: Event) -> None:
        """Publish an event now, or hold it back if the rate limit is reached."""
        clean = event._replace(text=log.SECRETS.redact(event.text))
        at_ms = clock.wall_ms() if event.timestamp_ms is None else event.timestamp_ms
        timed = self._limiter.offer(clean, at_ms, time.monotonic())
        if timed is None:
            self._instruments.count("events.held_back_total", kind=event.kind, source=self._source)
        else:
            self._publish(timed)

    def tick(self) -> None:
        """Publish held events that the rate limit allows now; call it every few seconds."""
        for timed in self._limiter.due(time.monotonic()):
            self._publish(timed)

    def close(self) -> None:
        """Publish all held events, because the process ends."""
        for timed in self._limiter.rest():
            self._publish(timed)

    def _publish(self, timed: Timed) -> None:
        event = timed.event
        say = self._log.info if events.severity(event.kind) == "info" else self._log.warning
        say(event.text, event=event.kind, **({"subject": event.subject} if event.subject else {}))
        self._publisher.publish([events.sample(event, self._source)], timed.timestamp_ms, producer=self._source)
