"""belacoder's bitrate controller, followed on the packets: which of its rules lowered the bitrate, and when.

Pure. It decides every 20 ms by the round trip and by the packets that are not acknowledged; both are read from the
packets about 25 times a second, and its averages are worked out here at its own pace. Its send buffer also holds
what the encoder has just made and not sent yet, which no packet shows: near a threshold it may decide a step earlier.
Source: belacoder.c, update_bitrate() and connection_housekeeping() at 898d9ce; ceracoder has the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from collectors.srt.connection import ControllerInput

PACKET_BYTES = 1316  # of SRT's payload: seven TS packets
LEAST_PACKETS = 50
LEAST_BPS, MOST_BPS = 300_000, 30_000_000  # what it allows at all
TICK_MS, PAUSE_MS, FAST_PAUSE_MS, RAISE_PAUSE_MS = 20, 200, 250, 500
STALE_MS = 2_000  # readings with a longer gap tell of another time


class ControllerDecision(NamedTuple):
    """A time at which it lowers the bitrate.

    Attributes:
        at_s: wall clock, seconds.
        rule: what it does, in words.
        why: by which number and threshold, in words.
        before, now: bits per second, as followed here.
    """

    at_s: float
    rule: str
    why: str
    before: int
    now: int


class _Thresholds(NamedTuple):
    """Of the send buffer in packets, and of the round trip in ms."""

    least: float
    fast: float
    slow: float
    usual_rtt: float
    calm_rtt: float


class Controller:
    """The controller of one connection.

    Args:
        latency_ms: in force.

    Attributes:
        latency_ms: as given; may be set.
        least, most: limits of the bitrate, bits per second; may be set.
        bitrate: as it is set now, as far as it can be followed from here.
    """

    def __init__(self, latency_ms: float) -> None:
        self.latency_ms = latency_ms
        self.least, self.most = LEAST_BPS, MOST_BPS
        self.bitrate = 0
        self._at_ms: int | None = None
        self._last: ControllerInput | None = None
        self._buffer_mean = self._buffer_jitter = self._rtt_mean = self._rtt_rise = self._rtt_jitter = 0.0
        self._rtt_least, self._buffer_before, self._rtt_before = 200.0, 0, 300
        self._throughput = 0.0
        self._lowers_at_ms = self._raises_at_ms = 0

    def follow(self, readings: Iterable[ControllerInput], bits_per_second: float) -> list[ControllerDecision]:
        """Go on to the time of the last of some readings; return the decisions to lower the bitrate.

        Args:
            readings: the oldest first.
            bits_per_second: what was sent meanwhile.
        """
        found: list[ControllerDecision] = []
        for reading in readings:
            reading_ms = round(reading.at_s * 1000)
            if self._at_ms is None or reading_ms - self._at_ms > STALE_MS:
                self._at_ms = reading_ms
            while self._last is not None and self._at_ms + TICK_MS <= reading_ms:
                self._at_ms += TICK_MS
                decision = self._tick(self._at_ms, self._last, bits_per_second)
                if decision is not None:
                    found.append(decision)
            self._last = reading
        return found

    def _tick(self, now_ms: int, reading: ControllerInput, bits_per_second: float) -> ControllerDecision | None:
        rtt, waiting = int(reading.rtt_ms or 100), reading.waiting
        self._average(rtt, waiting)
        self._throughput = 0.97 * self._throughput + 0.03 * bits_per_second / 1024
        lines = self._thresholds()
        if self.bitrate > self.least:
            if rtt >= self.latency_ms // 3:
                why = f"round trip {rtt} ms, a third of the latency of {self.latency_ms:.0f} ms or more"
                return self._lower(now_ms, "to the minimum", why, self.least, PAUSE_MS)
            if waiting > lines.least:
                return self._lower(now_ms, "to the minimum", _buffer(waiting, lines.least), self.least, PAUSE_MS)
        if now_ms > self._lowers_at_ms:
            decision = self._step_down(now_ms, rtt, waiting, lines)
            if decision is not None:
                return decision
        self._step_up(now_ms, rtt, lines)
        return None

    def _step_down(self, now_ms: int, rtt: int, waiting: int, lines: _Thresholds) -> ControllerDecision | None:
        step = 100_000 + self.bitrate // 10
        if rtt > self.latency_ms // 5:
            why = f"round trip {rtt} ms, more than a fifth of the latency of {self.latency_ms:.0f} ms"
            return self._lower(now_ms, "10 % at a time", why, self.bitrate - step, FAST_PAUSE_MS)
        if waiting > lines.fast:
            why = _buffer(waiting, lines.fast)
            return self._lower(now_ms, "10 % at a time", why, self.bitrate - step, FAST_PAUSE_MS)
        if rtt > lines.usual_rtt:
            why = f"round trip {rtt} ms, above its usual {lines.usual_rtt:.0f} ms"
            return self._lower(now_ms, "100 kbit/s at a time", why, self.bitrate - 100_000, PAUSE_MS)
        if waiting > lines.slow:
            why = _buffer(waiting, lines.slow)
            return self._lower(now_ms, "100 kbit/s at a time", why, self.bitrate - 100_000, PAUSE_MS)
        return None

    def _step_up(self, now_ms: int, rtt: int, lines: _Thresholds) -> None:
        if now_ms > self._raises_at_ms and rtt < lines.calm_rtt and self._rtt_rise < 0.01:
            self.bitrate = min(self.most, max(self.least, self.bitrate) + 30_000 + self.bitrate // 30)
            self._raises_at_ms = now_ms + RAISE_PAUSE_MS

    def _lower(self, now_ms: int, rule: str, why: str, bitrate: int, pause_ms: int) -> ControllerDecision:
        self._lowers_at_ms = now_ms + pause_ms
        before, self.bitrate = self.bitrate, max(self.least, bitrate)
        return ControllerDecision(now_ms / 1000, rule, why, before, self.bitrate)

    def _average(self, rtt: int, waiting: int) -> None:
        self._buffer_mean = 0.99 * self._buffer_mean + 0.01 * waiting
        self._buffer_jitter = max(0.99 * self._buffer_jitter, waiting - self._buffer_before)
        self._buffer_before = waiting
        self._rtt_mean = 0.99 * self._rtt_mean + 0.01 * rtt if self._rtt_mean else rtt
        rise, self._rtt_before = rtt - self._rtt_before, rtt
        self._rtt_rise = 0.8 * self._rtt_rise + 0.2 * rise
        self._rtt_least *= 1.001
        if rtt not in {0, 100} and rtt < self._rtt_least and self._rtt_rise < 1:
            self._rtt_least = rtt
        self._rtt_jitter = max(0.99 * self._rtt_jitter, rise)

    def _thresholds(self) -> _Thresholds:
        mean, jitter = self._buffer_mean, self._buffer_jitter
        most = self._throughput / 8 * (self.latency_ms // 2) / PACKET_BYTES
        return _Thresholds(
            least=4 * (mean + jitter),
            fast=min(max(LEAST_PACKETS, mean + max(3 * jitter, mean)), most),
            slow=max(LEAST_PACKETS, mean + 2.5 * jitter),
            usual_rtt=self._rtt_mean + max(4 * self._rtt_jitter, 0.15 * self._rtt_mean),
            calm_rtt=int(self._rtt_least + max(1, 2 * self._rtt_jitter)),  # an int in C
        )


def _buffer(waiting: int, threshold: float) -> str:
    return f"{waiting} packets sent and not acknowledged, its threshold is {threshold:.0f}"
