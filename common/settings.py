"""The sections of the configuration file that the processes share, typed, each key with its default.

A collector's own section is in the collector's module. How a file becomes these: `config.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.keys import boolean, choice, duration, integer, key, named, path, section, size, text, url
from common.remote import Remote
from common.thresholds import Alerts

PRIORITY_NAMES = ("critical", "high", "normal", "low")

_YEARS_S = 10 * 365 * 86_400  # no device outlives it


@dataclass(frozen=True)
class Device:
    """The device; its id is a label of every sample at the server."""

    id: str = key(text(pattern=r"[A-Za-z0-9._:-]{1,64}"), "belabox-001", "label device_id of every sample", fixed=True)
    name: str = key(text(), "", "a name for people")
    location: str = key(text(), "", "where it is, for people")
    links: Mapping[str, str] = key(
        named(), "{}", "names of links for people, by interface or address, e.g. {usb0: backpack left}"
    )


@dataclass(frozen=True)
class Run:
    """The run directory, in which the processes have their sockets."""

    dir: Path = key(path(), "/run/belabox-metrics", "sockets and spool; 0700; a tmpfs costs no flash", fixed=True)
    heartbeat_interval_s: float = key(
        duration(0.2, 60),
        "5s",
        "how often each process reports to healthd; at once when something fails",
        name="heartbeat_interval",
    )
    window_samples: int = key(
        integer(100, 1_000_000),
        "20000",
        "samples a producer holds while the buffer is away, then drops",
        fixed=True,
    )


@dataclass(frozen=True)
class Collection:
    """All sources at once."""

    enabled: bool = key(boolean(), "true", "false: no source collects; what is stored is still delivered")


@dataclass(frozen=True)
class Logging:
    """What each process writes about itself."""

    level: str = key(choice("debug", "info", "warn", "error"), "info", "least important line written")
    format: str = key(choice("json", "console"), "json", "json for machines, console for eyes")
    output: str = key(
        text(pattern=r"stdout|stderr|/.+"),
        "stdout",
        "stdout (supervisord keeps a file for each process), or a file with the lines of all of them beside those",
    )
    rotation: int = key(size(64 * 1024, 1 << 34), "100MB", "size at which that file begins again; one old one is kept")


@dataclass(frozen=True)
class Retention:
    """How long the device keeps what the server has, and how finely."""

    full_resolution_s: float = key(
        duration(60, _YEARS_S), "48h", "every sample; then one aggregate a minute", name="full_resolution"
    )
    aggregated_1m_s: float = key(
        duration(60, _YEARS_S), "7d", "1-minute aggregates; then 5-minute ones", name="aggregated_1m"
    )
    aggregated_5m_s: float = key(
        duration(60, _YEARS_S), "30d", "5-minute aggregates, texts and events; then nothing", name="aggregated_5m"
    )
    unverified_after_s: float = key(
        duration(60, _YEARS_S),
        "7d",
        "an uploaded sample this old is taken to be at the server, audited or not",
        name="unverified_after",
    )


@dataclass(frozen=True)
class Archive:
    """Past half days as compressed files, in the folder archive beside the database."""

    enabled: bool = key(boolean(), "true", "false: none are written; existing files are still deleted when they expire")
    interval_s: float = key(
        duration(3600, 86_400), "12h", "the span one file holds, from midnight UTC", name="interval"
    )
    keep_s: float = key(duration(3600, _YEARS_S), "30d", "how long files are kept", name="keep")
    min_free: int = key(
        size(0, 1 << 44), "512MB", "none is written while the file system has less free space than this"
    )


@dataclass(frozen=True)
class Storage:
    """The buffer's database."""

    type: str = key(choice("sqlite"), "sqlite", "the only one there is")
    path: Path = key(
        path(), "/var/lib/belabox-metrics/metrics.db", "opens with plain sqlite3 while all runs", fixed=True
    )
    commit_interval_s: float = key(
        duration(0.05, 60), "5s", "longest time a sample waits for its commit", name="commit_interval"
    )
    commit_samples: int = key(integer(1, 100_000), "1000", "commit at once when this many wait")
    wal_checkpoint_interval_s: float = key(
        duration(1, 86_400),
        "1h",
        "how often the write-ahead log is copied into the database",
        name="wal_checkpoint_interval",
    )
    wal_checkpoint_size_mb: int = key(integer(1, 4096), "64", "copy it when it exceeds this")
    cache_size: int = key(size(64 * 1024, 1 << 30), "2MB", "SQLite page cache", fixed=True)
    mmap_size: int = key(
        size(0, 1 << 34), "0", "SQLite memory map; resident pages count as this process's memory", fixed=True
    )
    reserve_size: int = key(size(0, 1 << 30), "1MB", "kept free for critical samples when the disk is full; 0: nothing")
    max_size: int = key(
        size(10 << 20, 1 << 44), "5GB", "database and archive; beyond it the least important and oldest is given up"
    )
    retention: Retention = section(Retention)
    archive: Archive = section(Archive)


@dataclass(frozen=True)
class Clock:
    """A wall clock that may be wrong after boot."""

    sync_wait_s: float = key(
        duration(0, 3600),
        "300s",
        "how long after boot uploads wait for an unsynchronised clock",
        name="sync_wait",
        fixed=True,
    )


@dataclass(frozen=True)
class DegradedThreshold:
    """Limits above which the status is degraded."""

    pending_metrics: int = key(integer(1, 10**9), "5000", "samples past their lane's due time")
    upload_age_seconds: int | None = key(integer(1, 10**6, optional=True), "", "empty: 2 x remote.upload_interval")


@dataclass(frozen=True)
class ErrorThreshold:
    """Limits above which the status is error."""

    pending_metrics: int = key(integer(1, 10**9), "10000", "together with upload_age_seconds")
    upload_age_seconds: int | None = key(integer(1, 10**6, optional=True), "", "empty: 20 x remote.upload_interval")
    pending_metrics_alone: int = key(integer(1, 10**9), "20000", "an error whatever the age")


@dataclass(frozen=True)
class Health:
    """The page, `/health` and the watchdog of this device."""

    enabled: bool = key(boolean(), "true", "false: no HTTP port; the watchdog still runs")
    bind: str = key(
        text(pattern=r"[0-9a-fA-F.:]+"), "127.0.0.1", "address to listen on; not loopback: needs token_file"
    )
    port: int = key(integer(0, 65_535), "9100", "port to listen on; 0 picks one")
    token_file: Path | None = key(
        path(optional=True), "", "file with the token that readers need; refused if group or others can read it"
    )
    path: str = key(
        text(pattern=r"/[A-Za-z0-9/_-]*[A-Za-z0-9_-]"), "/health", "path of the report; /live and /ready are below it"
    )
    samples: bool = key(boolean(), "false", "true: /metrics/samples has the newest value of every series")
    watchdog: bool = key(boolean(), "true", "kill processes that hang and start those that supervisord gave up")
    self_metrics_interval_s: float = key(
        duration(1, 3600), "60s", "how often heartbeats become samples", name="self_metrics_interval"
    )
    degraded_threshold: DegradedThreshold = section(DegradedThreshold)
    error_threshold: ErrorThreshold = section(ErrorThreshold)

    def check(self) -> Iterator[tuple[str, str]]:
        """Yield a key and what is wrong with it beside the others."""
        if f"{self.path}/".startswith(("/api/", "/login/", "/metrics/")):
            yield "path", f"expected a path that nothing else is at, got {self.path!r}"
        if self._is_open and self.token_file is None:
            yield "token_file", f"expected a file: other machines can reach health.bind {self.bind}"

    def warnings(self) -> Iterator[str]:
        """Yield what is allowed and should not be."""
        if self._is_open:
            yield "health.bind: others reach the page without TLS, the token can be read on the way: use a VPN or proxy"

    @property
    def _is_open(self) -> bool:
        """Other machines can reach the page."""
        return self.enabled and not (self.bind.startswith("127.") or self.bind == "::1")


@dataclass(frozen=True)
class Monitoring:
    """Comparison of the device's clock with the server's."""

    clock_skew_url: str = key(url(optional=True), "", "empty: /health of the server in remote.url")
    clock_skew_check_interval_s: float = key(
        duration(1, 86_400), "5m", "how often the clock is compared", name="clock_skew_check_interval"
    )
    clock_skew_warn_threshold_ms: int = key(integer(1, 10**9), "2000", "a larger difference is a warning")


@dataclass(frozen=True)
class Settings:
    """All sections but the collectors'."""

    device: Device = section(Device)
    collection: Collection = section(Collection)
    run: Run = section(Run)
    logging: Logging = section(Logging)
    storage: Storage = section(Storage)
    clock: Clock = section(Clock)
    remote: Remote = section(Remote)
    health: Health = section(Health)
    monitoring: Monitoring = section(Monitoring)
    alerts: Alerts = section(Alerts)
