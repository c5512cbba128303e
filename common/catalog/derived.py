"""What is made of other metrics on the device, the events, and the session they belong to."""

from __future__ import annotations

from common.catalog.row import COUNTER, EVENT, row
from common.sample import CRITICAL

DERIVED = (
    row("event", EVENT, "", "kind severity source subject", "What happened, in words; a row of `events`.", CRITICAL),
    row("events_total", COUNTER, "", "kind severity source", "Events of a kind, since the database began.", CRITICAL),
    row("session", EVENT, "", "", "A stream that began, goes on or ended, as JSON; a row of `sessions`.", CRITICAL),
)
