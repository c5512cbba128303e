"""The plausible range of each physical quantity, by unit, and for some metrics by name.

A failing driver reports 2,147,483 °C, a modem without a cell 0 dBm. The collectors drop values outside of the range,
count them and log each series once. The ranges are wide: they separate broken from working sensors, not good from bad
values; that is what thresholds are for.
"""

from __future__ import annotations

import math

from common.sample import MAX_INTEGER

Range = tuple[float, float]

ANY: Range = (-math.inf, math.inf)
FLAG: Range = (0, 1)
COUNT: Range = (0, MAX_INTEGER)
YEARS_100: Range = (0, 100 * 366 * 86_400)

BY_UNIT: dict[str, Range] = {
    "percent": (0, 100),
    # Sensors for board and case are made for -55 to 150 (LM75, TMP102, the RK3588's own up to 125).
    "celsius": (-55, 150),
    "volts": (0, 500),  # a UPS reports the mains
    "amperes": (-1_000, 1_000),
    "watts": (-100_000, 100_000),
    "revolutions/minute": (0, 50_000),  # 40 mm server fans turn 30,000
    "hertz": (0, 20e9),
    "bytes": COUNT,
    "bytes/second": (0, 1e12),
    "bits/second": (0, 1e12),  # 800GBASE is the fastest there is
    "bits/s": (0, 1e12),
    "seconds": YEARS_100,
    "milliseconds": (0, 86_400_000),
    "frames": (0, 1_000_000),
    "frames/s": (0, 1_000),
    # A receiver at its antenna: 3GPP reports SS-RSRP from -156 (TS 38.133, 10.1.6) and is blind above -10.
    "dBm": (-160, -10),
    "dB": (-50, 60),
    "degrees": (0, 360),
    "meters": (0, 1_000_000),
    "m/s": (0, 600),  # civil receivers stop at 1,000 knots, 515 m/s
}

BY_NAME: dict[str, Range] = {
    "modem.rsrq_db": (-43, 20),  # SS-RSRQ, TS 38.133, 10.1.11
    "modem.snr_db": (-30, 60),
    "gps.latitude_degrees": (-90, 90),
    "gps.longitude_degrees": (-180, 180),
    "gps.altitude_meters": (-500, 50_000),  # below the Dead Sea, above any balloon
    "gps.fix": (0, 3),
    "gps.hdop": (0, 100),  # 99.99 is the receivers' own "none"
    "gps.satellites_used": (0, 300),
    "gps.satellites_visible": (0, 300),
    "audio.sample_rate_hertz": (0, 1_000_000),
    "audio.channels": (0, 256),
    "audio.sync_offset_ms": (-100_000, 100_000),
    "srt.rtt_ms": (0, 60_000),
    "srt.jitter_ms": (0, 60_000),
    "srtla.link_rtt_ms": (0, 60_000),
    "srtla.active_links": (0, 256),
    "modem.active_modems": (0, 256),
    "receiver.rtt_ms": (0, 60_000),
    "thermal.cooling_state": (0, 10_000),
    "network.stability_index": (0, 100),
    "stream.health_score": (0, 100),
    "session.last_health_score": (0, 100),
    "session.last_rtt_ms": (0, 60_000),
    "encoder.efficiency": (0, 1),
    "time.skew_ms": ANY,
    **dict.fromkeys(("system.load1", "system.load5", "system.load15"), (0, 1_000_000)),
    **dict.fromkeys(("disk.io_time_ms_total", "disk.weighted_io_time_ms_total"), COUNT),
    **dict.fromkeys(
        (
            "alert.active", "audio.running", "cpu.throttled", "hdmi.connected", "hdmi.locked", "modem.connected",
            "modem.roaming", "network.link_up", "power.online", "process.up", "receiver.connected",
            "session.last_completed", "srt.connected", "srtla.link_up", "thermal.unreadable", "vpu.hardware_encoding",
        ),
        FLAG,
    ),
}  # fmt: skip


def of(name: str, unit: str, *, counts: bool) -> Range:
    """Return the range of a metric.

    Args:
        name: as stored.
        unit: of its values.
        counts: it is a counter.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    return COUNT if counts else BY_UNIT.get(unit, COUNT)
