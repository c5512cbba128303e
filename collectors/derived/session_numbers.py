"""What is kept of a stream's session until its summary is written: its life, its means, its data. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from collectors.process_table import RunningProcess
from common import stream_states
from common.sample import Sample

ACTIVE, COMPLETED, FAILED = "active", "completed", "failed"  # as the table `sessions` has it
Link = tuple[str, str]  # its interface and address

HELD_S = 15.0  # three intervals of the sources that are averaged


class Mean(NamedTuple):
    """The mean over time of readings, each of which holds until the next one, `HELD_S` at most.

    Attributes:
        mean, seconds: so far, and over how long.
        value, at_ms: of the last reading.
    """

    mean: float
    seconds: float
    value: float
    at_ms: int

    def until(self, end_ms: int) -> Mean:
        """Return it with the last reading held until a moment."""
        held_s = min(HELD_S, max(0.0, (end_ms - self.at_ms) / 1000))
        seconds = self.seconds + held_s
        mean = self.mean + (self.value - self.mean) * held_s / seconds if seconds else self.value
        return Mean(mean, seconds, self.value, max(self.at_ms, end_ms))


class DataCounters:
    """The links' counters as they were last; they go on from one stream to the next of the same sender."""

    def __init__(self) -> None:
        self._last: dict[tuple[Link, str], int] = {}

    def grown(self, sample: Sample) -> tuple[Link, int]:
        """Return a counter's link, and what it has grown by; one that has begun again has grown by what it shows."""
        interface, ip, direction = (sample.tags.get(label, "") for label in ("interface", "ip", "direction"))
        link, value = (interface, ip), int(sample.value)
        before = self._last.get((link, direction), 0)
        self._last[link, direction] = value
        return link, value - before if value >= before else value


@dataclass
class StreamSession:
    """A stream, from its start until its summary is written.

    Attributes:
        id: the same however often this process is restarted.
        start_ms: when its first encoder was started.
        program: the encoder.
        last_ms: when the encoder was seen last.
        restarts: encoders that followed the first one.
        how: how it ended, see `stream_states`.
        live_ms: spans in which it was live: begin, and end or None.
        means: over these, of what was measured in them.
        data_bytes: of the stream over each link, both ways.
    """

    id: str
    start_ms: int
    program: RunningProcess
    last_ms: int
    restarts: int = 0
    how: str = ""
    live_ms: list[tuple[int, int | None]] = field(default_factory=list)
    means: dict[str, Mean] = field(default_factory=dict)
    data_bytes: dict[Link, int] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """What its row calls it: active, completed or failed."""
        return ACTIVE if not self.how else COMPLETED if self.how == stream_states.STOPPED else FAILED

    def add(self, name: str, value: float, at_ms: int) -> None:
        """Add a reading to its mean."""
        before = self.means.get(name, Mean(value, 0.0, value, at_ms))
        held = before.until(self._live_until(before.at_ms, at_ms))
        self.means[name] = held._replace(value=value, at_ms=max(at_ms, before.at_ms))

    def summary(self) -> dict[str, float]:
        """Return the means of what was measured while it was live."""
        until = {name: self._live_until(mean.at_ms, self.last_ms) for name, mean in sorted(self.means.items())}
        means = {name: self.means[name].until(end_ms).mean for name, end_ms in until.items()}
        return {name: round(mean, 2) for name, mean in means.items()}

    def add_data(self, link: Link, count: int) -> None:
        """Add bytes that have gone over a link."""
        self.data_bytes[link] = self.data_bytes.get(link, 0) + count

    def data_by_interface(self) -> dict[str, int]:
        """Return the bytes over each interface: a modem may have had several addresses, one after the other."""
        found: dict[str, int] = {}
        for (interface, ip), count in sorted(self.data_bytes.items()):
            found[interface or ip] = found.get(interface or ip, 0) + count
        return found

    def was_live(self, timestamp_ms: int) -> bool:
        """Tell whether the stream was live at a moment."""
        return any(begin <= timestamp_ms and (end is None or timestamp_ms <= end) for begin, end in self.live_ms)

    def _live_until(self, from_ms: int, most_ms: int) -> int:
        """Return until when it was live from a moment on, at which it was; until `most_ms` at most."""
        ends = (end for begin, end in self.live_ms if begin <= from_ms and (end is None or from_ms <= end))
        end = next(ends, from_ms)
        return most_ms if end is None else min(end, most_ms)
