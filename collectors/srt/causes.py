"""What had happened on the links when the bitrate was lowered, in words: pure, from the states of tap and links."""

from __future__ import annotations

from collectors.srt.bond import Bond
from collectors.srt.tap import Tap

SILENT_S = 0.4  # a link that carries packets is answered every few milliseconds; seen at the next look but one
ALL_SILENT_S = 0.9  # a round trip that has just grown is silence for as long
LOSS_PERCENT, ALL = 3.0, 100.0
QUEUE_MS, QUEUE_TIMES = 100.0, 2.0
RECENT_S = 10.0


def cause(tap: Tap, bond: Bond, now_s: float) -> str:
    """Return what is known besides the rule of the controller, the gravest first; "" where nothing is.

    Args:
        tap: the packets.
        bond: the names of the links.
        now_s: wall clock, seconds.
    """
    slow = _slow(tap, bond, now_s)
    quiet_s = tap.connection.quiet_s(now_s)
    if quiet_s is not None and quiet_s >= ALL_SILENT_S:
        if not _some_answer(tap, now_s):
            return "no link gets an answer: the receiver or the way to it is gone"
        if not slow:
            return f"the links are answered, but nothing has come from the receiver for {quiet_s:.1f} s"
    found = [*_changed(tap, bond, now_s), *_silent(tap, bond, now_s)]
    if found:
        return "; ".join(found)
    return "; ".join([*slow.values(), *_lossy(tap, bond, now_s, set(slow))])


def is_open(tap: Tap, now_s: float) -> bool:
    """Return whether nothing comes at all, and not for long enough to tell a dead receiver from a longer round trip."""
    quiet_s = tap.connection.quiet_s(now_s)
    return quiet_s is not None and quiet_s < ALL_SILENT_S and not _some_answer(tap, now_s)


def _some_answer(tap: Tap, now_s: float) -> bool:
    return min((link.unheard_s(now_s) for link in tap.links.values()), default=0.0) < SILENT_S


def _changed(tap: Tap, bond: Bond, now_s: float) -> list[str]:
    """Name links that had to register again: they carried nothing until then."""
    return [
        f"{bond.called(address)} was given another public address"
        for address, link in tap.links.items()
        if link.changed_address_s is not None and now_s - link.changed_address_s < RECENT_S
    ]


def _silent(tap: Tap, bond: Bond, now_s: float) -> list[str]:
    """Name links that are gone, and those that do not answer while others do."""
    gone = [f"{bond.called(address)} is gone" for address, at_s in bond.left_s.items() if now_s - at_s < RECENT_S]
    silence = {address: link.silent_s(now_s) for address, link in tap.links.items()}
    quiet = [
        f"{bond.called(address)} has not answered for {silent_s:.1f} s: dead, or given another public address"
        for address, silent_s in silence.items()
        if silent_s >= SILENT_S and _some_answer(tap, now_s)
    ]
    return gone + quiet


def _lossy(tap: Tap, bond: Bond, now_s: float, slow: set[str]) -> list[str]:
    """Name links that lose packets; what waits in a queue is reported lost too and comes later."""
    links = {address: link for address, link in tap.links.items() if address not in slow}
    reported = tap.connection.losses.among
    shares = {address: link.packets.recent_loss_percent(now_s, reported) for address, link in links.items()}
    # All of them: none has been answered yet, so they wait too; a link that loses all does not answer.
    lossy = {address: share for address, share in shares.items() if share is not None and LOSS_PERCENT <= share < ALL}
    return [f"{bond.called(address)} loses {share:.0f} %" for address, share in lossy.items()]


def _slow(tap: Tap, bond: Bond, now_s: float) -> dict[str, str]:
    found = {}
    for address, link in tap.links.items():
        rtt, least = link.trips.last_ms(now_s), link.trips.least_ms
        if rtt is not None and least is not None and rtt > max(least + QUEUE_MS, least * QUEUE_TIMES):
            rate = link.packets.delivered_bps(now_s)
            carries = f" and carries {rate / 1e6:.1f} Mbit/s" if rate else ""
            found[address] = f"{bond.called(address)} answers after {rtt:.0f} ms instead of {least:.0f} ms{carries}"
    return found
