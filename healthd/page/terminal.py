"""The picture as lines of text, for a terminal or a pipe. Pure.

Reads: what `/api/now` answers. Emits: lines no wider than asked for, in colour where that is wanted. A level is
always a word or a sign too, never a colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from healthd.page.fact import DEGRADED, ERROR, IDLE, OK
from healthd.page.wording import DASH, lasting

SIGNS = {OK: "+", IDLE: "-", DEGRADED: "!", ERROR: "X", "": " "}

_COLOURS = {OK: "32", DEGRADED: "33", ERROR: "31;1", IDLE: "36"}
_LABEL, _VALUE, _GAP = 16, 20, 2  # two columns on a terminal of 80
_COLUMN = 2 + _LABEL + _VALUE + _GAP
_LINKS = (32, 12, 9, 8)
_BAR = 10


class Terminal:
    """How lines are drawn.

    Args:
        width: columns.
        colour: with escape sequences.
    """

    def __init__(self, width: int = 100, *, colour: bool = False) -> None:
        self._width = max(40, width)
        self._colour = colour

    def lines(self, picture: Mapping[str, Any]) -> list[str]:
        """Return the picture, verdict first."""
        return list(self._all(picture))

    def _all(self, picture: Mapping[str, Any]) -> Iterator[str]:
        device, verdict = picture["device"], picture["verdict"]
        name = device["name"] or device["id"]
        yield self._cut(f"{name}   belabox-metrics {device['version']}")
        yield ""
        title = f"{SIGNS[verdict['level']]} {verdict['title']}"
        yield self._painted(self._cut(f"{title}  ({verdict['text']})"), verdict["level"])
        for reason in picture["reasons"]:
            since = lasting((picture["timestamp_ms"] - reason["since_ms"]) / 1000)
            yield self._painted(
                self._cut(f"  {SIGNS[reason['level']]} {reason['title']}, for {since}"), reason["level"]
            )
        for group in picture["groups"]:
            yield from self._group(group["title"], [self._fact(fact) for fact in group["facts"]])
            if group["id"] == "stream" and picture["links"]:
                yield from self._links(picture["links"])
        yield from self._group("Processes", [self._process(process) for process in picture["processes"]])

    def _group(self, title: str, cells: Sequence[str]) -> Iterator[str]:
        """Yield cells in as many columns as there is room for, read down and then across."""
        yield ""
        yield title
        columns = max(1, self._width // _COLUMN)
        rows = -(-len(cells) // columns)
        for row in range(rows):
            yield "".join(cells[row::rows]).rstrip()

    def _links(self, links: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        yield ""
        heads = zip(("carries", "RTT", "loss"), _LINKS[1:], strict=True)
        yield self._cut(f"{'Links':<{_LINKS[0] + 2}}{''.join(f'{head:>{width}}' for head, width in heads)}")
        for link in links:
            name = f"{link['name']}  {link['modem']}".strip()
            if link["level"] != OK:
                name = f"{name} ({link['state']})"
            numbers = (f"{link[key]:>{width}}" for key, width in zip(("rate", "rtt", "loss"), _LINKS[1:], strict=True))
            text = f"{SIGNS[link['level']]} {name:<{_LINKS[0]}.{_LINKS[0]}}{''.join(numbers)}  {_bar(link['share'])}"
            yield self._painted(self._cut(text), link["level"])

    def _fact(self, fact: Mapping[str, Any]) -> str:
        return self._cell(fact["label"], fact["text"], fact["level"])

    def _process(self, process: Mapping[str, Any]) -> str:
        restarts = f", {process['restarts']} restarts" if process["restarts"] else ""
        return self._cell(process["name"], f"{process['state']}{restarts}", process["level"])

    def _cell(self, label: str, text: str, level: str) -> str:
        room = min(_COLUMN, self._width) - _GAP
        plain = f"{SIGNS[level]} {label:<{_LABEL}.{_LABEL}}{text}"[:room]
        return self._painted(f"{plain:<{room}}", level) + " " * _GAP

    def _cut(self, text: str) -> str:
        return text if len(text) <= self._width else f"{text[: self._width - 1]}…"

    def _painted(self, text: str, level: str) -> str:
        colour = _COLOURS.get(level) if self._colour and level != OK else None
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def _bar(share: float | None) -> str:
    return DASH if share is None else "#" * round(_BAR * min(1.0, share))
