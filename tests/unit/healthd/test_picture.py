"""What the page shows of now: the verdicts, their reasons, and nothing that is not known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from common.sample import Batch, Sample
from common.thresholds import Alerts
from healthd.page.picture import picture
from healthd.report import HUNG_S, View
from healthd.verdict import delivery, links, stream
from healthd.verdict.latest import FIRST_SPACING_S, STALE_INTERVALS, Latest
from healthd.verdict.rollup import Verdict, assess
from healthd.wording import DASH, ago, bits, lasting, number, of, percent, size
from tests.unit.healthd.build import LIMITS, NOW_S, WALL_MS, known, shipper

LINK = {"interface": "wwan0", "ip": "10.0.0.2"}
STREAM = {
    "stream.state": 2, "srt.connected": 1,
    "srt.uptime_seconds": 125, "srt.rtt_ms": 60.0, "srt.packet_loss_percent": 0.4,
    "srt.bitrate_bits_per_second": 6.2e6, "encoder.bitrate_bits_per_second": 5.8e6,
    "encoder.bitrate_target_bits_per_second": 6e6, "hdmi.connected": 1, "stream.health_score": 97.0,
    "srtla.link_up": 1, "srtla.link_bits_per_second": 2e6, "srtla.link_rtt_ms": 41.0, "session.data_bytes": 1.234e9,
}  # fmt: skip


def batch(values: Mapping[str, float], timestamp_ms: int = WALL_MS) -> Batch:
    """Return a committed batch; what belongs to a link has its labels."""
    samples = [
        Sample(name, value, LINK if name.startswith(("srtla.", "session.")) else {}) for name, value in values.items()
    ]
    return Batch("srt", "e", 1, timestamp_ms, 0, "boot", False, samples)


def latest(values: Mapping[str, float], heard_s: float = NOW_S - 1) -> Latest:
    """Return what was heard a second ago."""
    seen = Latest()
    seen.take(batch(values), heard_s)
    return seen


def view(verdict: Verdict | None = None, made_s: float = NOW_S, seen: Latest | None = None) -> View:
    """Return the view of a healthy pipeline and of what was heard, or with another verdict."""
    healthy = known(shipper(status={"mode": "realtime", "pending": [0, 1, 2, 3]}))
    said = stream.assess(seen or Latest(), Alerts(), NOW_S, WALL_MS)
    return View(healthy, verdict or assess(healthy, LIMITS, NOW_S), made_s, True, True, True, "/health", said)


def picture_of(seen: Latest, **fields: Any) -> dict[str, Any]:
    """Return the picture of what was heard."""
    return picture(view(**fields, seen=seen), seen, {"id": "d", "name": "n"}, NOW_S, WALL_MS)


def verdict_of(drawing: Mapping[str, Any], which: str = "stream") -> dict[str, Any]:
    """Return one of the verdicts."""
    return next(verdict for verdict in drawing["verdicts"] if verdict["id"] == which)


def drawn(values: Mapping[str, float], **fields: Any) -> dict[str, Any]:
    """Return the picture as a browser decodes it."""
    made = picture_of(latest(values), **fields)
    decoded: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))
    return decoded


def tiles(drawing: Mapping[str, Any], group: str) -> dict[str, tuple[str, str]]:
    """Return text and level of each tile of a group."""
    found = next(each for each in drawing["groups"] if each["id"] == group)["tiles"]
    return {tile["id"]: (tile["text"], tile["level"]) for tile in found}


def test_a_healthy_stream() -> None:
    """Its numbers have a text and a level each; what nobody measures has a dash and none."""
    drawing = drawn(STREAM)
    assert ("ok", "Stream healthy", []) == (
        verdict_of(drawing)["level"], verdict_of(drawing)["title"], verdict_of(drawing)["reasons"],
    )  # fmt: skip
    shown = tiles(drawing, "stream")
    assert ("5.8 of 6.0 Mbit/s", "ok") == shown["low_bitrate"]
    assert ("60 ms", "ok") == shown["high_round_trip"]
    assert (DASH, "") == shown["buffer_full"]
    assert "2 min 5 s" == shown["age"][0]
    assert ["wwan0", "2.0 Mbit/s", "41 ms", "1.2 GB", "up"] == [
        drawing["links"][0][key] for key in ("name", "rate", "rtt", "data", "state")
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
    shown = tiles(picture_of(seen), "device")
    assert (("B", ""), (system, "")) == (shown["board"], shown["system"])


def test_both_verdicts_are_there() -> None:
    """A stopped shipper is no lost stream, and a lost stream is no stopped shipper."""
    broken = assess(known(without=("shipper",)), LIMITS, NOW_S)
    drawing = drawn(STREAM, verdict=broken)
    assert ("ok", "error") == (verdict_of(drawing)["level"], verdict_of(drawing, "recorder")["level"])
    drawing = drawn({**STREAM, "srt.connected": 0})
    assert ("error", "ok") == (verdict_of(drawing)["level"], verdict_of(drawing, "recorder")["level"])
    assert "All is recorded" == verdict_of(drawing, "recorder")["title"]


def test_a_reason_says_what_it_means_and_what_to_do() -> None:
    """In words of whoever reads it."""
    (reason,) = verdict_of(drawn({**STREAM, "srt.connected": 0}))["reasons"]
    assert reason["title"] == "The receiver does not answer"
    assert "viewers" in reason["text"]
    assert "links" in reason["todo"]


def test_the_disk_is_the_recorders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full one is amber on its tile and in the verdict."""
    seen = latest({"filesystem.used_percent": 95.0})
    found = assess(known(shipper()), LIMITS, NOW_S, tiles=delivery.disk(seen, NOW_S))
    drawing = picture_of(seen, verdict=found)
    assert ("95 %", "degraded") == tiles(drawing, "delivery")["disk"]
    assert ("degraded", "Disk 95 %") == tuple(verdict_of(drawing, "recorder")[key] for key in ("level", "title"))


def test_no_process_is_redder_than_the_verdict() -> None:
    """One whose error is no reason yet is not marked."""
    failing = known(shipper(error={"error": "timeout"}))
    drawing = drawn(STREAM, verdict=assess(failing, LIMITS, NOW_S))
    assert "ok" == verdict_of(drawing, "recorder")["level"]
    assert {"ok"} == {process["level"] for process in drawing["processes"]}


def test_a_link_has_the_name_of_its_carrier() -> None:
    """As people call it; signal, modem and interface are beside it."""
    seen = latest(STREAM)
    tags = {"interface": "wwan0", "carrier": "Vodafone", "model": "E3372", "technology": "LTE", "modem": "m1"}
    signal = Sample("modem.signal_percent", 71, {"modem": "m1"})
    seen.take(Batch("modem", "e", 1, WALL_MS, 0, "b", False, [Sample("modem.info", 1, tags), signal]), NOW_S)
    link = picture_of(seen)["links"][0]
    assert ("Vodafone", "signal 71 % · LTE · E3372 · wwan0 · 10.0.0.2") == (link["name"], link["modem"])


def test_a_link_that_is_down_shows_no_numbers() -> None:
    """What was said of it before is not how it does."""
    link = drawn({**STREAM, "srtla.link_up": 0})["links"][0]
    assert ("down", DASH, DASH, "1.2 GB") == (link["state"], link["rate"], link["rtt"], link["data"])


def test_the_data_of_a_modem_is_that_over_all_its_addresses() -> None:
    """A link whose address changed goes on with what it had; of two at one interface each has its own."""
    seen = Latest()
    ups = [("wwan0", "10.0.0.3"), ("br0", "10.0.1.2"), ("br0", "10.0.1.3"), ("usb0", "10.0.2.2")]
    data = {("wwan0", "10.0.0.2"): 1e6, ("wwan0", "10.0.0.3"): 5e5, ups[1]: 2e6, ups[2]: 3e6, ("eth0", "10.0.9.2"): 7.0}
    samples = [Sample("srtla.link_up", 1, {"interface": interface, "ip": ip}) for interface, ip in ups]
    samples += [
        Sample("session.data_bytes", count, {"interface": interface, "ip": ip})
        for (interface, ip), count in data.items()
    ]
    seen.take(Batch("srt", "e", 1, WALL_MS, 0, "boot", False, samples), NOW_S)
    shown = {link["id"]: link["data"] for link in links.links(seen, NOW_S)}
    assert {
        "wwan0-10.0.0.3": "1.5 MB", "br0-10.0.1.2": "2.0 MB", "br0-10.0.1.3": "3.0 MB", "usb0-10.0.2.2": DASH,
    } == shown  # fmt: skip


def test_old_numbers_are_gone() -> None:
    """A collector that fell silent leaves dashes, not its last words."""
    seen = latest({"cpu.temperature": 60.0}, NOW_S - STALE_INTERVALS * FIRST_SPACING_S - 1)
    assert (DASH, "") == tiles(picture_of(seen), "device")["overheating"]


def test_what_a_source_said_is_gone_with_its_process() -> None:
    """At once, whatever its interval."""
    seen = latest(STREAM)
    seen.forget(NOW_S, gone={"srt"})
    assert seen.number("srt.rtt_ms", NOW_S) is None


def test_a_healthd_that_hung_says_so() -> None:
    """Its picture is as of then."""
    assert "hangs" in verdict_of(drawn(STREAM, made_s=NOW_S - HUNG_S - 1), "recorder")["title"]


def test_the_date_of_a_value_is_that_of_its_first_appearance() -> None:
    """Since when a link is down is known after many equal readings."""
    seen = Latest()
    for second in range(3):
        seen.take(batch({"srtla.link_up": 0}, WALL_MS + 1000 * second), NOW_S + second)
    assert WALL_MS == seen.rows("srtla.link_up", NOW_S + 2)[0].since_ms


def test_a_value_lives_three_intervals() -> None:
    """Of its own series, by its timestamps; then it is forgotten."""
    seen = latest({"srt.rtt_ms": 60.0}, NOW_S)
    seen.take(batch({"srt.rtt_ms": 61.0}, WALL_MS + 20_000), NOW_S)
    assert 61.0 == seen.number("srt.rtt_ms", NOW_S + 60)
    assert seen.number("srt.rtt_ms", NOW_S + 61) is None
    seen.forget(NOW_S + 61)
    assert seen.number("srt.rtt_ms", NOW_S) is None


def test_numbers_as_people_read_them() -> None:
    """Steps, units, and what is not known."""
    assert ["0 bit/s", "999 bit/s", "5.9 Mbit/s", "123 Mbit/s"] == [bits(n) for n in (0, 999, 5.9e6, 123e6)]
    assert ["12.3 MB", DASH, DASH, DASH, DASH] == [size(12.3e6), size(None), bits(None), percent(None), number(None)]
    assert ["0 s", "59 s", "2 min", "2 h 5 min", "1 d 1 h"] == [lasting(n) for n in (0, 59, 120, 7500, 90_000)]
    assert ["never", "now", "12 s ago"] == [ago(None), ago(1), ago(12)]
    assert ["1.0 of 2.0 MB", "900 kB of 2.0 MB", f"{DASH} of 2.0 MB"] == [
        of("1.0 MB", "2.0 MB"), of("900 kB", "2.0 MB"), of(DASH, "2.0 MB"),
    ]  # fmt: skip


def test_the_one_link_that_is_slow_is_named() -> None:
    """With its number; where all are slow, none is."""

    def said(*delays_ms: float) -> str:
        seen = latest({**STREAM, "srt.rtt_ms": 700.0})
        for at, delay_ms in enumerate(delays_ms):
            tags = {"interface": f"usb{at}", "ip": f"10.0.1.{at}"}
            samples = [Sample("srtla.link_up", 1, tags), Sample("srtla.link_rtt_ms", delay_ms, tags)]
            seen.take(Batch("srt", "e", 2 + at, WALL_MS, 0, "boot", False, samples), NOW_S - 1)
        return str(verdict_of(picture_of(seen))["reasons"][0]["todo"])

    assert "usb1 is slow: 771 ms. Move, or unplug it." == said(90.0, 771.0)
    assert said(690.0, 771.0).startswith("Find the slow link.")
