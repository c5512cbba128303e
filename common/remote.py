"""Section remote of the configuration: the server, and how samples get there.

A part of `settings.py`, which has all sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.keys import boolean, choice, duration, integer, key, number, path, section, size, url


@dataclass(frozen=True)
class Auth:
    """How the device proves itself to the server."""

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


@dataclass(frozen=True)
class Lanes:
    """How long a sample of each priority may wait for company."""

    critical_s: float = key(duration(0, 3600), "0s", "P0: pushed as it is committed", name="critical")
    high_s: float = key(duration(0, 3600), "10s", "P1", name="high")
    normal_s: float = key(duration(0, 86_400), "60s", "P2", name="normal")
    low_s: float = key(duration(0, 86_400), "600s", "P3", name="low")

    def interval_s(self, priority: int) -> float:
        """Return the lane's interval for a priority 0-3."""
        return (self.critical_s, self.high_s, self.normal_s, self.low_s)[priority]


@dataclass(frozen=True)
class Audit:
    """Comparing what was uploaded with what the server has."""

    enabled: bool = key(boolean(), "true", "false: what the server acknowledged counts as delivered")
    query_url: str = key(
        url(optional=True), "", "empty: /api/v1/query of the server in remote.url; a cluster's vmselect"
    )
    interval_s: float = key(duration(1, 86_400), "1m", "how often a closed span is looked for", name="interval")
    grace_s: float = key(
        duration(1, 86_400), "60s", "what was acknowledged this long ago survives the server's death", name="grace"
    )


@dataclass(frozen=True)
class Backfill:
    """Samples that an outage left behind: older than two lane intervals and two upload intervals."""

    enabled: bool = key(boolean(), "true", "false: they stay on the device")
    bandwidth_percent: float = key(
        number(1, 100, unit="%"), "20%", "share of the measured uplink they may fill", name="bandwidth_limit"
    )
    requests_per_s: float = key(number(0.01, 1000, unit="/s"), "1/s", "requests with them", name="rate_limit")


@dataclass(frozen=True)
class Budget:
    """Bytes on the wire in a calendar day and month, local time: at 80 % P3 waits, at 95 % P2, at 100 % all but P0."""

    daily: int = key(size(0, 1 << 50), "0", "0: no limit")
    monthly: int = key(size(0, 1 << 50), "0", "0: no limit")


@dataclass(frozen=True)
class Events:
    """Events in words, as JSON lines, to VictoriaLogs or whatever else takes them."""

    url: str = key(url(optional=True, path=True), "", "e.g. https://logs.example.com/insert/jsonline; empty: nowhere")


@dataclass(frozen=True)
class Remote:
    """Where samples go."""

    enabled: bool = key(boolean(), "true", "false: keep everything on the device")
    url: str = key(
        url(path=True), "http://127.0.0.1:8428/api/v1/import", "VictoriaMetrics import URL, single or cluster"
    )
    mode: str = key(
        choice("auto", "realtime", "degraded", "offline"),
        "auto",
        "degraded: P0 and P1 only, in large chunks; offline: nothing; auto follows the uplink",
    )
    auth: Auth = section(Auth)
    ca_file: Path | None = key(path(optional=True), "", "own certificate authority, PEM")
    upload_interval_s: float = key(
        duration(0.2, 3600), "30s", "what /health measures upload ages against", name="upload_interval"
    )
    connect_timeout_s: float = key(duration(0.1, 300), "10s", "to reach the server", name="connect_timeout")
    timeout_s: float = key(duration(0.1, 300), "30s", "for the whole answer", name="timeout")
    compression: bool = key(boolean(), "true", "gzip")
    batch_size: int = key(integer(1, 1_000_000), "2500", "samples leased from the buffer at once while keeping up")
    chunk_size: int = key(integer(1, 100_000), "50", "samples in one request to begin with; grows while behind")
    chunk_bytes: int = key(size(1024, 32 << 20), "256KiB", "largest request body after compression")
    retry: Retry = section(Retry)
    priority: Lanes = section(Lanes)
    backfill: Backfill = section(Backfill)
    budget: Budget = section(Budget)
    audit: Audit = section(Audit)
    events: Events = section(Events)
