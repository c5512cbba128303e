"""The buffer's side of the audit: which windows to compare with the server, and which samples to send again.

Answers the audit's requests of `common/PROTOCOL.md`, section drain. A 2xx is not proof: in a crash a server loses its
last seconds, and some answer 204 to samples that they drop. Only missing samples matter; additional ones at the server
are duplicates or come from another sender. If samples of a series stay missing after they were sent again, a setting of
the server drops them: the series is remembered as withheld, and reported once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from buffer.delivery import withheld_cause
from buffer.delivery.recheck import Recheck
from buffer.storage import audit_windows
from buffer.storage.audit_windows import WINDOW_MS
from buffer.storage.store import Store
from buffer.storage.withheld import Withheld
from common import clock
from common.events import Event
from common.service import Service
from common.status import BufferStatus

MAX_RESENDS = 2  # of single series: a server that lost the same ones three times will lose them again
# A server that has nothing of most of a window is broken, not forgetful, and everything would go there in vain. After
# a resend that is gone too the audit rests, in graces, before the same window is tried again; the last is repeated.
RESTS = (1, 5, 15, 60)
MAX_TRIES = 7  # of such a window: 3 hours of rests with the default grace of a minute
WITHHELD = "withheld"  # what was reported of the server's rules


class _Missing(NamedTuple):
    """A series of which the server has too little: how much, and the times of what it lacks, if they are known."""

    series_id: int
    there: int
    times_ms: list[int] | None = None


class AuditOperations:
    """Compare what was uploaded with what the server has, audit window by audit window.

    Args:
        service: takes counters, events and the log.
        store: the database.
        recheck: knows which windows the server had once.
        status: says what the server does not keep.
    """

    def __init__(self, service: Service, store: Store, recheck: Recheck, status: BufferStatus) -> None:
        self._service, self._store, self._recheck, self._status = service, store, recheck, status
        self._grace_s = 0.0
        self._rests = 0  # in a row
        self._rest_until_s = 0.0
        self._rested_for: int | None = None  # the window that is tried again after a rest
        self._asked: tuple[int, dict[int, list[Any]]] = (0, {})  # the window that was given last, and its series by id
        self._trial: tuple[int, set[int]] = (0, set())  # a window that was sent again, and which series of it
        self._helps = False  # it did, the last time
        self._after_ms = 0  # windows that are short of the same series wait for what comes of it
        for counter in ("requeued_samples_total", "audit_failures_total"):
            service.instruments.count(f"storage.{counter}", 0)
        self._show()

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what the drain answers for this, by operation."""
        return {"audit": self.next_window, "stored": self.stored, "verdict": self.verdict}

    def next_window(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the oldest closed window that is not verified, with how many samples each series has there.

        Closed: it ended, and the last upload of it was, longer ago than the grace.
        """
        self._grace_s = float(request["grace_s"])
        self._recheck.settle()
        self._show()
        if time.monotonic() < self._rest_until_s:
            return {"start_ms": None, **self._state()}
        closed_ms = clock.wall_ms() - int(1000 * self._grace_s)
        found = self._store.windows.next_open(max(int(request["after_ms"]), self._after_ms), closed_ms)
        if found is None:
            self._after_ms = 0
            return {"start_ms": None, **self._state()}
        counted = self._store.windows.series(found.start_ms, found.start_ms + WINDOW_MS)
        self._store.windows.assert_whole(found.start_ms, sum(samples for _, samples in counted))
        series = self._store.required(counted)
        self._asked = found.start_ms, {row[0]: row for row in series}
        window = {"start_ms": found.start_ms, "width_ms": WINDOW_MS, "uploaded_ms": found.uploaded_ms}
        return {**window, "series": series, **self._state()}

    def stored(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the times of the uploaded samples of some series in a window."""
        start_ms = int(request["start_ms"])
        rows = self._store.windows.times(start_ms, start_ms + WINDOW_MS)
        wanted = set(map(int, request["series"]))
        times: dict[int, list[int]] = {}
        for series_id, timestamp_ms in rows:
            if series_id in wanted:
                times.setdefault(series_id, []).append(timestamp_ms)
        return {"times_ms": list(times.items())}

    def verdict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send again the series of which the server has too few samples, or close the window."""
        start_ms, missing = int(request["start_ms"]), [_Missing(*row) for row in request["missing"]]
        found, (asked_ms, series) = self._store.windows.get(start_ms), self._asked
        if found is None or found.uploaded_ms != int(request["uploaded_ms"]) or asked_ms != start_ms:
            return {"requeued": 0}  # something of it was uploaded meanwhile: it will be compared again
        resends = found.resends
        if not missing:
            self._rests, self._helps = 0, self._helps or resends > 0
            self._close(start_ms, resends, [int(number) for number in request["whole"]])
            return {"requeued": 0}
        if not resends and not self._helps and self._is_on_trial(start_ms, missing):
            self._after_ms = start_ms
            return {"requeued": 0}
        keeps_nothing = 2 * sum(one.there == 0 for one in missing) >= len(series)
        if keeps_nothing and resends and self._rested_for != start_ms and request["has_device"]:
            self._rest(start_ms, len(missing))
            return {"requeued": 0}
        self._rested_for = None
        tries = MAX_TRIES if keeps_nothing else MAX_RESENDS
        if resends >= (tries if request["has_device"] else 1):
            self._learn(start_ms, resends, missing)
            return {"requeued": 0}
        return {"requeued": self._send_again(start_ms, resends + 1, missing)}

    def _is_on_trial(self, start_ms: int, missing: list[_Missing]) -> bool:
        """Tell whether the same series of another window were sent again, and nobody knows yet whether that helps."""
        window_ms, series = self._trial
        same = series.issuperset(one.series_id for one in missing) and self._store.windows.is_sent_again(window_ms)
        return same and not self._recheck.is_known(start_ms)

    def _close(self, start_ms: int, resends: int, whole: list[int]) -> None:
        """Close a compared window; forget the withheld series that are complete again."""
        series = self._asked[1]
        with self._store.transaction():
            over = self._store.withheld.whole((number, series[number][5]) for number in whole if number in series)
            is_whole = all(required == uploaded for *_, required, uploaded in series.values())
            state = audit_windows.VERIFIED if is_whole else audit_windows.DIFFERS
            self._store.windows.set(start_ms, state, resends)
            if over and not self._store.withheld:
                self._store.progress.set(WITHHELD, None)
        if over:
            self._service.log.info("the server stores all accepted samples again", series=over)

    def _rest(self, start_ms: int, series: int) -> None:
        """Pause the audit: the server lost the resent samples too."""
        rest_s = self._grace_s * RESTS[min(self._rests, len(RESTS) - 1)]
        self._rests += 1
        self._rested_for, self._rest_until_s = start_ms, time.monotonic() + rest_s
        self._service.log.error(
            "the server does not store what it accepts", start_ms=start_ms, series=series, next_attempt_s=rest_s
        )
        if self._rests == 1:
            self._report(start_ms, f"samples of {series} series are missing again; the server keeps nothing")

    def _learn(self, start_ms: int, resends: int, missing: list[_Missing]) -> None:
        """Record the series that are still short as withheld, and report them once."""
        series, found = self._asked[1], dict[str, list[Withheld]]()
        with self._store.transaction():
            for one in missing:
                row = series[one.series_id]
                kept = Withheld(row[5], min(one.there, row[5]))
                found.setdefault(row[1], []).append(kept)
                self._store.withheld.learn(one.series_id, kept)
            text = withheld_cause.explain(found, len(series))
            self._store.windows.set(start_ms, audit_windows.DIFFERS, resends)
            self._store.progress.set(WITHHELD, text)
        self._helps, self._rests = False, 0
        self._service.instruments.count("storage.audit_failures_total")
        self._service.log.error("the server has less than it accepted", start_ms=start_ms, series=len(missing))
        self._service.event(Event("samples_withheld", text))
        self._show()

    def _send_again(self, start_ms: int, resends: int, missing: list[_Missing]) -> int:
        with self._store.transaction():
            requeued = self._store.pending.requeue_window(start_ms, {one.series_id: one.times_ms for one in missing})
            self._store.windows.set(start_ms, audit_windows.SENT_AGAIN, resends)
        self._trial = start_ms, {one.series_id for one in missing}
        self._service.log.warning(
            "missing at the server, sent again", start_ms=start_ms, series=len(missing), count=requeued
        )
        if not self._recheck.is_known(start_ms):
            text = f"{requeued} uploaded samples of {len(missing)} series are missing at the server, and are sent again"
            self._report(start_ms, text)
        self._service.instruments.count("storage.requeued_samples_total", requeued)
        return requeued

    def _report(self, start_ms: int, what: str) -> None:
        self._service.event(Event("samples_missing", f"five minutes from {_utc(start_ms)}: {what}"))

    def _show(self) -> None:
        text = self._store.progress.get_text(WITHHELD) if self._store.withheld else None
        self._status.withheld, self._status.keeps_nothing = text, (text or "").startswith(withheld_cause.NOTHING)

    def _state(self) -> dict[str, Any]:
        """Return how far everything uploaded is verified, and how many uploaded samples are not."""
        progress = self._store.windows.progress()
        return {"verified_until_ms": progress.verified_until_ms, "unverified_samples": progress.unverified}


def _utc(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ms / 1000))
