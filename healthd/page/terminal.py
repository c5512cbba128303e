"""The picture as lines of text, for a terminal or a pipe. Pure.

Reads: what `/api/now` answers. Emits: lines no wider than fit, in colour where that is wanted; what matters most comes
first. A level is always a word or a sign too, never a colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.thresholds import DEGRADED, ERROR, OK
from healthd.verdict.tile import IDLE
from healthd.wording import DASH, lasting

SIGNS = {OK: "+", IDLE: "-", DEGRADED: "!", ERROR: "X", "": " "}

_COLOURS = {OK: "32", DEGRADED: "33", ERROR: "31;1", IDLE: "36"}
_LABEL, _VALUE, _GAP = 17, 19, 2  # two columns on a terminal of 80
_COLUMN = 2 + _LABEL + _VALUE + _GAP
_LINKS = (27, 12, 9, 8, 9)
_OF_LINKS = {"rate": "carries", "rtt": "RTT", "loss": "loss", "data": "data"}
_BAR = 10
_MAX_REASONS = 4  # of each verdict, where room is scarce


class Terminal:
    """Draws the picture as lines.

    Args:
        width: columns.
        colour: with escape sequences.
        dense: without empty lines, and with the first reasons of each verdict alone.
    """

    def __init__(self, width: int = 100, *, colour: bool = False, dense: bool = False) -> None:
        self._width = max(40, width)
        self._colour = colour
        self._dense = dense

    def lines(self, picture: Mapping[str, Any]) -> list[str]:
        """Return the whole picture, verdicts first."""
        return [line for part in self._parts(picture) for line in part]

    def _parts(self, picture: Mapping[str, Any]) -> Iterator[Iterator[str]]:
        yield self._head(picture)
        groups = {group["id"]: group for group in picture["groups"]}
        if groups["stream"]["tiles"]:
            yield self._tiles(groups["stream"])
        if picture["links"]:
            yield self._links(picture["links"])
        yield self._tiles(groups["device"])
        yield self._tiles(groups["delivery"])
        yield self._group("Processes", [self._process(process) for process in picture["processes"]])

    def _head(self, picture: Mapping[str, Any]) -> Iterator[str]:
        device = picture["device"]
        yield self._cut(f"{device['name'] or device['id']}   belabox-metrics {device['version']}")
        for verdict in picture["verdicts"]:
            title = f"{SIGNS[verdict['level']]} {verdict['title']}"
            yield self._painted(self._cut(f"{title}. {verdict['text']}"), verdict["level"])
            most = _MAX_REASONS if self._dense else len(verdict["reasons"])
            for reason in verdict["reasons"][:most]:
                yield from self._reason(reason, picture["timestamp_ms"])

    def _reason(self, reason: Mapping[str, Any], now_ms: int) -> Iterator[str]:
        since = lasting((now_ms - reason["since_ms"]) / 1000)
        title = self._cut(f"  {SIGNS[reason['level']]} {reason['title']}, for {since}")
        yield self._painted(title, reason["level"])
        yield self._cut(f"    {reason['todo']}")

    def _tiles(self, group: Mapping[str, Any]) -> Iterator[str]:
        return self._group(group["title"], [self._tile(tile) for tile in group["tiles"]])

    def _group(self, title: str, cells: Sequence[str]) -> Iterator[str]:
        """Yield cells in as many columns as there is room for, read down and then across."""
        if not self._dense:
            yield ""
        yield title
        columns = max(1, self._width // _COLUMN)
        rows = -(-len(cells) // columns)
        for row in range(rows):
            yield "".join(cells[row::rows]).rstrip()

    def _links(self, links: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        if not self._dense:
            yield ""
        heads = zip(_OF_LINKS.values(), _LINKS[1:], strict=True)
        yield self._cut(f"{'Links':<{_LINKS[0] + 2}}{''.join(f'{head:>{width}}' for head, width in heads)}")
        for link in links:
            name = f"{link['name']}  {link['modem']}".strip()
            if link["level"] != OK:
                name = f"{link['name']} ({link['state']})"
            numbers = (f"{link[key]:>{width}}" for key, width in zip(_OF_LINKS, _LINKS[1:], strict=True))
            text = f"{SIGNS[link['level']]} {name:<{_LINKS[0]}.{_LINKS[0]}}{''.join(numbers)}  {_bar(link['share'])}"
            yield self._painted(self._cut(text), link["level"])

    def _tile(self, tile: Mapping[str, Any]) -> str:
        return self._cell(tile["label"], tile["text"], tile["level"])

    def _process(self, process: Mapping[str, Any]) -> str:
        restarts = f", {process['restarts']} restarts" if process["restarts"] else ""
        return self._cell(process["name"], f"{process['state']}{restarts}", process["level"])

    def _cell(self, label: str, text: str, level: str) -> str:
        room = min(_COLUMN, self._width) - _GAP
        plain = f"{SIGNS[level]} {label:<{_LABEL}.{_LABEL}} {text}"[:room]
        return self._painted(f"{plain:<{room}}", level) + " " * _GAP

    def _cut(self, text: str) -> str:
        return text if len(text) <= self._width else f"{text[: self._width - 1]}…"

    def _painted(self, text: str, level: str) -> str:
        colour = _COLOURS.get(level) if self._colour and level != OK else None
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def window(lines: Sequence[str], height: int, first: int) -> list[str]:
    """Return the lines from `first` on that fit, and a last one that says where there are more."""
    if len(lines) <= height:
        return list(lines)
    shown = lines[first : first + height - 1]
    above, below = first, len(lines) - first - len(shown)
    more = [f"{count} lines {where}" for count, where in ((above, "above"), (below, "below")) if count]
    return [*shown, f"… {', '.join(more)}: arrow and page keys; q ends"]


def _bar(share: float | None) -> str:
    return DASH if share is None else "#" * round(_BAR * min(1.0, share))
