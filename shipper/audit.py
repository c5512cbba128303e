"""Does the server have what it acknowledged? The shipper's half of the audit.

Reads closed spans from the buffer, asks the server how many samples of each series it has there, one query a
span, and tells the buffer which series are short; it sends those again. After trouble with the server it
also looks whether that was started anew: what it had acknowledged in its last seconds is gone then. Where
the server cannot be asked (a token for writing alone, a cluster's vminsert), says so and goes on without.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from common import clock
from common.service import Service
from shipper import jsonl
from shipper.drain import Drain
from shipper.http.courier import Courier
from shipper.http.transport import TransportError
from shipper.newest import query_url
from shipper.skew import base_url

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024  # 100,000 series
NEXT_S = 1.0  # between two spans while there are more
UNREACHABLE_S = 600.0  # then the query side is tried again
START_METRICS = ("vm_app_start_timestamp", "process_start_time_seconds")

Labels = frozenset[tuple[str, str]]


class Uploaded(NamedTuple):
    """How many samples of a series were uploaded in a span; `number` is the buffer's name for it."""

    number: int
    labels: Labels
    samples: int


class UnreachableError(Exception):
    """The server cannot be asked what it has."""


class Audit:
    """The comparison as a step of the shipper."""

    def __init__(self, process: Service, drain: Drain, courier: Courier) -> None:
        self._process = process
        self._drain = drain
        self._courier = courier
        self._suspicious = True  # an earlier shipper may have seen the trouble
        process.facts.update(audit=None, verified_until_ms=None, unverified_samples=None)

    def suspect(self) -> None:
        """There was trouble with the server: it may have been started anew."""
        self._suspicious = True

    def step(self) -> float:
        """Compare one span; return in how many seconds to look again.

        Raises:
            BufferAwayError, BufferBusyError, Interrupted: as the drain and the transport do.
        """
        settings = self._process.config.settings.remote.audit
        if not settings.enabled:
            self._process.facts["audit"] = "disabled"
            return settings.interval_s
        try:
            if self._suspicious:
                self._look_for_restart()
            found = self._drain.audit(settings.grace_s)
            self._tell(found)
            if found["start_ms"] is None:
                return settings.interval_s
            self._drain.verdict(found["start_ms"], found["uploaded_ms"], self._missing(found))
        except UnreachableError as error:
            self._process.facts["audit"] = f"not possible: {error}"
            self._process.log.throttled_warning("audit", "audit not possible", error=str(error))
            return UNREACHABLE_S
        except TransportError:
            return settings.interval_s  # the uploads say what is wrong
        finally:
            self._courier.at_rest()
        self._process.facts["audit"] = "ok"
        return NEXT_S

    def _tell(self, found: dict[str, Any]) -> None:
        until_ms, unverified = found["verified_until_ms"], found["unverified_samples"]
        self._process.facts.update(verified_until_ms=until_ms, unverified_samples=unverified)
        self._process.instruments.gauge("uploader.verified_until", None if until_ms is None else until_ms // 1000)
        self._process.instruments.gauge("uploader.unverified_samples", unverified)

    def _missing(self, found: dict[str, Any]) -> list[int]:
        """Return the series of which the server has less than was uploaded."""
        uploaded = [
            Uploaded(number, frozenset(jsonl.labels(name, device_id, tags).items()), samples)
            for number, name, device_id, tags, samples in found["series"]
        ]
        end_ms = found["start_ms"] + found["width_ms"]
        there: Counter[Labels] = Counter()
        for device_id in {device_id for _, _, device_id, _, _ in found["series"]}:
            there.update(self._ask(device_id, end_ms, found["width_ms"]))
        return short(uploaded, there)

    def _ask(self, device_id: str, end_ms: int, width_ms: int) -> Counter[Labels]:
        """Ask how many samples of each series lie in the span that ends at, and without, a time."""
        selector = f"device_id={json.dumps(device_id, ensure_ascii=False)}"
        # VictoriaMetrics remembers which series a filter matched; one that it was never asked knows the newest too.
        selector += f',asked!="{clock.wall_ms()}"'
        promql = f"count_over_time({{{selector}}}[{width_ms}ms]) keep_metric_names"
        where = query_url(self._process.config.settings.remote)
        if where is None:
            raise UnreachableError("a cluster's queries go elsewhere: set remote.audit.query_url")
        url = f"{where}?query={quote(promql)}&time={(end_ms - 1) / 1000:.3f}&nocache=1"
        return parse_counts(self._get(url))

    def _look_for_restart(self) -> None:
        remote = self._process.config.settings.remote
        try:
            started_s = parse_start(self._get(f"{base_url(remote.url)}/metrics"))
        except UnreachableError:
            started_s = None  # the comparison of spans finds it all the same, later
        self._suspicious = False
        if started_s is not None:
            started_ms = 1000 * started_s + (self._process.facts.get("skew_ms") or 0)
            self._drain.restarted(started_s, started_ms, remote.audit.grace_s)

    def _get(self, url: str) -> bytes:
        self._courier.announce(2 * TIMEOUT_S)
        answer = self._courier.transport.get(url, TIMEOUT_S, most_bytes=MAX_ANSWER_BYTES, compressed=True)
        if answer.status >= 500:
            raise TransportError("query", f"HTTP {answer.status}")
        if answer.status != 200:
            raise UnreachableError(f"HTTP {answer.status} from {urlsplit(url).path}")
        return answer.body


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
        result = json.loads(body)["data"]["result"]
        return Counter({frozenset(one["metric"].items()): int(float(one["value"][1])) for one in result})
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UnreachableError(f"not a query's answer: {type(error).__name__}") from error


def parse_start(body: bytes) -> int | None:
    """Read when the server was started, Unix seconds, from its own metrics; None where they do not tell."""
    for line in body.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(" ")
        if name in START_METRICS:
            try:
                return int(float(value))
            except ValueError:
                continue
    return None
