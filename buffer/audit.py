"""Is what was uploaded really there? The buffer's half of the audit: spans to compare, samples to send again.

Answers the audit's requests of `common/PROTOCOL.md`, section drain. A 2xx is not proof: a server forgets its
last seconds in a crash, and some answer 204 to what they throw away. Only what is missing there matters;
what the server has beyond it is somebody else's, or the same sample twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import apsw

from buffer import windows
from buffer.marks import Marks
from buffer.store import Store
from common import clock
from common.events import Event
from common.service import Service

MAX_RESENDS = 2  # of single series: a server that lost the same ones three times will lose them again
# A server that keeps next to nothing of a span is broken, not forgetful, and everything would go there in vain. After
# a resend that is gone too the audit rests, in graces, before the same span is tried again; the last is repeated.
RESTS = (1, 5, 15, 60)
MAX_TRIES = 7  # of such a span: 3 hours of rests with the default grace of a minute
SERVER_STARTED = "server_started_s"
CLOCK_MARGIN_MS = 2_000  # the server's start is known to a second, the clock skew to half of one
_OPEN = f"state IN ({windows.TO_AUDIT}, {windows.SENT_AGAIN})"


class Audit:
    """The spans that were uploaded, and what is known of them at the server."""

    def __init__(self, process: Service, store: Store) -> None:
        self._process = process
        self._store = store
        self._grace_s = 0.0
        self._rests = 0  # in a row
        self._rest_until_s = 0.0
        self._rested_for: int | None = None  # the span that is tried again after a rest
        for counter in ("requeued_samples_total", "audit_failures_total"):
            process.instruments.count(f"storage.{counter}", 0)

    @property
    def _connection(self) -> apsw.Connection:
        return self._store.connection  # another one once a damaged file was replaced

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what the drain answers for this, by operation."""
        return {"audit": self.next_window, "verdict": self.verdict, "restarted": self.restarted}

    def next_window(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the oldest closed span that is not verified, with how many samples each series has there.

        Closed: it ended, and the last upload of it was, longer ago than the grace.
        """
        self._grace_s = float(request["grace_s"])
        if time.monotonic() < self._rest_until_s:
            return {"start_ms": None, **self._state()}
        limit_ms = clock.wall_ms() - int(1000 * self._grace_s)
        query = (
            f"SELECT start_ms, uploaded_ms FROM windows WHERE {_OPEN} AND start_ms > ? AND start_ms <= ? "
            "AND uploaded_ms <= ? ORDER BY start_ms LIMIT 1"
        )
        bounds = (int(request["after_ms"]), limit_ms - windows.WINDOW_MS, limit_ms)
        found = self._connection.execute(query, bounds).fetchone()
        if found is None:
            return {"start_ms": None, **self._state()}
        start_ms, uploaded_ms = found
        window = {"start_ms": start_ms, "width_ms": windows.WINDOW_MS, "uploaded_ms": uploaded_ms}
        return {**window, "series": self._counts(start_ms), **self._state()}

    def verdict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take down what a comparison found: the series of which something is missing at the server, if any."""
        start_ms, missing = int(request["start_ms"]), [int(series_id) for series_id in request["missing"]]
        query = "SELECT uploaded_ms, resends FROM windows WHERE start_ms = ?"
        found = self._connection.execute(query, (start_ms,)).fetchone()
        if found is None or found[0] != int(request["uploaded_ms"]):
            return {"requeued": 0}  # something of it was uploaded meanwhile: it will be compared again
        resends = int(found[1])
        if not missing:
            self._set(start_ms, windows.VERIFIED, resends)
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
        started_s, grace_ms = int(request["started_s"]), int(1000 * float(request["grace_s"]))
        marks = Marks(self._connection)
        if marks.get(SERVER_STARTED) == started_s:
            return {"requeued": 0}
        until_ms = int(request["started_ms"]) + CLOCK_MARGIN_MS
        newest = "SELECT max(upload_time) FROM upload_checkpoints WHERE upload_time <= ?"
        chunks = (
            f"SELECT first_uploaded_id, last_uploaded_id, id FROM upload_checkpoints "
            f"WHERE upload_time BETWEEN ({newest}) - ? AND ?"
        )
        with self._connection:
            spans = self._connection.execute(chunks, (until_ms, grace_ms, until_ms)).fetchall()
            requeued = self._store.pending.requeue(("id BETWEEN ? AND ? AND chunk = ?", span) for span in spans)
            marks.set(SERVER_STARTED, started_s)
        self._process.log.info("the server was started anew", count=requeued)
        return {"requeued": self._counted(requeued)}

    def _rest(self, start_ms: int, series: int) -> None:
        """Leave the server alone: what it was sent again is gone like the first time."""
        rest_s = self._grace_s * RESTS[min(self._rests, len(RESTS) - 1)]
        self._rests += 1
        self._rested_for, self._rest_until_s = start_ms, time.monotonic() + rest_s
        self._process.log.error(
            "the server does not keep what it accepts", start_ms=start_ms, series=series, next_attempt_s=rest_s
        )
        if self._rests == 1:
            self._tell(start_ms, f"samples of {series} series are missing again; the server keeps nothing")

    def _give_up(self, start_ms: int, resends: int, series: int) -> None:
        self._set(start_ms, windows.DIFFERS, resends)
        self._process.instruments.count("storage.audit_failures_total")
        self._process.log.error("the server has less than it accepted", start_ms=start_ms, series=series)
        self._tell(start_ms, f"samples of {series} series are missing again, and are not sent any more")

    def _send_again(self, start_ms: int, resends: int, series_ids: list[int]) -> int:
        where = "timestamp_ms >= ? AND timestamp_ms < ? AND series_id = ?"
        span = (start_ms, start_ms + windows.WINDOW_MS)
        with self._connection:
            requeued = self._store.pending.requeue((where, (*span, series_id)) for series_id in series_ids)
            self._set(start_ms, windows.SENT_AGAIN, resends)
        self._process.log.warning(
            "missing at the server, sent again", start_ms=start_ms, series=len(series_ids), count=requeued
        )
        self._tell(start_ms, f"{requeued} samples of {len(series_ids)} series were missing and are sent again")
        return self._counted(requeued)

    def _tell(self, start_ms: int, what: str) -> None:
        self._process.event(Event("samples_missing", f"uploaded, of {_utc(start_ms)}: {what}"))

    def _counted(self, requeued: int) -> int:
        self._process.instruments.count("storage.requeued_samples_total", requeued)
        return requeued

    def _counts(self, start_ms: int) -> list[list[Any]]:
        """Return id, name, device, tags and number of uploaded samples of each series in a span."""
        query = (
            "SELECT series_id, count(*) FROM samples WHERE timestamp_ms >= ? AND timestamp_ms < ? AND chunk > 0 "
            "GROUP BY series_id"
        )
        rows: list[Any] = self._connection.execute(query, (start_ms, start_ms + windows.WINDOW_MS)).fetchall()
        found = [(self._store.series(series_id), count) for series_id, count in rows]
        return [[series.id, series.name, series.device_id, dict(series.tags), count] for series, count in found]

    def _set(self, start_ms: int, state: int, resends: int) -> None:
        update = "UPDATE windows SET state = ?, resends = ? WHERE start_ms = ?"
        self._connection.execute(update, (state, resends, start_ms))

    def _state(self) -> dict[str, Any]:
        """Return how far everything uploaded is verified, and how many uploaded samples are not."""
        query = f"SELECT min(start_ms), sum(samples) FROM windows WHERE {_OPEN}"
        open_from_ms, samples = self._connection.execute(query).get
        newest_ms: int | None = self._connection.execute("SELECT max(start_ms) FROM windows").get
        if open_from_ms is None and newest_ms is not None:
            open_from_ms = newest_ms + windows.WINDOW_MS
        return {"verified_until_ms": open_from_ms, "unverified_samples": samples or 0}


def _utc(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ms / 1000))
