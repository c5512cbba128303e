"""How much is asked of the uplink, after what."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shipper.pace.mode import DEGRADED, OFFLINE, REALTIME, Mode

START_S = 5000.0
INTERVAL_S = 30.0
SLOW_S, FAIR_S, GOOD_S = 6.0, 4.0, 0.2  # of a body of no size: slow is beyond 5 s, good below half of that

Event = tuple[float, "float | None"]  # seconds after the start, and an upload's duration or None for a failure


def after(events: Sequence[Event], wanted: str = "auto") -> Mode:
    """Return a mode to which things have happened."""
    mode = Mode(wanted, INTERVAL_S, START_S)
    for at_s, duration_s in events:
        if duration_s is None:
            mode.failed(START_S + at_s, "timeout")
        else:
            mode.succeeded(START_S + at_s, duration_s, 0)
    return mode


def failures(*times_s: float) -> list[Event]:
    """Return failed uploads."""
    return [(at_s, None) for at_s in times_s]


def uploads(duration_s: float, *times_s: float) -> list[Event]:
    """Return uploads that worked."""
    return [(at_s, duration_s) for at_s in times_s]


@pytest.mark.parametrize(
    ("expected", "events"),
    [
        (REALTIME, []),
        (REALTIME, failures(1, 2)),
        (REALTIME, [*failures(1, 2), *uploads(GOOD_S, 3), *failures(4, 5)]),
        (DEGRADED, failures(1, 2, 3)),
        (REALTIME, uploads(SLOW_S, 1, 2, 3, 4)),
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
        (DEGRADED, [*failures(1, 2, 3), *uploads(GOOD_S, 20, 40), *failures(50), *uploads(GOOD_S, 60, 70)]),
        (DEGRADED, [*failures(1, 2, 3), *uploads(GOOD_S, 20, 40), *uploads(FAIR_S, 50), *uploads(GOOD_S, 60)]),
    ],
)
def test_it_moves_on_what_was_measured(expected: str, events: list[Event]) -> None:
    """And not on a single bad one, nor back on a single good one."""
    assert expected == after(events).name


@pytest.mark.parametrize("wanted", [REALTIME, DEGRADED, OFFLINE])
def test_a_fixed_mode_stays(wanted: str) -> None:
    """Whatever happens."""
    events = [*failures(1, 2, 3, 400), *uploads(SLOW_S, *range(500, 510)), *uploads(GOOD_S, *range(600, 610))]
    assert wanted == after(events, wanted).name


def test_a_change_says_from_what_to_what_and_why() -> None:
    """For the one line in the log."""
    mode = after(failures(1, 2))
    assert ("realtime", "degraded", "3 failures in a row, http_503") == mode.failed(START_S + 3, "http_503")
    assert mode.failed(START_S + 4, "http_503") is None


def test_a_large_body_may_take_its_time() -> None:
    """256 KiB at 20 KB/s are 13 s and no reason to send less."""
    mode = Mode("auto", INTERVAL_S, START_S)
    for number in range(10):
        mode.succeeded(START_S + number, 13.0, 256 * 1024)
    assert REALTIME == mode.name


@pytest.mark.parametrize(
    ("expected", "kept", "wanted"),
    [((0, 1, 2, 3), set(), REALTIME), ((0, 1), {2, 3}, DEGRADED), ((), {0, 1, 2, 3}, OFFLINE)],
)
def test_a_fixed_mode_says_who_waits(expected: tuple[int, ...], kept: set[int], wanted: str) -> None:
    """And that it is meant so, which is no reason to be ill."""
    mode = Mode(wanted, INTERVAL_S, START_S)
    assert (expected, kept) == (mode.lanes(START_S + 1e6), set(mode.kept))
    assert mode.next_s is None


def test_degraded_sends_p0_and_p1_and_a_probe_now_and_then() -> None:
    """A box without P0 and P1 finds its way back too: at once after a failure, 10 s after a good upload."""
    mode = after(failures(1, 2, 3))
    assert (0, 1, 2, 3) == mode.lanes(START_S + 3)
    mode.succeeded(START_S + 5, GOOD_S, 0)
    assert (0, 1) == mode.lanes(START_S + 14)
    assert START_S + 15 == mode.next_s
    assert (0, 1, 2, 3) == mode.lanes(START_S + 15)


def test_slow_probes_become_rare() -> None:
    """60 s apart, then 120, 240 and 300 and no more; a good one forgets that."""
    mode = after(failures(1, 2, 3))
    apart_s = []
    for _ in range(5):
        mode.succeeded(START_S + 4, SLOW_S, 0)
        assert mode.next_s is not None
        apart_s.append(mode.next_s - START_S - 4)
    assert [60, 120, 240, 300, 300] == apart_s
    mode.succeeded(START_S + 4, GOOD_S, 0)
    mode.succeeded(START_S + 4, FAIR_S, 0)
    assert START_S + 64 == mode.next_s


def test_p1_waits_for_company_while_it_is_bad() -> None:
    """60 s growing to 300 s; as configured otherwise."""
    mode = after(failures(1, 2))
    waits_s = [mode.high_interval_s]
    for at_s in (3, 4, 5, 6, 7):
        mode.failed(START_S + at_s, "timeout")
        waits_s.append(mode.high_interval_s)
    assert [0, 60, 120, 240, 300, 300] == waits_s
    mode.succeeded(START_S + 8, GOOD_S, 0)
    assert 60 == mode.high_interval_s


def test_chunks_are_large_in_degraded_once_they_arrive() -> None:
    """A probe is small, what follows is not."""
    mode = after(failures(1, 2, 3))
    assert not mode.sends_large
    mode.succeeded(START_S + 4, GOOD_S, 0)
    assert mode.sends_large


def test_offline_probes_with_whatever_there_is() -> None:
    """As often as the backoff allows."""
    assert (0, 1, 2, 3) == after(failures(1, 2, 3, 300)).lanes(START_S + 301)
