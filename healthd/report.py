"""The JSON of /health. Its fields are in docs/health.md; what processes report comes from `common/status.py`. Pure.

Unknown values are null, never 0. Ages are calculated when the request is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common import VERSION, clock, wire
from common.thresholds import ERROR, OK
from healthd import heartbeats
from healthd.heartbeats import Beat
from healthd.programs import Snapshot
from healthd.verdict import advice, rollup
from healthd.verdict.rollup import Reason, Verdict
from healthd.verdict.stream import NOTHING, StreamVerdict

# A look at everything every second, blocked for at most a second by a supervisord that hangs: beyond
# this the loop itself hangs (a log pipe that nobody reads), and what it found is history.
HUNG_S = 5.0


@dataclass(frozen=True)
class View:
    """A snapshot of the loop's knowledge, for the HTTP threads.

    Attributes:
        known: of the processes.
        verdict: on them.
        made_s: when; CLOCK_MONOTONIC.
        uploads: samples are meant to be uploaded.
        uploaded: an upload has succeeded since this process looks.
        clock_synchronised: by NTP; None where the kernel does not say.
        path: of the report.
        stream: the verdict on the stream.
        warnings: what the configuration allows and should not.
        samples: the newest values are shown too.
        errors: what is wrong with the configuration.
    """

    known: Snapshot
    verdict: Verdict
    made_s: float
    uploads: bool
    uploaded: bool
    clock_synchronised: bool | None
    path: str
    stream: StreamVerdict = NOTHING
    warnings: tuple[str, ...] = ()
    samples: bool = False
    errors: tuple[str, ...] = ()

    def status(self, now_s: float) -> str:
        """Return the status of the verdict, or error if the verdict is too old."""
        return rollup.worst(self.reasons(now_s))

    def reasons(self, now_s: float) -> tuple[Reason, ...]:
        """Return the reasons for the status."""
        if now_s - self.made_s <= HUNG_S:
            return self.verdict.reasons
        hung = Reason("healthd", ERROR, "hung", "healthd hangs; the values shown are from before", self.made_s)
        return hung, *self.verdict.reasons


def health(view: View, now_s: float, wall_ms: int) -> dict[str, Any]:
    """Return the report.

    Args:
        view: what the loop saw.
        now_s: monotonic time.
        wall_ms: the wall clock, Unix milliseconds.
    """
    verdict, reasons = view.verdict, view.reasons(now_s)
    shipper = view.known.shipper
    return {
        "status": rollup.worst(reasons),
        "version": VERSION,
        "uptime_seconds": int(now_s - view.known.started_s),
        "timestamp": clock.rfc3339(wall_ms),
        "mode": shipper.mode,
        "budget": shipper.budget,
        "reasons": [
            {
                "part": reason.part,
                "severity": reason.severity,
                "text": reason.text,
                "since": clock.rfc3339(wall_ms - int((now_s - reason.since_s) * 1000)),
                "meaning": advice.of(reason.rule).meaning,
                "advice": advice.of(reason.rule).todo,
            }
            for reason in reasons
        ],
        "stream": _stream(view.stream),
        "collectors": {name: _collector(name, view) for name in verdict.collectors},
        "uploader": _uploader(view, reasons),
        "storage": _storage(view),
        "time": {
            "local": clock.rfc3339(wall_ms),
            "skew_ms": shipper.skew_ms,
            "ntp_synced": view.clock_synchronised,
        },
        "configuration": {"errors": list(view.errors), "warnings": list(view.warnings)},
        "processes": {name: _process(name, view, now_s) for name in verdict.conditions},
    }


def _stream(stream: StreamVerdict) -> dict[str, Any]:
    return {
        "state": stream.state,
        "status": stream.level,
        "text": stream.title,
        "since": _rfc3339(stream.since_ms),
        "reasons": [
            {
                "part": reason.part,
                "severity": reason.level,
                "text": reason.title,
                "since": clock.rfc3339(reason.since_ms),
                "meaning": advice.of(reason.rule).meaning,
                "advice": advice.of(reason.rule).todo,
            }
            for reason in stream.reasons
        ],
    }


def _collector(name: str, view: View) -> dict[str, Any]:
    found = view.verdict.collectors[name]
    process, beat = _process_of(name, view.known)
    source = beat.sources.get(name) if beat else None
    return {
        "status": found.status,
        "process": process,
        "last_collection": _rfc3339(source.last_collection_ms) if source else None,
        "metrics_collected": _counted(beat, "collector.metrics_collected_total", name),
        "last_error": found.error or (source.error if source else None),
    }


def _process_of(source: str, known: Snapshot) -> tuple[str, Beat | None]:
    """Return the process that a source is in, and its heartbeat."""
    found = ((process, beat) for process, beat in known.beats.items() if source in beat.sources)
    return next(found, (source, known.beats.get(source)))


def _uploader(view: View, reasons: tuple[Reason, ...]) -> dict[str, Any]:
    beat, shipper, buffer = view.known.beats.get("shipper"), view.known.shipper, view.known.buffer
    status = rollup.worst(reasons, "shipper", "uploader") if view.uploads else rollup.DISABLED
    return {
        "status": rollup.STARTING if status == OK and beat is None else status,
        "last_upload": _rfc3339(shipper.last_upload_ms),
        "metrics_uploaded": shipper.metrics_uploaded if beat else None,
        "upload_failures": shipper.upload_failures if beat else None,
        "pending_metrics": _first_total(shipper.pending, buffer.pending),
        "due_metrics": view.verdict.due,
        "retry_queue_size": shipper.retry_queue_size if beat else None,
        "backoff_until": _rfc3339(shipper.backoff_until_ms),
        "duplicate_id": shipper.duplicate_id,
        "audit": shipper.audit,
        "verified_until": _rfc3339(shipper.verified_until_ms),
        "unverified_samples": shipper.unverified_samples,
        "lost_at_server": buffer.lost_at_server,
        "withheld": buffer.withheld,
        "endpoint": shipper.endpoint,
        "lanes": shipper.lanes,
        "last_error": beat.error if beat else None,
    }


def _storage(view: View) -> dict[str, Any]:
    beat, shipper, buffer = view.known.beats.get("buffer"), view.known.shipper, view.known.buffer
    return {
        "database_size_bytes": buffer.database_size_bytes,
        "wal_size_bytes": buffer.wal_size_bytes,
        "free_bytes": buffer.free_bytes,
        "metrics_pending_upload": _first_total(buffer.pending, shipper.pending),
        "oldest_metric_timestamp": _rfc3339(buffer.oldest_pending_ms),
        "paused": buffer.paused,
        "held_by": buffer.held_by,
        "unspooled": buffer.unspooled,
        "salvage": buffer.salvage,
        "last_error": beat.error if beat else None,
    }


def _process(name: str, view: View, now_s: float) -> dict[str, Any]:
    condition = view.verdict.conditions[name]
    beat, program = view.known.beats.get(name), view.known.program(name)
    runs = condition.trouble is None or condition.state == "silent"
    return {
        "state": condition.state,
        "pid": (_pid(program.pid if program else None, beat) if runs else None),
        "uptime_seconds": int(now_s - beat.started_s) if beat and runs and condition.state != "starting" else None,
        "restarts": beat.restarts if beat else None,
        "last_heartbeat_age_seconds": round(now_s - beat.received_s, 1) if beat else None,
        "last_error": condition.trouble or (beat.error if beat else None),
    }


def _pid(supervised: int | None, beat: Beat | None) -> int | None:
    return supervised or (beat.heartbeat.pid if beat else None)


def _rfc3339(value: float | None) -> str | None:
    """Return Unix milliseconds as RFC 3339, None where they are no time of this century."""
    return clock.rfc3339(int(value)) if value is not None and wire.EARLIEST_MS <= value <= wire.LATEST_MS else None


def _first_total(*by_priority: list[int] | None) -> int | None:
    """Return a sum over the priorities, from the first process that reports it."""
    return next((sum(counts) for counts in by_priority if counts is not None), None)


def _counted(beat: Beat | None, counter: str, collector: str) -> int | None:
    """Return a counter of a source."""
    found = (one for one in (heartbeats.readings(beat) if beat else ()) if one.name == counter)
    values = [one.value for one in found if one.tags.get("collector") == collector]
    return int(sum(value for value in values if not isinstance(value, heartbeats.Histogram))) if values else None
