"""Is what was uploaded really there? The buffer's half of the audit: windows to compare, samples to send again.

Answers the audit's requests of `common/PROTOCOL.md`, section drain. A 2xx is not proof: a server forgets its
last seconds in a crash, and some answer 204 to what they throw away. Only what is missing there matters;
what the server has beyond it is somebody else's, or the same sample twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from buffer.recheck import Recheck
from buffer.storage import audit_windows
from buffer.storage.audit_windows import WINDOW_MS
from buffer.storage.store import Store
from common import clock
from common.events import Event
from common.service import Service

MAX_RESENDS = 2  # of single series: a server that lost the same ones three times will lose them again
# A server that keeps next to nothing of a window is broken, not forgetful, and everything would go there in vain. After
# a resend that is gone too the audit rests, in graces, before the same window is tried again; the last is repeated.
RESTS = (1, 5, 15, 60)
MAX_TRIES = 7  # of such a window: 3 hours of rests with the default grace of a minute
SERVER_STARTS = "server_started_s"  # the last ones, newest first: two servers behind one address are seen in turns
KNOWN_STARTS = 8
CLOCK_MARGIN_MS = 2_000  # the server's start is known to a second, the clock skew to half of one


class Audit:
    """Compare what was uploaded with what the server has, audit window by audit window.

    Args:
        service: takes counters, events and the log.
        store: the database.
        recheck: looks at what is verified when the server is another one.
    """

    def __init__(self, service: Service, store: Store, recheck: Recheck) -> None:
        self._service, self._store, self._recheck = service, store, recheck
        self._grace_s = 0.0
        self._rests = 0  # in a row
        self._rest_until_s = 0.0
        self._rested_for: int | None = None  # the window that is tried again after a rest
        for counter in ("requeued_samples_total", "audit_failures_total"):
            service.instruments.count(f"storage.{counter}", 0)

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what the drain answers for this, by operation."""
        own = {"audit": self.next_window, "verdict": self.verdict, "restarted": self.restarted}
        return {**own, **self._recheck.operations()}

    def next_window(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the oldest closed window that is not verified, with how many samples each series has there.

        Closed: it ended, and the last upload of it was, longer ago than the grace.
        """
        self._grace_s = float(request["grace_s"])
        self._recheck.settle()
        if time.monotonic() < self._rest_until_s:
            return {"start_ms": None, **self._state()}
        closed_ms = clock.wall_ms() - int(1000 * self._grace_s)
        found = self._store.windows.next_open(int(request["after_ms"]), closed_ms)
        if found is None:
            return {"start_ms": None, **self._state()}
        window = {"start_ms": found.start_ms, "width_ms": WINDOW_MS, "uploaded_ms": found.uploaded_ms}
        return {**window, "series": self._counts(found.start_ms), **self._state()}

    def verdict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Act on what a comparison found: the series of which something is missing at the server, if any."""
        start_ms, missing = int(request["start_ms"]), [int(series_id) for series_id in request["missing"]]
        found = self._store.windows.get(start_ms)
        if found is None or found.uploaded_ms != int(request["uploaded_ms"]):
            return {"requeued": 0}  # something of it was uploaded meanwhile: it will be compared again
        resends = found.resends
        if not missing:
            self._store.windows.set(start_ms, audit_windows.VERIFIED, resends)
            self._rests = 0
            return {"requeued": 0}
        is_broken = 2 * len(missing) >= len(self._counts(start_ms))
        if is_broken and resends and self._rested_for != start_ms:
            self._rest(start_ms, len(missing))
            return {"requeued": 0}
        self._rested_for = None
        if resends >= (MAX_TRIES if is_broken else MAX_RESENDS):
            self._give_up(start_ms, resends, len(missing))
            return {"requeued": 0}
        return {"requeued": self._send_again(start_ms, resends + 1, missing)}

    def restarted(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make pending again what was marked in the last seconds before the server started, once for each start."""
        started, grace_ms = str(int(request["started_s"])), int(1000 * float(request["grace_s"]))
        progress = self._store.progress
        known = str(progress.get_text(SERVER_STARTS) or "").split()
        if started in known:
            return {"requeued": 0}
        until_ms = int(request["started_ms"]) + CLOCK_MARGIN_MS
        with self._store.transaction():
            chunks = self._store.checkpoints.uploaded_before(until_ms, grace_ms)
            requeued = self._store.pending.requeue_chunks(chunks)
            progress.set(SERVER_STARTS, " ".join([started, *known][:KNOWN_STARTS]))
            if known:
                self._recheck.begin()
        self._service.log.info("the server was restarted; what it accepted just before is sent again", count=requeued)
        return {"requeued": self._counted(requeued)}

    def _rest(self, start_ms: int, series: int) -> None:
        """Leave the server alone: what it was sent again is gone like the first time."""
        rest_s = self._grace_s * RESTS[min(self._rests, len(RESTS) - 1)]
        self._rests += 1
        self._rested_for, self._rest_until_s = start_ms, time.monotonic() + rest_s
        self._service.log.error(
            "the server does not keep what it accepts", start_ms=start_ms, series=series, next_attempt_s=rest_s
        )
        if self._rests == 1:
            self._report(start_ms, f"samples of {series} series are missing again; the server keeps nothing")

    def _give_up(self, start_ms: int, resends: int, series: int) -> None:
        self._store.windows.set(start_ms, audit_windows.DIFFERS, resends)
        self._service.instruments.count("storage.audit_failures_total")
        self._service.log.error("the server has less than it accepted", start_ms=start_ms, series=series)
        self._report(start_ms, f"samples of {series} series are missing again, and are not sent any more")

    def _send_again(self, start_ms: int, resends: int, series_ids: list[int]) -> int:
        with self._store.transaction():
            requeued = self._store.pending.requeue_series(start_ms, series_ids)
            self._store.windows.set(start_ms, audit_windows.SENT_AGAIN, resends)
        self._service.log.warning(
            "missing at the server, sent again", start_ms=start_ms, series=len(series_ids), count=requeued
        )
        if not self._recheck.is_known(start_ms):
            self._report(start_ms, f"{requeued} samples of {len(series_ids)} series were missing and are sent again")
        return self._counted(requeued)

    def _report(self, start_ms: int, what: str) -> None:
        self._service.event(Event("samples_missing", f"uploaded, of {_utc(start_ms)}: {what}"))

    def _counted(self, requeued: int) -> int:
        self._service.instruments.count("storage.requeued_samples_total", requeued)
        return requeued

    def _counts(self, start_ms: int) -> list[list[Any]]:
        """Return id, name, device, tags and number of uploaded samples of each series in a window."""
        return self._store.described(self._store.windows.series(start_ms, start_ms + WINDOW_MS))

    def _state(self) -> dict[str, Any]:
        """Return how far everything uploaded is verified, and how many uploaded samples are not."""
        progress = self._store.windows.progress()
        return {"verified_until_ms": progress.verified_until_ms, "unverified_samples": progress.unverified}


def _utc(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ms / 1000))
