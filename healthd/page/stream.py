"""The stream's part of the picture: what is wrong with it, its numbers, its links. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from healthd.page.fact import DEGRADED, ERROR, OK, Fact
from healthd.page.latest import Latest, Value
from healthd.page.wording import DASH, bits, lasting, number, of, percent

LEAST_BARS = 1_000_000.0  # bits per second that fill a link's bar when no link carries more


class Condition(NamedTuple):
    """Something that is wrong with the stream.

    Attributes:
        level: degraded or error.
        part: which part of it.
        title: one short sentence, for a glance.
        text: the same with more in it.
        since_ms: Unix milliseconds since which it is so.
    """

    level: str
    part: str
    title: str
    text: str
    since_ms: int


def is_running(latest: Latest, now_s: float) -> bool:
    """Tell whether a stream runs, or is meant to."""
    return any(latest.rows(name, now_s) for name in ("srt.uptime_seconds", "encoder.bitrate_bits_per_second"))


def conditions(latest: Latest, now_s: float) -> Iterator[Condition]:
    """Give what is wrong, the gravest first."""
    if is_running(latest, now_s):
        for row in latest.rows("srt.connected", now_s):
            if not row.value:
                text = "Nothing is acknowledged: the uplinks, or the receiver."
                yield Condition(ERROR, "srt", "The receiver does not answer", text, row.since_ms)
        for row in latest.rows("hdmi.connected", now_s):
            if not row.value:
                text = "Cable, camera, or the camera's battery."
                yield Condition(ERROR, "hdmi", "No picture at the HDMI input", text, row.since_ms)
        for row in latest.rows("srtla.link_up", now_s):
            if not row.value:
                text = "The others carry the stream."
                yield Condition(DEGRADED, "srtla", f"Link {_name(row)} is down", text, row.since_ms)
    for row in latest.rows("alert.active", now_s):
        if row.value:
            title = row.tags.get("alert", "alert").replace("_", " ").capitalize()
            yield Condition(DEGRADED, "alert", title, "Beyond its configured line.", row.since_ms)


def facts(latest: Latest, now_s: float) -> Iterator[Fact]:
    """Give the numbers of the connection, the encoder, the picture and the sound."""

    def known(name: str) -> float | None:
        return latest.number(name, now_s)

    health = known("stream.health_score")
    yield Fact("health", "Health", number(health, "of 100"), _below(health, 70, 40), health and health / 100)
    yield _bitrate(known("encoder.bitrate_bits_per_second"), known("encoder.bitrate_target_bits_per_second"))
    yield Fact("sent", "Really sent", bits(known("srt.bitrate_bits_per_second")))
    rtt = known("srt.rtt_ms")
    yield Fact("rtt", "Round trip", number(rtt, "ms"), _above(rtt, 250, 500))
    loss = known("srt.packet_loss_percent")
    yield Fact("loss", "Packet loss", percent(loss, 1), _above(loss, 2, 5))
    buffered = known("srt.buffer_utilization_percent")
    yield Fact("buffer", "Receiver's buffer", percent(buffered), _above(buffered, 70, 90), buffered and buffered / 100)
    drops = known("encoder.frame_drop_percent")
    yield Fact("frames", "Frames", number(known("encoder.frame_rate"), "/s", 1))
    yield Fact("drops", "Frames dropped", percent(drops, 1), _above(drops, 0.5, 1))
    yield Fact("picture", "Picture", _picture(latest, now_s))
    yield Fact("sound", "Sound", _sound(latest, now_s))
    yield Fact("age", "Running for", lasting(known("srt.uptime_seconds")))


def _bitrate(rate: float | None, target: float | None) -> Fact:
    text = of(bits(rate), bits(target)) if target else bits(rate)
    share = rate / target if rate is not None and target else None
    return Fact("bitrate", "Bitrate", text, _below(share, 0.8, 0.5), share and min(1.0, share))


def _picture(latest: Latest, now_s: float) -> str:
    for name, tags in (("encoder.info", ("codec", "resolution")), ("hdmi.info", ("resolution", "color_format"))):
        for row in latest.rows(name, now_s):
            return " ".join(filter(None, (row.tags.get(tag, "") for tag in tags))) or DASH
    return DASH


def _sound(latest: Latest, now_s: float) -> str:
    rate = latest.number("audio.sample_rate_hertz", now_s)
    if rate is not None:
        return number(rate / 1000, "kHz", 1)
    running = [row.value for row in latest.rows("audio.running", now_s)]
    return DASH if not running else "running" if any(running) else "silent"


def _above(value: float | None, warn: float, bad: float) -> str:
    return "" if value is None else ERROR if value > bad else DEGRADED if value > warn else OK


def _below(value: float | None, warn: float, bad: float) -> str:
    return "" if value is None else ERROR if value < bad else DEGRADED if value < warn else OK


def links(latest: Latest, now_s: float) -> list[dict[str, Any]]:
    """Return what is known of each bonded link."""
    ups = latest.rows("srtla.link_up", now_s)
    rates = {_key(row): row.value for row in latest.rows("srtla.link_bits_per_second", now_s)}
    most = max([LEAST_BARS, *rates.values()])
    return [_link(row, rates.get(_key(row)), most, latest, now_s) for row in ups]


def _link(row: Value, rate: float | None, most: float, latest: Latest, now_s: float) -> dict[str, Any]:
    rtt = latest.number("srtla.link_rtt_ms", now_s, **row.tags)
    loss = latest.number("srtla.link_loss_percent", now_s, **row.tags)
    if not row.value:
        rate = rtt = loss = None  # what was said before it went down
    return {
        "id": "-".join(_key(row)),
        "name": _name(row),
        "modem": _modem(row.tags.get("interface", ""), latest, now_s),
        "level": OK if row.value else ERROR,
        "state": "up" if row.value else "down",
        "rate": bits(rate),
        "share": rate / most if rate is not None else None,
        "rtt": number(rtt, "ms"),
        "loss": percent(loss, 1),
    }


def _modem(interface: str, latest: Latest, now_s: float) -> str:
    """Return a link's modem and its signal, "" where there is none."""
    if not interface:
        return ""
    for info in latest.rows("modem.info", now_s):
        if info.tags.get("interface") == interface:
            names = [info.tags.get(tag, "") for tag in ("model", "carrier", "technology")]
            modem = info.tags.get("modem", "")
            signal = latest.number("modem.signal_percent", now_s, modem=modem)
            return " · ".join([*filter(None, names), *([percent(signal)] if signal is not None else [])])
    return ""


def _name(row: Value) -> str:
    interface, address = row.tags.get("interface", ""), row.tags.get("ip", "")
    return f"{interface} ({address})" if interface and address else interface or address or DASH


def _key(row: Value) -> tuple[str, str]:
    return row.tags.get("interface", ""), row.tags.get("ip", "")
