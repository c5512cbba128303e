"""From what is known of the processes to one word, ok, degraded or error, and the reasons for it. Pure.

Degraded: a collector or another process fails, uploads are late (2 upload intervals), samples pile up.
Error: every collector fails, uploads are very late (20 intervals) and samples pile up, they pile up
beyond a second limit, or the buffer or the shipper is gone. A tunnel of ten minutes alone is no error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from common.settings import Settings
from healthd.heartbeats import Beat
from healthd.programs import OFF, Condition, Known, conditions, is_collector

OK, DEGRADED, ERROR = "ok", "degraded", "error"
DISABLED, STARTING = "disabled", "starting"  # of a part, never of the whole

DEGRADED_INTERVALS, ERROR_INTERVALS = 2, 20  # of remote.upload_interval
SILENT_COLLECTS = 3  # collect intervals without a sample

_RANKS = {OK: 0, DEGRADED: 1, ERROR: 2}

_Found = tuple[str, str, str, str]  # part, severity, rule, text


@dataclass(frozen=True)
class Thresholds:
    """Where the lines are.

    Attributes:
        uploads: samples are meant to be uploaded at all.
        degraded_age_s, error_age_s: age of the last moment at which nothing due was left to upload.
        degraded_pending, error_pending: samples past their lane's due time.
        error_pending_alone: as many are an error whatever the age.
    """

    uploads: bool
    degraded_age_s: float
    error_age_s: float
    degraded_pending: int
    error_pending: int
    error_pending_alone: int

    @property
    def essential(self) -> tuple[str, ...]:
        """Processes without which nothing is stored or uploaded."""
        return ("buffer", "shipper") if self.uploads else ("buffer",)


@dataclass(frozen=True)
class Reason:
    """Why the whole is not ok.

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
class CollectorStatus:
    """How a collector does.

    Attributes:
        status: ok, error, disabled or starting.
        error: what is wrong, or None.
    """

    status: str
    error: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What `assess` found.

    Attributes:
        status: ok, degraded or error.
        reasons: empty if and only if ok.
        conditions: of every process, by name.
        collectors: status of each process that collects, by name.
        due: samples past their lane's due time, None while nobody says.
    """

    status: str = OK
    reasons: tuple[Reason, ...] = ()
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    collectors: Mapping[str, CollectorStatus] = field(default_factory=dict)
    due: int | None = None


def thresholds(settings: Settings) -> Thresholds:
    """Return the configured lines; ages that are not configured follow remote.upload_interval."""
    degraded, error = settings.health.degraded_threshold, settings.health.error_threshold
    interval_s = settings.remote.upload_interval_s
    return Thresholds(
        uploads=settings.remote.enabled,
        degraded_age_s=degraded.upload_age_seconds or DEGRADED_INTERVALS * interval_s,
        error_age_s=error.upload_age_seconds or ERROR_INTERVALS * interval_s,
        degraded_pending=degraded.pending_metrics,
        error_pending=error.pending_metrics,
        error_pending_alone=error.pending_metrics_alone,
    )


def assess(known: Known, lines: Thresholds, now_s: float, before: Verdict | None = None) -> Verdict:
    """Judge what is known; a reason that held `before` keeps its date."""
    states = conditions(known, lines.essential, now_s)
    collectors = {
        name: _collector(known.beats.get(name), condition, now_s)
        for name, condition in states.items()
        if is_collector(name, known)
    }
    due = _due(known, states)
    found = [
        *_collectors(collectors),
        *(reason for name in states.keys() - collectors.keys() for reason in _process(name, states, known, lines)),
        *(_uploads(known, lines, due, now_s) if lines.uploads else ()),
        *_surroundings(known, states),
    ]
    dates = {(reason.part, reason.rule): reason.since_s for reason in before.reasons} if before else {}
    reasons = tuple(
        Reason(part, severity, rule, text, dates.get((part, rule), now_s))
        for part, severity, rule, text in sorted(found, key=lambda reason: (-_RANKS[reason[1]], reason))
    )
    return Verdict(worst(reasons), reasons, states, collectors, due)


def worst(reasons: tuple[Reason, ...], *parts: str) -> str:
    """Return the worst severity among reasons, of all parts or of some."""
    severities = [reason.severity for reason in reasons if not parts or reason.part in parts]
    return max(severities, key=_RANKS.__getitem__, default=OK)


def _collector(beat: Beat | None, condition: Condition, now_s: float) -> CollectorStatus:
    if condition.state == OFF or (beat is not None and beat.said.facts.get("enabled") is False):
        return CollectorStatus(DISABLED)
    if condition.trouble:
        return CollectorStatus(ERROR, condition.trouble)
    if beat is None or condition.state == "starting":
        return CollectorStatus(STARTING)
    error = beat.error or _lateness(beat, now_s)
    return CollectorStatus(ERROR, error) if error else CollectorStatus(OK)


def _lateness(beat: Beat, now_s: float) -> str | None:
    """Say how long nothing was collected, if too long; who never had anything to read is not late with it."""
    interval_s, collected_s = beat.number("collect_interval_s"), beat.happened_s.get("last_collection_ms")
    if interval_s is None or collected_s is None:
        return None
    limit_s = SILENT_COLLECTS * interval_s + beat.said.interval_s
    return f"has collected nothing for {limit_s:g} s" if now_s - collected_s > limit_s else None


def _collectors(collectors: Mapping[str, CollectorStatus]) -> Iterator[_Found]:
    enabled = [collector for collector in collectors.values() if collector.status != DISABLED]
    failing = {name: collector.error for name, collector in collectors.items() if collector.status == ERROR}
    for name, error in failing.items():
        yield name, DEGRADED, "failing", error or "fails"
    if failing and len(failing) == len(enabled):
        yield "collectors", ERROR, "all_failing", "every collector fails"


def _process(name: str, states: Mapping[str, Condition], known: Known, lines: Thresholds) -> Iterator[_Found]:
    trouble, beat = states[name].trouble, known.beats.get(name)
    if trouble:
        yield name, ERROR if name in lines.essential else DEGRADED, "gone", trouble
    elif beat is not None and beat.error is not None and name != "shipper":
        # An upload that fails is no reason yet: how long uploads fail is judged, not that they do.
        yield name, DEGRADED, "failing", beat.error


def _uploads(known: Known, lines: Thresholds, due: int | None, now_s: float) -> Iterator[_Found]:
    shipper = known.beats.get("shipper")
    if shipper is not None:
        age_s = now_s - shipper.happened_s.get("last_current_ms", shipper.started_s)
        said = f": {shipper.error}" if shipper.error else ""
        if age_s > lines.error_age_s and due is not None and due > lines.error_pending:
            text = f"nothing uploaded for {lines.error_age_s:g} s and more than {lines.error_pending} samples due"
            yield "uploader", ERROR, "late", text + said
        elif age_s > lines.degraded_age_s:
            yield "uploader", DEGRADED, "late", f"nothing uploaded for {lines.degraded_age_s:g} s{said}"
    if due is not None and due > lines.error_pending_alone:
        yield "uploader", ERROR, "pending", f"more than {lines.error_pending_alone} samples due"
    elif due is not None and due > lines.degraded_pending:
        yield "uploader", DEGRADED, "pending", f"more than {lines.degraded_pending} samples due"


def _surroundings(known: Known, states: Mapping[str, Condition]) -> Iterator[_Found]:
    buffer = known.beats.get("buffer")
    paused = buffer.text("paused") if buffer and not states["buffer"].trouble else None
    if paused:
        yield "storage", DEGRADED, "paused", f"the buffer takes no samples: {paused}"
    if known.supervision and known.supervision.problem:
        problem = known.supervision.problem
        yield "supervisord", DEGRADED, "silent", f"does not answer, nothing restarts what dies: {problem}"


def _due(known: Known, states: Mapping[str, Condition]) -> int | None:
    """Return the samples that should have been uploaded by now, as the shipper or else the buffer counts them."""
    for name, fact in (("shipper", "due"), ("buffer", "pending")):
        beat, condition = known.beats.get(name), states.get(name)
        total = beat.total(fact) if beat and condition and not condition.trouble else None
        if total is not None:
            return total
    return None
