"""When a server that fails is news: after a minute, once, and again when it is over."""

from __future__ import annotations

from collections.abc import Callable

from common.events import Event

NEWS_S = 60.0


class Away:
    """How long uploads have been failing.

    Args:
        report: takes the events.
    """

    def __init__(self, report: Callable[[Event], None]) -> None:
        self._report = report
        self._since_s: float | None = None
        self._told = False

    def failed(self, detail: str, now_s: float) -> None:
        """An upload failed."""
        if self._since_s is None:
            self._since_s = now_s
        elif not self._told and now_s - self._since_s >= NEWS_S:
            self._told = True
            self._report(Event("server_away", f"no upload for {now_s - self._since_s:.0f} s: {detail}"))

    def over(self, now_s: float) -> None:
        """An upload succeeded."""
        if self._told and self._since_s is not None:
            self._report(Event("server_back", f"uploads succeed again, after {now_s - self._since_s:.0f} s"))
        self._since_s, self._told = None, False
