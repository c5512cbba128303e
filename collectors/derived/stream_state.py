"""The life of a stream: in which state it is, decided here and nowhere else; a part of the session. Pure.

Reads: whether encoder and sender run (process table), what the packets say of the connection, what the encoder says
    of its frames.
Source: belaUI.js starts belacoder again 2 s after it died and leaves srtla_send alone; a stop ends both.
"""

from __future__ import annotations

from typing import NamedTuple

from common.stream_states import CRASHED, CUT_OFF, ENDED, ENDING, IDLE, LIVE, STARTING, STOPPED

ENDED_S = 15.0  # belaUI starts belacoder again after 2 s: until then it is the same stream
UNKNOWN_S = 10.0  # where nothing tells of connection and frames, a stream is live so long after its start


class Observation(NamedTuple):
    """What is seen at one moment.

    Attributes:
        encoder: pid of the encoder, None while none runs.
        sender: srtla_send runs.
        connected: the receiver answers; None while nobody can tell.
        frames: the encoder gives frames; None while nobody can tell.
        tapped: somebody looks at the packets, and will tell whether the receiver answers.
    """

    encoder: int | None
    sender: bool
    connected: bool | None = None
    frames: bool | None = None
    tapped: bool = False


class StreamState:
    """The state, and since when.

    Attributes:
        state: one of the values of `stream.state`.
        since_s: monotonic time since which it is so.
        how: how the last stream ended, "" while one runs or none has run.
        restarts: encoders that followed the first one of this stream.
    """

    def __init__(self) -> None:
        self.state = IDLE
        self.since_s = 0.0
        self.how = ""
        self.restarts = 0
        self._encoder: int | None = None
        self._was_connected: bool | None = None

    @property
    def runs(self) -> bool:
        """Tell whether a stream has begun and not ended yet."""
        return self.state in {STARTING, LIVE, ENDING}

    def look(self, seen: Observation, now_s: float) -> bool:
        """Take what is seen; tell whether the state has changed."""
        before = self.state
        if seen.encoder is not None:
            self._runs(seen, now_s)
        elif self.runs:
            self._gone(seen, now_s)
        return self.state != before

    def _runs(self, seen: Observation, now_s: float) -> None:
        if seen.encoder != self._encoder or not self.runs:
            self.restarts = self.restarts + 1 if self.runs else 0
            self._encoder, self._was_connected, self.how = seen.encoder, None, ""
            self._enter(STARTING, now_s)
        elif self.state == STARTING and self._is_up(seen, now_s):
            self._enter(LIVE, now_s)
        if self.state == LIVE and seen.connected is not None:
            self._was_connected = seen.connected

    def _is_up(self, seen: Observation, now_s: float) -> bool:
        if seen.connected is not None:
            return seen.connected
        return (seen.frames is True and not seen.tapped) or now_s - self.since_s >= UNKNOWN_S

    def _gone(self, seen: Observation, now_s: float) -> None:
        """Wait for belaUI's restart while the sender stays; a stop ends both."""
        if not seen.sender:
            self._end(STOPPED, now_s)
        elif self.state != ENDING:
            self._enter(ENDING, now_s)
        elif now_s - self.since_s >= ENDED_S:
            self._end(CUT_OFF if self._was_connected is False else CRASHED, now_s)

    def _end(self, how: str, now_s: float) -> None:
        self.how, self._encoder = how, None
        self._enter(ENDED, now_s)

    def _enter(self, state: int, now_s: float) -> None:
        self.state, self.since_s = state, now_s
