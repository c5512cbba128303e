"""What the packets of one bonded link say of it; a part of the SRT collector.

Pure. The receiver answers every ten data packets it has got over a link with their numbers; from the sending of
the last one named to the answer is the link's round trip. Source: srtla_rec.c, srtla_send.c.
"""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from statistics import fmean, median

from collectors.srt.srt_filters import KEEPALIVE, SRTLA_ACK, UPLINK_SAMPLE

ACKED = 10  # packets that one answer names
RTT_S = 10.0  # a round trip is the median over so long: a weak link has few
LOSS_S = 30.0  # an answer more or less at the edges of the window
SILENT_S = 2.5  # srtla_send gives a link up after 4 s
MAX_SENT = 4096  # samples kept, 20 s of a strong link
MOST_UNANSWERED = 20  # packets: after ten of them an answer is owed
MIN_SENT = 50  # packets in the window, below that one answer is a quarter

_ANSWER = struct.Struct(">I10I")


class Link:
    """One link.

    Attributes:
        interface: index of its interface, 0 before a packet was seen.
        acked: packets that arrived, since the start.
    """

    def __init__(self) -> None:
        self.interface = 0
        self.acked = 0
        self._sent: OrderedDict[int, float | None] = OrderedDict()
        self._lengths: deque[int] = deque(maxlen=100)
        self._rtts: deque[tuple[float, float]] = deque()
        self._history: deque[tuple[float, int, int]] = deque()
        self._asked_s: float | None = None
        self._unanswered = 0
        self._spoke_s = 0.0

    def take_out(self, at_s: float, payload: bytes, length: int, interface: int) -> None:
        """Take in a packet that left over this link."""
        if len(payload) < 2:
            return
        self.interface = interface
        is_keepalive = int.from_bytes(payload[:2], "big") == KEEPALIVE
        if not self._unanswered:
            self._spoke_s = at_s
        self._unanswered += ACKED if is_keepalive else UPLINK_SAMPLE + 1
        if is_keepalive:
            self._asked_s = at_s
        elif len(payload) >= 4:
            self._lengths.append(length)
            number = int.from_bytes(payload[:4], "big")
            # Sent twice, an answer may mean either (Karn).
            self._sent[number] = None if number in self._sent else at_s
            while len(self._sent) > MAX_SENT:
                self._sent.popitem(last=False)

    def take_in(self, at_s: float, payload: bytes) -> None:
        """Take in a packet that came over this link."""
        kind = int.from_bytes(payload[:2], "big")
        self._unanswered = 0
        if kind == KEEPALIVE and self._asked_s is not None:
            self._rtts.append((at_s, at_s - self._asked_s))
            self._asked_s = None
        elif kind == SRTLA_ACK and len(payload) >= _ANSWER.size:
            numbers = _ANSWER.unpack_from(payload)
            self.acked += ACKED
            sent_s = self._sent.get(numbers[-1])
            if sent_s is not None and at_s > sent_s:
                self._rtts.append((at_s, at_s - sent_s))

    def rtt_ms(self, now_s: float) -> float | None:
        """Return the median round trip of the last seconds, None where there was none."""
        while self._rtts and now_s - self._rtts[0][0] > RTT_S:
            self._rtts.popleft()
        return round(median(rtt for _, rtt in self._rtts) * 1000, 2) if self._rtts else None

    def is_up(self, now_s: float) -> bool:
        """Tell whether it answers; one over which nothing is sent is not asked."""
        return self._unanswered < MOST_UNANSWERED or now_s - self._spoke_s < SILENT_S

    def mark(self, now_s: float, sent: int) -> None:
        """Remember how much has left and arrived by now, once it has answered or is known not to.

        What is under way stands against the same at the window's beginning; before the first answer there was nothing.
        """
        if not self.acked and self.is_up(now_s):
            return
        self._history.append((now_s, sent, self.acked))
        while len(self._history) > 2 and now_s - self._history[1][0] >= LOSS_S:
            self._history.popleft()

    def window(self) -> tuple[int, int]:
        """Return how many packets were sent and arrived in the last seconds."""
        if len(self._history) < 2:
            return 0, 0
        (_, sent_before, acked_before), (_, sent, acked) = self._history[0], self._history[-1]
        return sent - sent_before, acked - acked_before

    def loss_percent(self) -> float | None:
        """Return what share did not arrive, over the last seconds; None where too little was sent."""
        sent, acked = self.window()
        return round(min(100.0, max(0.0, 100 - 100 * acked / sent)), 2) if sent >= MIN_SENT else None

    def delivered_bps(self) -> int | None:
        """Return what arrived since the mark before the last one, bits per second."""
        if len(self._history) < 2 or not self._lengths:
            return None
        (before_s, _, before), (now_s, _, now) = self._history[-2], self._history[-1]
        return round((now - before) * fmean(self._lengths) * 8 / (now_s - before_s)) if now_s > before_s else None
