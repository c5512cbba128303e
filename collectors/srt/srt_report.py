"""From the tap's counts to the samples of the SRT connection; a part of the SRT collector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collectors.srt.srt_tap import Tap
from common.sample import Sample


@dataclass
class Totals:
    """The counts of the last collect, and when it was."""

    at_s: float | None = None
    first: int = 0
    again: int = 0
    missed: int = 0


def connection(tap: Tap, before: Totals, now_s: float) -> Iterator[Sample]:
    """Yield what is known of a connection that stands, and put the new counts into `before`."""
    flow = tap.flow
    first, again = tap.sent()
    now = Totals(now_s, first, again, flow.missed)
    for name, total in (
        ("sent", first + again),
        ("retransmitted", again),
        ("lost", flow.lost),
        ("received", flow.acknowledged),
        ("dropped", flow.dropped),
    ):
        yield Sample(f"srt.packets_{name}_total", total)
    yield Sample("srt.tap_missed_packets_total", tap.lost)
    yield from _rates(before, now, flow.packet_bytes)
    before.at_s, before.first, before.again, before.missed = now.at_s, now.first, now.again, now.missed
    yield from _measured(tap)
    in_flight = flow.in_flight_bytes()
    if in_flight is not None:
        yield Sample("srt.send_buffer_bytes", in_flight)


def _rates(before: Totals, now: Totals, packet_bytes: int | None) -> Iterator[Sample]:
    """Yield what is of the interval; a connection over which nothing was sent has no share of loss."""
    first, again = now.first - before.first, now.again - before.again
    if before.at_s is None or now.at_s is None or now.at_s <= before.at_s:
        return
    if first > 0:
        yield Sample("srt.packet_loss_percent", round(min(100.0, 100 * (now.missed - before.missed) / first), 3))
        yield Sample("srt.retransmit_percent", round(100 * again / (first + again), 3))
    if packet_bytes is not None:
        rate = (first + again) * packet_bytes * 8 / (now.at_s - before.at_s)
        yield Sample("srt.bitrate_bits_per_second", round(rate))


def _measured(tap: Tap) -> Iterator[Sample]:
    """Yield what the receiver said in its acknowledgements."""
    flow, said = tap.flow, tap.flow.measured()
    if said.rtt_ms is not None and said.jitter_ms is not None:
        yield Sample("srt.rtt_ms", said.rtt_ms)
        yield Sample("srt.jitter_ms", said.jitter_ms)
    if said.capacity_packets and flow.packet_bytes:
        yield Sample("srt.link_capacity_bits_per_second", said.capacity_packets * flow.packet_bytes * 8)
    if said.free_packets is not None and flow.window_packets:
        used = max(0, flow.window_packets - said.free_packets)
        yield Sample("srt.buffer_utilization_percent", round(100 * used / flow.window_packets, 2))
        if flow.packet_bytes:
            yield Sample("srt.receive_buffer_bytes", used * flow.packet_bytes)
