"""Why the bitrate was lowered: an event with the rule, its numbers and the cause, stamped when it happened.

What the encoder is set to is read where the kernel tells (`/proc/mpp_service`): then its controller is followed over
the last seconds once the bitrate has fallen. Elsewhere the controller is followed all the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from collectors import belabox, mpp
from collectors.host import Host, unsigned
from collectors.srt.bond import Bond
from collectors.srt.causes import cause, is_open
from collectors.srt.controller import LEAST_BPS, Controller, ControllerDecision
from collectors.srt.tap import Tap
from common.events import Event

AT_ONCE_S = 2.0  # a fall within so long is one cut
KEPT_S = 5.0
KEPT_SPANS = 20  # ten seconds: more than the controller's averages reach back
LATE_S = 0.6  # a look, and a little: a step may have been taken so long before it is seen
CLEAR_S = 0.4  # until the next look: a link that has gone is silent for long enough then
GRAVEST = ("to the minimum", "10 % at a time", "100 kbit/s at a time")


class _Set(NamedTuple):
    """What the encoder was set to at a time."""

    at_s: float
    bps: int


class _Span(NamedTuple):
    """The time between two looks: its end, what was sent in it, and what was set at its begin, None if unknown."""

    until_s: float
    sent_bps: float
    bps: int | None


class _Waiting(NamedTuple):
    """A cut that was found: when, from what, to what or less, and its cause as far as it was clear at once."""

    found_s: float
    high: _Set
    cut_bps: float
    cause: str


class Cuts:
    """The cuts of one connection.

    Attributes:
        count: cuts reported since the start.
        waiting: a cut that was found and is not reported yet.
    """

    def __init__(self) -> None:
        self.count = 0
        self._controller = Controller(2000)
        self._sent: tuple[float, int] | None = None
        self._set: deque[_Set] = deque()
        self._is_set: int | None = None
        self._spans: deque[_Span] = deque(maxlen=KEPT_SPANS)
        self._decisions: deque[ControllerDecision] = deque()
        self._floor: int | None = None
        self._fell_s = 0.0
        self._named: ControllerDecision | None = None
        self.waiting: _Waiting | None = None

    def is_due(self, host: Host, tap: Tap, cut_percent: float, now_s: float) -> bool:
        """Take in what the encoder is set to; return whether the packets have to be read now.

        They have to where the bitrate has fallen by so much at once, where the cause of a cut is waited for, and where
        the kernel does not tell what is set.
        """
        session = mpp.encoding(host, belabox.ENCODERS)
        is_set = self._is_set = mpp.number(session, "bitrate") if session is not None else None
        before = self._set[-1].bps if is_set and self._set else None
        self._spans.append(_Span(now_s, self._rate(tap, now_s), before))
        if is_set:
            self._set.append(_Set(now_s, is_set))
        return not is_set or self.waiting is not None or self._has_fallen(is_set, cut_percent, now_s)

    def look(
        self, host: Host, tap: Tap, bond: Bond, latency_ms: float | None, cut_percent: float, now_s: float
    ) -> Iterator[Event]:
        """Yield an event if the bitrate has been lowered by so much at once; `is_due` has been asked at this time.

        Args:
            host: where to read the limits of the bitrate.
            tap: the packets, which have been read; their readings are taken where the controller is followed.
            bond: the links.
            latency_ms: in force.
            cut_percent: by how much it has to fall.
            now_s: wall clock, seconds.
        """
        is_set = self._is_set
        if not self._spans:
            return  # another connection has only just begun
        if not is_set or self.waiting is not None or self._has_fallen(is_set, cut_percent, now_s):
            self._prepare(host, latency_ms, self._spans[-1].sent_bps)
            self._follow(tap)
        if not is_set:
            self._set += (_Set(decision.at_s, decision.now) for decision in self._decisions if self._is_later(decision))
            self._set.append(_Set(now_s, self._controller.bitrate))
        for kept in (self._set, self._decisions):
            while kept and now_s - kept[0].at_s > KEPT_S:
                kept.popleft()
        found = self.waiting
        if found is not None and now_s - found.found_s >= CLEAR_S and not is_open(tap, now_s):
            self.waiting = None
            yield self._report(found, cause(tap, bond, now_s) or found.cause)
        if self.waiting is None:
            self._judge(tap, bond, cut_percent, now_s)

    def hasten(self, step_s: float) -> Iterator[Event]:
        """Yield the cut that waits to be judged, with what is known of it: no look comes after this one.

        Args:
            step_s: by how much the wall clock was set since it was found.
        """
        if self.waiting is not None:
            yield self._report(self.waiting, self.waiting.cause, step_s)
            self.waiting = None

    def _prepare(self, host: Host, latency_ms: float | None, sent_bps: float) -> None:
        controller = self._controller
        if latency_ms is not None:
            controller.latency_ms = latency_ms
        limits = [unsigned(line) for line in (host.trusted_text(belabox.BITRATES) or "").split()]
        if len(limits) == 2 and limits[0] and limits[1]:
            controller.least, controller.most = limits[0], limits[1]
        if not controller.bitrate and sent_bps:
            controller.bitrate = max(controller.least, int(sent_bps)) if sent_bps > 2 * LEAST_BPS else controller.least

    def _follow(self, tap: Tap) -> None:
        """Follow the controller over what was kept, at the bitrates at which it began each span."""
        readings = tap.connection.readings
        for span in self._spans:
            if span.bps is not None:
                self._controller.bitrate = span.bps
            due = [reading for reading in readings if reading.at_s <= span.until_s]
            for _ in due:
                readings.popleft()
            self._decisions += self._controller.follow(due, span.sent_bps)
        self._spans.clear()
        if self._is_set:
            self._controller.bitrate = self._is_set

    def _rate(self, tap: Tap, now_s: float) -> float:
        """Return what the encoder has sent for the first time since the last look, bits per second."""
        first, before = tap.sent()[0], self._sent
        self._sent = now_s, first
        if before is None or now_s <= before[0] or tap.connection.packet_bytes is None:
            return 0.0
        return (first - before[1]) * tap.connection.packet_bytes * 8 / (now_s - before[0])

    def _is_later(self, decision: ControllerDecision) -> bool:
        return not self._set or decision.at_s > self._set[-1].at_s

    def _recent(self, now_s: float) -> list[_Set]:
        """Return what it was set to within the time of one cut."""
        return [one for one in self._set if now_s - one.at_s <= AT_ONCE_S + 0.5]

    def _cut_bps(self, cut_percent: float, now_s: float) -> float:
        """Return what is a cut, or a deeper one than the last, that or less."""
        high = max((one.bps for one in self._recent(now_s)), default=0)
        return (high if self._floor is None else min(high, self._floor)) * (1 - cut_percent / 100)

    def _has_fallen(self, now: int, cut_percent: float, now_s: float) -> bool:
        return bool(now) and now <= self._cut_bps(cut_percent, now_s)

    def _judge(self, tap: Tap, bond: Bond, cut_percent: float, now_s: float) -> None:
        now = self._set[-1].bps
        has_risen = self._floor is not None and now > self._floor * (1 + cut_percent / 100)
        if has_risen or now_s - self._fell_s > KEPT_S:
            self._floor = self._named = None  # the next fall is another one
        if not self._has_fallen(now, cut_percent, now_s):
            return
        self._fell_s = now_s
        high = max(self._recent(now_s), key=lambda one: (one.bps, one.at_s))
        cut_bps = self._cut_bps(cut_percent, now_s)
        decision = self._decision(high, cut_bps)
        if self._named is not None and (decision is None or _gravity(decision) >= _gravity(self._named)):
            return  # the same fall goes on
        self.waiting = _Waiting(now_s, high, cut_bps, cause(tap, bond, now_s))

    def _report(self, found: _Waiting, why: str, step_s: float = 0.0) -> Event:
        """Return what is known of a cut by now: the packets show some decisions only after the bitrate does."""
        self.count += 1
        now = min(one.bps for one in self._set if one.at_s >= found.found_s)
        decision = self._decision(found.high, found.cut_bps)
        self._floor, self._named = now, decision
        text = f"from {found.high.bps / 1e6:.1f} to {now / 1e6:.1f} Mbit/s; {self._why(decision, found.high.bps, now)}"
        at_s = found.found_s if decision is None else decision.at_s
        return Event("bitrate_cut", f"{text}; {why}" if why else text, timestamp_ms=int((at_s + step_s) * 1000))

    def _decision(self, high: _Set, cut_bps: float) -> ControllerDecision | None:
        """Return the decision about the last look that did not show the cut, or else since the bitrate was high."""
        before_s = max((one.at_s for one in self._set if one.bps > cut_bps), default=high.at_s)
        near, all_of_it = (
            [one for one in self._decisions if one.at_s >= since_s - LATE_S] for since_s in (before_s, high.at_s)
        )
        return decisive(near, cut_bps) or decisive(all_of_it, cut_bps)

    def _why(self, decision: ControllerDecision | None, before: int, now: int) -> str:
        limit = self._controller.most
        if limit < before and now <= limit:
            return f"the configured limit is {limit / 1e6:.1f} Mbit/s"
        return (
            f"{decision.rule}: {decision.why}" if decision is not None else "no rule of its controller was seen to fit"
        )


def decisive(decisions: Iterable[ControllerDecision], cut_bps: float) -> ControllerDecision | None:
    """Return the decision that made a fall a cut: of the gravest rule, the one by which it had fallen so far.

    Args:
        decisions: of the fall, the first one first.
        cut_bps: what it has fallen to, or below.
    """
    lowered = [decision for decision in decisions if decision.now < decision.before]
    gravest = min(map(_gravity, lowered), default=None)
    fitting = [decision for decision in lowered if _gravity(decision) == gravest]
    return next((decision for decision in fitting if decision.now <= cut_bps), fitting[-1] if fitting else None)


def _gravity(decision: ControllerDecision) -> int:
    return GRAVEST.index(decision.rule)
