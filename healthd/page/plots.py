"""Which plots there are: what each shows, from which metrics."""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """One metric of a plot; with `label`, one line for each of that label's values."""

    metric: str
    name: str
    label: str = ""
    only: tuple[str, str] | None = None


class Plot(NamedTuple):
    """One plot; all of its lines have the same unit."""

    id: str
    title: str
    unit: str
    lines: tuple[Line, ...]


PLOTS = (
    Plot(
        "bitrate",
        "Bitrate",
        "bit/s",
        (
            Line("encoder.bitrate_target_bits_per_second", "target"),
            Line("encoder.bitrate_bits_per_second", "encoder"),
            Line("srt.bitrate_bits_per_second", "sent"),
        ),
    ),
    Plot("rtt", "Round trip", "ms", (Line("srt.rtt_ms", "stream"), Line("srtla.link_rtt_ms", "", "ip"))),
    Plot(
        "loss",
        "Packet loss",
        "%",
        (Line("srt.packet_loss_percent", "stream"), Line("srtla.link_loss_percent", "", "ip")),
    ),
    Plot("links", "Carried by each link", "bit/s", (Line("srtla.link_bits_per_second", "", "ip"),)),
    Plot("heat", "Temperature", "°C", (Line("cpu.temperature", "hottest"),)),
    Plot(
        "load",
        "Load",
        "%",
        (Line("cpu.usage_percent", "processor", only=("core", "all")), Line("memory.used_percent", "memory")),
    ),
    Plot(
        "network",
        "Network",
        "bit/s",
        (Line("network.total_tx_bits_per_second", "out"), Line("network.total_rx_bits_per_second", "in")),
    ),
)
METRICS = tuple({line.metric for plot in PLOTS for line in plot.lines})
