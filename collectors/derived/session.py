"""The session: one stream from its start to its end, the state it is in, and what it was like.

Reads: proc/*/{comm,stat} of belacoder and srtla_send, proc/uptime; what the buffer has committed of the stream.
Source: `stream_state.py` decides the state; belacoder.c ends with its connection.
Emits: stream.state (1 starting, 2 live, 3 ending, 4 ended) at each change and with each collect, after the end each
    minute, and not before a first start; a text sample `session` at the start, when it was found again, and at the end
    with how it ended and the means of its live time; session.info{session_id} (1), session.duration_seconds and
    session.data_bytes{interface,ip} while a stream runs; session.last_* once after its end; RUN_DIR/session-id, for log
    lines. Events stream_started, stream_restarted, stream_interrupted, stream_ended, stream_failed.
Errors: without proc/uptime the start is when it was first seen. What was measured outside of live is in no mean.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectors import belabox
from collectors.derived.recent_values import RecentValues
from collectors.derived.session_numbers import COMPLETED, DataCounters, StreamSession
from collectors.derived.stream_state import Observation, StreamState
from collectors.host import Host
from collectors.process_table import ProcessTable, RunningProcess
from common import clock, running_session, stream_states
from common.events import Event
from common.keys import boolean, duration, key
from common.sample import Sample

NAMESPACE = uuid.UUID("7b1f0a3e-8a53-5b0e-9c55-1d5f0c0d2c11")
ENDING_S = 0.9  # the next look after the one at which the encoder was gone
REPEATED_S = 60.0  # while nothing runs
SUMMARY_S = 1.0  # after the end: what was measured before it has been committed by then
AVERAGED = {
    "encoder.bitrate_bits_per_second": "bitrate_bits_per_second",
    "srt.rtt_ms": "rtt_ms",
    "srt.packet_loss_percent": "packet_loss_percent",
    "encoder.frame_drop_percent": "frame_drop_percent",
    "stream.health_score": "health_score",
}
DATA = "srtla.link_bytes_total"
LIFE_SIGNS = ("srt.connected", "encoder.frame_rate")
HOW = {
    stream_states.STOPPED: "the stream was stopped",
    stream_states.CRASHED: "the encoder is gone and was not started again",
    stream_states.CUT_OFF: "the connection was lost and the encoder was not started again",
}


@dataclass(frozen=True)
class Config:
    """Section collectors.session."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 60), "5s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it looks for the stream", name="watch_interval")


class State:
    """The stream that runs, if one does; the one that has just ended, until its summary is written."""

    def __init__(self) -> None:
        self.stream = StreamState()
        self.heard = RecentValues(LIFE_SIGNS)
        self.is_tapped = False
        self.counters = DataCounters()
        self.session: StreamSession | None = None
        self.ended: tuple[StreamSession, float] | None = None
        self.announced = False
        self.told_s = float("-inf")
        self.table = ProcessTable(belabox.ENCODERS | belabox.SENDERS)
        self.boot_id = clock.boot_id()
        self.run_dir: Path | None = None
        self.published_id: str | None = None


def hear(samples: Sequence[Sample], timestamp_ms: int, _producer: str, state: State) -> None:
    """Add what was measured while the stream was live to its means."""
    session = state.session or (state.ended[0] if state.ended else None)
    if session is None or timestamp_ms < session.start_ms:
        return
    state.heard.take(samples, timestamp_ms, time.monotonic())
    for sample in samples:
        if sample.name == DATA:
            session.add_data(*state.counters.grown(sample))
    if not session.was_live(timestamp_ms):
        return
    for sample in samples:
        if sample.name in AVERAGED and not isinstance(sample.value, str):
            session.add(AVERAGED[sample.name], sample.value, timestamp_ms)


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield which state the stream is in, and which session runs."""
    yield from watch(host, config, state)
    wait_s = 0.0 if state.stream.runs else REPEATED_S
    if state.stream.state != stream_states.IDLE and host.now_s - state.told_s > wait_s:
        state.told_s = host.now_s
        yield Sample("stream.state", state.stream.state)
    if state.session is not None and state.stream.state != stream_states.ENDING:
        yield Sample("session.info", 1, {"session_id": state.session.id})
        yield Sample("session.duration_seconds", round((clock.wall_ms() - state.session.start_ms) / 1000, 1))
        for (interface, ip), data_bytes in sorted(state.session.data_bytes.items()):
            yield Sample("session.data_bytes", data_bytes, {"interface": interface, "ip": ip})


def watch(host: Host, _config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield what has begun or ended since the last look."""
    programs = state.table.look(host)
    encoder, now_ms = belabox.encoder(programs), clock.wall_ms()
    stream, restarts = state.stream, state.stream.restarts
    seen = Observation(
        encoder.pid if encoder else None,
        any(program.name in belabox.SENDERS for program in programs),
        *_signs(state, host.now_s),
        tapped=state.is_tapped,
    )
    changed = stream.look(seen, host.now_s)
    if changed:
        state.told_s = host.now_s
        yield Sample("stream.state", stream.state)
        _follow_live(state, now_ms)
    if encoder is not None:
        yield from _runs(host, encoder, state, restarted=stream.restarts > restarts)
    elif state.session is not None:
        yield from _gone(state.session, state, host.now_s)
    yield from _summary(state, host.now_s)
    _publish_id(state)


def _publish_id(state: State) -> None:
    """Let the log lines of all processes name the stream that runs."""
    session_id = state.session.id if state.session is not None else ""
    if state.run_dir is not None and session_id != state.published_id:
        state.published_id = session_id
        running_session.publish(state.run_dir, session_id)


def _signs(state: State, now_s: float) -> tuple[bool | None, bool | None]:
    """Return whether the receiver answers and whether frames come, each None where nobody says."""
    connected, frames = (state.heard.value(name, now_s) for name in LIFE_SIGNS)
    state.is_tapped = state.is_tapped or connected is not None
    return None if connected is None else bool(connected), None if frames is None else frames > 0


def _follow_live(state: State, now_ms: int) -> None:
    """Note from when to when the stream is live; a new start has heard nothing yet."""
    session = state.session
    if state.stream.state == stream_states.STARTING:
        state.heard = RecentValues(LIFE_SIGNS)
    if session is None:
        return
    if state.stream.state == stream_states.LIVE:
        session.live_ms.append((now_ms, None))
    elif session.live_ms and session.live_ms[-1][1] is None:
        session.live_ms[-1] = session.live_ms[-1][0], session.last_ms


def _runs(host: Host, encoder: RunningProcess, state: State, *, restarted: bool) -> Iterator[Sample | Event]:
    session = state.session
    if session is None:
        session = state.session = _begin(host, encoder, state.boot_id)
        yield _sample(session, state.boot_id)
        yield Event("stream_started", f"{encoder.name} runs, session {session.id}")
    elif restarted:
        session.program, session.restarts = encoder, state.stream.restarts
        text = f"{encoder.name} had ended and was started again, restart {session.restarts} of this stream"
        yield Event("stream_restarted", text)
    session.last_ms = clock.wall_ms()
    state.announced = False


def _begin(host: Host, encoder: RunningProcess, boot_id: str) -> StreamSession:
    """Return a session whose id is the same however often this process is restarted."""
    uptime_s = belabox.uptime_s(host)
    age_s = max(0.0, uptime_s - encoder.started_s) if uptime_s is not None else 0.0
    name, now_ms = f"{boot_id} {encoder.pid} {encoder.started_s}", clock.wall_ms()
    return StreamSession(str(uuid.uuid5(NAMESPACE, name)), now_ms - int(1000 * age_s), encoder, now_ms)


def _gone(session: StreamSession, state: State, now_s: float) -> Iterator[Sample | Event]:
    """Yield the end, or that the encoder is gone while the sender stays; a stop takes both within a moment."""
    if state.stream.state == stream_states.ENDING:
        if not state.announced and now_s - state.stream.since_s >= ENDING_S:
            state.announced = True
            text = f"{session.program.name} has ended while srtla_send still runs; belaUI starts it again after 2 s"
            yield Event("stream_interrupted", text)
    elif state.stream.state == stream_states.ENDED:
        session.how = state.stream.how
        state.session, state.ended = None, (session, now_s)
        yield _sample(session, state.boot_id)
        lasted = f"after {(session.last_ms - session.start_ms) / 60_000:.1f} min"
        yield Event("stream_ended" if session.status == COMPLETED else "stream_failed", f"{HOW[session.how]}, {lasted}")


def _summary(state: State, now_s: float) -> Iterator[Sample]:
    """Yield the ended session again and its figures, once what was measured before its end has been heard."""
    if state.ended is not None and now_s - state.ended[1] >= SUMMARY_S:
        yield _sample(state.ended[0], state.boot_id)
        yield from _figures(state.ended[0])
        state.ended = None


def _figures(session: StreamSession) -> Iterator[Sample]:
    """Yield what the ended stream was like, for the server: series of no session's own, with a sample for each."""
    yield Sample("session.last_duration_seconds", (session.last_ms - session.start_ms) / 1000)
    yield Sample("session.last_completed", int(session.status == COMPLETED))
    yield Sample("session.last_restarts", session.restarts)
    for name, mean in session.summary().items():
        yield Sample(f"session.last_{name}", mean)
    for interface, data_bytes in session.data_by_interface().items():
        yield Sample("session.last_data_bytes", data_bytes, {"interface": interface})


def _sample(session: StreamSession, boot_id: str) -> Sample:
    metadata: dict[str, Any] = {"boot_id": boot_id, "program": session.program.name, "restarts": session.restarts}
    if session.how:
        metadata["how"] = session.how
        metadata["summary"] = session.summary()
        if session.data_bytes:
            metadata["data_bytes"] = session.data_by_interface()
    content = {
        "id": session.id,
        "status": session.status,
        "start_ms": session.start_ms,
        "end_ms": session.last_ms if session.how else None,
        "metadata": metadata,
    }
    return Sample("session", json.dumps(content, separators=(",", ":")))
