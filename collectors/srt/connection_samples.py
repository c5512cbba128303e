"""From the tap's counts to the samples of the SRT connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collectors.srt.packet_fates import MIN_SENT
from collectors.srt.tap import Tap
from common.changes import Glimpse
from common.sample import Sample

AT_ONCE_S = 0.6  # a look


@dataclass
class Totals:
    """The counts of the last collect, and when it was."""

    at_s: float | None = None
    first: int = 0
    again: int = 0
    reported: int = 0


def connection(tap: Tap, before: Totals, now_s: float, wall_s: float) -> Iterator[Sample]:
    """Yield what is known of a connection that stands, and put the new counts into `before`.

    Args:
        tap: the packets.
        before: the counts of the last collect.
        now_s: monotonic time.
        wall_s: wall clock, seconds.
    """
    seen = tap.connection
    first, again = tap.sent()
    now = Totals(now_s, first, again, seen.losses.reported)
    for name, total in (
        ("sent", first + again),
        ("retransmitted", again),
        ("lost", seen.losses.lost),
        ("received", seen.acknowledged),
        ("dropped", seen.dropped),
    ):
        yield Sample(f"srt.packets_{name}_total", total)
    yield Sample("srt.tap_missed_packets_total", tap.missed)
    if not tap.missed_now:
        yield from _rates(before, now, seen.packet_bytes)
        yield from _loss(tap, before, now)
    before.at_s, before.first, before.again, before.reported = now.at_s, now.first, now.again, now.reported
    yield from _measured(tap, wall_s)
    waiting = seen.waiting_packets()
    if waiting is not None and seen.packet_bytes is not None and not tap.missed_now:
        yield Sample("srt.send_buffer_bytes", waiting * seen.packet_bytes)


def at_once(tap: Tap, wall_s: float) -> Iterator[Glimpse]:
    """Yield the round trip and the loss of now, for what cannot wait until the next collect."""
    rtt_ms, loss = tap.connection.measured(wall_s, AT_ONCE_S).rtt_ms, _lost_percent(tap)
    if rtt_ms is not None:
        yield Glimpse("srt.rtt_ms", rtt_ms)
    if loss is not None and not tap.missed_now:
        yield Glimpse("srt.packet_loss_percent", loss)


def _rates(before: Totals, now: Totals, packet_bytes: int | None) -> Iterator[Sample]:
    first, again = now.first - before.first, now.again - before.again
    if before.at_s is None or now.at_s is None or now.at_s <= before.at_s:
        return
    if first > 0:
        yield Sample("srt.retransmit_percent", round(100 * again / (first + again), 3))
    if packet_bytes is not None:
        rate = (first + again) * packet_bytes * 8 / (now.at_s - before.at_s)
        yield Sample("srt.bitrate_bits_per_second", round(rate))


def _loss(tap: Tap, before: Totals, now: Totals) -> Iterator[Sample]:
    """Yield what share did not arrive: over bonded links what no link delivered, or else what was reported.

    Over links of different length much is reported that only comes later: its share is a figure of its own.
    """
    first, reported = now.first - before.first, now.reported - before.reported
    share = None if before.at_s is None or first <= 0 else round(min(100.0, 100 * reported / first), 3)
    if share is not None:
        yield Sample("srt.reported_loss_percent", share)
    lost = _lost_percent(tap)
    if lost is None and not tap.links:
        lost = share
    if lost is not None:
        yield Sample("srt.packet_loss_percent", lost)


def _lost_percent(tap: Tap) -> float | None:
    """Return what share of the last packets no link delivered; None without links, or after too few packets."""
    sent, lost = tap.window()
    return round(100 * lost / sent, 3) if sent >= MIN_SENT else None


def _measured(tap: Tap, wall_s: float) -> Iterator[Sample]:
    """Yield what the receiver said in its acknowledgements."""
    seen, said = tap.connection, tap.connection.measured(wall_s)
    if said.rtt_ms is not None and said.jitter_ms is not None:
        yield Sample("srt.rtt_ms", said.rtt_ms)
        yield Sample("srt.jitter_ms", said.jitter_ms)
    window = seen.negotiated.window_packets
    if said.free_packets is not None and window:
        used = max(0, window - said.free_packets)
        yield Sample("srt.buffer_utilization_percent", round(100 * used / window, 2))
        if seen.packet_bytes:
            yield Sample("srt.receive_buffer_bytes", used * seen.packet_bytes)
