"""Traffic and link state of network interfaces, and UDP counters (a stream is UDP).

Reads: proc/net/dev, sys/class/net/*/{operstate,carrier,ifindex}, proc/net/snmp; when to look: see link_news.py.
Source: Documentation/filesystems/proc.rst, networking/operstates.rst, net/core/net-procfs.c, RFC 4113 and
    include/uapi/linux/snmp.h for UDP.
Emits: network.{rx,tx}_{bytes,packets,errors,dropped}_total{interface} (as the kernel has them),
    network.{rx,tx}_bits_per_second{interface} and network.total_{rx,tx}_bits_per_second (whole bits, of
    the collected interfaces that have a rate), network.link_up{interface} (0 or 1),
    network.udp_datagrams_total{direction=in,out}, network.udp_errors_total{kind=no_port,in,receive_buffer,send_buffer},
    network.interfaces_dropped_total (one for each interface left out of a collect; from the first on).
    Events link_down, link_up.
Errors: a first reading, an interface that was gone at the last one, another device under the same name (its index is
    another) and counters that fell (a modem that restarted) give no rate. A link whose state neither file tells is left
    out. The table is that of the process's own network namespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from collectors.host import Host, unsigned
from collectors.network.link_news import LinkNews
from common.events import Event
from common.keys import boolean, duration, integer, key, listing, regex
from common.sample import Sample

COLUMNS = {
    "rx_bytes": 0,
    "rx_packets": 1,
    "rx_errors": 2,
    "rx_dropped": 3,
    "tx_bytes": 8,
    "tx_packets": 9,
    "tx_errors": 10,
    "tx_dropped": 11,
}
ALL_COLUMNS = 16
CLASS = "sys/class/net"
FALL_TOGETHER = ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")
# RFC 2863. Where the driver reports no state (modems, tunnels) it is "unknown" and the carrier decides;
# dormant has a carrier and waits for something else (802.1X), so it carries nothing yet.
LINK_UP = {"up": 1, "down": 0, "lowerlayerdown": 0, "notpresent": 0, "dormant": 0, "testing": 0}

# Columns of the kernel's, and what they are called here.
UDP_DIRECTIONS = {"InDatagrams": "in", "OutDatagrams": "out"}
UDP_ERRORS = {"NoPorts": "no_port", "InErrors": "in", "RcvbufErrors": "receive_buffer", "SndbufErrors": "send_buffer"}

REST_S = 10.0  # between two looks at links of which the kernel tells each change

Counters = dict[str, int]


@dataclass(frozen=True)
class Config:
    """Section collectors.network."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "10s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it looks at the links", name="watch_interval")
    include_ifaces: tuple[re.Pattern[str], ...] = key(
        listing(regex()), "[]", "interfaces by their whole name; empty: all that are not excluded"
    )
    exclude_ifaces: tuple[re.Pattern[str], ...] = key(
        listing(regex()),
        r"[lo, docker.*, veth.*, br-.*, wlan.*mon, virbr.*]",
        "interfaces to leave out, by their whole name",
    )
    max_interfaces: int = key(integer(1, 1000), "32", "at most so many; each costs 11 series")


class State:
    """The last collect's counters, when it was, how many interfaces were left out since the start, and the links."""

    def __init__(self) -> None:
        self.counters: Mapping[str, Counters] = {}
        self.indices: Mapping[str, int | None] = {}  # the kernel gives each device another one, also under an old name
        self.at_s = 0.0
        self.dropped = 0
        self.links: dict[str, bool] = {}  # those that were up at some time, and whether they are
        self.news = LinkNews()

    @property
    def descriptors(self) -> tuple[object, ...]:
        """What is readable when a link has changed."""
        return () if self.news.socket is None else (self.news.socket,)

    @property
    def rest_s(self) -> float | None:
        """How long it needs no look while the kernel tells of changes; None where it does not."""
        return REST_S if self.descriptors else None


def collect(host: Host, config: Config, state: State) -> Iterator[Sample]:
    """Yield the counters and rates of the interfaces, and the UDP counters."""
    yield from _interfaces(host, config, state)
    yield from _udp(host)


def _interfaces(host: Host, config: Config, state: State) -> Iterator[Sample]:
    """Yield the counters, rates and link state of each interface."""
    table = host.parse("proc/net/dev", parse_net_dev)
    if table is None:
        return
    # The order of the table may change with each new interface; who has been collected stays.
    names = sorted((name for name in table if is_wanted(name, config)), key=lambda name: name not in state.counters)
    kept, dropped = names[: config.max_interfaces], names[config.max_interfaces :]
    total: dict[str, int] = {}
    indices = {name: _index(host, name) for name in kept}
    for name in kept:
        tags = {"interface": name}
        for counter, value in table[name].items():
            yield Sample(f"network.{counter}_total", value, tags)
        before = state.counters.get(name) if indices[name] == state.indices.get(name) else None
        for metric, rate in rates(before, table[name], host.now_s - state.at_s).items():
            yield Sample(f"network.{metric}", rate, tags)
            total[metric] = total.get(metric, 0) + rate
        yield from _link(host, name)
    for metric, rate in total.items():
        yield Sample(f"network.total_{metric}", rate)
    yield from _left_out(host, dropped, state)
    state.counters, state.at_s, state.indices = {name: table[name] for name in kept}, host.now_s, indices


def watch(host: Host, config: Config, state: State) -> Iterator[Event]:
    """Yield an event when an interface loses its link, or has it again."""
    state.news.follow(host)
    up = {name for name in host.names(CLASS) if is_wanted(name, config) and _is_up(host, name)}
    for name, was_up in state.links.items():
        if was_up and name not in up:
            why = "has no carrier" if host.exists(f"{CLASS}/{name}") else "is gone"
            yield Event("link_down", f"{name} {why}", name)
        elif not was_up and name in up:
            yield Event("link_up", f"{name} has a carrier again", name)
    state.links = {name: name in up for name in (*state.links, *sorted(up))}


def parse_net_dev(lines: Iterable[str]) -> dict[str, Counters] | None:
    """Return counters by interface; old kernels leave no space between the colon and the first number.

    A name may have colons too (the alias eth0:1, an interface that was renamed): the last one ends it.
    """
    table = {}
    for line in lines:
        name, _, rest = line.rpartition(":")
        columns = rest.split()
        if name and len(columns) >= ALL_COLUMNS:
            numbers = {counter: unsigned(columns[at]) for counter, at in COLUMNS.items()}
            table[name.strip()] = {counter: number for counter, number in numbers.items() if number is not None}
    return table or None


def parse_udp(lines: Iterable[str]) -> dict[str, int] | None:
    """Return the UDP counters of ``/proc/net/snmp``: a row of the kernel's names, and one of numbers."""
    rows = [line.split()[1:] for line in lines if line.startswith("Udp:")]
    if len(rows) != 2:
        return None
    counts = {name: unsigned(number) for name, number in zip(*rows, strict=False)}
    return {name: count for name, count in counts.items() if count is not None} or None


def is_wanted(name: str, config: Config) -> bool:
    """Return whether the filters let an interface through; excluding is stronger."""
    if any(pattern.fullmatch(name) for pattern in config.exclude_ifaces):
        return False
    return not config.include_ifaces or any(pattern.fullmatch(name) for pattern in config.include_ifaces)


def rates(before: Counters | None, now: Counters, elapsed_s: float) -> dict[str, int]:
    """Return bits per second by direction; nothing where the two readings are not of one count.

    A device that restarts begins all of its counters anew, and one of them may have passed its old value.
    """
    if before is None or elapsed_s <= 0 or any(now.get(name, 0) < before.get(name, 0) for name in FALL_TOGETHER):
        return {}
    return {
        f"{way}_bits_per_second": round((now[f"{way}_bytes"] - before[f"{way}_bytes"]) * 8 / elapsed_s)
        for way in ("rx", "tx")
        if f"{way}_bytes" in now and f"{way}_bytes" in before
    }


def _udp(host: Host) -> Iterator[Sample]:
    counts = host.parse("proc/net/snmp", parse_udp) or {}
    for column, direction in UDP_DIRECTIONS.items():
        if column in counts:
            yield Sample("network.udp_datagrams_total", counts[column], {"direction": direction})
    for column, kind in UDP_ERRORS.items():
        if column in counts:
            yield Sample("network.udp_errors_total", counts[column], {"kind": kind})


def _index(host: Host, name: str) -> int | None:
    path = f"{CLASS}/{name}/ifindex"
    return host.integer(path) if host.exists(path) else None


def _link(host: Host, name: str) -> Iterator[Sample]:
    up = _is_up(host, name)
    if up is not None:
        yield Sample("network.link_up", int(up), {"interface": name})


def _is_up(host: Host, name: str) -> bool | None:
    """Return whether a link is up; the carrier of an interface that is down is an EINVAL, so it comes second."""
    state = (host.text(f"{CLASS}/{name}/operstate") or "").strip()
    up = LINK_UP.get(state)
    if up is None:
        up = host.integer(f"{CLASS}/{name}/carrier")
    return bool(up) if up in (0, 1) else None


def _left_out(host: Host, names: list[str], state: State) -> Iterator[Sample]:
    state.dropped += len(names)
    if names:
        host.fault("proc/net/dev", f"more than max_interfaces, left out: {', '.join(names)}")
    if state.dropped:
        yield Sample("network.interfaces_dropped_total", state.dropped)
