"""The recorder's verdict: ok, degraded or error, and its reasons, from the conditions of the processes. Pure.

Degraded: a collector or another process fails, uploads are late (2 upload intervals), samples pile up.
Error: every source fails, uploads are very late (20 intervals) and samples pile up, they pile up
beyond a second limit, the server does not let this device in or is not the server, or the buffer or the shipper is
gone. A tunnel of ten minutes alone is no error. `advice.RECORDER` has the rules with what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from common.settings import Settings
from common.thresholds import DEGRADED, ERROR, OK, RANKS
from healthd.heartbeats import COLLECTED, Beat
from healthd.programs import OFF, Condition, Snapshot, conditions, is_collector
from healthd.verdict.tile import Tile

DISABLED, STARTING = "disabled", "starting"  # of a part, never of the whole

DEGRADED_INTERVALS, ERROR_INTERVALS = 2, 20  # of remote.upload_interval
SILENT_COLLECTS = 3  # collect intervals without a sample

_BAD = frozenset({DEGRADED, ERROR})

_Found = tuple[str, str, str, str]  # part, severity, rule, text


@dataclass(frozen=True)
class Limits:
    """The limits beyond which the recorder is degraded or in error.

    Attributes:
        uploads: samples are meant to be uploaded at all.
        degraded_age_s, error_age_s: age of the last moment at which something was accepted, or nothing was due.
        degraded_pending, error_pending: samples past their lane's due time.
        error_pending_alone: as many are an error whatever the age.
        skew_ms: a larger difference to the server's clock is degraded.
    """

    uploads: bool
    degraded_age_s: float
    error_age_s: float
    degraded_pending: int
    error_pending: int
    error_pending_alone: int
    skew_ms: int = 2000

    @property
    def essential(self) -> tuple[str, ...]:
        """Processes without which nothing is stored or uploaded."""
        return ("buffer", "shipper") if self.uploads else ("buffer",)


@dataclass(frozen=True)
class Reason:
    """One reason why the recorder is not ok.

    Attributes:
        part: which part, a process or `collectors`, `uploader`, `storage`, `supervisord`.
        severity: degraded or error.
        rule: with the part, what tells this reason from others.
        text: for people.
        since_s: monotonic time since which it holds.
    """

    part: str
    severity: str
    rule: str
    text: str
    since_s: float


@dataclass(frozen=True)
class SourceHealth:
    """The health of one source of a collector.

    Attributes:
        status: ok, error, disabled or starting.
        error: what is wrong, or None.
    """

    status: str
    error: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The verdict on the recorder.

    Attributes:
        status: ok, degraded or error.
        reasons: empty if and only if ok.
        conditions: of every process, by name.
        collectors: how each source of the collectors does, by name; a collector's own name before it was heard of.
        due: samples past their lane's due time, None while nobody says.
    """

    status: str = OK
    reasons: tuple[Reason, ...] = ()
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    collectors: Mapping[str, SourceHealth] = field(default_factory=dict)
    due: int | None = None


def limits(settings: Settings) -> Limits:
    """Return the configured limits; ages that are not configured follow remote.upload_interval."""
    degraded, error = settings.health.degraded_threshold, settings.health.error_threshold
    interval_s = settings.remote.upload_interval_s
    return Limits(
        uploads=settings.remote.enabled,
        degraded_age_s=degraded.upload_age_seconds or DEGRADED_INTERVALS * interval_s,
        error_age_s=error.upload_age_seconds or ERROR_INTERVALS * interval_s,
        degraded_pending=degraded.pending_metrics,
        error_pending=error.pending_metrics,
        error_pending_alone=error.pending_metrics_alone,
        skew_ms=settings.monitoring.clock_skew_warn_threshold_ms,
    )


def assess(
    known: Snapshot, limits: Limits, now_s: float, before: Verdict | None = None, tiles: Iterable[Tile] = ()
) -> Verdict:
    """Judge all processes.

    Args:
        known: of the processes.
        limits: the configured ones.
        now_s: monotonic time.
        before: a reason that held then keeps its date.
        tiles: numbers that are judged by themselves.
    """
    states = conditions(known, limits.essential, now_s)
    by_process = {
        name: _sources(name, known.beats.get(name), condition, now_s)
        for name, condition in states.items()
        if is_collector(name, known)
    }
    collectors = {source: health for sources in by_process.values() for source, health in sources.items()}
    due = _due(known, states)
    found = [
        *(reason for name in by_process for reason in _collector(name, states[name].trouble, by_process[name])),
        *_all_collectors(collectors),
        *(reason for name in states.keys() - by_process.keys() for reason in _process(name, states, known, limits)),
        *(_uploads(known, limits, due, now_s) if limits.uploads else ()),
        *(_server(known, states, limits) if limits.uploads else ()),
        *((tile.id, tile.level, tile.id, f"{tile.label} {tile.text}") for tile in tiles if tile.level in _BAD),
        *_surroundings(known, states),
    ]
    dates = {(reason.part, reason.rule): reason.since_s for reason in before.reasons} if before else {}
    reasons = tuple(
        Reason(part, severity, rule, text, dates.get((part, rule), now_s))
        for part, severity, rule, text in sorted(found, key=lambda reason: (-RANKS[reason[1]], reason))
    )
    return Verdict(worst(reasons), reasons, states, collectors, due)


def worst(reasons: tuple[Reason, ...], *parts: str) -> str:
    """Return the worst severity among reasons, of all parts or of some."""
    severities = [reason.severity for reason in reasons if not parts or reason.part in parts]
    return max(severities, key=RANKS.__getitem__, default=OK)


def title(reason: Reason) -> str:
    """Return a reason as one short sentence."""
    return reason.text if reason.part in {"disk", "budget"} else f"{reason.part.capitalize()}: {reason.text}"


def _sources(name: str, beat: Beat | None, condition: Condition, now_s: float) -> dict[str, SourceHealth]:
    """Return the health of each source of a collector; trouble of the process is trouble of all its sources."""
    if beat is None or not beat.sources:
        return {name: _unheard(condition)}
    return {source: _source(source, beat, condition, now_s) for source in sorted(beat.sources)}


def _unheard(condition: Condition) -> SourceHealth:
    if condition.state == OFF:
        return SourceHealth(DISABLED)
    return SourceHealth(ERROR, condition.trouble) if condition.trouble else SourceHealth(STARTING)


def _source(name: str, beat: Beat, condition: Condition, now_s: float) -> SourceHealth:
    status = beat.sources[name]
    if condition.state == OFF or not status.enabled:
        return SourceHealth(DISABLED)
    if condition.trouble or condition.state == "starting":
        return _unheard(condition)
    error = status.error or _lateness(name, beat, now_s)
    return SourceHealth(ERROR, error) if error else SourceHealth(OK)


def _lateness(name: str, beat: Beat, now_s: float) -> str | None:
    """Return how long a source has collected nothing, if too long; a source without hardware is not late."""
    interval_s, collected_s = beat.sources[name].interval_s, beat.happened_s.get(f"{name}.{COLLECTED}")
    if interval_s is None or collected_s is None:
        return None
    limit_s = SILENT_COLLECTS * interval_s + beat.heartbeat.interval_s
    return f"has collected nothing for {limit_s:g} s" if now_s - collected_s > limit_s else None


def _collector(process: str, trouble: str | None, sources: Mapping[str, SourceHealth]) -> Iterator[_Found]:
    """Yield the trouble of a collector's process, or else of its sources."""
    if trouble:
        yield process, DEGRADED, "gone", trouble
        return
    for name, health in sources.items():
        if health.status == ERROR:
            yield name, DEGRADED, "failing", health.error or "fails"


def _all_collectors(sources: Mapping[str, SourceHealth]) -> Iterator[_Found]:
    enabled = [health.status for health in sources.values() if health.status != DISABLED]
    if enabled and all(status == ERROR for status in enabled):
        yield "collectors", ERROR, "all_failing", "every source fails"


def _process(name: str, states: Mapping[str, Condition], known: Snapshot, limits: Limits) -> Iterator[_Found]:
    trouble, beat = states[name].trouble, known.beats.get(name)
    if trouble:
        yield name, ERROR if name in limits.essential else DEGRADED, "gone", trouble
    elif name == "buffer" and known.buffer.paused:
        return  # its error is why it is paused, which `_surroundings` says
    elif beat is not None and beat.error is not None and name != "shipper":
        # An upload that fails is no reason yet: how long uploads fail is judged, not that they do.
        yield name, DEGRADED, "hampered", beat.error


def _uploads(known: Snapshot, limits: Limits, due: int | None, now_s: float) -> Iterator[_Found]:
    shipper = known.beats.get("shipper")
    if shipper is not None and not known.shipper.refusal:  # which `_server` reports, with what to do
        age_s = now_s - shipper.happened_s.get("last_current_ms", shipper.started_s)
        said = f": {shipper.error}" if shipper.error else ""
        if age_s > limits.error_age_s and due is not None and due > limits.error_pending:
            text = f"nothing uploaded for {limits.error_age_s:g} s and more than {limits.error_pending} samples due"
            yield "uploader", ERROR, "late", text + said
        elif age_s > limits.degraded_age_s:
            yield "uploader", DEGRADED, "late", f"nothing uploaded for {limits.degraded_age_s:g} s{said}"
    if known.buffer.lost_at_server:  # what is sent again is overdue by nature: the number says nothing about the uplink
        yield "uploader", DEGRADED, "server_lost", known.buffer.lost_at_server
    else:
        yield from _backlog(limits, due)


def _backlog(limits: Limits, due: int | None) -> Iterator[_Found]:
    if due is not None and due > limits.error_pending_alone:
        yield "uploader", ERROR, "pending", f"more than {limits.error_pending_alone} samples due"
    elif due is not None and due > limits.degraded_pending:
        yield "uploader", DEGRADED, "pending", f"more than {limits.degraded_pending} samples due"


def _server(known: Snapshot, states: Mapping[str, Condition], limits: Limits) -> Iterator[_Found]:
    """Yield problems that a person has to fix at the server, or between it and the device."""
    if states["shipper"].trouble:
        return
    refusal, skew_ms = known.shipper.refusal, known.shipper.skew_ms
    if refusal:
        yield "uploader", ERROR, "refused", f"nothing can be delivered: {refusal}"
    if known.buffer.keeps_nothing and known.buffer.withheld:
        yield "uploader", DEGRADED, "withheld", known.buffer.withheld
    if known.shipper.duplicate_id:
        yield "uploader", DEGRADED, "duplicate", known.shipper.duplicate_id
    if skew_ms is not None and abs(skew_ms) > limits.skew_ms:
        side = "ahead of" if skew_ms > 0 else "behind"
        yield "time", DEGRADED, "skew", f"this clock is {abs(skew_ms) / 1000:.1f} s {side} the server's"


def _surroundings(known: Snapshot, states: Mapping[str, Condition]) -> Iterator[_Found]:
    paused = known.buffer.paused if not states["buffer"].trouble else None
    if paused:
        yield "storage", DEGRADED, "paused", f"the buffer takes no samples: {paused}"
    if known.buffer.unspooled and not states["buffer"].trouble:
        yield "storage", DEGRADED, "unspooled", known.buffer.unspooled
    if known.buffer.held_by and not states["buffer"].trouble:
        yield "storage", DEGRADED, "held", known.buffer.held_by
    if known.supervision and known.supervision.problem:
        problem = known.supervision.problem
        yield "supervisord", DEGRADED, "silent", f"does not answer, so processes that die are not restarted: {problem}"


def _due(known: Snapshot, states: Mapping[str, Condition]) -> int | None:
    """Return the samples that should have been uploaded by now, as the shipper or else the buffer counts them."""
    for name, counts in (("shipper", known.shipper.due), ("buffer", known.buffer.pending)):
        condition = states.get(name)
        if counts is not None and condition is not None and not condition.trouble:
            return sum(counts)
    return None
