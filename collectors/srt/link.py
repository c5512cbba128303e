"""One bonded link: whether it answers, its round trips, and what became of its packets.

Pure. From the sending of the last packet that an answer names to the answer is a round trip of the link. A link is up
or down by what the receiver answers: to data, to keepalives, to registrations; and by SRT's acknowledgements.
Sources: srtla_rec.c (register_packet, conn_reg), srtla_send.c (connection_housekeeping, handle_srtla_data).
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence

from collectors.srt.columns import Answers, SentPackets, is_all, seconds
from collectors.srt.filters import KEEPALIVE, REG1, REG2, REG3, REG_ERR, REG_NAK, REG_NGP
from collectors.srt.packet_fates import ACKED, PacketFates
from collectors.srt.round_trips import RoundTrips

SILENT_S = 2.4  # srtla_send gives a link up after 4 s
IDLE_SILENT_S = 4.5  # of one that is only asked with keepalives, every two seconds: one of them may be lost
QUIET_S = 1.0  # another interface takes the link over when the one it was on has had no packet for so long


class Link:
    """One link.

    Attributes:
        interface: index of its interface, 0 before a packet was seen. A packet over a bridge, VLAN or bond is seen on
            that and then on the interface below: it counts on the first, which is the route's.
        trips: its round trips.
        packets: its data packets.
        refused: the receiver's last word was that it does not know or want this link.
        registrations: times it was registered.
        changed_address_s: when it was found to have another public address, None for never.
    """

    def __init__(self) -> None:
        self.interface = 0
        self.trips = RoundTrips()
        self.packets = PacketFates(self.trips)
        self.registrations = 0
        self.refused = False
        self.changed_address_s: float | None = None
        self._asked: tuple[float, bytes] | None = None
        self._waits_since_s: float | None = None
        self._down_at_s = math.inf
        self._answered_s: float | None = None
        self._sent_when_answered = 0
        self._last: Sequence[int] = ()  # when the last packets have left
        self._registration_attempts = 0
        self._seen_s = 0.0

    def send(self, packets: SentPackets) -> None:
        """Take in data packets that left over it, or seem to."""
        if not is_all(packets.interfaces, self.interface):
            seen = zip(packets.interfaces, packets.stamps, strict=True)
            packets = packets.which([self._is_on_route(interface, seconds(stamp)) for interface, stamp in seen])
        if packets.stamps:
            self.packets.send(packets)
            self._seen_s, self._last = seconds(packets.stamps[-1]), packets.stamps
            self._owe()

    def ask(self, at_s: float, payload: bytes, interface: int) -> None:
        """Take in a keepalive or registration that left."""
        if not self._is_on_route(interface, at_s):
            return
        kind = int.from_bytes(payload[:2], "big")
        if kind == KEEPALIVE:
            self._asked = at_s, payload
            self._wait(at_s, IDLE_SILENT_S)
        elif kind in {REG1, REG2}:
            self._registration_attempts += 1
            self._wait(at_s, SILENT_S)

    def answer(self, at_s: float, payload: bytes, interface: int) -> None:
        """Take in an answer of the receiver to a keepalive or registration of this link."""
        if interface != self.interface:
            return
        kind = int.from_bytes(payload[:2], "big")
        if kind in {REG_ERR, REG_NAK}:
            self.refused = True
        if kind in {REG_ERR, REG_NAK, REG_NGP, REG2}:
            return  # the group is not known yet, or registered: the link is not
        if kind == REG3:
            self._register(at_s)
        elif kind == KEEPALIVE:
            self._keepalive(at_s, payload)
        self.hear(at_s)

    def acknowledge(self, answers: Answers) -> None:
        """Take in the receiver's answers to data packets of this link."""
        if not is_all(answers.interfaces, self.interface):
            answers = answers.which([interface == self.interface for interface in answers.interfaces])
        if answers.stamps:
            self.packets.acknowledge(answers)
            self.hear(seconds(answers.stamps[-1]))

    def hear(self, at_s: float) -> None:
        """Take in that something of the receiver has come over this link."""
        if self._answered_s is not None and at_s <= self._answered_s:
            return
        self._answered_s, self._waits_since_s, self._down_at_s = at_s, None, math.inf
        later = len(self._last) - bisect(self._last, at_s, key=seconds)
        self._sent_when_answered = self.packets.sent - later
        self._owe()
        self._registration_attempts = 0
        self.refused = False

    def lack(self) -> None:
        """Take in that the other links were sent SRT's acknowledgements, which go over all of them, and it was not."""
        if self._answered_s is not None:
            self._wait(self._answered_s, SILENT_S)

    def is_up(self, now_s: float) -> bool | None:
        """Return whether it answers; None for one that was not asked, or only just."""
        if now_s >= self._down_at_s:
            return False
        return True if self._answered_s is not None else None

    @property
    def down_at_s(self) -> float:
        """When it is down unless something comes, infinity where nothing is owed."""
        return self._down_at_s

    @property
    def was_up(self) -> bool:
        """Whether it has ever answered."""
        return self._answered_s is not None

    def silent_s(self, now_s: float) -> float:
        """Return for how long an answer has been owed, 0 where none is."""
        if self._waits_since_s is None:
            return 0.0
        return max(0.0, now_s - max(self._waits_since_s, self._answered_s or 0.0))

    def unheard_s(self, now_s: float) -> float:
        """Return for how long nothing has come over it, whether it is owed or not."""
        return now_s - self._answered_s if self._answered_s is not None else math.inf

    def miss(self) -> None:
        """Take in that packets were missed: what is compared with each other begins again."""
        self.packets.begin()
        self._waits_since_s = self._asked = None
        self._down_at_s, self._sent_when_answered, self._last = math.inf, self.packets.sent, ()

    def _is_on_route(self, interface: int, at_s: float) -> bool:
        """Return whether a packet counts: on the link's interface or, if it has moved, another; not once more below."""
        if interface != self.interface and self.interface and at_s - self._seen_s < QUIET_S:
            return False
        self.interface, self._seen_s = interface, at_s
        return True

    def _register(self, at_s: float) -> None:
        """Take in a registration; one that is granted at the first attempt after a silence is a changed address.

        What is lost on a dead link are the registrations too; where the receiver does not know the sender's address any
        more, it answers nothing but them.
        """
        waits_since_s = self._waits_since_s if self.was_up else None
        if waits_since_s is not None and self._registration_attempts == 1 and at_s - waits_since_s > QUIET_S:
            self.changed_address_s = at_s
        self.registrations += 1

    def _keepalive(self, at_s: float, payload: bytes) -> None:
        """Take in an answer to a keepalive; it repeats what was asked, a receiver's own keepalive does not."""
        if self._asked is None:
            return
        asked_s, asked = self._asked
        if payload[: len(asked)] == asked[: len(payload)]:
            self.trips.add(at_s, at_s - asked_s)
            self._asked = None

    def _owe(self) -> None:
        """Take in that an answer is owed, from when so many packets have left that one answer names them."""
        owed = self._sent_when_answered + ACKED - (self.packets.sent - len(self._last))
        if 0 <= owed < len(self._last):
            self._wait(seconds(self._last[owed]), SILENT_S)

    def _wait(self, since_s: float, silent_s: float) -> None:
        """Take in that an answer is owed since then."""
        if self._waits_since_s is None or since_s < self._waits_since_s:
            self._waits_since_s = since_s
        self._down_at_s = min(self._down_at_s, since_s + silent_s)
