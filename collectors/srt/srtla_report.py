"""From tap, sender and kernel to the samples of the bonded links; a part of the SRT collector."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence

from collectors.host import Host
from collectors.srt import udp_sockets
from collectors.srt.srt_tap import LOOPBACK, Tap
from collectors.srt.srtla_forks import Report
from common.sample import Sample, Tags


class Bond:
    """The links of one run of the sender, gone ones too: belaUI takes a lost modem's address off the list.

    Attributes:
        interfaces: of each address that was on the list, in the order of their first appearance, by which senders
            number them.
        told: whether a link is up, by those who know it better than the tap.
    """

    def __init__(self) -> None:
        self.interfaces: dict[str, str] = {}
        self.told: dict[str, bool] = {}

    def follow(self, host: Host, addresses: Sequence[str], tap: Tap | None) -> None:
        """Take the list as it is now."""
        names = udp_sockets.interfaces(host, addresses) if addresses else {}
        for address in addresses:
            self.interfaces[address] = _name(address, tap, names) or self.interfaces.get(address, "")

    def tags(self, address: str) -> Tags:
        """Return the labels of a link."""
        return {"interface": self.interfaces[address], "ip": address}


def links(
    host: Host, bond: Bond, addresses: Sequence[str], tap: Tap | None, reports: Sequence[Report]
) -> Iterator[Sample]:
    """Yield what is known of each link, and of the bond.

    Args:
        host: where to read.
        bond: the links so far.
        addresses: source address of each enabled link.
        tap: the packets, where there is a right to them.
        reports: what the sender says of itself; preferred.
    """
    now_s = time.time()
    bond.told = {address: False for address in bond.interfaces if address not in addresses}
    for address in bond.told:
        yield Sample("srtla.link_up", 0, bond.tags(address))
    if not addresses:
        return
    by_address = {report.address: report for report in reports}
    queues = udp_sockets.queues(host, addresses)
    up = {}
    for address in addresses:
        report, tags = by_address.get(address), bond.tags(address)
        if reports:  # a link it says nothing of while it speaks of others does not work
            bond.told[address] = report is not None and report.is_up
        up[address] = bond.told.get(address, _answers(address, tap, now_s))
        if up[address] is not None:
            yield Sample("srtla.link_up", int(bool(up[address])), tags)
        if tap is not None:
            yield from _tapped(tap, address, tags, now_s, report)
        if report is not None:
            yield from _reported(report, tags)
        if address in queues:
            yield Sample("srtla.link_queue_bytes", queues[address].bytes, tags)
            yield Sample("srtla.link_drops_total", queues[address].drops, tags)
    if any(state is not None for state in up.values()):
        yield Sample("srtla.active_links", sum(bool(state) for state in up.values()))
    yield from _efficiency(tap)


def _answers(address: str, tap: Tap | None, now_s: float) -> bool | None:
    """Tell whether a link answers, None where nobody looks."""
    return tap.links[address].is_up(now_s) if tap is not None and address in tap.links else None


def _name(address: str, tap: Tap | None, names: dict[str, str]) -> str:
    """Return the interface that the packets take, or else the one whose network the address is in; lo is no link's."""
    index = tap.links[address].interface if tap is not None and address in tap.links else 0
    try:
        taken = socket.if_indextoname(index) if index else ""
    except OSError:
        taken = ""
    return taken if taken not in {"", LOOPBACK} else names.get(address, taken)


def _tapped(tap: Tap, address: str, tags: Tags, now_s: float, report: Report | None) -> Iterator[Sample]:
    link = tap.links.get(address)
    if link is None:
        return
    sent = tap.sent_over(address)
    link.mark(now_s, sent)
    yield Sample("srtla.link_packets_sent_total", sent, tags)
    yield Sample("srtla.link_packets_acked_total", link.acked, tags)
    loss = link.loss_percent()
    if loss is not None:
        yield Sample("srtla.link_loss_percent", loss, tags)
    if report is not None:
        return
    rtt_ms, rate = link.rtt_ms(now_s), link.delivered_bps()
    if rtt_ms is not None:
        yield Sample("srtla.link_rtt_ms", rtt_ms, tags)
    if rate is not None:
        yield Sample("srtla.link_bits_per_second", rate, tags)


def _reported(report: Report, tags: Tags) -> Iterator[Sample]:
    for name, value in (("link_rtt_ms", report.rtt_ms), ("link_bits_per_second", report.bps)):
        if value is not None:
            yield Sample(f"srtla.{name}", value, tags)
    if report.naks is not None:
        yield Sample("srtla.link_naks_total", report.naks, tags)


def _efficiency(tap: Tap | None) -> Iterator[Sample]:
    """Yield what share of all that left arrived, over the last seconds."""
    if tap is None:
        return
    sent, acked = (sum(link.window()[at] for link in tap.links.values()) for at in (0, 1))
    if sent > 0:
        yield Sample("srtla.bond_efficiency_percent", round(min(100.0, 100 * acked / sent), 2))
