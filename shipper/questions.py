"""Queries to the server: sample counts of a time range, the newest sample, single timestamps, and its start time.

Emits one HTTP request for each query. Fails with UnreachableError where the server cannot be queried (a write-only
token, a cluster's vminsert), with TransportError where there is no answer now.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from common import clock
from common.remote import Remote
from common.untrusted import number
from shipper.http import proof
from shipper.http.answer import MAX_DOCUMENT_BYTES, Answer, document
from shipper.http.client import HttpClient
from shipper.http.transport import TransportError
from shipper.urls import base_url, query_url

TIMEOUT_S = 10.0
REACH = "1d"  # how far back the server looks for the newest sample of a device
QUEUE_METRIC = b"vmagent_remotewrite_"
MAX_COUNT = 2**53
MAX_START_S = 4_102_444_800  # the year 2100
START_METRICS = ("vm_app_start_timestamp", "process_start_time_seconds")

# -retentionPeriod: "1" is a month, else 36h, 40d, 2w or 1.5y (VictoriaMetrics, lib/flagutil/duration.go).
_RETENTION = re.compile(r'^flag\{name="retentionPeriod", value="([0-9.]+)([hdwy]?)"', re.MULTILINE)
_UNITS_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "": 31 * 86_400, "y": 365 * 86_400}

Labels = frozenset[tuple[str, str]]


class UnreachableError(Exception):
    """The server cannot be asked what it has."""


class ServerIdentity(NamedTuple):
    """What the server says of itself.

    Attributes:
        started_s: when it was started, Unix seconds; None where it does not say.
        queues: it is a queue before another server.
        retention_s: how long it keeps samples, and drops older ones that are sent; infinity where it does not say.
    """

    started_s: int | None = None
    queues: bool = False
    retention_s: float = math.inf


class Questions:
    """Questions to one server.

    Args:
        remote: section remote.
        client: asks.
    """

    def __init__(self, remote: Remote, client: HttpClient) -> None:
        self._remote, self._client = remote, client

    @property
    def are_possible(self) -> bool:
        """Whether it is known where the server answers queries."""
        return query_url(self._remote) is not None

    def counts(self, device_id: str, end_ms: int, width_ms: int) -> Counter[Labels]:
        """Ask how many samples of each series lie in the span that ends at, and without, a time."""
        promql = f"count_over_time({{{_selector(device_id)}}}[{width_ms}ms]) keep_metric_names"
        return parse_counts(self._query(promql, (end_ms - 1) / 1000).body)

    def count(self, device_id: str, end_ms: int, width_ms: int) -> int:
        """Ask how many samples of all series lie in a span."""
        promql = f"sum(count_over_time({{{_selector(device_id)}}}[{width_ms}ms]))"
        return parse_counts(self._query(promql, (end_ms - 1) / 1000).body).total()

    def newest(self, device_id: str) -> int:
        """Return the time of the newest sample of a device at the server, 0 where it has none."""
        selector = json.dumps(device_id, ensure_ascii=False)
        promql = f"max(tlast_over_time({{device_id={selector}}}[{REACH}]))"
        return parse_newest(self._query(promql, clock.wall_ms() / 1000).body)

    def newest_of_others(self, device_id: str, metric: str, instance_id: str) -> int:
        """Return the time of the newest sample of a metric with another `instance_id`, 0 where there is none."""
        chosen = f"{_selector(device_id)},instance_id!={json.dumps(instance_id)}"
        promql = f"max(tlast_over_time({metric.replace('.', '_')}{{{chosen}}}[{REACH}]))"
        return parse_newest(self._query(promql, clock.wall_ms() / 1000).body)

    def times(
        self, device_id: str, start_ms: int, end_ms: int, names: set[str] | None = None
    ) -> dict[Labels, set[int]]:
        """Ask for the time of each sample from one time to another, both included; of some metrics or of all."""
        chosen = f",__name__=~{json.dumps('|'.join(sorted(names)))}" if names else ""
        selector = quote(f"{{{_selector(device_id)}{chosen}}}")
        span = f"start={start_ms / 1000:.3f}&end={end_ms / 1000:.3f}"
        url = f"{self._query_url.removesuffix('query')}export?match[]={selector}&{span}"
        return parse_times(self._get(url, proof.EXPORT).body)

    def start(self) -> ServerIdentity:
        """Ask the server when it was started."""
        try:
            answer = self._get(f"{base_url(self._remote.url)}/metrics", proof.METRICS)
        except UnreachableError:
            return ServerIdentity()
        return ServerIdentity(parse_start(answer.body), QUEUE_METRIC in answer.body, parse_retention_s(answer.body))

    @property
    def _query_url(self) -> str:
        where = query_url(self._remote)
        if where is None:
            raise UnreachableError(
                "queries go elsewhere (a cluster's vmselect), or nowhere: set remote.audit.query_url"
            )
        return where

    def _query(self, promql: str, time_s: float) -> Answer:
        return self._get(f"{self._query_url}?query={quote(promql)}&time={time_s:.3f}&nocache=1", proof.QUERY)

    def _get(self, url: str, asked: str) -> Answer:
        answer = self._client.ask(url, asked, TIMEOUT_S, most_bytes=MAX_DOCUMENT_BYTES)
        if answer.status >= 500:
            raise TransportError("query", f"HTTP {answer.status}")
        if answer.status != 200:
            raise UnreachableError(f"HTTP {answer.status} from {urlsplit(url).path}")
        return answer


def _selector(device_id: str) -> str:
    # VictoriaMetrics remembers which series a filter matched; one that it was never asked knows the newest too.
    return f'device_id={json.dumps(device_id, ensure_ascii=False)},asked!="{clock.wall_ms()}"'


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


def parse_times(body: bytes) -> dict[Labels, set[int]]:
    """Read an export, a line of JSON for each series or part of one: the times of its samples.

    Raises:
        UnreachableError: it is no such thing.
    """
    found: dict[Labels, set[int]] = {}
    try:
        for line in body.splitlines():
            one = document(line)
            found.setdefault(frozenset(one["metric"].items()), set()).update(map(int, one["timestamps"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreachableError(f"not an export: {type(error).__name__}") from error
    return found


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


def parse_retention_s(body: bytes) -> float:
    """Read how long the server keeps samples from its own metrics, in seconds; infinity where they do not tell."""
    found = _RETENTION.search(body.decode("utf-8", "replace"))
    return float(found[1]) * _UNITS_S[found[2]] if found else math.inf


def _count(value: object) -> int:
    found = number(value, 0, MAX_COUNT)
    if found is None:
        raise ValueError("no count")
    return int(found)
