"""The SRT connection and its bonded links: round trip, loss, rates, queues.

Reads: packet headers on lo and on the uplinks (CAP_NET_RAW), the telemetry of senders that have it
    (`srtla_forks.py`), srt-live-transmit's statistics file where configured, proc/net/{udp,route}, tmp/srtla_ips,
    proc/*/{comm,stat,cmdline} of belacoder and srtla_send.
Source: draft-sharabayko-srt-01, srtla_send.c, srtla_rec.c, belacoder.c; see the parts `srt_*.py` and `srtla_*.py`.
Emits: srt.* of the connection and srtla.* of each link{interface,ip}: see the metric reference. Totals count from
    the start of this process. Events srt_connected, srt_lost, srtla_link_down, srtla_link_up, srt_source_silent.
Errors: without the right to the tap a stock sender gives only its age, queues and drops. What a sender says of
    itself is preferred; when it falls silent, that is an event and its values are absent.

Beside a root other than / no packets are looked at, for they are this machine's; BELABOX_TEST_TAP=1 says that they
are that root's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collectors import belabox
from collectors.host import Host
from collectors.process_table import ProcessTable, Program
from collectors.srt import srt_report, srt_stats_file, srtla_forks, srtla_report
from collectors.srt.srt_tap import Tap
from collectors.srt.srtla_forks import Report
from common.events import Event
from common.keys import boolean, duration, key, text
from common.sample import Sample

STATS_FILE = "tmp/srtla-send-stats-{port}.json"
TAPS_ANY_ROOT = os.environ.get("BELABOX_TEST_TAP") == "1"
RECONNECT_S = 15.0  # belaUI starts belacoder again after 2 s; later it is another stream


@dataclass(frozen=True)
class Config:
    """Section collectors.srt."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "5s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 2), "500ms", "how often it reads the tap", name="watch_interval")
    tap: bool = key(boolean(), "true", "look at packet headers, with CAP_NET_RAW")
    control_socket: str = key(text(), "/tmp/srtla.sock", "control socket of irlserver's srtla_send")  # noqa: S108 - its default
    metrics_address: str = key(text(), "", "host:port of irlserver's srtla_send --metrics-bind")
    stats_file: str = key(text(), "", "statistics file of srt-live-transmit; stands in for the tap on lo")


class State:
    """The tap, the stream's programs, and what was said last."""

    def __init__(self) -> None:
        self.tap: Tap | None = None
        self.table = ProcessTable(belabox.ENCODERS | belabox.SENDERS)
        self.encoder: Program | None = None
        self.seen_s: float | None = None
        self.reconnects = 0
        self.was_connected: bool | None = None
        self.links_up: dict[str, bool] = {}
        self.bond = srtla_report.Bond()
        self.sender: int | None = None
        self.is_silent: dict[str, bool] = {}
        self.totals = srt_report.Totals()
        self.counted: dict[str, float | int] | None = None


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield what is known of the connection and of each link."""
    programs = state.table.look(host)
    encoders = [program for program in programs if program.name in belabox.ENCODERS]
    senders = [program for program in programs if program.name in belabox.SENDERS]
    _follow_encoder(encoders[-1] if encoders else None, host.now_s, state)
    addresses = belabox.uplinks(host) if senders else []
    _follow_sender(host, config, senders[-1] if senders else None, addresses, state)
    state.bond.follow(host, addresses, state.tap)
    reports = _reports(host, config, senders, list(state.bond.interfaces))
    yield from _silence("srtla_send", senders and reports is None, state)
    if state.tap is not None:
        state.tap.drain()
    if state.encoder is not None:
        yield from _connection(host, config, state, reports)
    yield from srtla_report.links(host, state.bond, addresses, state.tap, reports or [])
    yield from _changes(time.time(), state)


def watch(_host: Host, _config: Config, state: State) -> Iterator[Event]:
    """Read the tap, and yield an event when the connection or a link goes or comes."""
    if state.tap is not None:
        state.tap.drain()
        yield from _changes(time.time(), state)


def _follow_encoder(encoder: Program | None, now_s: float, state: State) -> None:
    """Count a new encoder soon after another as a reconnect: belacoder never reconnects inside."""
    before = state.encoder
    if encoder is not None and (before is None or encoder.pid != before.pid):
        if state.seen_s is not None and now_s - state.seen_s <= RECONNECT_S:
            state.reconnects += 1
        if state.tap is not None:
            state.tap.flow.begin()
    if encoder is not None:
        state.seen_s = now_s
    state.encoder = encoder


def _follow_sender(host: Host, config: Config, sender: Program | None, addresses: list[str], state: State) -> None:
    """Open the tap on the ports of the sender that runs, once; close it, and forget the links, with the sender."""
    if (sender.pid if sender is not None else None) != state.sender:
        state.bond, state.sender = srtla_report.Bond(), sender.pid if sender is not None else None
    looks = config.tap and (host.root == Path("/") or TAPS_ANY_ROOT)
    ports = belabox.sender_ports(host, sender) if sender is not None and looks else None
    if state.tap is not None and state.tap.ports != ports:
        state.tap.close()
        state.tap = None
    if ports is not None:
        try:
            if state.tap is None:
                state.tap, state.totals = Tap(*ports, addresses), srt_report.Totals()
            state.tap.follow(addresses)
        except OSError as error:
            host.absent.add(f"packet tap (CAP_NET_RAW): {error.strerror}")


def _reports(host: Host, config: Config, senders: list[Program], addresses: list[str]) -> list[Report] | None:
    """Return what the sender says of its links: [] for a stock one, None for one that has fallen silent."""
    if not senders:
        return []
    ports = belabox.sender_ports(host, senders[-1])
    faults = len(host.faults)
    found = None
    if ports is not None:
        file = STATS_FILE.format(port=ports[0])
        found = srtla_forks.from_file(host, file, addresses, time.time_ns() // 1_000_000)
    if found is None and config.control_socket:
        found = srtla_forks.from_socket(host, config.control_socket)
    if found is None and config.metrics_address:
        found = srtla_forks.from_page(host, config.metrics_address)
    return found if found is not None or len(host.faults) > faults else []


def _connection(host: Host, config: Config, state: State, reports: list[Report] | None) -> Iterator[Sample | Event]:
    assert state.encoder is not None  # noqa: S101 - asked before
    tap = state.tap
    is_connected = tap.flow.connected(time.time()) if tap else any(r.is_up for r in reports) if reports else None
    if is_connected is not None:
        yield Sample("srt.connected", int(is_connected))
    uptime_s = belabox.uptime_s(host)
    if uptime_s is not None:
        yield Sample("srt.uptime_seconds", round(max(0.0, uptime_s - state.encoder.started_s), 1))
    yield Sample("srt.reconnects_total", state.reconnects)
    latency_ms = (tap.flow.latency_ms if tap else None) or belabox.option(host, state.encoder, "-l")
    if config.stats_file:
        values = srt_stats_file.read(host, config.stats_file)
        yield from _silence(config.stats_file, values is None, state)
        shares = srt_stats_file.shares(state.counted, values) if values and state.counted else {}
        state.counted = values
        for name, value in {**(values or {}), **shares}.items():
            yield Sample(name, value)
    elif tap is not None and is_connected:
        yield from srt_report.connection(tap, state.totals, host.now_s)
    if latency_ms and not config.stats_file:
        yield Sample("srt.latency_ms", latency_ms)


def _changes(now_s: float, state: State) -> Iterator[Event]:
    """Yield an event for what has gone or come since the last look; the sender's own word on a link wins."""
    tap = state.tap
    if tap is not None and state.encoder is not None:
        is_connected = tap.flow.connected(now_s)
        if is_connected != state.was_connected and (is_connected or state.was_connected):
            if is_connected:
                yield Event("srt_connected", "the receiver acknowledges")
            else:
                yield Event("srt_lost", "no acknowledgement from the receiver for 3 s")
        state.was_connected = is_connected
    tapped = {address: link.is_up(now_s) for address, link in tap.links.items()} if tap else {}
    up = tapped | state.bond.told
    for address, is_up in up.items():
        was_up = state.links_up.get(address)
        if was_up is not None and was_up != is_up:
            kind, what = ("srtla_link_up", "answers") if is_up else ("srtla_link_down", "does not answer")
            yield Event(kind, f"the link of {address} {what}", address)
    state.links_up |= up


def _silence(source: str, is_silent: object, state: State) -> Iterator[Event]:
    """Yield an event when a source that had spoken falls silent, and when it speaks again."""
    was_silent = state.is_silent.get(source)
    if is_silent and was_silent is False:
        yield Event("srt_source_silent", f"{source} says nothing any more", source)
    elif was_silent and not is_silent:
        yield Event("srt_source_back", f"{source} speaks again", source)
    if is_silent is not None:
        state.is_silent[source] = bool(is_silent)
