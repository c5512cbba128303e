"""What an answer means for the next request: tables of what happened and what follows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from common.events import Event
from common.remote import Remote, Retry
from shipper.http.outcome import Accepted, BodyRefused, NotTheServer, NotWelcome, Outcome, TryLater
from shipper.policy import AWAY_S, Decision, Result, backoff_s, decide
from shipper.state import DEGRADED, OFFLINE, REALTIME, State, initial

START_S = 5000.0
# Of a body of no size: slow is beyond 5 s, good below half of that.
SLOW_S, FAIR_S, HALF_SLOW_S, GOOD_S = 6.0, 4.0, 2.5, 0.2

Happening = tuple[float, "float | None"]  # seconds after the start, and an upload's duration or None for a failure


def step(state: State, outcome: Outcome, at_s: float = 0.0, **named: object) -> Decision:
    """Return the decision on one request of 50 samples."""
    usual = Result(outcome, 50, 250, duration_s=0.0, old=False, more=False, attempt=1, jitter=0.5)
    return decide(state, usual._replace(**named), START_S + at_s)  # type: ignore[arg-type]


def failed(state: State, at_s: float, outcome: Outcome | None = None) -> Decision:
    """Return the decision on a failure."""
    return step(state, outcome or TryLater("timeout", answered=False), at_s)


def after(happenings: Sequence[Happening], wanted: str = "auto") -> State:
    """Return the state to which things have happened."""
    state = initial(Remote(mode=wanted), START_S)
    for at_s, duration_s in happenings:
        if duration_s is None:
            state = failed(state, at_s).state
        else:
            state = step(state, Accepted(50), at_s, duration_s=duration_s, body_bytes=0).state
    return state


def failures(*times_s: float) -> list[Happening]:
    """Return failed uploads."""
    return [(at_s, None) for at_s in times_s]


def uploads(duration_s: float, *times_s: float) -> list[Happening]:
    """Return uploads that worked."""
    return [(at_s, duration_s) for at_s in times_s]


@pytest.mark.parametrize(
    ("outcome", "wait_s", "release", "chunk", "failures"),
    [
        (Accepted(200), 0.0, False, 800, 0),
        (Accepted(100), 0.0, False, 200, 0),
        (BodyRefused("http_400"), 0.0, False, 200, 1),
        (BodyRefused("http_413", too_large=True), 0.0, False, 100, 1),
        (TryLater("http_503"), 15.0, False, 200, 2),
        (TryLater("http_503", 40.0), 40.0, False, 200, 2),
        (TryLater("http_503", 1.0), 15.0, False, 200, 2),
        (TryLater("http_429", float("inf")), 3600.0, False, 200, 2),
        (TryLater("timeout", answered=False), 15.0, False, 50, 2),
        (NotTheServer("captive_portal"), 15.0, False, 200, 2),
        (NotWelcome("http_401"), 60.0, True, 200, 2),
    ],
    ids=str,
)
def test_an_answer_decides_the_next_request(
    outcome: Outcome, wait_s: float, release: bool, chunk: int, failures: int
) -> None:
    """After one upload that grew the chunk to 200, and one failure."""
    state = failed(step(initial(Remote(), START_S), Accepted(50), more=True).state, 1, TryLater("http_503")).state
    decision = step(state, outcome, 2, samples=200, more=True)
    assert (wait_s, release, chunk, failures) == (
        decision.wait_s, decision.release, decision.state.chunk(old=False), decision.state.failures
    )  # fmt: skip
    assert decision.state.wait_until_s == (START_S + 2 + wait_s if wait_s else state.wait_until_s * (failures > 0))


@pytest.mark.parametrize(("attempt", "enabled", "release"), [(1, True, False), (3, True, True), (1, False, True)])
def test_a_round_ends_with_its_last_attempt(attempt: int, enabled: bool, release: bool) -> None:
    """Then the samples are pending again."""
    state = initial(Remote(retry=Retry(enabled=enabled)), START_S)
    assert release is step(state, TryLater("http_503"), attempt=attempt).release


def test_an_outage_that_is_over_sends_everything() -> None:
    """And only then: an upload after a failure, or the one that leads back to realtime."""
    state = initial(Remote(), START_S)
    assert not step(state, Accepted(50)).send_all
    away = failed(state, 1)
    assert not away.send_all
    assert not step(away.state, BodyRefused("http_400"), 2).send_all
    assert step(away.state, Accepted(50), 2).send_all
    probed = after([*failures(1, 2, 3), *uploads(GOOD_S, 10)])
    second = step(probed, Accepted(50), 20, duration_s=GOOD_S)
    assert not second.send_all
    assert step(second.state, Accepted(50), 33, duration_s=GOOD_S).send_all


def test_old_samples_wait_for_their_share() -> None:
    """From the begin of the request on, whatever came of it."""
    state = step(initial(Remote(), START_S), Accepted(50), 10, old=True, duration_s=0.25).state
    assert START_S + 10 - 0.25 + 1 == state.old_until_s
    assert 200 == step(state, Accepted(50), 20, old=True, duration_s=1e-3).state.old.samples


@pytest.mark.parametrize(
    ("expected", "jitter", "retry"),
    [
        ([5.0, 15.0, 45.0, 60.0, 60.0], 0.5, Retry()),
        ([4.0, 12.0, 36.0, 48.0], 0.0, Retry()),
        ([6.0, 18.0, 54.0], 1.0, Retry()),
        ([5.0, 5.0, 5.0], 0.5, Retry(backoff_multiplier=1.0)),
    ],
)
def test_waits_grow_to_the_longest_and_vary(expected: list[float], jitter: float, retry: Retry) -> None:
    """5, 15, 45, and then a minute; 20 % either way."""
    remote = Remote(retry=retry)
    assert expected == [round(backoff_s(number, remote, jitter), 6) for number in range(len(expected))]


def test_no_wait_exceeds_the_longest_and_they_still_differ() -> None:
    """What the jitter adds to the longest wait is taken off instead."""
    longest = [backoff_s(9, Remote(), number / 10) for number in range(11)]
    assert all(48 <= wait <= 60 for wait in longest)
    assert len({round(wait, 6) for wait in longest}) == 6


def test_a_thousand_failures_are_no_overflow() -> None:
    """An outage of a month, with the steepest growth there is."""
    assert 60.0 == backoff_s(1000, Remote(retry=Retry(backoff_multiplier=10.0)), 0.5)


@pytest.mark.parametrize(
    ("expected", "happenings"),
    [
        (REALTIME, []),
        (REALTIME, failures(1, 2)),
        (REALTIME, [*failures(1, 2), *uploads(GOOD_S, 3), *failures(4, 5)]),
        (DEGRADED, failures(1, 2, 3)),
        (REALTIME, uploads(SLOW_S, 1, 2, 3, 4)),
        (REALTIME, uploads(5.0, 1, 2, 3, 4, 5)),
        (REALTIME, [*uploads(GOOD_S, 1, 2, 3), *uploads(SLOW_S, 4, 5)]),
        (DEGRADED, [*uploads(GOOD_S, 1, 2), *uploads(SLOW_S, 3, 4, 5)]),
        (DEGRADED, failures(1, 2, 3, 299)),
        (OFFLINE, failures(1, 2, 3, 300)),
        (REALTIME, [*uploads(GOOD_S, 290), *failures(301, 302)]),
        (DEGRADED, [*uploads(GOOD_S, 290), *failures(301, 302, 303, 304)]),
        (OFFLINE, [*failures(1, 2, 3, 300, 301)]),
        (DEGRADED, [*failures(1, 2, 3, 300), *uploads(SLOW_S, 400)]),
        (DEGRADED, [*failures(1, 2, 3), *uploads(GOOD_S, 10, 20, 30)]),
        (REALTIME, [*failures(1, 2, 3), *uploads(GOOD_S, 10, 20, 33)]),
        (DEGRADED, [*failures(1, 2, 3), *uploads(HALF_SLOW_S, 10, 20, 33)]),
        (DEGRADED, [*failures(1, 2, 3), *uploads(GOOD_S, 20, 40), *failures(50), *uploads(GOOD_S, 60, 70)]),
        (DEGRADED, [*failures(1, 2, 3), *uploads(GOOD_S, 20, 40), *uploads(FAIR_S, 50), *uploads(GOOD_S, 60, 70)]),
    ],
)
def test_the_mode_moves_on_what_was_measured(expected: str, happenings: list[Happening]) -> None:
    """And not on a single bad one, nor back on a single good one."""
    assert expected == after(happenings).mode


@pytest.mark.parametrize("wanted", [REALTIME, DEGRADED, OFFLINE])
def test_a_fixed_mode_stays(wanted: str) -> None:
    """Whatever happens."""
    happenings = [*failures(1, 2, 3, 400), *uploads(SLOW_S, *range(500, 510)), *uploads(GOOD_S, *range(600, 610))]
    assert wanted == after(happenings, wanted).mode


def test_a_change_of_mode_is_an_event_with_its_reason() -> None:
    """Once."""
    (event,) = failed(after(failures(1, 2)), 3, TryLater("http_503")).events
    assert ("mode_changed", "from realtime to degraded: 3 failures in a row, http_503") == (event.kind, event.text)
    assert () == failed(after(failures(1, 2, 3)), 4).events


def test_a_server_that_is_away_for_a_minute_is_an_event_and_so_is_its_return() -> None:
    """Once each; a mode that is fixed says nothing of its own."""
    state = initial(Remote(mode=REALTIME), START_S)
    kinds: list[Event] = []
    for second in (0, 5, AWAY_S, AWAY_S + 30):
        decision = failed(state, second, TryLater("http_503"))
        state, kinds = decision.state, [*kinds, *decision.events]
    for second in (300, 301):
        decision = step(state, Accepted(50), second)
        state, kinds = decision.state, [*kinds, *decision.events]
    assert [
        ("server_away", "no upload for 60 s: http_503"),
        ("server_back", "uploads succeed again, after 300 s"),
    ] == [(event.kind, event.text) for event in kinds]


def test_failures_that_are_soon_over_are_no_event() -> None:
    """However often."""
    state = initial(Remote(), START_S)
    for at_s in range(0, 600, 30):
        for decision in (failed(state, at_s), step(failed(state, at_s).state, Accepted(50), at_s + 20)):
            assert () == decision.events
        state = decision.state


@pytest.mark.parametrize(
    ("expected", "interval_s", "kib", "duration_s"),
    [
        (REALTIME, 30.0, 256, 36.0),
        (DEGRADED, 30.0, 256, 38.0),
        (REALTIME, 1.0, 0, 0.4),
        (DEGRADED, 1.0, 0, 0.6),
    ],
)
def test_slow_is_measured_by_interval_and_size(expected: str, interval_s: float, kib: int, duration_s: float) -> None:
    """256 KiB at 8 KiB/s are no reason to send less, nor is a server of one's own that is busy for half a second."""
    state = initial(Remote(upload_interval_s=interval_s), START_S)
    for number in range(5):
        state = step(state, Accepted(50), number, duration_s=duration_s, body_bytes=kib * 1024).state
    assert expected == state.mode


@pytest.mark.parametrize(
    ("expected", "held", "wanted"),
    [((0, 1, 2, 3), set(), REALTIME), ((0, 1), {2, 3}, DEGRADED), ((), {0, 1, 2, 3}, OFFLINE)],
)
def test_a_fixed_mode_says_who_waits(expected: tuple[int, ...], held: set[int], wanted: str) -> None:
    """And that it is meant so, which is no reason to be ill."""
    state = initial(Remote(mode=wanted), START_S)
    assert (expected, held, None) == (state.lanes(START_S + 1e6), set(state.held), state.next_probe_s)


def test_degraded_sends_p0_and_p1_and_a_probe_now_and_then() -> None:
    """A box without P0 and P1 finds its way back too: at once after a failure, 10 s after a good upload."""
    state = after(failures(1, 2, 3))
    assert (0, 1, 2, 3) == state.lanes(START_S + 3)
    state = step(state, Accepted(50), 5, duration_s=GOOD_S).state
    assert ((0, 1), START_S + 15) == (state.lanes(START_S + 14), state.next_probe_s)
    assert (0, 1, 2, 3) == state.lanes(START_S + 15)


def test_slow_probes_become_rare() -> None:
    """60 s apart, then 120, 240 and 300 and no more; a good one forgets that."""
    state, apart_s = after(failures(1, 2, 3)), []
    for _ in range(5):
        state = step(state, Accepted(50), 4, duration_s=SLOW_S).state
        assert state.next_probe_s is not None
        apart_s.append(state.next_probe_s - START_S - 4)
    assert [60, 120, 240, 300, 300] == apart_s
    for duration_s, apart in ((GOOD_S, 10), (FAIR_S, 60), (5.0, 60), (HALF_SLOW_S, 60)):
        state = step(state, Accepted(50), 4, duration_s=duration_s, body_bytes=0).state
        assert START_S + 4 + apart == state.next_probe_s


def test_p1_waits_for_company_while_it_is_bad() -> None:
    """60 s growing to 300 s; as configured otherwise."""
    state = after(failures(1, 2))
    waits_s = [state.high_interval_s]
    for at_s in (3, 4, 5, 6, 7):
        state = failed(state, at_s).state
        waits_s.append(state.high_interval_s)
    assert [0, 60, 120, 240, 300, 300] == waits_s
    assert 60 == step(state, Accepted(50), 8, duration_s=GOOD_S).state.high_interval_s


def test_chunks_are_large_in_degraded_once_they_arrive() -> None:
    """A probe is small, what follows is not."""
    state = after(failures(1, 2, 3))
    assert 50 == state.chunk(old=False)
    assert 2500 == step(state, Accepted(50), 4).state.chunk(old=False)


def test_offline_probes_with_whatever_there_is() -> None:
    """As often as the backoff allows."""
    assert (0, 1, 2, 3) == after(failures(1, 2, 3, 300)).lanes(START_S + 301)
