"""Build the picture that page and terminal draw: two verdicts, their reasons, and tiles by group. Pure.

Reads: the view of the processes and of the stream, and the latest values. Every tile has its text; one that is not
known, or is too old, has a dash and no level. Times are Unix milliseconds, since the browser's clock says how long
ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from common import VERSION, thresholds
from common.thresholds import DEGRADED, OK
from healthd import report
from healthd.page.plots import OF_TILE
from healthd.report import View
from healthd.verdict import advice, delivery, links, rollup
from healthd.verdict.latest import Latest
from healthd.verdict.stream import StreamVerdict
from healthd.verdict.tile import IDLE, Tile

_RANKS = {IDLE: -1, **thresholds.RANKS}


def picture(view: View, latest: Latest, device: Mapping[str, str], now_s: float, wall_ms: int) -> dict[str, Any]:
    """Return the picture.

    Args:
        view: of the processes and the stream.
        latest: of the samples.
        device: its id and name.
        now_s: monotonic time.
        wall_ms: the wall clock, Unix milliseconds.
    """
    health = report.health(view, now_s, wall_ms)
    tiles = tuple(delivery.tiles(view.known, health, latest, now_s, wall_ms))
    verdicts = [_stream(view.stream, latest, now_s), _recorder(view, tiles, now_s, wall_ms)]
    return {
        "device": {**device, "version": VERSION},
        "timestamp_ms": wall_ms,
        "verdicts": verdicts,
        "groups": [
            _group("stream", "Stream", view.stream.tiles),
            _group("device", "Device", view.stream.device),
            _group("delivery", "Delivery", tiles),
        ],
        "links": list(view.stream.links),
        "processes": [_process(name, said, verdicts[1]["reasons"]) for name, said in health["processes"].items()],
        "events": latest.events,
    }


def _stream(stream: StreamVerdict, latest: Latest, now_s: float) -> dict[str, Any]:
    return {
        "id": "stream",
        "level": stream.level,
        "title": stream.title,
        "text": stream.text,
        "since_ms": stream.since_ms,
        "reasons": [
            {
                **_reason(reason.rule, reason.level, reason.part, reason.title, reason.since_ms),
                **_of_one_link(reason.rule, latest, now_s),
            }
            for reason in stream.reasons
        ],
    }


def _of_one_link(rule: str, latest: Latest, now_s: float) -> dict[str, str]:
    """Return advice that names the one link that is the cause, nothing if none stands out."""
    metric, todo = advice.OF_ONE_LINK.get(rule, ("", ""))
    found = links.outlier(latest, now_s, metric) if metric else None
    return {"todo": todo.format(name=found[0], value=found[1])} if found else {}


def _recorder(view: View, tiles: tuple[Tile, ...], now_s: float, wall_ms: int) -> dict[str, Any]:
    reasons = [
        _reason(one.rule, one.severity, one.part, rollup.title(one), wall_ms - int((now_s - one.since_s) * 1000))
        for one in view.reasons(now_s)
    ]
    upload = next((tile.text for tile in tiles if tile.id == "upload"), "")
    title, text = "All is recorded", f"Last upload {upload}." if view.uploads else "It stays on this device."
    first = reasons[0] if reasons else None
    return {
        "id": "recorder",
        "level": first["level"] if first else OK,
        "title": first["title"] if first else title,
        "text": first["text"] if first else text,
        "since_ms": first["since_ms"] if first else None,
        "reasons": reasons,
    }


def _reason(rule: str, level: str, part: str, title: str, since_ms: int) -> dict[str, Any]:
    known = advice.of(rule)
    return {
        "level": level,
        "part": part,
        "title": title,
        "text": known.meaning,
        "todo": known.todo,
        "since_ms": since_ms,
    }


def _group(name: str, title: str, tiles: Iterable[Tile]) -> dict[str, Any]:
    return {"id": name, "title": title, "tiles": [{**tile._asdict(), "plot": OF_TILE.get(tile.id)} for tile in tiles]}


def _process(name: str, said: Mapping[str, Any], reasons: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row of a process; it is marked if the verdict has a reason with its name, never as an error."""
    level = DEGRADED if any(reason["part"] == name for reason in reasons) else OK
    return {
        "name": name,
        "state": said["state"],
        "level": level,
        "restarts": said["restarts"],
        "error": said["last_error"],
    }
