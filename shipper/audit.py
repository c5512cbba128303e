"""The audit: ask the server whether it has the samples that it acknowledged. The shipper's side.

Reads closed windows from the buffer, asks the server how many samples of each series it has there, one query a
window, and tells the buffer which series are short; it makes those pending again. After trouble with the server it
also looks whether that was started again: what it had acknowledged in its last seconds is gone then. Where
the server cannot be asked (a token for writing alone, a cluster's vminsert), says so and goes on without; what
was acknowledged shortly before it failed is sent again then. Where something queues before the server (vmagent), a
window is compared once the server has newer samples than it. Where most of what is short is there, the server is asked
for the times of its samples, so that only what it lacks is sent again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.settings import Settings
from shipper.buffer_client import BufferClient, Missing, ServerStart
from shipper.comparison import Uploaded, devices_of, labels_of, short, shortage, uploaded_of
from shipper.duplicates import DuplicateWatch
from shipper.http import proof
from shipper.http.client import HttpClient, NotTheServerError
from shipper.http.transport import TransportError
from shipper.questions import Labels, Questions, UnreachableError
from shipper.report import Report

LEAST_RETENTION_S = 86_400.0  # VictoriaMetrics refuses to start with less
NEXT_S = 1.0  # between two windows while there are more
MOST_INTERVALS = 10  # until a window that is queued before the server is asked for again
UNREACHABLE_S = 600.0  # then the query side is tried again
PATIENCE = 5  # comparisons: then a server whose newest sample stays has lost the window, nothing is on its way to it
# An export takes about as many bytes as to send the same samples, but down, where there is more room.
LEAST_THERE = 200  # samples that are not sent again because of it
MOST_NAMES = 40  # in the selector; for more, all series are exported
LONGEST_MS = 900_000  # of a span that is exported: a backfill before the server's end reaches far back


class Auditor:
    """The comparison as a step of the shipper.

    Args:
        settings: of all sections.
        buffer: has the windows.
        client: asks the server.
        report: takes what people hear.

    Attributes:
        retention_s: of the server, which drops older samples; until it is asked, the shortest that there is.
    """

    def __init__(self, settings: Settings, buffer: BufferClient, client: HttpClient, report: Report) -> None:
        remote = settings.remote
        self._remote, self._buffer, self._report = remote, buffer, report
        self._server = Questions(remote, client)
        self._duplicates = DuplicateWatch(settings.device.id, settings.storage.path, self._server, report)
        self.retention_s = LEAST_RETENTION_S if remote.audit.enabled else math.inf
        self._suspicious = True  # an earlier shipper may have seen the trouble
        self._failed_ms: int | None = None
        self._queues = remote.proof == proof.QUEUE
        self._newest_ms: int | None = None  # at the server, as of the last comparison that waits
        self._patience = PATIENCE

    def suspect(self, failed_ms: int | None = None) -> None:
        """Check at the next step whether the server was restarted.

        Args:
            failed_ms: since when its machine answered for it that it does not run, Unix milliseconds.
        """
        self._suspicious, self._failed_ms = True, failed_ms

    def step(self) -> float:
        """Compare one window; return in how many seconds to look again.

        Raises:
            BufferAwayError, BufferBusyError, Interrupted: as the buffer's and HTTP's clients do.
        """
        settings = self._remote.audit
        if not settings.enabled:
            self._report.status.audit = "disabled"
            return settings.interval_s
        try:
            return self._compare()
        except UnreachableError as error:
            self._report.status.audit = f"not possible, what the server acknowledges counts as delivered: {error}"
            self._report.log.throttled_warning("audit", "audit not possible", error=str(error))
            return UNREACHABLE_S
        except NotTheServerError as error:
            self._report.status.audit = f"waits: {error}"
            if self.retention_s == LEAST_RETENTION_S:  # somebody else answers questions: nobody will tell
                self.retention_s = math.inf
        except TransportError:
            pass  # the uploads say what is wrong
        return settings.interval_s

    def _compare(self) -> float:
        """Compare the oldest window; return in how many seconds to look again."""
        settings = self._remote.audit
        if self._suspicious:
            self._look_for_restart()
        if self.retention_s != math.inf:
            self._buffer.too_old(self.retention_s)
        span = self._buffer.recheck()
        if span["start_ms"] is not None:
            self._buffer.rechecked(span["start_ms"], span["width_ms"], *self._recount(span))
            return NEXT_S
        found = self._buffer.audit(settings.grace_s)
        self._report_progress(found)
        if found["start_ms"] is None:
            return settings.interval_s
        return self._compare_window(found)

    def _compare_window(self, found: dict[str, Any]) -> float:
        """Compare a window; return in how many seconds to look again."""
        self._duplicates.look()
        if self._queues and self._is_on_its_way(found, self._newest(found)):  # the cheapest question first
            return self._wait_s(found)
        uploaded = uploaded_of(found)
        there = self._own(found, uploaded) if self._duplicates.found else self._there(found)
        numbers = short(uploaded, there)
        if not numbers:
            whole = [one.number for one in uploaded if one.required < one.samples <= there[one.labels]]
            self._buffer.verdict(found, [], whole)
        else:
            newest_ms = self._newest(found)
            if self._is_on_its_way(found, newest_ms):
                return self._wait_s(found)
            missing = self._missing(found, [one for one in uploaded if one.number in numbers], there)
            self._buffer.verdict(found, missing, has_device=newest_ms > 0)
        self._report.status.audit = "ok"
        return NEXT_S

    def _newest(self, found: dict[str, Any]) -> int:
        return max(map(self._server.newest, devices_of(found)), default=0)

    def _wait_s(self, found: dict[str, Any]) -> float:
        """Return in how many seconds a window may have passed the queue."""
        behind_s = (found["start_ms"] + found["width_ms"] - (self._newest_ms or 0)) / 1000
        interval_s = self._remote.audit.interval_s
        return max(interval_s, min(behind_s, MOST_INTERVALS * interval_s) if self._queues else 0.0)

    def _report_progress(self, found: dict[str, Any]) -> None:
        until_ms, unverified = found["verified_until_ms"], found["unverified_samples"]
        self._report.status.verified_until_ms, self._report.status.unverified_samples = until_ms, unverified
        until_s = None if until_ms is None else until_ms // 1000
        self._report.instruments.gauge("uploader.verified_until", until_s)
        self._report.instruments.gauge("uploader.unverified_samples", unverified)

    def _recount(self, span: dict[str, Any]) -> tuple[int, int]:
        """Return how many samples of a span the server has, and how many too few: by series, or as one sum."""
        uploaded = uploaded_of(span)
        if span["by_series"]:
            there = self._there(span)
            return there.total(), shortage(uploaded, there)
        end_ms = span["start_ms"] + span["width_ms"]
        found = sum(self._server.count(device_id, end_ms, span["width_ms"]) for device_id in devices_of(span))
        return found, max(0, sum(one.required for one in uploaded) - found)

    def _there(self, span: dict[str, Any]) -> Counter[Labels]:
        """Ask how many samples of each series the server has of a span."""
        end_ms = span["start_ms"] + span["width_ms"]
        there: Counter[Labels] = Counter()
        for device_id in devices_of(span):
            there.update(self._server.counts(device_id, end_ms, span["width_ms"]))
        return there

    def _own(self, found: dict[str, Any], series: Sequence[Uploaded]) -> Counter[Labels]:
        """Count samples of a window by their times: another device of this id has samples of the same series."""
        start_ms, end_ms = found["start_ms"], found["start_ms"] + found["width_ms"] - 1
        at_server = self._times(devices_of(found), start_ms, end_ms)
        stored = self._buffer.stored(start_ms, [one.number for one in series])
        own: Counter[Labels] = Counter()
        for one in series:
            own[one.labels] += len(set(stored.get(one.number, ())) & at_server.get(one.labels, set()))
        return own

    def _missing(self, found: dict[str, Any], series: Sequence[Uploaded], there: Mapping[Labels, int]) -> list[Missing]:
        """Return the series that are short, with the times of what is missing where to ask for it is cheaper."""
        counts = [there[one.labels] for one in series]
        missing = [Missing(one.number, count) for one, count in zip(series, counts, strict=True)]
        if sum(counts) < LEAST_THERE:
            return missing
        start_ms, end_ms = found["start_ms"], found["start_ms"] + found["width_ms"] - 1
        names = {dict(one.labels)["__name__"] for one in series}
        try:
            at_server = self._times(devices_of(found), start_ms, end_ms, names)
        except (UnreachableError, TransportError) as error:
            self._report.log.throttled_warning("export", "the server gives no times of samples", error=str(error))
            return missing
        stored = self._buffer.stored(start_ms, [one.number for one in series])
        return [
            row._replace(times_ms=sorted(set(stored.get(row.series_id, ())) - at_server.get(one.labels, set())))
            for one, row in zip(series, missing, strict=True)
        ]

    def _times(
        self, devices: Iterable[str], start_ms: int, end_ms: int, names: set[str] | None = None
    ) -> dict[Labels, set[int]]:
        chosen = names if names and len(names) <= MOST_NAMES else None
        found: dict[Labels, set[int]] = {}
        for device_id in devices:
            found.update(self._server.times(device_id, start_ms, end_ms, chosen))
        return found

    def _is_on_its_way(self, found: dict[str, Any], newest_ms: int) -> bool:
        """Return whether missing samples may be queued: the server has nothing newer of this device.

        A server whose newest sample moves on while a window is missing takes them from a queue: that is remembered.
        """
        end_ms = found["start_ms"] + found["width_ms"]
        if newest_ms >= end_ms:
            return False
        moved, self._newest_ms = self._newest_ms is not None and newest_ms > self._newest_ms, newest_ms
        self._queues = self._queues or moved
        self._patience = PATIENCE if moved else self._patience - 1
        if not self._queues and self._patience < 0:
            self._patience = PATIENCE
            return False
        why = "something queues before it" if self._queues else "what is missing may be on its way"
        if newest_ms:
            behind_s = (end_ms - newest_ms) // 1000
            text = f"the server's newest sample is older than this window, by {behind_s} s; {why}"
        else:
            text = f"the server has no sample of this device_id; {why}, or the token writes under another one"
        self._report.status.audit = f"waits: {text}"
        self._report.log.throttled_warning("audit", "audit waits", reason=self._report.status.audit)
        return True

    def _look_for_restart(self) -> None:
        start = self._server.start()
        self.retention_s = start.retention_s
        self._queues = self._queues or start.queues
        failed_ms, self._suspicious = self._failed_ms, False
        grace_s = self._remote.audit.grace_s
        if start.started_s is not None:
            found = ServerStart.said(start.started_s, self._report.status.skew_ms, grace_s)
        elif failed_ms is not None:  # nobody tells when it was started: it was when it failed
            found = ServerStart(failed_ms // 1000, failed_ms, grace_s)
        else:
            return
        accepted = self._buffer.accepted(found)
        if not accepted["is_known"]:
            self._buffer.restarted(found, self._forgotten(accepted["groups"]))

    def _forgotten(self, groups: list[Any] | None) -> list[tuple[int, list[int]]] | None:
        """Return series and times of the samples that the server lacks; None where it cannot be asked."""
        if not groups or not self._server.are_possible or self._queues:
            return None if groups is None or groups else []
        times_ms = [timestamp_ms for *_, times in groups for timestamp_ms in times]
        start_ms, end_ms = min(times_ms), max(times_ms)
        if end_ms - start_ms > LONGEST_MS:
            return None
        try:
            at_server = self._times({group[2] for group in groups}, start_ms, end_ms)
        except (UnreachableError, TransportError):
            return None
        return [
            (number, lacking)
            for number, name, device_id, tags, times in groups
            if (lacking := sorted(set(times) - at_server.get(labels_of(name, device_id, tags), set())))
        ]
