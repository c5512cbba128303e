"""What the page shows of now: the verdict, its reasons, and nothing that is not known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from common.sample import Batch, Sample
from healthd.page.latest import LEAST_STALE_S, Latest
from healthd.page.picture import picture
from healthd.page.wording import DASH, ago, bits, lasting, number, of, percent, size
from healthd.report import HUNG_S, View
from healthd.rollup import Verdict, assess
from tests.unit.healthd.build import LINES, NOW_S, WALL_MS, known, shipper

LINK = {"interface": "wwan0", "ip": "10.0.0.2"}
STREAM = {
    "srt.connected": 1, "srt.uptime_seconds": 125, "srt.rtt_ms": 60.0, "srt.packet_loss_percent": 0.4,
    "srt.bitrate_bits_per_second": 6.2e6, "encoder.bitrate_bits_per_second": 5.8e6,
    "encoder.bitrate_target_bits_per_second": 6e6, "hdmi.connected": 1, "stream.health_score": 97.0,
    "srtla.link_up": 1, "srtla.link_bits_per_second": 2e6, "srtla.link_rtt_ms": 41.0,
}  # fmt: skip


def batch(values: Mapping[str, float], timestamp_ms: int = WALL_MS) -> Batch:
    """Return a committed batch; what belongs to a link has its labels."""
    samples = [Sample(name, value, LINK if name.startswith("srtla.") else {}) for name, value in values.items()]
    return Batch("srt", "e", 1, timestamp_ms, 0, "boot", False, samples)


def latest(values: Mapping[str, float], heard_s: float = NOW_S - 1) -> Latest:
    """Return what was heard a second ago."""
    seen = Latest()
    seen.take(batch(values), heard_s)
    return seen


def view(verdict: Verdict | None = None, made_s: float = NOW_S) -> View:
    """Return the view of a healthy pipeline, or with another verdict."""
    healthy = known(shipper(facts={"mode": "realtime", "pending": [0, 1, 2, 3]}))
    return View(healthy, verdict or assess(healthy, LINES, NOW_S), made_s, True, True, True, "/health")


def drawn(values: Mapping[str, float], **fields: Any) -> dict[str, Any]:
    """Return the picture as a browser decodes it."""
    made = picture(view(**fields), latest(values), {"id": "d", "name": "n"}, NOW_S, WALL_MS)
    decoded: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))
    return decoded


def facts(drawing: Mapping[str, Any], group: str) -> dict[str, tuple[str, str]]:
    """Return text and level of each fact of a group."""
    found = next(each for each in drawing["groups"] if each["id"] == group)["facts"]
    return {fact["id"]: (fact["text"], fact["level"]) for fact in found}


def test_a_healthy_stream() -> None:
    """Its numbers have a text and a level each; what nobody measures has a dash and none."""
    drawing = drawn(STREAM)
    assert ("ok", "Stream healthy", []) == (
        drawing["verdict"]["level"], drawing["verdict"]["title"], drawing["reasons"],
    )  # fmt: skip
    stream = facts(drawing, "stream")
    assert ("5.8 of 6.0 Mbit/s", "ok") == stream["bitrate"]
    assert ("60 ms", "ok") == stream["rtt"]
    assert (DASH, "") == stream["buffer"]
    assert "2 min 5 s" == stream["age"][0]
    assert ["wwan0 (10.0.0.2)", "2.0 Mbit/s", "41 ms", "up"] == [
        drawing["links"][0][key] for key in ("name", "rate", "rtt", "state")
    ]


@pytest.mark.parametrize(
    ("names", "system"),
    [({"image": "2023.11.1", "os": "Ubuntu"}, "2023.11.1"), ({"os": "Ubuntu", "kernel": "6.1"}, "Ubuntu"), ({}, DASH)],
)
def test_what_machine_it_is(names: dict[str, str], system: str) -> None:
    """The board, and the image if it is BELABOX's, else what runs there."""
    seen = Latest()
    seen.take(
        Batch("cpu", "e", 1, WALL_MS, 0, "boot", False, [Sample("system.info", 1, {"board": "B", **names})]), NOW_S
    )
    shown = facts(picture(view(), seen, {"id": "d", "name": "n"}, NOW_S, WALL_MS), "device")
    assert (("B", ""), (system, "")) == (shown["board"], shown["system"])


def test_without_a_stream_it_is_ready() -> None:
    """No stream is no trouble."""
    assert ("idle", "Ready") == tuple(drawn({})["verdict"][key] for key in ("level", "title"))


TROUBLES = {
    "The receiver does not answer": ("error", {"srt.connected": 0}),
    "No picture at the HDMI input": ("error", {"hdmi.connected": 0}),
    "Link wwan0 (10.0.0.2) is down": ("degraded", {"srtla.link_up": 0}),
}


@pytest.mark.parametrize("title", TROUBLES)
def test_what_is_wrong_with_the_stream_is_the_verdict(title: str) -> None:
    """With its own sentence."""
    level, values = TROUBLES[title]
    verdict = drawn({**STREAM, **values})["verdict"]
    assert (level, title) == (verdict["level"], verdict["title"])


def test_the_gravest_comes_first() -> None:
    """And how many more there are is said."""
    drawing = drawn({**STREAM, "srtla.link_up": 0, "srt.connected": 0})
    assert ("The receiver does not answer", "and 1 more") == (drawing["verdict"]["title"], drawing["verdict"]["text"])


def test_an_alert_has_its_name() -> None:
    """As people read it."""
    seen = latest(STREAM)
    alert = Sample("alert.active", 1, {"alert": "high_round_trip"})
    seen.take(Batch("derived", "e", 1, WALL_MS, 0, "b", False, [alert]), NOW_S)
    made = picture(view(), seen, {"id": "d", "name": ""}, NOW_S, WALL_MS)
    assert "High round trip" == made["verdict"]["title"]


def test_a_link_that_is_down_shows_no_numbers() -> None:
    """What was said of it before is not how it does."""
    link = drawn({**STREAM, "srtla.link_up": 0})["links"][0]
    assert ("down", DASH, DASH) == (link["state"], link["rate"], link["rtt"])


def test_old_numbers_are_gone() -> None:
    """A collector that died leaves dashes, not its last words."""
    made = picture(view(), latest(STREAM, NOW_S - 100), {"id": "d", "name": ""}, NOW_S, WALL_MS)
    assert {(DASH, "")} == {value for key, value in facts(made, "stream").items() if key in {"rtt", "loss", "sent"}}
    assert [] == made["links"]


def test_a_healthd_that_hung_says_so() -> None:
    """Its picture is as of then."""
    assert "hangs" in drawn(STREAM, made_s=NOW_S - HUNG_S - 1)["verdict"]["title"]


def test_the_date_of_a_value_is_that_of_its_first_appearance() -> None:
    """Since when a link is down is known after many equal readings."""
    seen = Latest()
    for second in range(3):
        seen.take(batch({"srtla.link_up": 0}, WALL_MS + 1000 * second), NOW_S + second)
    assert WALL_MS == seen.rows("srtla.link_up", NOW_S + 2)[0].since_ms


def test_a_value_lives_three_intervals() -> None:
    """Of its producer's, ten seconds at least; then it is forgotten."""
    seen = latest({"srt.rtt_ms": 60.0}, NOW_S)
    assert 60.0 == seen.number("srt.rtt_ms", NOW_S + LEAST_STALE_S)
    seen.intervals_s = {"srt": 20.0}
    assert 60.0 == seen.number("srt.rtt_ms", NOW_S + 60)
    assert seen.number("srt.rtt_ms", NOW_S + 61) is None
    seen.forget(NOW_S + 61)
    seen.intervals_s = {"srt": 1000.0}
    assert seen.number("srt.rtt_ms", NOW_S + 61) is None


def test_numbers_as_people_read_them() -> None:
    """Steps, units, and what is not known."""
    assert ["0 bit/s", "999 bit/s", "5.9 Mbit/s", "123 Mbit/s"] == [bits(n) for n in (0, 999, 5.9e6, 123e6)]
    assert ["12.3 MB", DASH, DASH, DASH, DASH] == [size(12.3e6), size(None), bits(None), percent(None), number(None)]
    assert ["0 s", "59 s", "2 min", "2 h 5 min", "1 d 1 h"] == [lasting(n) for n in (0, 59, 120, 7500, 90_000)]
    assert ["never", "now", "12 s ago"] == [ago(None), ago(1), ago(12)]
    assert ["1.0 of 2.0 MB", "900 kB of 2.0 MB", f"{DASH} of 2.0 MB"] == [
        of("1.0 MB", "2.0 MB"), of("900 kB", "2.0 MB"), of(DASH, "2.0 MB"),
    ]  # fmt: skip
