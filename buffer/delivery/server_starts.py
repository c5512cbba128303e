"""Send again what the server accepted just before it restarted: in a crash it loses its last seconds.

Answers requests of `common/PROTOCOL.md`, section drain. Where the server can be asked, the shipper asks which of these
samples it has, and only the others are sent again; else all of them are. Each start counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from buffer.delivery.recheck import Recheck
from buffer.storage.checkpoints import Extent
from buffer.storage.store import Store
from common.service import Service

STARTS = "server_started_s"  # the last ones, newest first: two servers behind one address are seen in turns
KNOWN_STARTS = 8
CLOCK_MARGIN_MS = 2_000  # the server's start is known to a second, the clock skew to half of one
MOST_SAMPLES = 50_000  # that are compared, 5 MB here and in the shipper; more are sent again as they are


class ServerStarts:
    """The starts of the server that were seen.

    Args:
        service: takes counters and the log.
        store: the database.
        recheck: looks at what is verified when the server is another one.
    """

    def __init__(self, service: Service, store: Store, recheck: Recheck) -> None:
        self._service, self._store, self._recheck = service, store, recheck

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what the drain answers for this, by operation."""
        return {"accepted": self.accepted, "restarted": self.restarted}

    def accepted(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the samples that were accepted in the last seconds before a start, unless it is known already."""
        if self._is_known(request):
            return {"is_known": True, "groups": []}
        rows = self._store.pending.uploaded_in(self._chunks(request), MOST_SAMPLES + 1)
        if len(rows) > MOST_SAMPLES:
            return {"is_known": False, "groups": None}
        times: dict[int, list[int]] = {}
        for series_id, timestamp_ms in rows:
            times.setdefault(series_id, []).append(timestamp_ms)
        return {"is_known": False, "groups": self._store.described(times.items())}

    def restarted(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make the samples that the start lost pending again, or all of the grace; once for each start."""
        if self._is_known(request):
            return {"requeued": 0}
        missing, known = request["missing"], self._known()
        with self._store.transaction():
            if missing is None:
                requeued = self._store.pending.requeue_chunks(self._chunks(request))
            else:
                requeued = self._store.pending.requeue_times({int(number): times for number, times in missing})
            self._store.progress.set(STARTS, " ".join([_start(request), *known][:KNOWN_STARTS]))
            self._store.withheld.forget()
            self._store.windows.forget_resends()
            if known:
                self._recheck.begin()
        if known or requeued:  # the first start that is seen is none that anything was lost by
            self._service.log.info("the server was restarted; what it lost just before is sent again", count=requeued)
        self._service.instruments.count("storage.requeued_samples_total", requeued)
        return {"requeued": requeued}

    def _known(self) -> list[str]:
        return str(self._store.progress.get_text(STARTS) or "").split()

    def _is_known(self, request: dict[str, Any]) -> bool:
        return _start(request) in self._known()

    def _chunks(self, request: dict[str, Any]) -> list[Extent]:
        until_ms = int(request["started_ms"]) + CLOCK_MARGIN_MS
        return self._store.checkpoints.uploaded_before(until_ms, int(1000 * float(request["grace_s"])))


def _start(request: dict[str, Any]) -> str:
    return str(int(request["started_s"]))
