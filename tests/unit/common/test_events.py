"""Events: what they travel as, how many are let through, and that the newest is never lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common import events
from common.event_advice import ADVICE
from common.event_kinds import CRITICAL, ERROR, INFO, KINDS, WARNING
from common.events import BURST, REFILL_S, Event, Limiter, Timed

FAILED, AGAIN = "collector_failed", "collector_recovered"


def test_an_event_travels_as_a_text_sample() -> None:
    """Its labels say what it is, its value is the sentence."""
    expected = ("event", "no disk", {"kind": FAILED, "severity": "warning", "source": "disk", "subject": "sda"})
    assert expected == tuple(events.sample(Event(FAILED, "no disk", "sda"), "disk"))


def test_an_endless_text_is_cut() -> None:
    """A kernel line has an end; what has none does not fill the database."""
    assert "x" * 1000 == events.sample(Event(FAILED, "x" * 5000), "p").value


def test_each_kind_is_whole() -> None:
    """A known severity, a sentence, and what it ends exists and ends nothing itself."""
    for kind, row in KINDS.items():
        assert row.severity in {INFO, WARNING, ERROR, CRITICAL}, kind
        assert row.help.endswith("."), kind
        assert not row.clears or not KINDS[row.clears].clears, kind


def test_a_burst_goes_through_then_one_a_minute() -> None:
    """What was held back says how many it stands for, and when it was."""
    limiter = Limiter()
    through = [limiter.offer(Event(FAILED, str(n)), 1000 + n, 0.0) for n in range(10)]
    assert [Timed(1000 + n, Event(FAILED, str(n))) for n in range(BURST)] == through[:BURST]
    assert [None] * 4 == through[BURST:]
    assert [] == list(limiter.due(REFILL_S - 1))
    assert [Timed(1009, Event(FAILED, "9 (3 more like this before)"))] == list(limiter.due(REFILL_S))
    assert [] == list(limiter.due(10 * REFILL_S))


def test_what_ends_it_shares_the_bucket() -> None:
    """A flapping link is held back as a whole, and the last word is the true one."""
    limiter = Limiter()
    for n in range(20):
        limiter.offer(Event(FAILED if n % 2 == 0 else AGAIN, str(n), "usb0"), n, 0.0)
    assert [AGAIN] == [timed.event.kind for timed in limiter.rest()]


def test_subjects_do_not_share() -> None:
    """One flapping link silences no other."""
    limiter = Limiter()
    for n in range(20):
        limiter.offer(Event(FAILED, "", "usb0"), n, 0.0)
    assert limiter.offer(Event(FAILED, "", "usb1"), 0, 0.0) is not None


@given(st.lists(st.tuples(st.sampled_from([FAILED, AGAIN]), st.floats(0, 30))))
def test_no_event_is_uncounted(steps: list[tuple[str, float]]) -> None:
    """Every event is let through or counted in one that is, and the newest comes last."""
    limiter, now_s, out = Limiter(), 0.0, []
    for number, (kind, wait_s) in enumerate(steps):
        now_s += wait_s
        out += list(limiter.due(now_s))
        timed = limiter.offer(Event(kind, str(number)), number, now_s)
        out += [timed] if timed else []
    out += list(limiter.rest())
    more = sum(int(t.event.text.split("(")[1].split()[0]) for t in out if "(" in t.event.text)
    assert len(steps) == len(out) + more
    assert sorted(out) == out
    assert not steps or len(steps) - 1 == out[-1].timestamp_ms


def test_every_event_that_needs_somebody_says_what_to_do() -> None:
    """Whatever is more than information has a sentence, and nothing else has."""
    needed = {name for name, kind in KINDS.items() if kind.severity != "info"}
    assert needed == set(ADVICE)


def test_no_event_leans_on_its_neighbour() -> None:
    """A row is read alone: it names what it is about."""
    assert [] == [name for name, kind in KINDS.items() if kind.help.startswith(("It ", "They "))]
