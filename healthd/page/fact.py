"""The one thing the page is made of."""

from __future__ import annotations

from typing import NamedTuple

from healthd import rollup

OK, DEGRADED, ERROR, IDLE = rollup.OK, rollup.DEGRADED, rollup.ERROR, "idle"


class Fact(NamedTuple):
    """One number on the page.

    Attributes:
        id: stable, for whoever draws.
        label: its name.
        text: its value.
        level: ok, degraded, error, or "" where nothing is judged.
        share: 0 to 1 for a bar, None for none.
    """

    id: str
    label: str
    text: str
    level: str = ""
    share: float | None = None
