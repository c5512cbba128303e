"""Decide what an answer of the server (an outcome of `http/outcome.py`) changes for the next request. Pure.

| answer | wait | next chunk | mode, where it is auto | besides |
|---|---|---|---|---|
| accepted | none | 4 times larger while behind | degraded when slow; back after 3 good ones | |
| body refused (400, 413, 422) | none | half, where it was too large | | the upload looks for the sample at fault |
| try later (429, 503, no answer); not the server | the longer of 5, 15, 45, 60 s and Retry-After (at most 1 h) | small, where no answer came | 3 in a row: degraded; 5 min: offline | after its attempts the chunk is pending again |
| not welcome (401, 404) | 60 s | | the same | the chunk is pending again at once |

Events: a change of mode, a server that is away for a minute, and its return. The time is an argument, monotonic; the
random number for the jitter comes with the result. All times of modes are shares of `remote.upload_interval`: who
uploads more often also decides sooner.
"""  # noqa: E501 - a table

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import NamedTuple

from common.events import Event
from common.remote import Remote
from shipper.http.outcome import Accepted, BodyRefused, NotWelcome, Outcome
from shipper.state import DEGRADED, NEXT_PROBE_INTERVALS, OFFLINE, REALTIME, STRETCH_INTERVALS, State

FAILURES = 3  # in a row: one is a cell change, two are bad luck
GOOD = 3  # uploads in a row that show a way back; as many as lead away
DURATIONS = 5  # uploads the median is of: two slow ones among five are no reason
# An upload takes 0.1-1 s on LTE. Slow is 5 s at the default interval of 30 s, and the time that the body
# itself takes at 8 KiB/s (the EDGE of a crowded field): a large chunk is no reason to send less.
SLOW_INTERVALS = 1 / 6
SLOW_LEAST_S = 0.5  # a busy server of its own may take as long
SLOW_BYTES_PER_S = 8192
GOOD_SHARE = 0.5  # of what is slow: between the two is neither
OFFLINE_INTERVALS = 10  # without a success: 5 min
WORSE = 2  # growth of P1's interval and of the time between probes, with each bad upload
AWAY_S = 60.0  # of failures: then it is an event
MAX_RETRY_AFTER_S = 3600.0  # a server that asks for more (or a date in the wrong year) is asked again after this
_MAX_EXPONENT = 64  # 1.1 ** 64 is 445; beyond it the longest wait has long been reached, or nothing grows


class Result(NamedTuple):
    """One request and what came of it.

    Attributes:
        outcome: for the samples.
        samples, body_bytes, duration_s: of the request.
        old: it held samples of a backlog.
        more: samples are waiting behind it.
        attempt: of this chunk, 1 is the first.
        jitter: a random number from 0 to 1.
    """

    outcome: Outcome
    samples: int
    body_bytes: int
    duration_s: float
    old: bool
    more: bool
    attempt: int
    jitter: float


class Decision(NamedTuple):
    """What a result means.

    Attributes:
        state: what is known now.
        wait_s: how long the server is left alone.
        release: the samples are pending again.
        send_all: trouble is over, every lane sends what has waited.
        events: to report.
    """

    state: State
    wait_s: float = 0.0
    release: bool = False
    send_all: bool = False
    events: tuple[Event, ...] = ()


def decide(state: State, result: Result, now_s: float) -> Decision:
    """Decide the next request from a result, by the table above."""
    outcome, remote = result.outcome, state.remote
    if result.old:
        until_s = now_s - result.duration_s + state.uplink.pause_s(result.body_bytes, remote)
        state = replace(state, old_until_s=until_s)
    if isinstance(outcome, Accepted):
        return _succeeded(state, result, outcome.count, now_s)
    if isinstance(outcome, BodyRefused):
        if outcome.too_large:
            state = replace(state, fresh=state.fresh.halved(result.samples), old=state.old.halved(result.samples))
        return Decision(state)
    if isinstance(outcome, NotWelcome):
        wait_s = jittered_s(remote.retry.max_backoff_s, remote, result.jitter)
        return _failed(state, result, outcome.reason, wait_s, now_s)._replace(release=True)
    if not outcome.answered:  # what is lost on a bad link shall be little
        state = replace(state, fresh=state.fresh.reset(remote.chunk_size), old=state.old.reset(remote.chunk_size))
    wait_s = max(backoff_s(state.failures, remote, result.jitter), min(outcome.retry_after_s, MAX_RETRY_AFTER_S))
    return _failed(state, result, outcome.reason, wait_s, now_s)


def backoff_s(failures: int, remote: Remote, jitter: float) -> float:
    """Return how long to wait after another failure: growing, bounded, and never the same for a whole fleet."""
    growth = remote.retry.backoff_multiplier ** min(failures, _MAX_EXPONENT)
    return jittered_s(float(remote.retry.initial_backoff_s * growth), remote, jitter)


def jittered_s(wait_s: float, remote: Remote, jitter: float) -> float:
    """Return a wait varied by the jitter; what would exceed the longest wait is mirrored below it.

    Cut off instead, half of a fleet would come back at the same second.
    """
    longest_s = remote.retry.max_backoff_s
    varied_s = min(wait_s, longest_s) * (1 + (2 * jitter - 1) * remote.retry.jitter_percent / 100)
    return 2 * longest_s - varied_s if varied_s > longest_s else varied_s


def _succeeded(before: State, result: Result, count: int, now_s: float) -> Decision:
    slowness = result.duration_s / _slow_s(before.remote, result.body_bytes)
    state = replace(
        _learn_sizes(before, result, whole=count == result.samples),
        failures=0,
        wait_until_s=0.0,
        failing_since_s=None,
        away=False,
        succeeded_s=now_s,
        good=before.good + 1 if slowness < GOOD_SHARE else 0,
        slowness=(*before.slowness, slowness)[-DURATIONS:],
    )
    state, why = _mode_after_success(state, slowness, now_s)
    events = _mode_changed(before, state, why)
    if before.away and before.failing_since_s is not None:
        took_s = now_s - before.failing_since_s
        events = (*events, Event("server_back", f"uploads succeed again, after {took_s:.0f} s"))
    is_over = before.failures > 0 or (before.mode != REALTIME and state.mode == REALTIME)
    return Decision(state, send_all=is_over, events=events)


def _failed(before: State, result: Result, reason: str, wait_s: float, now_s: float) -> Decision:
    since_s = now_s if before.failing_since_s is None else before.failing_since_s
    away = before.away or now_s - since_s >= AWAY_S
    state = replace(
        before,
        failures=before.failures + 1,
        wait_until_s=now_s + wait_s,
        failing_since_s=since_s,
        away=away,
        good=0,
        probe_s=now_s,
    )
    state, why = _mode_after_failure(state, reason, now_s)
    events = _mode_changed(before, state, why)
    if away and not before.away:
        events = (*events, Event("server_away", f"no upload for {now_s - since_s:.0f} s: {reason}"))
    retry = before.remote.retry
    is_last = result.attempt >= (retry.max_attempts if retry.enabled else 1)
    return Decision(state, wait_s, release=is_last, events=events)


def _learn_sizes(state: State, result: Result, *, whole: bool) -> State:
    """Learn the size of the next request from one that was accepted; a part of one says nothing."""
    state = replace(state, uplink=state.uplink.measured(result.samples, result.body_bytes, result.duration_s))
    sent = result.samples, result.body_bytes, state.remote.chunk_bytes
    if whole and result.old:
        return replace(state, old=state.old.grown(*sent))
    return replace(state, fresh=state.fresh.grown(*sent)) if whole and result.more else state


def _mode_after_success(state: State, slowness: float, now_s: float) -> tuple[State, str]:
    """Return the mode after an upload that the server took, and why it changed."""
    if state.is_fixed:
        return state, ""
    if state.mode == OFFLINE:
        return _entered(state, DEGRADED, now_s), "an upload succeeded"
    if state.mode == DEGRADED:
        state = _after_probe(state, slowness, now_s)
        if state.good >= GOOD and now_s - state.entered_s >= state.remote.upload_interval_s:
            return _entered(state, REALTIME, now_s), f"{state.good} good uploads in a row"
    elif len(state.slowness) == DURATIONS and (middle := median(state.slowness)) > 1:
        return _entered(state, DEGRADED, now_s), f"the median upload takes {middle:.1f} times too long"
    return state, ""


def _after_probe(state: State, slowness: float, now_s: float) -> State:
    """Return the state after a probe in degraded mode: when the next one goes, how long P1 waits."""
    interval_s = state.remote.upload_interval_s
    if slowness < GOOD_SHARE:
        first = STRETCH_INTERVALS[0]
        probe_s = now_s + NEXT_PROBE_INTERVALS * interval_s
        return replace(state, high_intervals=first, probe_intervals=first, probe_s=probe_s)
    state = replace(state, probe_s=now_s + state.probe_intervals * interval_s)
    if slowness <= 1:
        return state
    return replace(_worse(state), probe_intervals=min(WORSE * state.probe_intervals, STRETCH_INTERVALS[1]))


def _mode_after_failure(state: State, reason: str, now_s: float) -> tuple[State, str]:
    """Return the mode after a failure, and why it changed."""
    if state.is_fixed:
        return state, ""
    if state.mode == REALTIME and state.failures >= FAILURES:
        return _entered(state, DEGRADED, now_s), f"{state.failures} failures in a row, {reason}"
    if state.mode == DEGRADED:
        state = _worse(state)
        alone_s = now_s - state.succeeded_s
        if alone_s >= OFFLINE_INTERVALS * state.remote.upload_interval_s:
            return _entered(state, OFFLINE, now_s), f"no upload for {alone_s:.0f} s, {reason}"
    return state, ""


def _entered(state: State, mode: str, now_s: float) -> State:
    state = replace(state, mode=mode, entered_s=now_s, good=0, slowness=())
    first = STRETCH_INTERVALS[0]
    return replace(state, high_intervals=first, probe_intervals=first, probe_s=now_s) if mode == DEGRADED else state


def _worse(state: State) -> State:
    return replace(state, high_intervals=min(WORSE * state.high_intervals, STRETCH_INTERVALS[1]))


def _slow_s(remote: Remote, body_bytes: int) -> float:
    return max(SLOW_INTERVALS * remote.upload_interval_s, SLOW_LEAST_S) + body_bytes / SLOW_BYTES_PER_S


def _mode_changed(before: State, state: State, why: str) -> tuple[Event, ...]:
    if before.mode == state.mode:
        return ()
    return (Event("mode_changed", f"from {before.mode} to {state.mode}: {why}"),)
