"""The session: one stream from its start to its end, and what it was like.

Reads: proc/*/{comm,stat} of belacoder and srtla_send, proc/uptime; what the buffer has committed of the stream.
Source: belaUI.js starts both, and starts belacoder again 2 s after it died; belacoder.c ends with its connection.
Emits: a text sample `session` at the start, at the end and when it was found anew, with a summary at the end;
    session.info{session_id} (1) and session.duration_seconds while a stream runs. Events stream_started,
    stream_restarted, stream_ended, stream_failed.
Errors: without proc/uptime the start is when it was first seen. belacoder gone while srtla_send stays has failed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collectors import belabox
from collectors.host import Host
from collectors.process_table import ProcessTable, Program
from common import clock
from common.events import Event
from common.keys import boolean, duration, key
from common.sample import Sample

ENDED_S = 15.0  # belaUI starts belacoder again after 2 s: until then it is the same stream
NAMESPACE = uuid.UUID("7b1f0a3e-8a53-5b0e-9c55-1d5f0c0d2c11")
AVERAGED = {
    "encoder.bitrate_bits_per_second": "bitrate_bits_per_second",
    "srt.rtt_ms": "rtt_ms",
    "srt.packet_loss_percent": "packet_loss_percent",
    "encoder.frame_drop_percent": "frame_drop_percent",
    "stream.health_score": "health_score",
}


@dataclass(frozen=True)
class Config:
    """Section collectors.session."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 60), "5s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it looks for the stream", name="watch_interval")


class Mean(NamedTuple):
    """The mean of some readings."""

    readings: int
    mean: float


@dataclass
class Session:
    """A stream that runs."""

    id: str
    start_ms: int
    program: Program
    last_s: float
    restarts: int = 0
    means: dict[str, Mean] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Add a reading to its mean."""
        readings, mean = self.means.get(name, Mean(0, 0.0))
        self.means[name] = Mean(readings + 1, mean + (value - mean) / (readings + 1))


class State:
    """The stream that runs, if one does."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.table = ProcessTable(belabox.ENCODERS | belabox.SENDERS)
        self.boot_id = clock.boot_id()


def hear(samples: Sequence[Sample], timestamp_ms: int, _producer: str, state: State) -> None:
    """Add to the running stream's means."""
    session = state.session
    if session is None or timestamp_ms < session.start_ms:
        return
    for sample in samples:
        if sample.name in AVERAGED and not isinstance(sample.value, str):
            session.add(AVERAGED[sample.name], sample.value)


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield which stream runs."""
    yield from watch(host, config, state)
    if state.session is not None:
        yield Sample("session.info", 1, {"session_id": state.session.id})
        yield Sample("session.duration_seconds", round((clock.wall_ms() - state.session.start_ms) / 1000, 1))


def watch(host: Host, _config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield what has begun or ended since the last look."""
    encoder = belabox.encoder(state.table.look(host))
    if encoder is not None:
        yield from _runs(host, encoder, state)
    elif state.session is not None and host.now_s - state.session.last_s >= ENDED_S:
        yield from _ended(host, state.session, state)


def _runs(host: Host, encoder: Program, state: State) -> Iterator[Sample | Event]:
    session = state.session
    if session is None:
        session = state.session = _begin(host, encoder, state.boot_id)
        yield _said(session, "active", None, state.boot_id)
        yield Event("stream_started", f"{encoder.name} runs, session {session.id}")
    elif encoder.pid != session.program.pid:
        session.program, session.restarts = encoder, session.restarts + 1
        yield Event("stream_restarted", f"{encoder.name} was started again, for the {session.restarts}. time")
    session.last_s = host.now_s


def _begin(host: Host, encoder: Program, boot_id: str) -> Session:
    """Return a session whose id is the same however often this process begins anew."""
    uptime_s = belabox.uptime_s(host)
    age_s = max(0.0, uptime_s - encoder.started_s) if uptime_s is not None else 0.0
    name = f"{boot_id} {encoder.pid} {encoder.started_s}"
    return Session(str(uuid.uuid5(NAMESPACE, name)), clock.wall_ms() - int(1000 * age_s), encoder, host.now_s)


def _ended(host: Host, session: Session, state: State) -> Iterator[Sample | Event]:
    state.session = None
    failed = any(program.name in belabox.SENDERS for program in state.table.look(host))
    end_ms = clock.wall_ms() - int(1000 * (host.now_s - session.last_s))
    yield _said(session, "failed" if failed else "completed", end_ms, state.boot_id)
    lasted = f"after {(end_ms - session.start_ms) / 60_000:.1f} min"
    if failed:
        yield Event("stream_failed", f"the encoder is gone and was not started again, {lasted}")
    else:
        yield Event("stream_ended", f"the stream was stopped {lasted}")


def _said(session: Session, status: str, end_ms: int | None, boot_id: str) -> Sample:
    metadata: dict[str, Any] = {"boot_id": boot_id, "program": session.program.name, "restarts": session.restarts}
    if end_ms is not None:
        metadata["summary"] = {name: round(mean, 2) for name, (_, mean) in sorted(session.means.items())}
    said = {"id": session.id, "status": status, "start_ms": session.start_ms, "end_ms": end_ms, "metadata": metadata}
    return Sample("session", json.dumps(said, separators=(",", ":")))
