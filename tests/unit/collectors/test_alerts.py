"""The PRD's thresholds: raised at once or after their hold, cleared with hysteresis and a hold, never a storm."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from collectors.derived.alerts import AlertStates
from common import thresholds
from common.events import Event, Limiter
from common.sample import Sample
from common.thresholds import BY_ALERT, THRESHOLDS, Alerts, Threshold

TARGET = 6_000_000.0


class Crossing(NamedTuple):
    """Values of a metric on the bad side, within the margin, and well; and the hold of the PRD."""

    bad: float
    near: float
    good: float
    hold_s: int = 0


PRD = {
    "packet_loss": Crossing(5.1, 4.8, 1.0),
    "high_round_trip": Crossing(501, 480, 60),
    "frames_dropped": Crossing(1.1, 0.95, 0),
    "buffer_full": Crossing(91, 85, 20),
    "low_bitrate": Crossing(0.49 * TARGET, 0.52 * TARGET, TARGET, 10),
    "overheating": Crossing(85.1, 80, 60),
    "processor_busy": Crossing(91, 85, 20, 30),
    "low_memory": Crossing(99e6, 105e6, 1e9),
}


class Feed:
    """The alerts that hear one metric, a sample a second."""

    def __init__(self, name: str, alerts: Alerts | None = None) -> None:
        self.states = AlertStates()
        self.threshold: Threshold = BY_ALERT[name]
        self._alerts = alerts or Alerts()
        self.now_s = 1_000.0

    def step(self, value: float, after_s: float = 1.0) -> list[Event]:
        """Let it hear a value; return the events."""
        self.now_s += after_s
        tags = {"core": "all"} if self.threshold.metric == "cpu.usage_percent" else {}
        samples = [Sample(self.threshold.metric, value, tags)]
        if self.threshold.of:
            samples.append(Sample(self.threshold.of, TARGET))
        return list(self.states.take(samples, self.now_s, self._alerts))

    def kinds(self, *values: float) -> list[str]:
        """Return the kinds of the events of some values."""
        return [event.kind for value in values for event in self.step(value)]


def test_every_threshold_of_the_prd_is_an_alert() -> None:
    """The eight, and no other."""
    assert set(PRD) == {threshold.alert for threshold in THRESHOLDS}


def raised_at(name: str, seconds: int) -> int | None:
    """Return the second in which a number that is bad for so many seconds raises its alert, None where it does not."""
    case, feed = PRD[name], Feed(name)
    values = [case.bad] * (seconds + 1) + [case.good] * 60
    return next((at for at, value in enumerate(values) if feed.kinds(value) == ["alert_raised"]), None)


def test_each_is_raised_exactly_as_the_prd_says() -> None:
    """Beyond for one sample, for the hold less a second, and for the hold: raised by that second and no other."""
    rows = [(name, case.hold_s, [raised_at(name, beyond) for beyond in (0, max(0, case.hold_s - 1), case.hold_s)])
            for name, case in PRD.items()]  # fmt: skip
    print(f"{'alert':16} {'hold':>5}  raised after: one sample, the hold less 1 s, the hold")
    for name, hold_s, raised in rows:
        print(f"{name:16} {hold_s:3} s  {', '.join('no' if at is None else f'{at} s' for at in raised)}")
    expected = [
        (name, case.hold_s, [None, None, case.hold_s] if case.hold_s else [0] * 3) for name, case in PRD.items()
    ]
    assert expected == rows


@pytest.mark.parametrize("name", [name for name in PRD if PRD[name].hold_s])
def test_the_hold_less_one_second_is_no_alert(name: str) -> None:
    """It begins again when the number has been good in between."""
    case, feed = PRD[name], Feed(name)
    for _ in range(3):
        assert [] == feed.kinds(*[case.bad] * case.hold_s, case.good)


@pytest.mark.parametrize("name", PRD)
def test_it_is_over_when_the_number_has_given_back_a_tenth(name: str) -> None:
    """Within the margin it stays, however long; beyond it, it is over after the hold of clearing."""
    case, feed = PRD[name], Feed(name)
    feed.kinds(*[case.bad] * (case.hold_s + 1))
    assert [] == feed.kinds(*[case.near] * 100)
    assert [] == feed.kinds(*[case.good] * 10)
    assert ["alert_cleared"] == feed.kinds(case.good)
    assert [] == feed.kinds(*[case.good] * 100)


@pytest.mark.parametrize(("name", "at", "margin"), [("packet_loss", 5.0, 4.5), ("low_memory", 100e6, 110e6)])
def test_a_number_on_the_threshold_is_good_and_one_on_the_margin_too(name: str, at: float, margin: float) -> None:
    """The limits belong to the good side, of an alert that has to be above its threshold and of one below it."""
    feed = Feed(name)
    assert [] == feed.kinds(at, at)
    assert ["alert_raised"] == feed.kinds(PRD[name].bad)
    assert ["alert_cleared"] == feed.kinds(*[margin] * 11)


@pytest.mark.parametrize("name", PRD)
def test_a_number_that_flaps_is_few_events(name: str) -> None:
    """Half an hour of a number that changes sides each second, and as long of one that does so every 20 s."""
    case = PRD[name]
    limiter, feed = Limiter(), Feed(name)
    for second in range(3_600):
        slow = second > 1_800 and second % 40 < 20
        for event in feed.step(case.bad if slow or (second <= 1_800 and second % 2) else case.good):
            limiter.offer(event, 0, feed.now_s)
    told = sum(1 for _ in limiter.rest())
    assert told <= 1
    quick = Feed(name)
    kinds = quick.kinds(*[case.bad, case.good] * 300)
    assert len(kinds) <= 1


@pytest.mark.parametrize("name", PRD)
def test_it_follows_the_configuration(name: str) -> None:
    """0 switches an alert off."""
    key = BY_ALERT[name].key
    case, feed = PRD[name], Feed(name, Alerts(**{key: 0.0}))
    assert [] == feed.kinds(*[case.bad] * 60)
    assert {} == feed.states.states


def test_another_threshold_is_in_force_at_once() -> None:
    """rtt_ms: 800 makes nothing of 600 ms."""
    assert [] == Feed("high_round_trip", Alerts(rtt_ms=800)).kinds(600, 799)
    assert ["alert_raised"] == Feed("high_round_trip", Alerts(rtt_ms=800)).kinds(801)


def test_an_alert_says_what_and_how_much() -> None:
    """The number, its unit, its threshold, and the hold where there is one."""
    assert ["packet loss: 40 %, above 5"] == [event.text for event in Feed("packet_loss").step(40)]
    feed = Feed("low_bitrate")
    events = [event for _ in range(11) for event in feed.step(1.5e6)]
    assert ["low bitrate: 25 % of the target, below 50 for 10 s"] == [event.text for event in events]


def test_an_alert_of_the_stream_ends_with_it() -> None:
    """And says why; one of the device stays."""
    loss, heat = Feed("packet_loss"), Feed("overheating")
    loss.step(40)
    heat.step(90)
    ended = list(loss.states.forget(loss.now_s, Alerts(), live=False))
    assert [("alert_cleared", "packet loss: no stream is live any more")] == [(e.kind, e.text) for e in ended]
    assert [] == list(heat.states.forget(heat.now_s, Alerts(), live=False))
    assert [] == list(loss.states.forget(loss.now_s, Alerts(), live=False))


@pytest.mark.parametrize(("spacings_s", "after_s"), [([], 90), ([1], 12), ([5], 15), ([30], 90), ([30, 1], 12)])
def test_an_alert_ends_when_its_number_is_gone(spacings_s: list[float], after_s: float) -> None:
    """A source that fell silent for three of its intervals leaves no alert behind; 30 s are assumed at first."""
    heat = Feed("overheating")
    heat.step(90)
    for spacing_s in spacings_s:
        heat.step(90, after_s=spacing_s)
    assert [] == list(heat.states.forget(heat.now_s + after_s, Alerts(), live=True))
    assert ["overheating: its number is not known any more"] == [
        event.text for event in heat.states.forget(heat.now_s + after_s + 0.1, Alerts(), live=True)
    ]


def test_each_alert_ends_by_itself() -> None:
    """One whose number still comes keeps no other alive."""
    states, late_s = AlertStates(), 1_000.0
    assert 1 == len(list(states.take([Sample("cpu.temperature", 90)], 0.0, Alerts())))
    assert 1 == len(list(states.take([Sample("srt.packet_loss_percent", 40)], late_s, Alerts())))
    ended = [event.subject for event in states.forget(late_s, Alerts(), live=True)]
    assert (["overheating"], {"packet_loss"}) == (ended, set(states.states))


def test_what_is_no_number_of_a_threshold_is_not_judged() -> None:
    """Text under its name is none, nor is another metric."""
    samples = [Sample("cpu.temperature", "hot"), Sample("srt.rtt_ms", "?"), Sample("network.rtt_ms", 9_000)]
    states = AlertStates()
    assert ([], {}) == (list(states.take(samples, 1.0, Alerts())), states.states)


def test_one_busy_core_is_no_busy_processor() -> None:
    """The sum of the cores counts."""
    samples = [Sample("cpu.usage_percent", 100, {"core": "3"}), Sample("cpu.usage_percent", 30, {"core": "all"})]
    states = AlertStates()
    for second in range(60):
        assert [] == list(states.take(samples, second, Alerts()))


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: threshold.alert)
def test_amber_begins_before_red(threshold: Threshold) -> None:
    """Whatever is configured, what is beyond is red and what is near is amber."""
    alerts, case = Alerts(), PRD[threshold.alert]
    whole = TARGET if threshold.of else None
    levels = [
        thresholds.level(threshold, alerts, thresholds.value_of(threshold, value, whole))
        for value in (case.bad, case.good)
    ]
    assert [thresholds.ERROR, thresholds.OK] == levels
    if threshold.hold:
        value = thresholds.value_of(threshold, case.bad, whole)
        assert thresholds.DEGRADED == thresholds.level(threshold, alerts, value, held=False)
