"""Section remote of the configuration: the server, and how samples get there.

A part of `settings.py`, which has all sections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from common.keys import Parser, boolean, choice, duration, integer, key, listing, number, path, section, size, text, url

HIGH_MOST_S = 10.0  # P1 is never slower than this by itself, however seldom the rest goes
HIGH_SHARE = 1 / 3  # of remote.upload_interval
LOW_INTERVALS = 20  # of remote.upload_interval
VICTORIAMETRICS, JSON = "victoriametrics", "json"
_PROXY = url(optional=True)


def _or_empty(parse: Parser) -> Parser:
    """Accept nothing too, which is None."""
    return lambda value: None if value in (None, "") else parse(value)


@dataclass(frozen=True)
class Auth:
    """How the device authenticates to the server."""

    type: str = key(choice("none", "bearer_token"), "none", "bearer_token reads token_file")
    token_file: Path | None = key(
        path(optional=True), "", "file holding the token alone; refused if group or others can read it"
    )


@dataclass(frozen=True)
class Retry:
    """What happens after an upload failed."""

    enabled: bool = key(boolean(), "true", "false: one attempt per round")
    max_attempts: int = key(integer(1, 100), "3", "attempts in one round; then the chunk goes back to pending")
    initial_backoff_s: float = key(duration(0.01, 3600), "5s", "wait after the first failure", name="initial_backoff")
    max_backoff_s: float = key(duration(0.01, 3600), "60s", "longest wait", name="max_backoff")
    backoff_multiplier: float = key(number(1, 10), "3", "growth from one wait to the next")
    jitter_percent: float = key(number(0, 100), "20", "each wait is varied by this, so that a fleet spreads out")


class Lanes(NamedTuple):
    """The upload interval of each priority, in seconds."""

    critical_s: float = 0.0
    high_s: float = 10.0
    normal_s: float = 30.0
    low_s: float = 600.0

    def interval_s(self, priority: int) -> float:
        """Return the lane's interval for a priority 0-3."""
        return self[priority]


@dataclass(frozen=True)
class Priority:
    """The upload interval of each priority; an empty one follows `remote.upload_interval`."""

    critical_s: float = key(duration(0, 3600), "0s", "P0: pushed as it is committed", name="critical")
    high_s: float | None = key(
        _or_empty(duration(0, 3600)), "", "P1; empty: a third of remote.upload_interval, 10s at most", name="high"
    )
    normal_s: float | None = key(_or_empty(duration(0, 86_400)), "", "P2; empty: remote.upload_interval", name="normal")
    low_s: float | None = key(
        _or_empty(duration(0, 86_400)), "", "P3; empty: 20 times remote.upload_interval", name="low"
    )


@dataclass(frozen=True)
class Audit:
    """Comparing what was uploaded with what the server has."""

    enabled: bool = key(boolean(), "true", "false: what the server acknowledged counts as delivered")
    query_url: str = key(
        url(optional=True), "", "empty: /api/v1/query of the server in remote.url; a cluster's vmselect"
    )
    interval_s: float = key(
        duration(1, 86_400), "1m", "how often the audit looks for a finished window", name="interval"
    )
    grace_s: float = key(
        duration(1, 86_400),
        "60s",
        "how long after its answer the server is taken to have a sample on disk",
        name="grace",
    )


@dataclass(frozen=True)
class Backfill:
    """Samples that an outage left behind: older than two lane intervals and two upload intervals."""

    enabled: bool = key(boolean(), "true", "false: they stay on the device")
    bandwidth_percent: float = key(
        number(1, 100, unit="%"),
        "20%",
        "share of the measured uplink that the backfill may use",
        name="bandwidth_limit",
    )
    requests_per_s: float = key(number(0.01, 1000, unit="/s"), "1/s", "requests of the backfill", name="rate_limit")


@dataclass(frozen=True)
class Budget:
    """Bytes on the wire in a calendar day and month, local time: at 80 % P3 waits, at 95 % P2, at 100 % all but P0."""

    daily: int = key(size(0, 1 << 50), "0", "0: no limit")
    monthly: int = key(size(0, 1 << 50), "0", "0: no limit")


@dataclass(frozen=True)
class Events:
    """Upload of events as JSON lines to VictoriaLogs or another log server."""

    url: str = key(url(optional=True, path=True), "", "e.g. https://logs.example.com/insert/jsonline; empty: nowhere")


@dataclass(frozen=True)
class Tls:
    """How the device verifies the server."""

    pin: tuple[str, ...] = key(
        listing(text(pattern=r"(sha256//)?[A-Za-z0-9+/]{43}=")),
        "[]",
        "SHA-256 of the server's public key, as for curl --pinnedpubkey; two for a change of keys; empty: any",
    )


@dataclass(frozen=True)
class Remote:
    """Where samples go."""

    enabled: bool = key(boolean(), "true", "false: keep everything on the device")
    type: str = key(
        choice(VICTORIAMETRICS, JSON),
        VICTORIAMETRICS,
        "json: a receiver of POST …/api/v1/metrics that says how many samples it took",
    )
    url: str = key(
        url(path=True),
        "http://127.0.0.1:8428/api/v1/import",
        "VictoriaMetrics import URL, single or cluster; of type json: https://host/api/v1",
    )
    mode: str = key(
        choice("auto", "realtime", "degraded", "offline"),
        "auto",
        "degraded: P0 and P1 only, in large chunks; offline: nothing; auto follows the uplink",
    )
    auth: Auth = section(Auth)
    ca_file: Path | None = key(path(optional=True), "", "own certificate authority, PEM")
    tls: Tls = section(Tls)
    proxy: str = key(_PROXY, "", "HTTP proxy on the way, e.g. http://proxy.lan:3128; https goes through it by CONNECT")
    proof: str = key(
        choice("auto", "header", "count", "status", "queue"),
        "auto",
        "what shows that an answer is the server's own; see docs/troubleshooting.md",
    )
    upload_interval_s: float = key(
        duration(0.2, 3600),
        "30s",
        "how often uploads go (P2); the other lanes are relative to it",
        name="upload_interval",
    )
    connect_timeout_s: float = key(duration(0.1, 300), "10s", "to reach the server", name="connect_timeout")
    timeout_s: float = key(duration(0.1, 300), "30s", "for the whole answer", name="timeout")
    compression: bool = key(boolean(), "true", "gzip")
    batch_size: int = key(integer(1, 1_000_000), "2500", "samples leased from the buffer at once while keeping up")
    chunk_size: int = key(integer(1, 100_000), "50", "samples in one request to begin with; grows while behind")
    chunk_bytes: int = key(size(1024, 32 << 20), "256KiB", "largest request body after compression")
    retry: Retry = section(Retry)
    priority: Priority = section(Priority)
    backfill: Backfill = section(Backfill)
    budget: Budget = section(Budget)
    audit: Audit = section(Audit)
    events: Events = section(Events)

    @property
    def lanes(self) -> Lanes:
        """The interval of each lane: as set in `remote.priority`, else relative to `remote.upload_interval`."""
        own, interval_s = self.priority, self.upload_interval_s
        return Lanes(
            own.critical_s,
            min(HIGH_SHARE * interval_s, HIGH_MOST_S) if own.high_s is None else own.high_s,
            interval_s if own.normal_s is None else own.normal_s,
            LOW_INTERVALS * interval_s if own.low_s is None else own.low_s,
        )

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield a key and what is wrong with it beside the others."""
        if self.tls.pin and urlsplit(self.url).scheme != "https":
            yield "tls.pin", "expected an https URL in remote.url: without TLS there is no key"
        base = self.url.partition("?")[0].rstrip("/")  # a query can hold a key
        if self.type == VICTORIAMETRICS and base.endswith(("/api/v1", "/api/v1/metrics")):
            base = base.removesuffix("/metrics")
            ways = f"{base}/import for VictoriaMetrics, or remote.type: json for a receiver of {base}/metrics"
            yield "url", f"expected {ways}, got {base!r}"
        if self.type == JSON and "/api/v1/import" in base:
            yield "url", f"expected a URL such as https://host/api/v1 with remote.type: json, got {base!r}"

    def warnings(self) -> Iterator[str]:
        """Yield what is allowed and should not be."""
        parts = urlsplit(self.url)
        is_local = parts.hostname in ("localhost", "::1") or (parts.hostname or "").startswith("127.")
        if self.auth.type == "bearer_token" and parts.scheme == "http" and not is_local:
            yield "remote.url: the token goes to another host without TLS, anybody on the way can read it; use https"
