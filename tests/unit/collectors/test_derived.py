"""Scores, alerts and cuts, from what was heard."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from collectors.derived import alerts, bitrate_rules, derived, scores
from collectors.derived.bitrate_rules import Cut
from collectors.derived.heard import Heard
from collectors.host import Host
from common import clock
from common.events import Event
from common.sample import Sample

WELL = {
    "srt.connected": 1, "srt.packet_loss_percent": 0.0, "srt.rtt_ms": 60.0, "srt.latency_ms": 2000,
    "srt.bitrate_bits_per_second": 6_200_000, "srt.retransmit_percent": 1.0,
    "encoder.bitrate_bits_per_second": 5_800_000, "encoder.bitrate_target_bits_per_second": 6_000_000,
    "encoder.frame_drop_percent": 0.0, "encoder.latency_ms": 12.0, "encoder.frame_rate": 30.0,
}  # fmt: skip


class Play:
    """A derived collector that is told values, five seconds apart."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = derived.State()
        self.now_s = 1_000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now_s)

    def step(self, values: Mapping[str, float]) -> tuple[dict[str, float], list[Event]]:
        """Tell it values, let it collect; return its samples by name and label, and its events."""
        self.now_s += 5
        tags = {"cpu.usage_percent": {"core": "all"}}
        samples = [Sample(name, value, tags.get(name, {})) for name, value in values.items()]
        derived.hear(samples, clock.wall_ms(), "test", self.state)
        found = list(derived.collect(Host(now_s=self.now_s), derived.Config(), self.state))
        events = [item for item in found if isinstance(item, Event)]
        given = [item for item in found if isinstance(item, Sample)]
        return {sample.tags.get("alert", sample.name): float(sample.value) for sample in given}, events


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """One collector."""
    return Play(monkeypatch)


def test_a_healthy_stream_has_its_scores(play: Play) -> None:
    """Everything is there and near its best; the picture is as old as encoding, latency and half a round trip."""
    for _ in range(6):
        said, events = play.step(WELL)
    assert [] == events
    assert (100.0, 100.0, 100.0) == (
        said["stream.health_score"], said["network.stability_index"], said["stream.reliability_percent"],
    )  # fmt: skip
    assert 2042.0 == said["stream.latency_estimate_ms"]
    assert 0.926 == said["encoder.efficiency"]


HEALTH_INPUTS = (
    *("srt.packet_loss_percent", "srt.rtt_ms", "srt.latency_ms"),
    *("encoder.bitrate_target_bits_per_second", "encoder.frame_drop_percent"),
)


@pytest.mark.parametrize("missing", HEALTH_INPUTS)
def test_a_score_without_an_input_is_absent(play: Play, missing: str) -> None:
    """Nothing is made up for what is not known."""
    said, _ = play.step({name: value for name, value in WELL.items() if name != missing})
    assert "stream.health_score" not in said


def test_a_stream_that_is_not_connected_scores_nothing(play: Play) -> None:
    """However well its last numbers were."""
    assert 0.0 == play.step({**WELL, "srt.connected": 0})[0]["stream.health_score"]


def test_what_is_no_longer_said_is_absent(play: Play) -> None:
    """A collector that died leaves no scores after three of its intervals."""
    for _ in range(3):
        play.step(WELL)
    said = [play.step({})[0] for _ in range(5)]
    assert "stream.health_score" in said[0]
    assert {} == said[-1]


def test_each_weight_is_its_documented_one() -> None:
    """Each input at its worst takes exactly its weight."""
    assert 100.0 == scores.health(0, 60, 2000, 1.0, 0)
    worst = (
        scores.health(10, 60, 2000, 1.0, 0), scores.health(0, 1000, 2000, 1.0, 0),
        scores.health(0, 60, 2000, 0.3, 0), scores.health(0, 60, 2000, 1.0, 5), scores.health(99, 9999, 2000, 0, 100),
    )  # fmt: skip
    assert (70.0, 75.0, 75.0, 80.0, 0.0) == worst


def test_links_that_are_down_make_the_network_unsteady() -> None:
    """One of three links down takes a third; a round trip that varies by half its mean takes half."""
    assert 66.7 == scores.stability([50.0] * 6, [1, 1, 0])
    assert 50.0 == scores.stability([50.0, 150.0] * 3, [1])
    assert scores.stability([50.0] * 5, [1]) is None


CROSSINGS = {
    "packet_loss": ("srt.packet_loss_percent", 6.0, 4.8, 4.0),
    "high_round_trip": ("srt.rtt_ms", 600.0, 480.0, 400.0),
    "frames_dropped": ("encoder.frame_drop_percent", 1.5, 0.95, 0.5),
    "buffer_full": ("srt.buffer_utilization_percent", 95.0, 85.0, 50.0),
    "low_bitrate": ("encoder.bitrate_bits_per_second", 2e6, 3.1e6, 4e6),
    "overheating": ("cpu.temperature", 88.0, 80.0, 70.0),
    "low_memory": ("memory.available_bytes", 80e6, 105e6, 200e6),
}


@pytest.mark.parametrize("name", CROSSINGS)
def test_an_alert_has_hold_and_hysteresis(play: Play, name: str) -> None:
    """It is raised once after the hold time, stays while the number is within the margin, is cleared once."""
    metric, bad, near, good = CROSSINGS[name]
    base = {**WELL, "cpu.temperature": 60.0, "memory.available_bytes": 1e9}
    told = []
    for value in (bad, bad, bad, near, near, near, near, good, good, good):
        said, events = play.step({**base, metric: value})
        told.append(([event.kind for event in events if event.subject == name], int(said[name])))
    kinds = [kind for kinds, _ in told for kind in kinds]
    assert ["alert_raised", "alert_cleared"] == kinds
    assert [0, 0, 1, 1, 1, 1, 1, 1, 1, 0] == [active for _, active in told]


def test_a_busy_processor_is_an_alert_after_half_a_minute(play: Play) -> None:
    """Its hold time is its own: encoding uses the processor in bursts."""
    told = [play.step({"cpu.usage_percent": 95.0}) for _ in range(8)]
    assert [0, 0, 0, 0, 0, 0, 1, 1] == [int(said["processor_busy"]) for said, _ in told]
    assert ["processor busy: 95 %, above 90 for 30 s"] == [event.text for _, events in told for event in events]


ON_THE_LINE = {
    "packet_loss": ("srt.packet_loss_percent", 5.0, 6.0, 4.5),
    "low_bitrate": ("encoder.bitrate_bits_per_second", 3e6, 2e6, 3.31e6),
}


@pytest.mark.parametrize("name", ON_THE_LINE)
def test_a_number_on_the_line_is_good_and_one_on_the_margin_too(play: Play, name: str) -> None:
    """The limits belong to the good side, of an alert that has to be above its line and of one below it."""
    metric, line, bad, margin = ON_THE_LINE[name]
    values = (line, line, line, line, bad, bad, bad, margin, margin, margin, line)
    assert [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0] == [int(play.step({**WELL, metric: value})[0][name]) for value in values]


def test_each_change_has_a_hold_time_of_its_own(play: Play) -> None:
    """Raised, cleared, raised: ten seconds each."""
    values = [600.0] * 3 + [60.0] * 3 + [600.0] * 3
    told = [int(play.step({**WELL, "srt.rtt_ms": value})[0]["high_round_trip"]) for value in values]
    assert [0, 0, 1, 1, 1, 0, 0, 0, 1] == told


def test_what_was_not_known_for_a_while_is_held_from_its_return(play: Play) -> None:
    """A bad number, nothing, and a bad number again are no ten seconds."""
    play.step({**WELL, "srt.rtt_ms": 600.0})
    while "high_round_trip" in play.step({})[0]:
        pass
    assert [0, 0, 1] == [int(play.step({**WELL, "srt.rtt_ms": 600.0})[0]["high_round_trip"]) for _ in range(3)]


def test_an_alert_says_on_which_side(play: Play) -> None:
    """Number, line, side and time."""
    events = [event for _ in range(3) for event in play.step({**WELL, "encoder.bitrate_bits_per_second": 2.4e6})[1]]
    assert "low bitrate: 40 % of the target, below 50 for 10 s" in [event.text for event in events]


def test_a_spike_is_no_alert(play: Play) -> None:
    """One reading beyond the line begins the hold time anew when it is over."""
    for value in (600.0, 60.0, 600.0, 600.0, 60.0):
        assert [] == play.step({**WELL, "srt.rtt_ms": value})[1]


def test_an_alert_ends_when_its_number_is_gone(play: Play) -> None:
    """A stream that was stopped leaves no alert behind, and says why."""
    for _ in range(3):
        play.step({**WELL, "srt.rtt_ms": 600.0})
    events = [event for _ in range(5) for event in play.step({})[1]]
    assert [("alert_cleared", "high_round_trip")] == [(event.kind, event.subject) for event in events]
    assert "not known any more" in events[0].text


def test_every_alert_is_configured() -> None:
    """Each has its line and is tested above, but for the processor's, whose hold time is its own."""
    names = {alert.name for alert in alerts.ALERTS.values()}
    assert names == {*CROSSINGS, "processor_busy"}
    assert all(hasattr(alerts.Lines(), alert.key) for alert in alerts.ALERTS.values())


def cut(**fields: object) -> Cut:
    """Return a cut from 6 to 4 Mbit/s on a calm connection, changed."""
    given = {
        "before": 6e6,
        "now": 4e6,
        "target": 6e6,
        "latency_ms": 2000.0,
        "rtts_ms": [60.0] * 6,
        "buffered": [0.0] * 6,
    }
    return Cut(**{**given, **fields})  # type: ignore[arg-type]


RULES = {
    "the configured limit is 4.0 Mbit/s": cut(target=4e6),
    "to the minimum: round trip 700 ms": cut(rtts_ms=[60.0, 60.0, 700.0]),
    "10 % at a time: round trip 450 ms": cut(rtts_ms=[60.0, 60.0, 450.0]),
    "100 kbit/s at a time: round trip 90 ms": cut(rtts_ms=[60.0, 60.0, 60.0, 90.0]),
    "to the minimum: 500 packets": cut(buffered=[13_160.0, 13_160.0, 658_000.0]),
    "10 % at a time: 90 packets": cut(buffered=[10 * 1316.0, 50 * 1316.0, 30 * 1316.0, 90 * 1316.0], rtts_ms=[]),
    "no rule of its controller fits": cut(),
    "no rule": cut(rtts_ms=[], buffered=[], latency_ms=None, target=None),
}


@pytest.mark.parametrize("expected", RULES)
def test_a_cut_names_the_rule_that_fits(expected: str) -> None:
    """Its rules, the gravest first, each with its numbers."""
    assert bitrate_rules.reason(RULES[expected]).startswith(expected)


def test_a_cut_is_an_event(play: Play) -> None:
    """From what to what, and why, told when the numbers of that moment have come; a small step is none."""
    play.step(WELL)
    assert [] == play.step({**WELL, "encoder.bitrate_bits_per_second": 5_500_000})[1]
    low = {**WELL, "encoder.bitrate_bits_per_second": 1_500_000}
    assert [] == play.step(low)[1]
    events = play.step({**low, "srt.rtt_ms": 800.0})[1]
    assert ["bitrate_cut"] == [event.kind for event in events]
    assert events[0].text.startswith("from 5.5 to 1.5 Mbit/s; to the minimum: round trip 800 ms")


def test_late_samples_tell_nothing_of_now() -> None:
    """What was stored during an outage of the buffer and comes now is not the present."""
    heard = Heard({"srt.rtt_ms"})
    heard.take([Sample("srt.rtt_ms", 60.0)], clock.wall_ms() - 60_000, 1.0)
    assert heard.value("srt.rtt_ms", 1.0) is None
