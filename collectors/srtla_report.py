"""From tap, sender and kernel to the samples of the bonded links; a part of the SRT collector."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence

from collectors import udp_sockets
from collectors.host import Host
from collectors.srt_tap import Tap
from collectors.srtla_forks import Report
from common.sample import Sample, Tags


def links(host: Host, addresses: Sequence[str], tap: Tap | None, reports: Sequence[Report]) -> Iterator[Sample]:
    """Yield what is known of each link, and of the bond.

    Args:
        host: where to read.
        addresses: source address of each enabled link.
        tap: the packets, where there is a right to them.
        reports: what the sender says of itself; preferred.
    """
    if not addresses:
        return
    now_s = time.time()
    by_address = {report.address: report for report in reports}
    names, queues = udp_sockets.interfaces(host, addresses), udp_sockets.queues(host, addresses)
    up = {}
    for address in addresses:
        report = by_address.get(address)
        tags = {"interface": _name(address, tap, names), "ip": address}
        up[address] = _is_up(address, tap, report, now_s, has_reports=bool(reports))
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


def _is_up(address: str, tap: Tap | None, report: Report | None, now_s: float, *, has_reports: bool) -> bool | None:
    """Tell whether a link works: the sender's word, or else whether it answers; None where nobody knows."""
    if report is not None:
        return report.is_up
    if has_reports:
        return False  # the sender says nothing of it while it speaks of others
    return tap.links[address].is_up(now_s) if tap is not None and address in tap.links else None


def _name(address: str, tap: Tap | None, names: dict[str, str]) -> str:
    """Return the interface that the packets take, or else the one whose network the address is in."""
    index = tap.links[address].interface if tap is not None and address in tap.links else 0
    try:
        return socket.if_indextoname(index) if index else names.get(address, "")
    except OSError:
        return names.get(address, "")


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
