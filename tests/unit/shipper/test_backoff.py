"""Waits grow, end, vary, and begin anew."""

from __future__ import annotations

from common.remote import Retry
from shipper.pace.backoff import MAX_RETRY_AFTER_S, Backoff

NOW_S = 1000.0


def waits(random: float, count: int = 6, **keys: float) -> list[float]:
    """Return the first waits where the random source always says the same."""
    backoff = Backoff(Retry(**keys), lambda: random)  # type: ignore[arg-type]
    return [round(backoff.failed(NOW_S), 6) for _ in range(count)]


def test_waits_grow_to_the_longest() -> None:
    """5, 15, 45, and then a minute."""
    assert [5.0, 15.0, 45.0, 60.0, 60.0, 60.0] == waits(0.5)


def test_the_jitter_shortens_and_lengthens() -> None:
    """20 % either way."""
    assert [4.0, 12.0, 36.0, 48.0] == waits(0.0, 4)
    assert [6.0, 18.0, 54.0] == waits(1.0, 3)


def test_no_wait_exceeds_the_longest_and_they_still_differ() -> None:
    """What the jitter adds to the longest wait is taken off instead."""
    longest = [Backoff(Retry(initial_backoff_s=60.0), lambda n=n: n / 10).failed(NOW_S) for n in range(11)]  # type: ignore[misc]
    assert all(48 <= wait <= 60 for wait in longest)
    assert len({round(wait, 6) for wait in longest}) == 6


def test_a_success_begins_anew() -> None:
    """The next outage starts with the first wait."""
    backoff = Backoff(Retry(), lambda: 0.5)
    backoff.failed(NOW_S)
    backoff.failed(NOW_S)
    backoff.succeeded()
    assert (0, 0.0) == (backoff.failures, backoff.until_s)
    assert backoff.failed(NOW_S) == 5.0


def test_it_says_until_when() -> None:
    """Nothing is to be asked before."""
    backoff = Backoff(Retry(), lambda: 0.5)
    backoff.failed(NOW_S)
    assert backoff.until_s == NOW_S + 5


def test_the_larger_wait_wins() -> None:
    """Retry-After lengthens a wait, never shortens it."""
    assert Backoff(Retry(), lambda: 0.5).failed(NOW_S, 12.0) == 12.0
    assert Backoff(Retry(), lambda: 0.5).failed(NOW_S, 1.0) == 5.0


def test_retry_after_has_an_end() -> None:
    """A server that asks for a year is asked again after an hour."""
    assert Backoff(Retry(), lambda: 0.5).failed(NOW_S, float("inf")) == MAX_RETRY_AFTER_S


def test_what_waiting_does_not_cure_waits_longest() -> None:
    """A wrong token is tried once a minute."""
    backoff = Backoff(Retry(), lambda: 0.5)
    assert backoff.refused(NOW_S) == 60.0
    assert backoff.failures == 1


def test_a_thousand_failures_are_no_overflow() -> None:
    """An outage of a month, with the steepest growth there is."""
    assert waits(0.5, 1000, backoff_multiplier=10.0)[-1] == 60.0


def test_a_multiplier_of_one_does_not_grow() -> None:
    """An operator may want a constant wait."""
    assert [5.0, 5.0, 5.0] == waits(0.5, 3, backoff_multiplier=1.0)
