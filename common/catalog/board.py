"""Metrics of the board besides processor, memory, disk, network and temperature."""

from __future__ import annotations

from common.catalog.row import GAUGE, row
from common.sample import LOW

ACCELERATOR = (
    row("gpu.usage_percent", GAUGE, "percent", "", "Load of the graphics unit."),
    row("gpu.frequency_hertz", GAUGE, "hertz", "", "Its clock."),
    row("npu.usage_percent", GAUGE, "percent", "core", "Load of the neural unit."),
    row("npu.frequency_hertz", GAUGE, "hertz", "", "Its clock."),
    row("vpu.usage_percent", GAUGE, "percent", "unit kind", "Load of a video unit; kind: load, utilization."),
    row("vpu.hardware_encoding", GAUGE, "", "", "1 while a hardware encoder has a session."),
    row("rga.usage_percent", GAUGE, "percent", "core", "Load of the 2D unit, which scales and converts."),
)

POWER = (
    row("power.volts", GAUGE, "volts", "source", "Voltage of a supply, battery or meter."),
    row("power.amperes", GAUGE, "amperes", "source", "Current, signed as the driver does."),
    row("power.watts", GAUGE, "watts", "source", "Power, measured or from the two."),
    row("power.online", GAUGE, "", "supply", "1 while it gives power."),
    row("battery.level_percent", GAUGE, "percent", "supply", "Charge of a battery."),
    row("battery.runtime_seconds", GAUGE, "seconds", "supply", "How long it lasts by what is drawn now."),
)

GPS = (
    row("gps.fix", GAUGE, "", "", "0 or 1: no position, 2: flat, 3: with altitude.", LOW),
    row("gps.latitude_degrees", GAUGE, "degrees", "", "North is positive.", LOW),
    row("gps.longitude_degrees", GAUGE, "degrees", "", "East is positive.", LOW),
    row("gps.altitude_meters", GAUGE, "meters", "", "Above mean sea level.", LOW),
    row("gps.speed_meters_per_second", GAUGE, "m/s", "", "Over ground.", LOW),
    row("gps.track_degrees", GAUGE, "degrees", "", "Course over ground, from true north.", LOW),
    row("gps.horizontal_error_meters", GAUGE, "meters", "", "How wrong the position may be, by gpsd.", LOW),
    row("gps.satellites_used", GAUGE, "", "", "Satellites in the position.", LOW),
    row("gps.satellites_visible", GAUGE, "", "", "Satellites in view.", LOW),
    row("gps.hdop", GAUGE, "", "", "Horizontal dilution of precision: lower is better.", LOW),
)

BOARD = (*ACCELERATOR, *POWER, *GPS)
