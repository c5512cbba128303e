"""Scores and cuts, from what was heard while the stream is live."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from collectors.derived import derived, scores
from collectors.derived.recent_values import RecentValues
from collectors.derived.scores import PARTS, Inputs
from collectors.host import Host
from common import clock, stream_states
from common.events import Event
from common.sample import Sample

LIVE, ENDED = {"stream.state": stream_states.LIVE}, {"stream.state": stream_states.ENDED}
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
        self.now_s = 1_000_000_000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("common.clock.wall_ms", lambda: int(1000 * self.now_s))

    def step(self, values: Mapping[str, float]) -> tuple[dict[str, float], list[Event]]:
        """Tell it values, let it collect; return its samples by name and label, and its events."""
        self.now_s += 5
        tags = {"cpu.usage_percent": {"core": "all"}}
        samples = [Sample(name, value, tags.get(name, {})) for name, value in values.items()]
        derived.hear(samples, clock.wall_ms(), "test", self.state)
        host, config = Host(now_s=self.now_s), derived.Config()
        found = [*derived.watch(host, config, self.state), *derived.collect(host, config, self.state)]
        events = [item for item in found if isinstance(item, Event)]
        given = [item for item in found if isinstance(item, Sample)]
        return {sample.tags.get("alert", sample.name): float(sample.value) for sample in given}, events


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """One collector, told that a stream is live."""
    play = Play(monkeypatch)
    play.step(LIVE)
    return play


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


BEST = Inputs(loss=0, rtt=0.03, bitrate=1.0, drops=0, frames=1.0, sound=1, connected=1, picture=1)


def test_each_weight_is_its_documented_one() -> None:
    """Each input at its worst takes exactly its weight, and nothing at its best."""
    assert 100.0 == scores.health(BEST)
    for part in PARTS:
        assert round(max(0.0, 100 - part.weight), 1) == scores.health(BEST._replace(**{part.name: part.all})), part.name


UNSEEN = {
    "no connection": BEST._replace(connected=0),
    "no source at the HDMI input": BEST._replace(picture=0),
    "the encoder gives no frames": BEST._replace(frames=0),
}


@pytest.mark.parametrize("case", UNSEEN)
def test_what_a_viewer_does_not_see_scores_nothing(case: str) -> None:
    """However good the network is."""
    assert 0.0 == scores.health(UNSEEN[case])


PICTURES: dict[str, tuple[dict[str, float], float]] = {
    "no source": ({"hdmi.connected": 0}, 0.0),
    "not locked": ({"hdmi.connected": 1, "hdmi.locked": 0}, 0.0),
    "locked": ({"hdmi.connected": 1, "hdmi.locked": 1}, 100.0),
    "stalled": ({"encoder.frame_rate": 0.0, "encoder.frame_rate_target": 30}, 0.0),
    "no sound": ({"audio.sample_rate_hertz": 0}, 70.0),
    "half of the frames": ({"encoder.frame_rate": 15.0, "encoder.frame_rate_target": 30}, 40.0),
}


@pytest.mark.parametrize("case", PICTURES)
def test_the_score_falls_as_the_picture_does(play: Play, case: str) -> None:
    """Nothing to see is nothing, half of it is less."""
    given, expected = PICTURES[case]
    assert expected == play.step({**WELL, **given})[0]["stream.health_score"]


def test_nothing_is_derived_outside_of_live(play: Play) -> None:
    """Before it is live, after it has ended, and from numbers that were measured then."""
    derived_names = {"stream.health_score", "stream.latency_estimate_ms", "stream.reliability_percent"}
    assert derived_names <= play.step(WELL)[0].keys()
    said = [play.step({**WELL, **ENDED})[0], play.step(WELL)[0], play.step({})[0], play.step(LIVE)[0]]
    assert [{}] * 4 == [{name: value for name, value in one.items() if not name.startswith("cpu")} for one in said]
    assert derived_names <= play.step(WELL)[0].keys()


def test_an_alert_is_said_at_once_and_ends_with_the_stream(play: Play) -> None:
    """The first sample beyond is enough; nothing is said of its number when no stream is live."""
    said, events = play.step({**WELL, "srt.rtt_ms": 600.0})
    assert (1.0, ["alert_raised"]) == (said["high_round_trip"], [event.kind for event in events])
    said, events = play.step({**WELL, **ENDED})
    assert ["alert_cleared"] == [event.kind for event in events]
    assert not set(said) & {"high_round_trip", "packet_loss", "low_bitrate"}


def test_between_two_collects_a_crossing_is_seen(play: Play) -> None:
    """One sample beyond, followed by a good one before anybody looked."""
    for value in (600.0, 60.0):
        derived.hear([Sample("srt.rtt_ms", value)], clock.wall_ms(), "test", play.state)
    found = list(derived.watch(Host(now_s=play.now_s), derived.Config(), play.state))
    assert ["alert_raised"] == [item.kind for item in found if isinstance(item, Event)]
    assert [1] == [item.value for item in found if isinstance(item, Sample)]


def test_links_that_are_down_make_the_network_unsteady() -> None:
    """One of three links down takes a third; a round trip that varies by half its mean takes half."""
    assert 66.7 == scores.stability([50.0] * 6, [1, 1, 0])
    assert 50.0 == scores.stability([50.0, 150.0] * 3, [1])
    assert scores.stability([50.0] * 5, [1]) is None


@pytest.mark.parametrize(
    ("limit", "why"), [(6e6, "the rule is not known"), (1.5e6, "the configured limit was lowered")]
)
def test_without_the_packets_a_cut_is_an_event_that_claims_no_rule(play: Play, limit: float, why: str) -> None:
    """From what to what; a small step is none."""
    play.step(WELL)
    assert [] == play.step({**WELL, "encoder.bitrate_bits_per_second": 5_500_000})[1]
    low = {"encoder.bitrate_bits_per_second": 1_500_000, "encoder.bitrate_target_bits_per_second": limit}
    assert [] == play.step({**WELL, **low})[1]
    texts = [event.text for event in play.step({**WELL, **low})[1] if event.kind == "bitrate_cut"]
    assert [True] == [text.startswith(f"from 5.5 to 1.5 Mbit/s; {why}") for text in texts]


def test_late_samples_tell_nothing_of_now() -> None:
    """What was stored during an outage of the buffer and comes now is not the present."""
    heard = RecentValues({"srt.rtt_ms"})
    heard.take([Sample("srt.rtt_ms", 60.0)], clock.wall_ms() - 60_000, 1.0)
    assert heard.value("srt.rtt_ms", 1.0) is None
