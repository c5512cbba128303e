"""The verdict on the stream: the worst of what is shown beneath it, and the state it is in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.sample import Batch, Sample
from common.stream_states import ENDED, ENDING, LIVE, STARTING
from common.thresholds import RANKS, Alerts
from healthd.verdict import advice, stream
from healthd.verdict.latest import Latest
from healthd.verdict.stream import STARTING_S, StreamVerdict
from tests.unit.healthd.build import NOW_S, WALL_MS
from tests.unit.healthd.test_picture import STREAM

LEVELS = {**RANKS, "idle": 0}


def heard(values: Mapping[str, float | str], labels: Mapping[str, Mapping[str, str]] | None = None) -> Latest:
    """Return values as they were heard a moment ago."""
    labels = {"cpu.usage_percent": {"core": "all"}, **(labels or {})}
    samples = [Sample(name, value, labels.get(name, {})) for name, value in values.items()]
    latest = Latest()
    latest.take(Batch("srt", "e", 1, WALL_MS, 0, "boot", False, samples), NOW_S)
    return latest


def verdict(values: Mapping[str, float | str], alerts: Alerts | None = None, after_s: float = 0.0) -> StreamVerdict:
    """Return the verdict on a healthy stream, changed."""
    seen = heard({**STREAM, **values})
    return stream.assess(seen, alerts or Alerts(), NOW_S, WALL_MS + int(1000 * after_s))


SIGNALS: dict[str, tuple[str, dict[str, float | str]]] = {
    "not_connected": ("error", {"srt.connected": 0}),
    "no_picture": ("error", {"hdmi.connected": 0}),
    "not_locked": ("error", {"hdmi.locked": 0}),
    "no_frames": ("error", {"encoder.frame_rate": 0}),
    "no_sound": ("degraded", {"audio.sample_rate_hertz": 0}),
    "no_link": ("error", {"srtla.link_up": 0}),
    "high_round_trip": ("error", {"srt.rtt_ms": 820}),
    "packet_loss": ("error", {"srt.packet_loss_percent": 40}),
    "frames_dropped": ("error", {"encoder.frame_drop_percent": 3}),
    "buffer_full": ("error", {"srt.buffer_utilization_percent": 95}),
    "low_bitrate": ("degraded", {"encoder.bitrate_bits_per_second": 1.3e6}),
    "overheating": ("error", {"cpu.temperature": 88}),
    "processor_busy": ("degraded", {"cpu.usage_percent": 99}),
    "low_memory": ("error", {"memory.available_bytes": 50e6}),
    "health": ("error", {"stream.health_score": 20}),
}


@pytest.mark.parametrize("rule", SIGNALS)
def test_whatever_is_wrong_is_the_verdict(rule: str) -> None:
    """At once, with its reason, what it means and what to do."""
    level, values = SIGNALS[rule]
    found = verdict(values)
    assert level == found.level
    assert [rule] == [reason.rule for reason in found.reasons]
    assert advice.of(rule).todo


@pytest.mark.parametrize("alert", ["low_bitrate", "processor_busy"])
def test_what_has_a_hold_is_red_when_its_alert_is_raised(alert: str) -> None:
    """Amber before."""
    values = SIGNALS[alert][1]
    seen = heard({**STREAM, **values, "alert.active": 1}, {"alert.active": {"alert": alert}})
    assert "error" == stream.assess(seen, Alerts(), NOW_S, WALL_MS).level


def test_colours_follow_the_configuration() -> None:
    """rtt_ms: 800 with 600 ms is amber in both places, 300 ms is green."""
    found = verdict({"srt.rtt_ms": 600}, Alerts(rtt_ms=800))
    tile = next(tile for tile in found.tiles if tile.id == "high_round_trip")
    assert ("degraded", "degraded") == (found.level, tile.level)
    assert "ok" == verdict({"srt.rtt_ms": 300}, Alerts(rtt_ms=800)).level
    assert "ok" == verdict({"srt.rtt_ms": 9_000}, Alerts(rtt_ms=0)).level


def test_one_of_two_links_down_is_amber() -> None:
    """The other carries the stream; its row is not redder than the verdict."""
    latest = heard(STREAM)
    samples = [Sample("srtla.link_up", up, {"ip": ip}) for ip, up in (("10.0.0.2", 0), ("10.0.0.3", 1))]
    latest.take(Batch("srt", "e", 2, WALL_MS, 0, "boot", False, samples), NOW_S)
    latest.forget(NOW_S)
    found = stream.assess(latest, Alerts(), NOW_S, WALL_MS)
    assert ("degraded", "Link 10.0.0.2 is down") == (found.level, found.title)
    assert {"ok", "degraded"} == {link["level"] for link in found.links}


def test_a_start_is_no_trouble_unless_it_lasts() -> None:
    """Nothing is judged while it is being set up; after a while that nobody answers is."""
    starting: dict[str, float | str] = {"stream.state": STARTING, "srt.connected": 0, "srt.rtt_ms": 900}
    soon = verdict(starting)
    assert ("starting", "idle", ()) == (soon.state, soon.level, soon.reasons)
    late = verdict(starting, after_s=STARTING_S + 1)
    assert ("error", ["not_answered"]) == (late.level, [reason.rule for reason in late.reasons])


SESSION = {"id": "x", "start_ms": WALL_MS - 1_443_000, "end_ms": WALL_MS - 3_000}
ENDS = {
    "stopped": ("idle", "It was stopped; it ran 24 min"),
    "crashed": ("error", "nobody stopped it"),
    "cut_off": ("error", "connection was lost"),
}


@pytest.mark.parametrize("how", ENDS)
def test_an_end_is_said_until_the_next_start(how: str) -> None:
    """When, how long, and why; and no number of it is shown any more."""
    level, words = ENDS[how]
    session = json.dumps({**SESSION, "metadata": {"how": how}})
    found = verdict({"stream.state": ENDED, "session": session}, after_s=86_400)
    assert (level, WALL_MS, (), ()) == (found.level, found.since_ms, found.tiles, found.links)
    assert words in found.text


def test_an_encoder_that_is_gone_is_an_error_at_once() -> None:
    """Viewers see nothing new."""
    assert ("error", "The encoder is gone") == verdict({"stream.state": ENDING})[1:3]


UNREADABLE = ("", "{", "5", '{"end_ms": null}', '{"end_ms": 1, "start_ms": "x", "metadata": []}')


@pytest.mark.parametrize("session", UNREADABLE)
def test_a_session_that_cannot_be_read_is_not_known(session: str) -> None:
    """It costs the sentence alone."""
    found = verdict({"stream.state": ENDED, "session": session})
    assert ("idle", "The stream has ended") == found[1:3]


def test_nothing_has_run() -> None:
    """No stream is no trouble."""
    found = stream.assess(Latest(), Alerts(), NOW_S, WALL_MS)
    assert ("idle", "idle", "No stream") == found[:3]


def test_a_reason_keeps_its_date_while_it_holds() -> None:
    """However its number moves, and begins again when it was over."""
    before = verdict({"srt.rtt_ms": 600})
    later = stream.assess(heard({**STREAM, "srt.rtt_ms": 700}), Alerts(), NOW_S, WALL_MS + 60_000, before)
    assert [WALL_MS] == [reason.since_ms for reason in later.reasons]
    over = stream.assess(heard(STREAM), Alerts(), NOW_S, WALL_MS + 61_000, later)
    again = stream.assess(heard({**STREAM, "srt.rtt_ms": 700}), Alerts(), NOW_S, WALL_MS + 62_000, over)
    assert [WALL_MS + 62_000] == [reason.since_ms for reason in again.reasons]


CHOICES: dict[str, tuple[Any, ...]] = {  # None: it is not known
    "stream.state": (None, STARTING, LIVE, LIVE, LIVE, ENDING, ENDED),
    "srt.connected": (None, 0, 1, 1),
    "srt.rtt_ms": (None, 20, 260, 499, 501, 900),
    "srt.packet_loss_percent": (None, 0, 2.5, 6),
    "srt.buffer_utilization_percent": (None, 10, 75, 95),
    "encoder.bitrate_bits_per_second": (None, 0, 1e6, 4e6, 6e6),
    "encoder.bitrate_target_bits_per_second": (None, 6e6),
    "encoder.frame_drop_percent": (None, 0, 0.7, 2),
    "encoder.frame_rate": (None, 0, 30),
    "hdmi.connected": (None, 0, 1),
    "hdmi.locked": (None, 0, 1),
    "audio.sample_rate_hertz": (None, 0, 48_000),
    "srtla.link_up": (None, 0, 1),
    "srt.uptime_seconds": (None, 5),
    "stream.health_score": (None, 0, 55, 98),
    "cpu.temperature": (None, 50, 82, 90),
    "cpu.usage_percent": (None, 20, 95),
    "memory.available_bytes": (None, 5e7, 1.5e8, 2e9),
    "battery.level_percent": (None, 10, 90),
    "alert.active": (None, 0, 1),
}


def chosen(number: int) -> dict[str, Any]:
    """Return one of all combinations by its number, which is drawn quicker than twenty values."""
    found = {}
    for name, values in CHOICES.items():
        number, at = divmod(number, len(values))
        found[name] = values[at]
    return found


STATES = st.integers(0, math.prod(map(len, CHOICES.values())) - 1).map(chosen)


@given(STATES, st.sampled_from(["low_bitrate", "processor_busy"]), st.integers(0, 100))
def test_nothing_is_redder_than_the_verdict(state: dict[str, float | None], alert: str, after_s: int) -> None:
    """Whatever is heard: each amber or red thing that is shown is a reason, and the verdict is the worst of them."""
    values = {name: value for name, value in state.items() if value is not None}
    latest = heard(values, {"alert.active": {"alert": alert}, "srtla.link_up": {"ip": "10.0.0.2"}})
    found = stream.assess(latest, Alerts(), NOW_S, WALL_MS + 1000 * after_s)
    shown = [*(tile.level for tile in (*found.tiles, *found.device)), *(link["level"] for link in found.links)]
    assert all(LEVELS[level] <= LEVELS[found.level] for level in shown)
    assert LEVELS[found.level] == max((LEVELS[reason.level] for reason in found.reasons), default=0)
    assert all(advice.STREAM[reason.rule].todo for reason in found.reasons)
    if values.get("stream.state") in {STARTING, ENDED}:
        assert {reason.rule for reason in found.reasons} <= {
            *("not_answered", "overheating", "processor_busy", "low_memory", "battery", "health"),
        }
