"""The tiles of the stream and of the device that carries it; their colours are those of common/thresholds.py. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from common import thresholds
from common.thresholds import BY_ALERT, Alerts, Threshold
from healthd.verdict.latest import Latest
from healthd.verdict.tile import Tile
from healthd.wording import DASH, bits, lasting, number, of, percent


class Tiles:
    """Makes tiles of the latest values.

    Args:
        latest: the values.
        alerts: the configured thresholds.
        now_s: monotonic time.
        live: the stream's numbers are judged.
    """

    def __init__(self, latest: Latest, alerts: Alerts, now_s: float, *, live: bool) -> None:
        self._latest = latest
        self._alerts = alerts
        self._now_s = now_s
        self._live = live

    def stream(self) -> Iterator[Tile]:
        """Yield the numbers of the connection, the encoder, the picture and the sound."""
        known, health = self._known, self._known("stream.health_score")
        level = thresholds.fixed_level(thresholds.HEALTH_SCORE, health)
        yield Tile("health", "Health", number(health, "of 100"), level, None if health is None else health / 100)
        yield self._bitrate()
        yield Tile("sent", "Really sent", bits(known("srt.bitrate_bits_per_second")))
        yield self._threshold("high_round_trip", "Round trip", number(known("srt.rtt_ms"), "ms"))
        yield self._threshold("packet_loss", "Packet loss", percent(known("srt.packet_loss_percent"), 1))
        buffered = known("srt.buffer_utilization_percent")
        share = None if buffered is None else buffered / 100
        yield self._threshold("buffer_full", "Receiver's buffer", percent(buffered), share)
        yield Tile("frames", "Frames", number(known("encoder.frame_rate"), "/s", 1))
        yield self._threshold("frames_dropped", "Frames dropped", percent(known("encoder.frame_drop_percent"), 1))
        yield Tile("picture", "Picture", self._picture())
        yield Tile("sound", "Sound", self._sound())
        yield Tile("age", "Running for", lasting(known("srt.uptime_seconds")))

    def device(self) -> Iterator[Tile]:
        """Yield the numbers of the board."""
        heat = self._known("cpu.temperature")
        yield self._threshold("overheating", "Temperature", number(heat, "°C"), None if heat is None else heat / 100)
        busy = self._known("cpu.usage_percent", core=thresholds.CORES_ALL)
        yield self._threshold("processor_busy", "Processor", percent(busy), None if busy is None else busy / 100)
        used = self._known("memory.used_percent")
        yield self._threshold("low_memory", "Memory", percent(used), None if used is None else used / 100)
        for row in self._latest.rows("battery.level_percent", self._now_s):
            level = thresholds.fixed_level(thresholds.BATTERY_PERCENT, row.value)
            yield Tile("battery", "Battery", percent(row.value), level, row.value / 100)
        watts = [row.value for row in self._latest.rows("power.watts", self._now_s)]
        if watts:
            yield Tile("power", "Power", number(max(watts), "W", 1))
        for row in self._latest.rows("system.info", self._now_s):
            names = [row.tags.get(tag, "") for tag in ("image", "os", "kernel")]
            yield Tile("board", "Board", row.tags.get("board") or DASH)
            yield Tile("system", "System", next(filter(None, names), DASH))

    def _known(self, name: str, **tags: str) -> float | None:
        return self._latest.number(name, self._now_s, **tags)

    def _threshold(self, alert: str, label: str, text: str, share: float | None = None) -> Tile:
        """Return the tile of a number that has a threshold; one of the stream is judged only while that is live."""
        row = BY_ALERT[alert]
        level = self._level(row) if self._live or not row.streams else ""
        return Tile(alert, label, text, level, share)

    def _level(self, row: Threshold) -> str:
        tags = {"core": thresholds.CORES_ALL} if row.metric == "cpu.usage_percent" else {}
        whole = self._known(row.of) if row.of else None
        value = thresholds.value_of(row, self._known(row.metric, **tags), whole)
        return thresholds.level(row, self._alerts, value, held=self._is_raised(row.alert))

    def _is_raised(self, alert: str) -> bool:
        return bool(self._known("alert.active", alert=alert))

    def _bitrate(self) -> Tile:
        rate = self._known("encoder.bitrate_bits_per_second")
        target = self._known("encoder.bitrate_target_bits_per_second")
        text = of(bits(rate), bits(target)) if target else bits(rate)
        share = min(1.0, rate / target) if rate is not None and target else None
        return self._threshold("low_bitrate", "Bitrate", text, share)

    def _picture(self) -> str:
        for name, tags in (("encoder.info", ("codec", "resolution")), ("hdmi.info", ("resolution", "color_format"))):
            for row in self._latest.rows(name, self._now_s):
                return " ".join(filter(None, (row.tags.get(tag, "") for tag in tags))) or DASH
        return DASH

    def _sound(self) -> str:
        rate = self._known("audio.sample_rate_hertz")
        if rate is not None:
            return number(rate / 1000, "kHz", 1)
        running = [row.value for row in self._latest.rows("audio.running", self._now_s)]
        return DASH if not running else "running" if any(running) else "silent"
