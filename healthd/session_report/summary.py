"""Sum up a span: how it ended, what it was like, its worst moments, the data that each link carried. Pure.

Every number is from samples of the span; what was not measured is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from healthd.recorded.events import RecordedEvent, Span
from healthd.recorded.series import Line
from healthd.verdict import link_names

TOGETHER_MS = 30_000  # events this close to each other are one moment
MOST_MOMENTS = 10
NEAR_MS = 10_000  # a link's state at a moment is its newest point of these last seconds
NAME = "link"  # the label
WEIGHTS = {"critical": 3, "error": 2, "warning": 1}


class Figure(NamedTuple):
    """One metric that a report sums up and plots.

    Attributes:
        metric: its name in the database.
        title: for people.
        unit: of the values shown.
        scale: shown value of one stored unit.
        label: the label that tells its lines apart, "" where there is one line.
    """

    metric: str
    title: str
    unit: str
    scale: float = 1.0
    label: str = ""


FIGURES = (
    Figure("srt.bitrate_bits_per_second", "Bitrate sent", "Mbit/s", 1e-6),
    Figure("encoder.bitrate_bits_per_second", "Bitrate set", "Mbit/s", 1e-6),
    Figure("srt.rtt_ms", "Round trip", "ms"),
    Figure("srt.packet_loss_percent", "Packet loss", "%"),
    Figure("encoder.frame_drop_percent", "Frames dropped", "%"),
    Figure("cpu.temperature", "Temperature", "°C"),
    Figure("stream.health_score", "Health", "of 100"),
    Figure("srtla.link_rtt_ms", "Round trip of each link", "ms", 1.0, "interface"),
    Figure("srtla.link_loss_percent", "Packet loss of each link", "%", 1.0, "interface"),
    Figure("srtla.link_bits_per_second", "Carried by each link", "Mbit/s", 1e-6, "interface"),
)
METRICS = tuple(figure.metric for figure in FIGURES)
OF_LINKS = {figure.metric for figure in FIGURES if figure.label}
LINK_STATE = {"srtla.link_rtt_ms": "ms", "srtla.link_loss_percent": "% loss"}


class Row(NamedTuple):
    """One line of the table of numbers, in shown units."""

    title: str
    unit: str
    least: float
    mean: float
    most: float


class Moment(NamedTuple):
    """Something that went wrong, and the links as they were then.

    Attributes:
        at_ms: of its first event.
        severity: the worst of its events.
        texts: of its events, each once.
        links: state of each link in words, by name.
    """

    at_ms: int
    severity: str
    texts: tuple[str, ...]
    links: Mapping[str, str]


def rows(lines: Iterable[Line]) -> list[Row]:
    """Return least, mean and most of each figure that has values; of links, over all of them."""
    found = []
    for figure in FIGURES:
        points = [point for line in lines if line.metric == figure.metric for point in line.points]
        if points:
            least, most = min(point.least for point in points), max(point.most for point in points)
            mean = sum(point.mean * point.samples for point in points) / sum(point.samples for point in points)
            scaled = (round(value * figure.scale, 2) for value in (least, mean, most))
            found.append(Row(figure.title, figure.unit, *scaled))
    return found


def moments(events: Iterable[RecordedEvent], lines: Iterable[Line]) -> list[Moment]:
    """Return the worst moments, the worst first, then in the order of time."""
    lines, groups = list(lines), list[list[RecordedEvent]]()
    for event in events:
        if event.severity not in WEIGHTS:
            continue
        if groups and event.timestamp_ms - groups[-1][-1].timestamp_ms <= TOGETHER_MS:
            groups[-1].append(event)
        else:
            groups.append([event])
    found = [_moment(group, lines) for group in groups]
    return sorted(found, key=lambda moment: (-WEIGHTS[moment.severity], moment.at_ms))[:MOST_MOMENTS]


def as_json(device_id: str, span: Span, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report as plain data; times are Unix milliseconds."""
    return {"device_id": device_id, **span._asdict(), **content}


def _moment(group: list[RecordedEvent], lines: list[Line]) -> Moment:
    worst = max((event.severity for event in group), key=WEIGHTS.__getitem__)
    texts = tuple(dict.fromkeys(event.text for event in group))
    return Moment(group[0].timestamp_ms, worst, texts, _links_at(group[0].timestamp_ms, lines))


def _links_at(at_ms: int, lines: list[Line]) -> dict[str, str]:
    """Return the state of each link shortly before a moment, in words."""
    found: dict[str, list[str]] = {}
    for line in lines:
        unit, name = LINK_STATE.get(line.metric), name_of(line)
        near = [point for point in line.points if at_ms - NEAR_MS <= point.at_ms <= at_ms]
        if unit and name and near:
            found.setdefault(name, []).append(f"{near[-1].most:.0f} {unit}")
    return {name: ", ".join(state) for name, state in sorted(found.items())}


def with_names(lines: Iterable[Line], modems: link_names.Modems, given: Mapping[str, str]) -> list[Line]:
    """Add the name of the link as a label, `NAME`, to each line of a link."""
    lines = list(lines)
    names = link_names.names(sorted({_key(line) for line in lines if line.metric in OF_LINKS}), modems, given)
    return [
        line._replace(labels={**line.labels, NAME: names[_key(line)]}) if line.metric in OF_LINKS else line
        for line in lines
    ]


def name_of(line: Line) -> str:
    """Return the name of a line's link, "" if it belongs to none."""
    return line.labels.get(NAME, "")


def _key(line: Line) -> link_names.Key:
    return line.labels.get("interface", ""), line.labels.get("ip", "")
