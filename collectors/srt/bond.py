"""The bonded links: what state each is in and why, as samples and events, from tap, sender and kernel.

A link that is on the sender's list is unknown until it was asked, then up or down. One that is taken off it is removed
if its address is still there, which is the user's wish, and gone if it is not: belaUI takes a lost modem's address off
too.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from collectors.host import Host
from collectors.srt import addresses as kernel
from collectors.srt.tap import LOOPBACK, Tap
from collectors.srt.telemetry import LinkReport
from common.events import Event
from common.sample import Sample, Tags

UNKNOWN, UP, DOWN, REMOVED, GONE = "unknown", "up", "down", "removed", "gone"


class LinkState(NamedTuple):
    """One of the five states, and in words why, "" where that is plain."""

    state: str
    why: str = ""


@dataclass
class Bond:
    """The links of one run of the sender, gone ones too.

    Attributes:
        listed: source address of each link that is on the sender's list, in its order.
        interfaces: name of the interface of each address that ever was on it.
        missing: addresses that no interface has.
        changed_s: monotonic time at which the list changed.
        readdressed_s, left_s: wall clock at which a link was given another public address, and left the list.
        states: as they were reported last.
        reports: what the sender says of itself, by address; None before it was asked, or where it says nothing.
    """

    listed: list[str] = field(default_factory=list)
    interfaces: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    states: dict[str, str] = field(default_factory=dict)
    reports: Mapping[str, LinkReport] | None = None
    changed_s: float | None = None
    readdressed_s: dict[str, float] = field(default_factory=dict)
    left_s: dict[str, float] = field(default_factory=dict)
    _seen: object = None  # what all this was made of

    def follow(self, host: Host, addresses: Sequence[str], tap: Tap | None) -> None:
        """Take in the sender's list as it is now."""
        networks = kernel.networks(host)
        seen = networks, list(addresses), [link.interface for link in tap.links.values()] if tap is not None else []
        if seen == self._seen:
            return
        self._seen = seen
        if list(addresses) != self.listed:
            self.changed_s = host.now_s if self.listed else None
            self.listed = list(addresses)
        self.missing = kernel.missing(networks, [*addresses, *self.interfaces])
        names = kernel.interfaces(networks, addresses)
        for address in addresses:
            self.interfaces[address] = _name(address, tap, names) or self.interfaces.get(address, "")
        taken = {self.interfaces[address] for address in addresses} - {LOOPBACK}
        replaced = [one for one in self.missing if one not in addresses and self.interfaces.get(one) in taken]
        for address in replaced:
            del self.interfaces[address]  # another address has its interface now
            self.states.pop(address, None)

    def forget_times(self) -> None:
        """Forget when something was, by a wall clock that has been set since."""
        self.readdressed_s.clear()
        self.left_s.clear()

    def tags(self, address: str) -> Tags:
        """Return the labels of a link."""
        return {"interface": self.interfaces[address], "ip": address}

    def state(self, address: str, tap: Tap | None, now_s: float) -> LinkState:
        """Return the state of a link."""
        if address not in self.listed:
            return LinkState(GONE, "its address is gone: the modem is unplugged, or was reset") if (
                address in self.missing
            ) else LinkState(REMOVED, "it was taken off the sender's list")  # fmt: skip
        if address in self.missing:
            return LinkState(DOWN, "no interface has its address")
        link = tap.links.get(address) if tap is not None else None
        answers = link.is_up(now_s) if link is not None else None
        if answers is False and link is not None:
            if link.refused:
                return LinkState(DOWN, "the receiver does not accept its registration")
            return LinkState(DOWN, "no answer" if link.was_up else "its registration was never granted")
        report = self.reports.get(address) if self.reports else None
        if self.reports and (report is None or not report.is_up) and not answers:
            return LinkState(DOWN, "the sender says so")
        return LinkState(UP if answers or report is not None else UNKNOWN)

    def changes(self, tap: Tap | None, now_s: float) -> Iterator[Event]:
        """Yield an event for each link whose state is another than at the last call.

        Args:
            tap: the packets, where there is a right to them.
            now_s: wall clock, seconds.
        """
        for address in list(self.interfaces):
            state, before = self.state(address, tap, now_s), self.states.get(address, UNKNOWN)
            if state.state != UNKNOWN:
                self.states[address] = state.state
                if state.state != before and state.state in {GONE, REMOVED}:
                    self.left_s[address] = now_s
                yield from _change(self.called(address), address, before, state)
            yield from self._readdressed(address, tap)

    def called(self, address: str) -> str:
        """Return what a link is called in words."""
        interface = self.interfaces.get(address)
        return f"link {interface} ({address})" if interface else f"link {address}"

    def _readdressed(self, address: str, tap: Tap | None) -> Iterator[Event]:
        link = tap.links.get(address) if tap is not None else None
        at_s = link.changed_address_s if link is not None else None
        if at_s is not None and self.readdressed_s.get(address) != at_s:
            self.readdressed_s[address] = at_s
            what = "was registered again after a silence: its network had given it another public address"
            yield Event("srtla_link_readdressed", f"{self.called(address)} {what}", address)


def samples(host: Host, bond: Bond, tap: Tap | None, now_s: float) -> Iterator[Sample]:
    """Yield what is known of each link, and of the bond.

    Args:
        host: where to read.
        bond: the links so far.
        tap: the packets, where there is a right to them.
        now_s: wall clock, seconds.
    """
    queues = kernel.queues(host, bond.listed) if bond.listed else {}
    ups = []
    for address in bond.interfaces:
        tags, state = bond.tags(address), bond.state(address, tap, now_s).state
        report = bond.reports.get(address) if bond.reports else None
        reason = report.reason if report is not None else ""
        yield Sample("srtla.link_info", 1, {**tags, "state": state, "reason": reason})
        if state in {UP, DOWN, GONE}:
            ups.append(state == UP)
            yield Sample("srtla.link_up", int(state == UP), tags)
        if tap is not None and address in tap.links:
            yield from _tapped(tap, address, tags, now_s, report)
        if report is not None:
            yield from _reported(report, tags)
        if address in queues:
            yield Sample("srtla.link_queue_bytes", queues[address].bytes, tags)
            yield Sample("srtla.link_drops_total", queues[address].drops, tags)
    if ups:
        yield Sample("srtla.active_links", sum(ups))
    if tap is not None:
        yield from _efficiency(tap)


def _change(link: str, address: str, before: str, now: LinkState) -> Iterator[Event]:
    if now.state == before:
        return
    if now.state in {DOWN, GONE} and before not in {DOWN, GONE}:
        yield Event("srtla_link_down", f"{link} is down: {now.why}", address)
    elif now.state == UP and before in {DOWN, GONE}:
        yield Event("srtla_link_up", f"{link} answers again", address)
    elif now.state == REMOVED:
        yield Event("srtla_link_removed", f"{link}: {now.why}", address)


def _name(address: str, tap: Tap | None, names: dict[str, str]) -> str:
    """Return the interface that the packets take, or else the one whose network the address is in; lo is no link's."""
    index = tap.links[address].interface if tap is not None and address in tap.links else 0
    try:
        taken = socket.if_indextoname(index) if index else ""
    except OSError:
        taken = ""
    return taken if taken not in {"", LOOPBACK} else names.get(address, taken)


def _tapped(tap: Tap, address: str, tags: Tags, now_s: float, report: LinkReport | None) -> Iterator[Sample]:
    link = tap.links[address]
    yield Sample("srtla.link_packets_sent_total", link.packets.sent, tags)
    yield Sample("srtla.link_packets_acked_total", link.packets.acked, tags)
    for direction, count in (("sent", link.packets.sent_bytes), ("received", tap.received_bytes(address))):
        yield Sample("srtla.link_bytes_total", count, {**tags, "direction": direction})
    rtt_ms, loss, rate = (
        link.trips.median_ms(now_s),
        link.packets.loss_percent(),
        link.packets.delivered_bps(now_s),
    )
    if loss is not None:
        yield Sample("srtla.link_loss_percent", loss, tags)
    if rtt_ms is not None and (report is None or report.rtt_ms is None):
        yield Sample("srtla.link_rtt_ms", rtt_ms, tags)
    if rate is not None and (report is None or report.bps is None):
        yield Sample("srtla.link_bits_per_second", rate, tags)


def _reported(report: LinkReport, tags: Tags) -> Iterator[Sample]:
    for name, value in (("link_rtt_ms", report.rtt_ms), ("link_bits_per_second", report.bps)):
        if value is not None:
            yield Sample(f"srtla.{name}", value, tags)
    for name, number in report.values.items():
        yield Sample(f"srtla.{name}", number, tags)


def _efficiency(tap: Tap) -> Iterator[Sample]:
    """Yield what share of all that left arrived, over the last seconds."""
    sent, lost = tap.window()
    if sent > 0:
        yield Sample("srtla.bond_efficiency_percent", round(100 * (sent - lost) / sent, 2))
