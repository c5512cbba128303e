"""The list of plots: title and metrics of each."""

from __future__ import annotations

from typing import NamedTuple


class LineOf(NamedTuple):
    """One metric of a plot; without a name, one line for each link."""

    metric: str
    name: str = ""
    only: tuple[str, str] | None = None


class Plot(NamedTuple):
    """One plot; all of its lines have the same unit. It is the history of the tiles that it names."""

    id: str
    title: str
    unit: str
    lines: tuple[LineOf, ...]
    tiles: tuple[str, ...] = ()


PLOTS = (
    Plot(
        "bitrate",
        "Bitrate",
        "bit/s",
        (
            LineOf("encoder.bitrate_bits_per_second", "encoder"),
            LineOf("srt.bitrate_bits_per_second", "sent"),
            LineOf("encoder.bitrate_target_bits_per_second", "target"),
        ),
        ("low_bitrate", "sent"),
    ),
    Plot(
        "rtt", "Round trip", "ms", (LineOf("srt.rtt_ms", "stream"), LineOf("srtla.link_rtt_ms")), ("high_round_trip",)
    ),
    Plot(
        "loss",
        "Packet loss",
        "%",
        (LineOf("srt.packet_loss_percent", "stream"), LineOf("srtla.link_loss_percent")),
        ("packet_loss",),
    ),
    Plot("links", "Carried by each link", "bit/s", (LineOf("srtla.link_bits_per_second"),)),
    Plot("health", "Health, of 100", "", (LineOf("stream.health_score", "score"),), ("health",)),
    Plot(
        "encoder",
        "Frames dropped, receiver's buffer",
        "%",
        (LineOf("encoder.frame_drop_percent", "dropped"), LineOf("srt.buffer_utilization_percent", "buffer")),
        ("frames_dropped", "buffer_full"),
    ),
    Plot("heat", "Temperature", "°C", (LineOf("cpu.temperature", "hottest"),), ("overheating",)),
    Plot(
        "load",
        "Load",
        "%",
        (LineOf("cpu.usage_percent", "processor", ("core", "all")), LineOf("memory.used_percent", "memory")),
        ("processor_busy", "low_memory"),
    ),
    Plot(
        "network",
        "Network",
        "bit/s",
        (LineOf("network.total_tx_bits_per_second", "out"), LineOf("network.total_rx_bits_per_second", "in")),
    ),
)
METRICS = tuple(dict.fromkeys(line.metric for plot in PLOTS for line in plot.lines))
OF_LINKS = {line.metric for plot in PLOTS for line in plot.lines if not line.name}
OF_TILE = {tile: plot.id for plot in PLOTS for tile in plot.tiles}
