"""Recheck whether the server still has verified samples. The buffer's side: which windows to count again, as spans.

A server that comes back from a backup, or empty, has less than it had. After a restart, or when another instance
answers, it is asked for the count of each series; once an hour, because not every server says when it was started, for
one total. Spans are asked for newest first; each holds as many windows as are cheap to count, a day at most.

1. A span that is short is halved, down to spans of which everything is missing, or to one window.
2. Those windows are audited again, and the audit sends again what is missing.
3. Where the oldest span is short too, what the device keeps only as averages is counted, back to the first span that
   the server has. Nothing of it can be sent again: it is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from buffer.storage import server_loss
from buffer.storage.audit_windows import WINDOW_MS
from buffer.storage.server_loss import ServerLoss
from buffer.storage.store import Store
from common.events import Event
from common.service import Service
from common.status import BufferStatus

EVERY_S = 3600.0
MOST_SAMPLES = 100_000  # counted here for one span: 0.1 s
MOST_MS = 86_400_000
AVERAGES_MS = 6 * 3_600_000  # 100,000 rows of 300 series
AVERAGES_TOLERANCE = 0.01  # what was refused is in the averages too
DUE = "recheck_due"


class RecheckSpan(NamedTuple):
    """Windows that are counted together.

    Attributes:
        start_ms, end_ms: of their times.
        only_averages: the device has aggregates of it, no samples.
    """

    start_ms: int
    end_ms: int
    only_averages: bool = False

    def halves(self) -> list[RecheckSpan]:
        """Return the older and the newer half."""
        middle_ms = self.start_ms + (self.end_ms - self.start_ms) // WINDOW_MS // 2 * WINDOW_MS
        return [self._replace(end_ms=middle_ms), self._replace(start_ms=middle_ms)]


def spans(windows: Iterable[tuple[int, int]]) -> Iterator[RecheckSpan]:
    """Yield spans of windows, newest first.

    Args:
        windows: start and number of verified samples of each, newest first; one without any ends a span.
    """
    start_ms = end_ms = samples = 0
    for window_ms, count in windows:
        is_over = not count or samples + count > MOST_SAMPLES or end_ms - window_ms > MOST_MS
        if samples and is_over:
            yield RecheckSpan(start_ms, end_ms)
            samples = 0
        if count:
            end_ms = end_ms if samples else window_ms + WINDOW_MS
            start_ms, samples = window_ms, samples + count
    if samples:
        yield RecheckSpan(start_ms, end_ms)


class Recheck:
    """The spans that are to be counted again, and what was found of them.

    Args:
        service: takes counters, events and the log.
        store: the database.
        status: says what the server lost.
    """

    def __init__(self, service: Service, store: Store, status: BufferStatus) -> None:
        self._service, self._store, self._status = service, store, status
        self._next_s = time.monotonic() + EVERY_S
        self._spans: list[RecheckSpan] = []
        self._oldest_ms: int | None = None
        self._found: ServerLoss | None = None
        self._is_running = self._by_series = False
        service.instruments.count("storage.lost_at_server_total", 0)
        self._show()

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what the drain answers for this, by operation."""
        return {"recheck": self.next_span, "rechecked": self.counted}

    def begin(self) -> None:
        """Recheck all verified windows; joins the open transaction, and continues after a restart."""
        self._store.progress.set(DUE, 1)
        self._is_running = False

    def next_span(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Return the next span to count at the server, with how many samples of each series it has to have."""
        if not self._is_running:
            is_due = self._store.progress.get(DUE) is not None
            if is_due or time.monotonic() >= self._next_s:
                self._start(by_series=is_due)
        if not self._spans:
            return {"start_ms": None}
        span = self._spans[-1]
        table = self._store.aggregates if span.only_averages else self._store.windows
        series = self._store.required(table.series(span.start_ms, span.end_ms))
        width_ms = span.end_ms - span.start_ms
        return {"start_ms": span.start_ms, "width_ms": width_ms, "series": series, "by_series": self._by_series}

    def counted(self, request: dict[str, Any]) -> dict[str, Any]:
        """Close a span that the server has in full, or halve one of which samples are missing."""
        asked = int(request["start_ms"]), int(request["start_ms"]) + int(request["width_ms"])
        if not self._spans or self._spans[-1][:2] != asked:
            return {}  # of an earlier life of this process
        span, there, short = self._spans[-1], int(request["there"]), int(request["short"])
        if short and not self._by_series:
            self._start(by_series=True)
            return {}
        with self._store.transaction():
            del self._spans[-1]
            if span.only_averages:
                self._judge_averages(span, there, short)
            elif short:
                self._judge(span, there, short)
            if not self._spans:
                self._finish()
        return {}

    def settle(self) -> None:
        """Report that a loss is over once all of its windows were audited again."""
        loss = server_loss.load(self._store.progress)
        if loss is None or self._is_running or self._store.windows.is_open_between(loss.start_ms, loss.end_ms):
            return
        with self._store.transaction():
            server_loss.save(self._store.progress, None)
        self._show()
        text = f"the server has the {loss.samples} samples again that could be sent again"
        self._service.event(Event("server_caught_up", text))

    def is_known(self, start_ms: int) -> bool:
        """Return whether a window belongs to a loss that was reported already."""
        loss = server_loss.load(self._store.progress)
        return loss is not None and loss.start_ms <= start_ms < loss.end_ms

    def _start(self, *, by_series: bool) -> None:
        self._next_s = time.monotonic() + EVERY_S
        self._found, self._is_running, self._by_series = None, True, by_series
        self._spans = list(spans(self._store.windows.newest_first()))[::-1]
        self._oldest_ms = self._spans[0].start_ms if self._spans else None
        with self._store.transaction():
            if not self._spans:
                self._finish()

    def _judge(self, span: RecheckSpan, there: int, short: int) -> None:
        """Audit a short span again, or split it into halves."""
        if there and span.end_ms - span.start_ms > WINDOW_MS:
            self._spans += span.halves()
            return
        self._store.windows.reopen(span.start_ms, span.end_ms)
        self._found = ServerLoss(span.start_ms, span.end_ms, samples=short).joined(self._found)
        if span.start_ms == self._oldest_ms:
            self._ask_for_averages(before_ms=span.start_ms)

    def _judge_averages(self, span: RecheckSpan, there: int, short: int) -> None:
        if short > AVERAGES_TOLERANCE * (there + short):
            self._found = ServerLoss(span.start_ms, span.end_ms, only_averages=short).joined(self._found)
            self._ask_for_averages(before_ms=span.start_ms)

    def _ask_for_averages(self, before_ms: int) -> None:
        """Queue the next older span of averages; it is counted last."""
        newest_ms = self._store.aggregates.newest_ms(before_ms)
        if newest_ms is not None:
            end_ms = min(before_ms, newest_ms + WINDOW_MS)
            self._spans.insert(0, RecheckSpan(end_ms - AVERAGES_MS, end_ms, only_averages=True))

    def _finish(self) -> None:
        """Save the loss and report it."""
        self._store.progress.set(DUE, None)
        self._is_running = False
        if self._found is None:
            return
        loss = self._found.joined(server_loss.load(self._store.progress))
        server_loss.save(self._store.progress, loss)
        lost = self._found.samples + self._found.only_averages
        self._service.instruments.count("storage.lost_at_server_total", lost)
        self._service.log.error("the server has less than was verified", samples=lost, detail=str(self._found))
        self._service.event(Event("server_lost_data", str(self._found)))
        self._found = None
        self._show()

    def _show(self) -> None:
        loss = server_loss.load(self._store.progress)
        self._status.lost_at_server = None if loss is None else str(loss)
