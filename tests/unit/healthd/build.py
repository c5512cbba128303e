"""Heartbeats and programs to judge, as they would have come; all times relative to `NOW_S`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from common import status, wire
from common.status import CollectorStatus
from healthd.heartbeats import Beat
from healthd.programs import Snapshot
from healthd.supervisor import Program, Supervision
from healthd.verdict.rollup import Limits

NOW_S = 10_000.0
WALL_MS = 1_795_000_000_000  # 2026-11-18T11:06:40Z
UPTIME_S = 5_000.0

LIMITS = Limits(
    uploads=True,
    degraded_age_s=60,
    error_age_s=600,
    degraded_pending=5_000,
    error_pending=10_000,
    error_pending_alone=20_000,
)

KINDS = {"buffer": "buffer", "shipper": "shipper", "healthd": "healthd"}


def heartbeat(process: str = "cpu", **fields: Any) -> wire.Heartbeat:
    """Return a heartbeat, healthy in what is not given."""
    given = {
        "process": process,
        "pid": 100,
        "epoch": "e1",
        "started_ms": WALL_MS - 60_000,
        "timestamp_ms": WALL_MS,
        "interval_s": 2.0,
        **fields,
    }
    given["status"] = {"kind": KINDS.get(process, "collector"), **given.get("status", {})}
    return wire.Heartbeat(**given)


def beat(
    process: str, *, age_s: float = 1.0, ages_s: Mapping[str, float] | None = None, restarts: int = 0, **fields: Any
) -> Beat:
    """Return a process' latest heartbeat.

    Args:
        process: its name.
        age_s: when it was received.
        ages_s: by field ``last_…_ms``, when that was.
        restarts: starts seen beyond the first.
        fields: of the heartbeat.
    """
    ages_s = ages_s or {}
    times = {name: WALL_MS - int(age * 1000) for name, age in ages_s.items()}
    said = heartbeat(process, **{**fields, "status": {**times, **fields.get("status", {})}})
    happened_s = {name: NOW_S - age for name, age in ages_s.items()}
    sources = status.read(CollectorStatus, said.status).sources
    return Beat(said, NOW_S - age_s, NOW_S - UPTIME_S, (said.epoch,), restarts, happened_s, sources)


def collector(process: str = "cpu", *, collected_s: float | None = 5.0, **fields: Any) -> Beat:
    """Return the heartbeat of a collector with one source of its name, whose interval is 10 s; `source`: its fields."""
    collected_ms = None if collected_s is None else WALL_MS - int(collected_s * 1000)
    source = {"enabled": True, "interval_s": 10.0, "last_collection_ms": collected_ms, **fields.pop("source", {})}
    made = beat(process, status={"sources": {process: source}, **fields.pop("status", {})}, **fields)
    happened_s = {} if collected_s is None else {f"{process}.last_collection_ms": NOW_S - collected_s}
    return replace(made, happened_s={**made.happened_s, **happened_s})


def shipper(*, current_s: float | None = 5.0, due: Sequence[int] | None = (0, 1, 2, 3), **fields: Any) -> Beat:
    """Return the shipper's heartbeat."""
    status = {**({} if due is None else {"due": list(due)}), **fields.pop("status", {})}
    ages_s = {"last_upload_ms": 7.0, **({} if current_s is None else {"last_current_ms": current_s})}
    return beat("shipper", ages_s=ages_s, status=status, **fields)


def known(*beats: Beat, supervision: Supervision | None = None, without: Sequence[str] = ()) -> Snapshot:
    """Return a healthy pipeline with two collectors, changed by some heartbeats."""
    healthy = (beat("buffer"), shipper(), beat("healthd"), collector("cpu"), collector("memory"))
    all_beats = {one.heartbeat.process: one for one in (*healthy, *beats)}
    return Snapshot(
        NOW_S - UPTIME_S, {name: one for name, one in all_beats.items() if name not in without}, supervision
    )


def program(name: str, state: str = "RUNNING", **fields: Any) -> Program:
    """Return a program as supervisord has it."""
    group = name if name in {"buffer", "shipper", "healthd", "server"} else "collectors"
    given = {
        "group": group,
        "pid": 100 if state in {"RUNNING", "STARTING", "STOPPING"} else 0,
        "started": True,
        "exit_status": 0,
        "spawn_error": "",
        "changed_s": NOW_S - UPTIME_S,
        **fields,
    }
    return Program(name=name, state=state, **given)


def supervision(*programs: Program, polled_s: float = NOW_S - 0.5, problem: str | None = None) -> Supervision:
    """Return what supervisord says of a healthy pipeline, changed by some programs."""
    names = ("buffer", "shipper", "healthd", "cpu", "memory")
    listed = {one.name: one for one in (*map(program, names), *programs)}
    return Supervision(polled_s, listed, problem)
