"""The SRT connection and its bonded links: round trip, loss, rates, queues.

Reads: packet headers on lo and on the uplinks (CAP_NET_RAW), the telemetry of senders that have it (`telemetry.py`),
    srt-live-transmit's statistics file where configured, proc/net/{udp,route,fib_trie}, the sender's list of addresses,
    proc/*/{comm,stat,cmdline} of encoder and sender, proc/mpp_service/sessions-summary, tmp/belacoder_br; and its own
    srt-handshake.json in the run directory.
Source: draft-sharabayko-srt-01, srtla_send.c, srtla_rec.c, belacoder.c; the files beside this one name theirs.
Emits: srt.* of the connection and srtla.* of each link{interface,ip}: see the metric reference. Totals count from
    the start of this process, of the sender, or since the wall clock was set. Events srt_connected, srt_lost,
    srtla_link_down, srtla_link_up, srtla_link_removed, srtla_link_readdressed, bitrate_cut, srt_source_silent,
    srt_source_back.
Errors: without the right to the tap a stock sender gives only its age, queues and drops. While packets were missed,
    what is made of their number is absent. When a sender's telemetry falls silent, that is an event.

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
from collectors.srt import bond, connection_samples, stats_file, telemetry
from collectors.srt.running_stream import State
from collectors.srt.sender import SrtlaSender
from collectors.srt.tap import Tap
from collectors.srt.telemetry import LinkReport
from common.changes import Glimpse
from common.events import Event
from common.keys import boolean, duration, key, number, text
from common.sample import Sample

TAPS_ANY_ROOT = os.environ.get("BELABOX_TEST_TAP") == "1"
UNHEARD_S = 2.7  # of a link that owes an answer, when a connection is lost: less than that's own silence
LIST_SETTLES_S = 2.0  # a sender writes its statistics once a second, by the list as it was


@dataclass(frozen=True)
class Config:
    """Section collectors.srt."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "5s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 2), "500ms", "how often it looks for changes", name="watch_interval")
    tap: bool = key(boolean(), "true", "look at packet headers, with CAP_NET_RAW")
    control_socket: str = key(
        text(), "/tmp/srtla.sock", "control socket of irlserver's srtla_send, if its command line does not say"  # noqa: S108 - its default
    )  # fmt: skip
    metrics_address: str = key(text(), "", "host:port of irlserver's srtla_send --metrics-bind, likewise")
    cut_percent: float = key(number(1, 100), "20", "a bitrate that falls by this much at once is an event")
    stats_file: str = key(text(), "", "statistics file of srt-live-transmit; stands in for the tap on lo")


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield what is known of the connection and of each link."""
    yield from _follow_clock(host, config, state)
    wall_s = time.time()
    if state.is_due(host, wall_s):
        state.look(host, may_tap=_may_tap(host, config))
    state.follow_list(host)
    _may_be_cut(host, config, state, wall_s)
    state.drain(host, wall_s)
    yield from _ask_sender(host, config, state)
    if state.encoder is not None:
        yield from _connection(host, config, state, wall_s)
    yield from bond.samples(host, state.bond, state.tap, wall_s)
    yield from _changes(wall_s, state)
    yield from _cuts(host, config, state, wall_s)


def watch(host: Host, config: Config, state: State) -> Iterator[Event | Sample | Glimpse]:
    """Read the tap, and yield an event when the connection or a link goes or comes; and what cannot wait."""
    yield from _follow_clock(host, config, state)
    wall_s = time.time()
    if not (_may_be_cut(host, config, state, wall_s) or state.has_packets_due(host, wall_s)):
        return
    if state.has_changed(host, wall_s):
        state.look(host, may_tap=_may_tap(host, config))
    state.follow_list(host)
    state.drain(host, wall_s)
    if state.tap is not None:
        was_connected = state.was_connected
        yield from _changes(wall_s, state)
        if state.was_connected is not None and state.was_connected != was_connected:
            yield Sample("srt.connected", int(state.was_connected))
        if state.was_connected and state.encoder is not None:
            yield from connection_samples.at_once(state.tap, wall_s)
        yield from _cuts(host, config, state, wall_s)


def _may_tap(host: Host, config: Config) -> bool:
    return config.tap and (host.root == Path("/") or TAPS_ANY_ROOT)


def _follow_clock(host: Host, config: Config, state: State) -> Iterator[Event]:
    """Open the tap again where the wall clock was set, and yield the cut that has been found and not reported."""
    step_s = state.follow_clock()
    if step_s:
        yield from state.cuts.hasten(step_s)
        state.look(host, may_tap=_may_tap(host, config))


def _follows(state: State) -> Tap | None:
    """Return the tap where the controller can be followed: by an engine of other rules it is not known why."""
    return None if state.encoder is None or state.encoder.name == belabox.RESIDENT else state.tap


def _may_be_cut(host: Host, config: Config, state: State, wall_s: float) -> bool:
    tap = _follows(state)
    return tap is not None and state.cuts.is_due(host, tap, config.cut_percent, wall_s)


def _cuts(host: Host, config: Config, state: State, wall_s: float) -> Iterator[Event]:
    """Yield an event if the bitrate was lowered."""
    tap = _follows(state)
    if tap is not None and state.encoder is not None:
        latency_ms = tap.connection.negotiated.latency_ms or belabox.option(host, state.encoder, "-l")
        yield from state.cuts.look(host, tap, state.bond, latency_ms, config.cut_percent, wall_s)


def _ask_sender(host: Host, config: Config, state: State) -> Iterator[Event]:
    """Take in what the sender says of its links; yield an event where it has fallen silent."""
    if state.sender is None:
        return
    faults = len(host.faults)
    found = _reports(host, config, state.sender, state)
    has_failed = found is None and len(host.faults) > faults
    state.bond.reports = {report.address: report for report in found} if found else None
    if found is not None or has_failed:
        yield from _silence("srtla_send", has_failed, state)


def _reports(host: Host, config: Config, found: SrtlaSender, state: State) -> list[LinkReport] | None:
    """Return what the sender says of its links, None for a stock one or one that does not answer."""
    changed_s = state.bond.changed_s
    if found.stats_file:
        if changed_s is not None and host.now_s - changed_s < LIST_SETTLES_S:
            return []
        boot_ms = int(1000 * (belabox.uptime_s(host) or 0.0))
        now_ms = time.time_ns() // 1_000_000, boot_ms
        return telemetry.from_file(host, found.stats_file, state.bond.listed, state.numbers, now_ms)
    path = found.control_socket or config.control_socket
    reports = telemetry.from_socket(host, path) if path else None
    address = found.metrics_address or config.metrics_address
    return telemetry.from_page(host, address) if reports is None and address else reports


def _connection(host: Host, config: Config, state: State, wall_s: float) -> Iterator[Sample | Event]:
    assert state.encoder is not None  # noqa: S101 - asked before
    tap = state.tap
    is_connected = tap.connection.is_connected(wall_s) if tap is not None else None
    if tap is None and state.bond.reports:
        is_connected = any(report.is_up for report in state.bond.reports.values())
    if is_connected is not None:
        yield Sample("srt.connected", int(is_connected))
    uptime_s = belabox.uptime_s(host)
    if uptime_s is not None:
        yield Sample("srt.uptime_seconds", round(max(0.0, uptime_s - state.encoder.started_s), 1))
    yield Sample("srt.reconnects_total", state.reconnects)
    if tap is not None and state.encoder.name != belabox.RESIDENT:
        yield Sample("srt.bitrate_cuts_total", state.cuts.count)
    if config.stats_file:
        yield from _from_stats_file(host, config.stats_file, state)
        return
    yield from _latency(host, state)
    if tap is not None and is_connected:
        yield from connection_samples.connection(tap, state.totals, host.now_s, wall_s)


def _from_stats_file(host: Host, path: str, state: State) -> Iterator[Sample | Event]:
    values = stats_file.read(host, path)
    yield from _silence(path, values is None, state)
    shares = stats_file.shares(state.counted, values) if values and state.counted else {}
    state.counted = values
    for name, value in {**(values or {}), **shares}.items():
        yield Sample(name, value)


def _latency(host: Host, state: State) -> Iterator[Sample]:
    """Yield the latency in force, or else the one that the encoder's command line asks for, and which of them it is."""
    assert state.encoder is not None  # noqa: S101 - asked before
    negotiated = state.tap.connection.negotiated.latency_ms if state.tap is not None else None
    latency_ms = negotiated or belabox.option(host, state.encoder, "-l")
    if latency_ms:
        yield Sample("srt.latency_ms", latency_ms)
        yield Sample("srt.latency_negotiated", int(negotiated is not None))


def _changes(wall_s: float, state: State) -> Iterator[Event]:
    """Yield an event for what has gone or come since the last look."""
    tap = state.tap
    if tap is not None and state.encoder is not None:
        is_connected = tap.connection.is_connected(wall_s)
        if is_connected and not state.was_connected:
            yield Event("srt_connected", "the receiver acknowledges")
        elif is_connected is False and state.was_connected:
            ended = tap.connection.ended_s is not None
            why = "the connection was closed" if ended else "nothing from the receiver for 3 s"
            yield Event("srt_lost", f"{why}; {_links_in_words(state, wall_s)}")
        if is_connected is not None:
            state.was_connected = is_connected
    yield from state.bond.changes(tap, wall_s)


def _links_in_words(state: State, wall_s: float) -> str:
    tap, listed = state.tap, state.bond.listed
    links = tap.links if tap is not None else {}
    silent = {one for one, link in links.items() if link.silent_s(wall_s) and link.unheard_s(wall_s) > UNHEARD_S}
    up = [one for one in listed if one not in silent and state.bond.state(one, tap, wall_s).state == bond.UP]
    return f"{len(up)} of {len(listed)} links answer"


def _silence(source: str, is_silent: bool, state: State) -> Iterator[Event]:
    """Yield an event when a source that had spoken falls silent, and when it speaks again."""
    was_silent = state.is_silent.get(source)
    if is_silent and was_silent is False:
        yield Event("srt_source_silent", f"{source} gives no statistics any more", source)
    elif was_silent and not is_silent:
        yield Event("srt_source_back", f"{source} gives statistics again", source)
    state.is_silent[source] = is_silent
