"""What the page and the terminal show of now: a verdict, why, and facts by group, ready to be drawn. Pure.

Reads: the view of the processes and the latest values. Every fact has its text; one that is not known, or is too
old, has a dash and no level. Times are Unix milliseconds, since the browser's clock says how long ago.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common import VERSION
from healthd import report, rollup
from healthd.heartbeats import Beat
from healthd.page import stream
from healthd.page.fact import DEGRADED, ERROR, IDLE, OK, Fact
from healthd.page.latest import Latest
from healthd.page.wording import DASH, ago, lasting, number, of, percent, size
from healthd.report import View

# From where on a number is drawn as a warning; alerts have their own, configured lines.
HOT_C, BUSY_PERCENT, FULL_PERCENT = 80.0, 90.0, 90.0


def picture(view: View, latest: Latest, device: Mapping[str, str], now_s: float, wall_ms: int) -> dict[str, Any]:
    """Return everything there is to draw.

    Args:
        view: of the processes.
        latest: of the samples.
        device: its id and name.
        now_s: monotonic time.
        wall_ms: the wall clock, Unix milliseconds.
    """
    said = report.health(view, now_s, wall_ms)
    found = list(stream.conditions(latest, now_s))
    reasons = [one._asdict() for one in found] + [_reason(one, now_s, wall_ms) for one in view.reasons(now_s)]
    reasons.sort(key=lambda reason: reason["level"] != ERROR)
    return {
        "device": {**device, "version": VERSION},
        "timestamp_ms": wall_ms,
        "verdict": _verdict(reasons, stream.is_running(latest, now_s)),
        "reasons": reasons,
        "groups": [
            _group("stream", "Stream", stream.facts(latest, now_s)),
            _group("device", "Device", _device(latest, now_s)),
            _group("delivery", "Delivery", _delivery(view, said, wall_ms)),
        ],
        "links": stream.links(latest, now_s),
        "processes": [_process(name, state) for name, state in said["processes"].items()],
        "events": latest.events,
    }


def _verdict(reasons: list[dict[str, Any]], runs: bool) -> dict[str, str]:
    if reasons:
        first = reasons[0]
        more = len(reasons) - 1
        return {"level": first["level"], "title": first["title"], "text": f"and {more} more" if more else first["text"]}
    if runs:
        return {"level": OK, "title": "Stream healthy", "text": "Every part does what it should."}
    return {"level": IDLE, "title": "Ready", "text": "No stream is running; everything is recorded and delivered."}


def _reason(reason: rollup.Reason, now_s: float, wall_ms: int) -> dict[str, Any]:
    since_ms = wall_ms - int((now_s - reason.since_s) * 1000)
    title = f"{reason.part.capitalize()}: {reason.text}"
    return {"level": reason.severity, "part": reason.part, "title": title, "text": reason.text, "since_ms": since_ms}


def _group(name: str, title: str, facts: Iterator[Fact]) -> dict[str, Any]:
    return {"id": name, "title": title, "facts": [fact._asdict() for fact in facts]}


def _device(latest: Latest, now_s: float) -> Iterator[Fact]:
    heat = latest.number("cpu.temperature", now_s)
    level = "" if heat is None else DEGRADED if heat >= HOT_C else OK
    yield Fact("heat", "Temperature", number(heat, "°C"), level, heat and min(1.0, heat / 100))
    yield _used("cpu", "Processor", latest.number("cpu.usage_percent", now_s, core="all"), BUSY_PERCENT)
    yield _used("memory", "Memory", latest.number("memory.used_percent", now_s), FULL_PERCENT)
    yield _used("disk", "Disk", latest.number("filesystem.used_percent", now_s), FULL_PERCENT)
    for row in latest.rows("battery.level_percent", now_s):
        level = DEGRADED if row.value < 20 else OK
        yield Fact(f"battery-{row.tags.get('supply', '')}", "Battery", percent(row.value), level, row.value / 100)
    watts = [row.value for row in latest.rows("power.watts", now_s)]
    if watts:
        yield Fact("power", "Power", number(max(watts), "W", 1))
    for row in latest.rows("system.info", now_s):
        yield Fact("board", "Board", row.tags.get("board") or DASH)
        yield Fact("system", "System", row.tags.get("image") or row.tags.get("os") or row.tags.get("kernel") or DASH)


def _used(name: str, label: str, value: float | None, line: float) -> Fact:
    if value is None:
        return Fact(name, label, percent(None))
    return Fact(name, label, percent(value), DEGRADED if value >= line else OK, min(1.0, value / 100))


def _delivery(view: View, said: Mapping[str, Any], wall_ms: int) -> Iterator[Fact]:
    uploader, storage = said["uploader"], said["storage"]
    shipper, buffer = view.known.beats.get("shipper"), view.known.beats.get("buffer")
    yield Fact("mode", "Mode", said["mode"] or DASH, DEGRADED if said["mode"] in {"degraded", "offline"} else "")
    level = uploader["status"] if uploader["status"] in {OK, DEGRADED, ERROR} else ""
    yield Fact("upload", "Last upload", ago(_age_s(shipper, "last_upload_ms", wall_ms)), level)
    yield Fact("pending", "Waiting", number(uploader["pending_metrics"], "samples"))
    yield Fact("oldest", "Oldest waiting", lasting(_age_s(buffer, "oldest_pending_ms", wall_ms)))
    yield Fact("verified", "Verified until", ago(_age_s(shipper, "verified_until_ms", wall_ms)))
    yield from _budget(said["budget"])
    yield Fact("database", "Database", _sum(storage["database_size_bytes"], storage["wal_size_bytes"]))
    skew_ms = said["time"]["skew_ms"]
    if skew_ms is not None and abs(skew_ms) > 2000:
        yield Fact("skew", "Clock against server", number(skew_ms / 1000, "s", 1), DEGRADED)


def _sum(database: float | None, log: float | None) -> str:
    """Return what both files take: samples of the last hour are in the log alone."""
    return size(None if database is None else database + (log or 0))


def _budget(budget: Mapping[str, Any] | None) -> Iterator[Fact]:
    for period, label in (("daily", "Data today"), ("monthly", "Data this month")):
        book = (budget or {}).get(period)
        if isinstance(book, Mapping):
            used, limit = book.get("used"), book.get("limit")
            text = of(size(used), size(limit)) if limit else size(used)
            share = min(1.0, used / limit) if limit and used is not None else None
            level = "" if share is None else ERROR if share >= 1 else DEGRADED if share >= 0.8 else OK
            yield Fact(f"budget-{period}", label, text, level, share)


def _process(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    trouble = said["last_error"]
    level = OK if trouble is None else DEGRADED
    return {"name": name, "state": said["state"], "level": level, "restarts": said["restarts"], "error": trouble}


def _age_s(beat: Beat | None, fact: str, wall_ms: int) -> float | None:
    value_ms = beat.number(fact) if beat else None
    return None if value_ms is None else (wall_ms - value_ms) / 1000
