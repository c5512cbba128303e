"""The one thing the page is made of: a number with its name and its colour."""

from __future__ import annotations

from typing import NamedTuple

IDLE = "idle"  # a level of a verdict: there is nothing to judge


class Tile(NamedTuple):
    """One number on the page.

    Attributes:
        id: stable, for whoever draws; of one that can be amber or red, its rule in `healthd.verdict.advice`.
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
