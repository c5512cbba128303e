"""The tiles of recording and delivery: mode, backlog, audit, data quota, database, disk, clock. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common import thresholds
from common.thresholds import DEGRADED, ERROR, OK
from healthd.programs import Snapshot
from healthd.verdict.latest import Latest
from healthd.verdict.tile import Tile
from healthd.wording import DASH, ago, lasting, number, of, percent, size

PERIODS = (("daily", "Data today"), ("monthly", "Data this month"))


def tiles(known: Snapshot, health: Mapping[str, Any], latest: Latest, now_s: float, wall_ms: int) -> Iterator[Tile]:
    """Yield the tiles.

    Args:
        known: of the processes.
        health: the body of `/health`.
        latest: of the samples.
        now_s: monotonic time.
        wall_ms: the wall clock.
    """
    uploader, storage = health["uploader"], health["storage"]
    shipper, buffer = known.shipper, known.buffer
    level = uploader["status"] if uploader["status"] in {OK, DEGRADED, ERROR} else ""
    yield Tile("upload", "Last upload", ago(_age_s(shipper.last_upload_ms, wall_ms)), level)
    yield Tile("mode", "Mode", health["mode"] or DASH)
    yield Tile("pending", "Waiting", number(uploader["pending_metrics"], "samples"))
    yield Tile("oldest", "Oldest waiting", lasting(_age_s(buffer.oldest_pending_ms, wall_ms)))
    yield Tile("verified", "Verified until", ago(_age_s(shipper.verified_until_ms, wall_ms)))
    yield from budget(known)
    yield from disk(latest, now_s)
    yield Tile("database", "Database", _sum(storage["database_size_bytes"], storage["wal_size_bytes"]))
    if any(reason["part"] == "time" for reason in health["reasons"]):
        yield Tile("skew", "Clock against server", number(health["time"]["skew_ms"] / 1000, "s", 1), DEGRADED)


def disk(latest: Latest, now_s: float) -> Iterator[Tile]:
    """Yield a tile for the fullest file system."""
    used = max((row.value for row in latest.rows("filesystem.used_percent", now_s)), default=None)
    level = thresholds.fixed_level(thresholds.DISK_PERCENT, used)
    yield Tile("disk", "Disk", percent(used), level, None if used is None else used / 100)


def budget(known: Snapshot) -> Iterator[Tile]:
    """Yield a tile for each data quota: how much of it is used."""
    budgets = known.shipper.budget or {}
    for period, label in PERIODS:
        account = budgets.get(period)
        if isinstance(account, Mapping):
            used, limit = account.get("used"), account.get("limit")
            share = used / limit if limit and used is not None else None
            text = of(size(used), size(limit)) if limit else size(used)
            level = thresholds.fixed_level(thresholds.BUDGET_SHARE, share)
            yield Tile("budget", label, text, level, None if share is None else min(1.0, share))


def _sum(database: float | None, log: float | None) -> str:
    """Return the size of the database and its write-ahead log: the last hour may be in the log alone."""
    return size(None if database is None else database + (log or 0))


def _age_s(value_ms: int | None, wall_ms: int) -> float | None:
    return None if value_ms is None else (wall_ms - value_ms) / 1000
