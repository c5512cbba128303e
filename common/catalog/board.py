"""What the board gives besides processor, memory, disk, network and heat."""

from __future__ import annotations

from common.catalog.row import GAUGE, row

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

BOARD = (*ACCELERATOR, *POWER)
