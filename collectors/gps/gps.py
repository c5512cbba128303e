"""Where the device is, by gpsd.

Reads: gpsd's JSON protocol over TCP, where enabled.
Source: https://gpsd.io/gpsd_json.html, classes TPV and SKY.
Emits: gps.fix (0 or 1 none, 2 flat, 3 with altitude), gps.latitude_degrees, gps.longitude_degrees, gps.altitude_meters
    (above sea level), gps.speed_meters_per_second, gps.track_degrees (from true north), gps.horizontal_error_meters,
    gps.satellites_used, gps.satellites_visible, gps.hdop. Events gps_lost, gps_found.
Errors: without gpsd there is nothing, and that is said once. What is older than `STALE_S`, or came without a fix, is
    absent. Off by default: a position is nobody's business unless somebody wants it recorded.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectors.host import Host
from common.events import Event
from common.keys import boolean, duration, key, text
from common.sample import Sample

RECORDED = "gpsd"  # below any root but /: what gpsd said when the tree was recorded
WATCH = b'?WATCH={"enable":true,"json":true};\n'
TIMEOUT_S = 1.0
STALE_S = 10.0  # a receiver gives a position every second
MAX_BYTES = 256 * 1024  # of one look; the rest waits
NO_FIX = 1
MOST = 1e9  # no number of these is beyond it

POSITION = {"lat": "latitude_degrees", "lon": "longitude_degrees"}
MOVEMENT = {
    "altMSL": "altitude_meters",
    "speed": "speed_meters_per_second",
    "track": "track_degrees",
    "eph": "horizontal_error_meters",
}


@dataclass(frozen=True)
class Config:
    """Section collectors.gps."""

    enabled: bool = key(boolean(), "false", "collect it: where the device is")
    interval_s: float = key(duration(0.1, 86_400), "10s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it reads what gpsd said", name="watch_interval")
    address: str = key(text(pattern=r"[\w.:-]{1,255}:\d{1,5}"), "127.0.0.1:2947", "host:port of gpsd")
    position: bool = key(boolean(), "true", "false: speed, altitude and quality without latitude and longitude")


class State:
    """The connection, and what was said last: a message by class, and when it came."""

    def __init__(self) -> None:
        self.connection: socket.socket | None = None
        self.address = ""
        self.rest = b""
        self.latest: dict[str, tuple[float, dict[str, Any]]] = {}
        self.has_fix: bool | None = None


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield the position and its quality."""
    yield from watch(host, config, state)
    fix = _latest("TPV", host.now_s, state)
    if fix is not None:
        mode = _mode(fix)
        yield Sample("gps.fix", mode)
        names = {**(POSITION if config.position else {}), **MOVEMENT} if mode > NO_FIX else {}
        yield from _numbers(fix, names)
    sky = _latest("SKY", host.now_s, state)
    if sky is not None:
        yield from _sky(sky)


def watch(host: Host, config: Config, state: State) -> Iterator[Event]:
    """Read what gpsd said; yield an event when the fix goes or comes."""
    for line in _lines(host, config, state):
        try:
            message = json.loads(line)
        except ValueError:
            host.fault("gpsd", "not understood")
            continue
        kind = message.get("class") if isinstance(message, dict) else None
        if kind == "TPV":
            state.latest[kind] = (host.now_s, message)
        elif kind == "SKY":  # gpsd gives satellites and errors apart
            state.latest[kind] = (host.now_s, {**state.latest.get(kind, (0.0, {}))[1], **message})
    fix = _latest("TPV", host.now_s, state)
    if fix is None and state.has_fix is None:
        return  # nothing was said so far
    has_fix = fix is not None and _mode(fix) > NO_FIX
    before, state.has_fix = state.has_fix, has_fix
    if before and not has_fix:
        yield Event("gps_lost", "no position any more: tunnel, antenna, or gpsd is silent")
    elif before is False and has_fix:
        yield Event("gps_found", "there is a position")


def _lines(host: Host, config: Config, state: State) -> Iterator[bytes]:
    if host.root != Path("/") and host.exists(RECORDED):
        yield from (host.text(RECORDED) or "").encode().splitlines()
        return
    if host.root != Path("/"):
        return
    try:
        content = _received(config, state)
    except OSError as error:
        host.absent.add(f"gpsd at {config.address}: {error.strerror or type(error).__name__}")
        _close(state)
        return
    *lines, state.rest = (state.rest + content).split(b"\n")
    yield from filter(None, lines)


def _received(config: Config, state: State) -> bytes:
    """Return what has come since the last look.

    Raises:
        OSError: there is no gpsd, or it has hung up.
    """
    if state.connection is None or state.address != config.address:
        _close(state)
        name, _, port = config.address.rpartition(":")
        state.connection = socket.create_connection((name, int(port)), TIMEOUT_S)
        state.address = config.address
        state.connection.sendall(WATCH)
        state.connection.setblocking(False)
    content = b""
    try:
        while len(content) < MAX_BYTES:
            piece = state.connection.recv(65_536)
            if not piece:
                raise ConnectionResetError
            content += piece
    except BlockingIOError:
        pass
    return content


def _close(state: State) -> None:
    if state.connection is not None:
        state.connection.close()
    state.connection, state.rest = None, b""


def _latest(name: str, now_s: float, state: State) -> dict[str, Any] | None:
    at_s, message = state.latest.get(name, (float("-inf"), {}))
    return message if now_s - at_s <= STALE_S else None


def _mode(fix: dict[str, Any]) -> int:
    mode = fix.get("mode")
    return mode if isinstance(mode, int) and 0 <= mode <= 3 else 0


def _numbers(message: dict[str, Any], names: dict[str, str]) -> Iterator[Sample]:
    for name, metric in names.items():
        value = message.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and -MOST < value < MOST:  # NaN is not
            yield Sample(f"gps.{metric}", value)


def _sky(sky: dict[str, Any]) -> Iterator[Sample]:
    satellites = sky.get("satellites")
    if isinstance(satellites, list):  # gpsd also sends a SKY of errors alone
        used = sum(isinstance(one, dict) and one.get("used") is True for one in satellites)
        yield Sample("gps.satellites_used", used)
        yield Sample("gps.satellites_visible", len(satellites))
    yield from _numbers(sky, {"hdop": "hdop"})
