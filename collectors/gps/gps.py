"""The position of the device, from gpsd.

Reads: gpsd's JSON protocol over TCP, where enabled.
Source: https://gpsd.io/gpsd_json.html, classes TPV and SKY; protocol 3, gpsd 3.0 and later (altMSL: 3.20).
Emits: gps.fix (0 or 1 none, 2 flat, 3 with altitude), gps.latitude_degrees, gps.longitude_degrees, gps.altitude_meters
    (above sea level), gps.speed_meters_per_second, gps.track_degrees (from true north), gps.horizontal_error_meters,
    gps.satellites_used, gps.satellites_visible, gps.hdop. Events gps_lost, gps_found.
Errors: without gpsd there are no samples, which is reported once. Values older than `STALE_S` are absent, and a
    position without a fix. Of several receivers one with a position is followed as long as it has one (a modem with
    GPS but without an antenna is a receiver too). Off by default: a position is private data, recorded only on request.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectors import bounded
from collectors.host import Host
from common import untrusted
from common.events import Event
from common.keys import boolean, duration, key, text
from common.sample import Sample
from common.untrusted import UntrustedError

RECORDED = "gpsd"  # below any root but /: what gpsd said when the tree was recorded
WATCH = b'?WATCH={"enable":true,"json":true};\n'
TIMEOUT_S = 1.0
STALE_S = 10.0  # a receiver gives a position every second
MAX_BYTES = 64 * 1024  # of one look; the rest waits
MAX_LINE_BYTES = 16 * 1024  # gpsd's own buffer has 10,240 (gpsd.h, GPS_JSON_RESPONSE_MAX)
MAX_LINES = 1000  # of one look, the last ones: what is older has been said anew since
MAX_RECEIVERS = 8
NO_FIX = 1

POSITION = {"lat": "latitude_degrees", "lon": "longitude_degrees"}
MOVEMENT = {
    "altMSL": "altitude_meters",
    "speed": "speed_meters_per_second",
    "track": "track_degrees",
    "eph": "horizontal_error_meters",
}

Message = dict[str, Any]


@dataclass(frozen=True)
class Config:
    """Section collectors.gps."""

    enabled: bool = key(boolean(), "false", "collect it: where the device is")
    interval_s: float = key(duration(0.1, 86_400), "10s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it reads what gpsd said", name="watch_interval")
    address: str = key(text(pattern=r"[\w.:-]{1,255}:\d{1,5}"), "127.0.0.1:2947", "host:port of gpsd")
    position: bool = key(boolean(), "true", "false: speed, altitude and quality without latitude and longitude")


class State:
    """The connection, what each receiver said last (by class, and when it came), and the receiver that is followed."""

    def __init__(self) -> None:
        self.connection: socket.socket | None = None
        self.address = ""
        self.rest = b""
        self.receivers: dict[str, dict[str, tuple[float, Message]]] = {}
        self.followed = ""
        self.has_fix: bool | None = None


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield the position and its quality."""
    yield from watch(host, config, state)
    fix = _latest("TPV", state.followed, host.now_s, state)
    if fix is not None:
        mode = _mode(fix)
        yield Sample("gps.fix", mode)
        names = {**(POSITION if config.position else {}), **MOVEMENT} if mode > NO_FIX else {}
        yield from _numbers(fix, names)
    sky = _latest("SKY", state.followed, host.now_s, state)
    if sky is not None:
        yield from _sky(sky)


def watch(host: Host, config: Config, state: State) -> Iterator[Event]:
    """Read what gpsd said; yield an event when the position goes or comes."""
    for line in _lines(host, config, state):
        try:
            _take(untrusted.json_object(line, max_bytes=MAX_LINE_BYTES), host.now_s, state)
        except UntrustedError as error:
            host.fault("gpsd", str(error))
    state.followed = _best(host.now_s, state)
    fix = _latest("TPV", state.followed, host.now_s, state)
    if fix is None and state.has_fix is None:
        return  # nothing was said so far
    has_fix = fix is not None and _mode(fix) > NO_FIX
    before, state.has_fix = state.has_fix, has_fix
    if before and not has_fix:
        yield Event("gps_lost", "no position any more: tunnel, antenna, or gpsd is silent")
    elif before is False and has_fix:
        yield Event("gps_found", "there is a position")


def _take(message: Message, now_s: float, state: State) -> None:
    """Remember what a receiver says of itself."""
    kind, device = message.get("class"), untrusted.words(message.get("device"))
    if kind not in ("TPV", "SKY"):
        return
    if len(state.receivers) >= MAX_RECEIVERS and device not in state.receivers:  # others were here before
        state.receivers = {name: said for name, said in state.receivers.items() if name == state.followed}
    said = state.receivers.setdefault(device, {})
    if kind == "SKY":  # gpsd gives satellites and errors apart
        message = {**said.get(kind, (0.0, {}))[1], **message}
    said[kind] = (now_s, message)


def _best(now_s: float, state: State) -> str:
    """Return the receiver to follow: the one that was, while it has a position, else one that has, else the same."""
    fixes = {device: _latest("TPV", device, now_s, state) for device in sorted(state.receivers)}
    modes = {device: _mode(fix) for device, fix in fixes.items() if fix is not None}
    if modes.get(state.followed, NO_FIX) > NO_FIX:
        return state.followed
    return max(modes, key=lambda device: (max(modes[device], NO_FIX), device == state.followed), default=state.followed)


def _lines(host: Host, config: Config, state: State) -> Iterator[bytes]:
    if host.root != Path("/"):
        yield from (host.text(RECORDED) or "").encode().splitlines() if host.exists(RECORDED) else ()
        return
    try:
        content = _received(config, state)
    except OSError as error:
        host.absent.add(f"gpsd at {config.address}: {error.strerror or type(error).__name__}")
        _close(state)
        return
    *lines, state.rest = (state.rest + content).split(b"\n")
    if len(state.rest) > MAX_LINE_BYTES:
        host.fault("gpsd", f"a line longer than {MAX_LINE_BYTES} bytes: this is no gpsd")
        _close(state)
    yield from filter(None, lines[-MAX_LINES:])


def _received(config: Config, state: State) -> bytes:
    """Return what has come since the last look.

    Raises:
        OSError: there is no gpsd, or it has hung up.
    """
    if state.connection is None or state.address != config.address:
        _close(state)
        name, _, port = config.address.rpartition(":")
        deadline_s = time.monotonic() + TIMEOUT_S
        state.connection = bounded.dial(name, int(port), deadline_s)
        state.address = config.address
        bounded.BoundedSocket(state.connection, deadline_s, 0).sendall(WATCH)
        state.connection.setblocking(False)
    content = b""
    try:
        while len(content) < MAX_BYTES:
            piece = state.connection.recv(bounded.PIECE_BYTES)
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


def _latest(kind: str, device: str, now_s: float, state: State) -> Message | None:
    at_s, message = state.receivers.get(device, {}).get(kind, (float("-inf"), {}))
    return message if now_s - at_s <= STALE_S else None


def _mode(fix: Message) -> int:
    return untrusted.integer(fix.get("mode"), 0, 3) or 0


def _numbers(message: Message, names: dict[str, str]) -> Iterator[Sample]:
    for name, metric in names.items():
        value = message.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield Sample(f"gps.{metric}", value)


def _sky(sky: Message) -> Iterator[Sample]:
    satellites = sky.get("satellites")
    if isinstance(satellites, list):  # gpsd also sends a SKY of errors alone
        used = sum(untrusted.inner(one, "used") is True for one in satellites)
        yield Sample("gps.satellites_used", used)
        yield Sample("gps.satellites_visible", len(satellites))
    yield from _numbers(sky, {"hdop": "hdop"})
