"""Does the server have what it acknowledged? The shipper's half of the audit.

Reads closed windows from the buffer, asks the server how many samples of each series it has there, one query a
window, and tells the buffer which series are short; it sends those again. After trouble with the server it
also looks whether that was started again: what it had acknowledged in its last seconds is gone then. Where
the server cannot be asked (a token for writing alone, a cluster's vminsert), says so and goes on without; what
was acknowledged shortly before it failed is sent again then. Where something queues before the server (vmagent), a
window is compared once the server has newer samples than it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from common import clock
from common.remote import Remote
from common.untrusted import number
from shipper import jsonl
from shipper.buffer_client import BufferClient
from shipper.http import proof
from shipper.http.answer import MAX_DOCUMENT_BYTES, Answer, document
from shipper.http.client import HttpClient, NotTheServerError
from shipper.http.transport import TransportError
from shipper.report import Report
from shipper.urls import base_url, query_url

TIMEOUT_S = 10.0
NEXT_S = 1.0  # between two windows while there are more
UNREACHABLE_S = 600.0  # then the query side is tried again
REACH = "1d"  # how far back the server looks for the newest sample of a device
PATIENCE = 5  # comparisons: then a server whose newest sample stays has lost the window, nothing is on its way to it
QUEUE_METRIC = b"vmagent_remotewrite_"
MAX_COUNT = 2**53
MAX_START_S = 4_102_444_800  # the year 2100
START_METRICS = ("vm_app_start_timestamp", "process_start_time_seconds")

Labels = frozenset[tuple[str, str]]


class Uploaded(NamedTuple):
    """How many samples of a series were uploaded in a window; `number` is the buffer's name for it."""

    number: int
    labels: Labels
    samples: int


class UnreachableError(Exception):
    """The server cannot be asked what it has."""


class Audit:
    """The comparison as a step of the shipper.

    Args:
        remote: section remote.
        buffer: has the windows.
        client: asks the server.
        report: takes what people hear.
    """

    def __init__(self, remote: Remote, buffer: BufferClient, client: HttpClient, report: Report) -> None:
        self._remote, self._buffer, self._client, self._report = remote, buffer, client, report
        self._suspicious = True  # an earlier shipper may have seen the trouble
        self._failed_ms: int | None = None
        self._queues = remote.proof == proof.QUEUE
        self._newest_ms: int | None = None  # at the server, as of the last comparison that waits
        self._patience = PATIENCE

    def suspect(self, failed_ms: int | None = None) -> None:
        """Look whether the server was started again.

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
        except TransportError:
            pass  # the uploads say what is wrong
        return settings.interval_s

    def _compare(self) -> float:
        """Compare the oldest window; return in how many seconds to look again."""
        settings = self._remote.audit
        if self._suspicious:
            self._look_for_restart()
        span = self._buffer.recheck()
        if span["start_ms"] is not None:
            self._buffer.rechecked(span["start_ms"], span["width_ms"], *self._recount(span))
            return NEXT_S
        found = self._buffer.audit(settings.grace_s)
        self._report_progress(found)
        if found["start_ms"] is None:
            return settings.interval_s
        missing = short(self._uploaded(found), self._there(found))
        if missing and self._is_on_its_way(found):
            return settings.interval_s
        self._buffer.verdict(found["start_ms"], found["uploaded_ms"], missing)
        self._report.status.audit = "ok"
        return NEXT_S

    def _report_progress(self, found: dict[str, Any]) -> None:
        until_ms, unverified = found["verified_until_ms"], found["unverified_samples"]
        self._report.status.verified_until_ms, self._report.status.unverified_samples = until_ms, unverified
        until_s = None if until_ms is None else until_ms // 1000
        self._report.instruments.gauge("uploader.verified_until", until_s)
        self._report.instruments.gauge("uploader.unverified_samples", unverified)

    def _recount(self, span: dict[str, Any]) -> tuple[int, int]:
        """Return how many samples of a span the server has, and how many too few: by series, or as one sum."""
        if span["by_series"]:
            there = self._there(span)
            return there.total(), shortage(self._uploaded(span), there)
        end_ms = span["start_ms"] + span["width_ms"]
        found = sum(self._count(device_id, end_ms, span["width_ms"]) for device_id in _devices(span))
        return found, max(0, sum(samples for *_, samples in span["series"]) - found)

    @staticmethod
    def _uploaded(span: dict[str, Any]) -> list[Uploaded]:
        return [
            Uploaded(series_id, frozenset(jsonl.labels(name, device_id, tags).items()), samples)
            for series_id, name, device_id, tags, samples in span["series"]
        ]

    def _there(self, span: dict[str, Any]) -> Counter[Labels]:
        """Ask how many samples of each series the server has of a span."""
        end_ms = span["start_ms"] + span["width_ms"]
        there: Counter[Labels] = Counter()
        for device_id in _devices(span):
            there.update(self._counts(device_id, end_ms, span["width_ms"]))
        return there

    def _is_on_its_way(self, found: dict[str, Any]) -> bool:
        """Return whether what is missing may be queued before the server, which has nothing newer of this device.

        A server whose newest sample moves on while a window is missing takes them from a queue: that is remembered.
        """
        end_ms = found["start_ms"] + found["width_ms"]
        newest_ms = max(map(self._newest, _devices(found)), default=0)
        if newest_ms >= end_ms:
            return False
        moved, self._newest_ms = self._newest_ms is not None and newest_ms > self._newest_ms, newest_ms
        self._queues = self._queues or moved
        self._patience = PATIENCE if moved else self._patience - 1
        if not self._queues and self._patience < 0:
            self._patience = PATIENCE
            return False
        behind = f"by {(end_ms - newest_ms) // 1000} s; " if newest_ms else ""
        queue = "something queues before it" if self._queues else "what is missing may be on its way"
        self._report.status.audit = f"waits: the server's newest sample is older than this window, {behind}{queue}"
        self._report.log.throttled_warning("audit", "audit waits", reason=self._report.status.audit)
        return True

    def _newest(self, device_id: str) -> int:
        """Return the time of the newest sample of a device at the server, 0 where it has none."""
        selector = json.dumps(device_id, ensure_ascii=False)
        promql = f"max(tlast_over_time({{device_id={selector}}}[{REACH}]))"
        return parse_newest(self._query(promql, clock.wall_ms() / 1000).body)

    def _counts(self, device_id: str, end_ms: int, width_ms: int) -> Counter[Labels]:
        """Ask how many samples of each series lie in the span that ends at, and without, a time."""
        promql = f"{_count_over_time(device_id, width_ms)} keep_metric_names"
        return parse_counts(self._query(promql, (end_ms - 1) / 1000).body)

    def _count(self, device_id: str, end_ms: int, width_ms: int) -> int:
        """Ask how many samples of all series lie in a span."""
        promql = f"sum({_count_over_time(device_id, width_ms)})"
        return parse_counts(self._query(promql, (end_ms - 1) / 1000).body).total()

    def _query(self, promql: str, time_s: float) -> Answer:
        where = query_url(self._remote)
        if where is None:
            raise UnreachableError(
                "queries go elsewhere (a cluster's vmselect), or nowhere: set remote.audit.query_url"
            )
        return self._get(f"{where}?query={quote(promql)}&time={time_s:.3f}&nocache=1", proof.QUERY)

    def _look_for_restart(self) -> None:
        try:
            answer = self._get(f"{base_url(self._remote.url)}/metrics", proof.METRICS)
            started_s = parse_start(answer.body)
            self._queues = self._queues or QUEUE_METRIC in answer.body
        except UnreachableError:
            started_s = None
        failed_ms, self._suspicious = self._failed_ms, False
        if started_s is not None:
            started_ms = 1000 * started_s + round(self._report.status.skew_ms or 0)
            self._buffer.restarted(started_s, started_ms, self._remote.audit.grace_s)
        elif failed_ms is not None:  # nobody tells when it was started: it was when it failed
            self._buffer.restarted(failed_ms // 1000, failed_ms, self._remote.audit.grace_s)

    def _get(self, url: str, asked: str) -> Answer:
        answer = self._client.ask(url, asked, TIMEOUT_S, most_bytes=MAX_DOCUMENT_BYTES)
        if answer.status >= 500:
            raise TransportError("query", f"HTTP {answer.status}")
        if answer.status != 200:
            raise UnreachableError(f"HTTP {answer.status} from {urlsplit(url).path}")
        return answer


def _devices(span: dict[str, Any]) -> set[str]:
    return {device_id for _, _, device_id, _, _ in span["series"]}


def _count_over_time(device_id: str, width_ms: int) -> str:
    selector = f"device_id={json.dumps(device_id, ensure_ascii=False)}"
    # VictoriaMetrics remembers which series a filter matched; one that it was never asked knows the newest too.
    return f'count_over_time({{{selector},asked!="{clock.wall_ms()}"}}[{width_ms}ms])'


def short(uploaded: Iterable[Uploaded], there: Counter[Labels]) -> list[int]:
    """Return the numbers of series that have fewer samples at the server than were uploaded."""
    uploaded = list(uploaded)
    together = _together(uploaded)
    return [series.number for series in uploaded if there[series.labels] < together[series.labels]]


def shortage(uploaded: Iterable[Uploaded], there: Counter[Labels]) -> int:
    """Return how many samples the server has too few."""
    return (_together(uploaded) - there).total()


def _together(uploaded: Iterable[Uploaded]) -> Counter[Labels]:
    """Count samples by labels: two series here may be one at the server."""
    together: Counter[Labels] = Counter()
    for series in uploaded:
        together[series.labels] += series.samples
    return together


def parse_counts(body: bytes) -> Counter[Labels]:
    """Read an instant query's result: a number for each series.

    Raises:
        UnreachableError: it is no such result; something else answers queries there.
    """
    try:
        result = document(body)["data"]["result"]
        return Counter({frozenset(one["metric"].items()): _count(one["value"][1]) for one in result})
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UnreachableError(f"not a query's answer: {type(error).__name__}") from error


def parse_newest(body: bytes) -> int:
    """Read an instant query's one number, Unix seconds, as milliseconds; 0 where there is none."""
    try:
        return round(1000 * (number(document(body)["data"]["result"][0]["value"][1], 0, MAX_START_S) or 0))
    except (KeyError, TypeError, IndexError):
        return 0


def parse_start(body: bytes) -> int | None:
    """Read when the server was started, Unix seconds, from its own metrics; None where they do not tell."""
    for line in body.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(" ")
        seconds = number(value, 0, MAX_START_S) if name in START_METRICS else None
        if seconds is not None:
            return int(seconds)
    return None


def _count(value: object) -> int:
    found = number(value, 0, MAX_COUNT)
    if found is None:
        raise ValueError("no count")
    return int(found)
