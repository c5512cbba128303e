"""Does the server have what it acknowledged? The shipper's half of the audit.

Reads closed windows from the buffer, asks the server how many samples of each series it has there, one query a
window, and tells the buffer which series are short; it sends those again. After trouble with the server it
also looks whether that was started again: what it had acknowledged in its last seconds is gone then. Where
the server cannot be asked (a token for writing alone, a cluster's vminsert), says so and goes on without.
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

    def suspect(self) -> None:
        """There was trouble with the server: it may have been started again."""
        self._suspicious = True

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
            if self._suspicious:
                self._look_for_restart()
            found = self._buffer.audit(settings.grace_s)
            self._report_progress(found)
            if found["start_ms"] is None:
                return settings.interval_s
            self._buffer.verdict(found["start_ms"], found["uploaded_ms"], self._missing(found))
        except UnreachableError as error:
            self._report.status.audit = f"not possible: {error}"
            self._report.log.throttled_warning("audit", "audit not possible", error=str(error))
            return UNREACHABLE_S
        except NotTheServerError as error:
            self._report.status.audit = f"waits: {error}"
            return settings.interval_s
        except TransportError:
            return settings.interval_s  # the uploads say what is wrong
        self._report.status.audit = "ok"
        return NEXT_S

    def _report_progress(self, found: dict[str, Any]) -> None:
        until_ms, unverified = found["verified_until_ms"], found["unverified_samples"]
        self._report.status.verified_until_ms, self._report.status.unverified_samples = until_ms, unverified
        until_s = None if until_ms is None else until_ms // 1000
        self._report.instruments.gauge("uploader.verified_until", until_s)
        self._report.instruments.gauge("uploader.unverified_samples", unverified)

    def _missing(self, found: dict[str, Any]) -> list[int]:
        """Return the series of which the server has less than was uploaded."""
        uploaded = [
            Uploaded(series_id, frozenset(jsonl.labels(name, device_id, tags).items()), samples)
            for series_id, name, device_id, tags, samples in found["series"]
        ]
        end_ms = found["start_ms"] + found["width_ms"]
        there: Counter[Labels] = Counter()
        for device_id in {device_id for _, _, device_id, _, _ in found["series"]}:
            there.update(self._counts(device_id, end_ms, found["width_ms"]))
        return short(uploaded, there)

    def _counts(self, device_id: str, end_ms: int, width_ms: int) -> Counter[Labels]:
        """Ask how many samples of each series lie in the window that ends at, and without, a time."""
        selector = f"device_id={json.dumps(device_id, ensure_ascii=False)}"
        # VictoriaMetrics remembers which series a filter matched; one that it was never asked knows the newest too.
        selector += f',asked!="{clock.wall_ms()}"'
        promql = f"count_over_time({{{selector}}}[{width_ms}ms]) keep_metric_names"
        return parse_counts(self._query(promql, (end_ms - 1) / 1000).body)

    def _query(self, promql: str, time_s: float) -> Answer:
        where = query_url(self._remote)
        if where is None:
            raise UnreachableError("a cluster's queries go elsewhere: set remote.audit.query_url")
        return self._get(f"{where}?query={quote(promql)}&time={time_s:.3f}&nocache=1", proof.QUERY)

    def _look_for_restart(self) -> None:
        try:
            answer = self._get(f"{base_url(self._remote.url)}/metrics", proof.METRICS)
            started_s = parse_start(answer.body)
        except UnreachableError:
            started_s = None  # the comparison of windows finds it all the same, later
        self._suspicious = False
        if started_s is not None:
            started_ms = 1000 * started_s + (self._report.status.skew_ms or 0)
            self._buffer.restarted(started_s, started_ms, self._remote.audit.grace_s)

    def _get(self, url: str, asked: str) -> Answer:
        answer = self._client.ask(url, asked, TIMEOUT_S, most_bytes=MAX_DOCUMENT_BYTES)
        if answer.status >= 500:
            raise TransportError("query", f"HTTP {answer.status}")
        if answer.status != 200:
            raise UnreachableError(f"HTTP {answer.status} from {urlsplit(url).path}")
        return answer


def short(uploaded: Iterable[Uploaded], there: Counter[Labels]) -> list[int]:
    """Return the numbers of series that have fewer samples at the server than were uploaded."""
    together: Counter[Labels] = Counter()  # two series that are one at the server
    uploaded = list(uploaded)
    for series in uploaded:
        together[series.labels] += series.samples
    return [series.number for series in uploaded if there[series.labels] < together[series.labels]]


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
