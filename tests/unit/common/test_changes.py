"""What is committed at once: what changes the verdict, and nothing in calm."""

from __future__ import annotations

import pytest

from common.changes import Changes, Glimpse
from common.sample import Sample
from common.thresholds import Alerts


def taken(*values: tuple[str, float], alerts: Alerts | None = None) -> list[bool]:
    """Return for each of some samples whether it is news."""
    changes = Changes(alerts or Alerts())
    return [changes.take([Sample(name, value)]) for name, value in values]


def test_a_calm_number_waits() -> None:
    """From the first reading on."""
    assert [False] * 3 == taken(*[("srt.rtt_ms", value) for value in (40.0, 60.0, 50.0)])


def test_a_number_that_changes_its_colour_is_news_both_ways() -> None:
    """Once each way, however long it stays."""
    values = [("srt.rtt_ms", value) for value in (40, 600, 700, 300, 40, 50)]
    assert [False, True, False, True, True, False] == taken(*values)


def test_it_follows_the_configuration() -> None:
    """rtt_ms: 800 makes 600 ms amber at most."""
    assert [True, False, True] == taken(
        ("srt.rtt_ms", 500), ("srt.rtt_ms", 600), ("srt.rtt_ms", 900), alerts=Alerts(rtt_ms=800)
    )


@pytest.mark.parametrize("name", ["srt.connected", "hdmi.connected", "srtla.link_up", "stream.state"])
def test_a_state_is_news_when_it_changes(name: str) -> None:
    """At first, and then not before it is another one."""
    assert [True, False, True, False] == taken((name, 1), (name, 1), (name, 0), (name, 0))


def test_a_share_is_judged_by_its_whole() -> None:
    """The bitrate by its target, which may come in the same batch."""
    changes = Changes(Alerts())
    target = Sample("encoder.bitrate_target_bits_per_second", 6e6)
    assert [False, True, True] == [
        changes.take([Sample("encoder.bitrate_bits_per_second", value), target]) for value in (5.8e6, 1e6, 5.8e6)
    ]


def test_frames_and_the_score_are_news_by_their_colour() -> None:
    """Frames as a share of those that are wanted; half of a picture is as bad as none."""
    changes = Changes(Alerts())
    wanted = Sample("encoder.frame_rate_target", 30)
    rates = (30.0, 29.0, 12.0, 0.0, 30.0)
    assert [False, False, True, False, True] == [
        changes.take([Sample("encoder.frame_rate", rate), wanted]) for rate in rates
    ]
    assert [False, True, True] == taken(*[("stream.health_score", value) for value in (98, 0, 97)])


def test_each_series_is_for_itself() -> None:
    """One link down, the other up."""
    changes = Changes(Alerts())
    up, down = (Sample("srtla.link_up", value, {"ip": ip}) for ip, value in (("a", 1), ("b", 0)))
    assert [True, False] == [changes.take([up, down]), changes.take([up, down])]


def test_text_and_what_nobody_judges_waits() -> None:
    """A sample's name decides."""
    assert not Changes(Alerts()).take(
        [Sample("event", "x"), Sample("system.load1", 99), Sample("stream.state", "live")]
    )


def test_a_glimpse_is_published_where_it_is_news() -> None:
    """Between two collects: once when the number crosses, and once when it comes back."""
    changes = Changes(Alerts())
    told = [changes.sift([Glimpse("srt.rtt_ms", value)]) for value in (40.0, 600.0, 700.0, 40.0)]
    assert [[], [600.0], [], [40.0]] == [[sample.value for sample in kept] for kept, _ in told]
    assert [False, True, False, True] == [is_news for _, is_news in told]


def test_a_sample_beside_a_glimpse_is_always_published() -> None:
    """It is what the source meant to say."""
    sample = Sample("session", "{}")
    assert ([sample], False) == Changes(Alerts()).sift([sample, Glimpse("srt.rtt_ms", 40.0)])
