"""Write a report as one HTML file that opens anywhere: plots as inline SVG, no request, ready to print. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

from common import VERSION
from healthd.recorded.events import RecordedEvent, Span
from healthd.recorded.series import Line, Point
from healthd.session_report.summary import FIGURES, Figure, Moment, Row, name_of
from healthd.wording import lasting, size

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 150, 8, 20
COLOURS = ("#14653b", "#2457c5", "#a34a00", "#7a2fa0", "#00707a", "#b3201c")
ENDINGS = {
    "active": "still running",
    "completed": "stopped by the operator",
    "failed": "broke off: the encoder ended and was not restarted, or the device lost power",
}
STYLE = """
:root { color-scheme: light; } * { box-sizing: border-box; margin: 0; }
body { font: 15px/1.45 system-ui, sans-serif; color: #16201b; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 1.4rem 0 .4rem; } p { margin: .2rem 0; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .25rem .5rem; vertical-align: top;
border-bottom: 1px solid #dcdfd9; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.at { white-space: nowrap; }
figure { break-inside: avoid; margin: .8rem 0; } svg { width: 100%; height: auto; background: #f7f8f6; }
figcaption span { margin-right: .9rem; white-space: nowrap; } .soft { color: #566059; }
.critical, .error { color: #b3201c; } .warning { color: #8a5200; }
@media print { body { margin: 0; max-width: none; } }
"""

Clock = Callable[[int], str]  # Unix milliseconds in the words of a clock on the wall


def document(
    device_id: str,
    span: Span,
    content: tuple[Sequence[Row], Sequence[Moment], Mapping[str, float]],
    lines: Sequence[Line],
    events: Sequence[RecordedEvent],
    clock: Clock,
) -> str:
    """Return the report as one HTML document.

    Args:
        device_id: of the device.
        span: what is reported.
        content: table of numbers, worst moments, bytes by link.
        lines: what is plotted.
        events: of the span; each is a mark in the plots.
        clock: how times are written.
    """
    rows, moments, data = content
    body = [
        *_head(device_id, span, clock),
        *_numbers(rows),
        *_data(data),
        *_moments(moments, clock),
        *_plots(span, lines, events, clock),
        *_events(events, clock),
        f'<p class="soft">Written by belabox-metrics {VERSION}.</p>',
    ]
    title = escape(f"{span.title} {clock(span.start_ms)}, {device_id}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _head(device_id: str, span: Span, clock: Clock) -> Iterator[str]:
    yield f"<h1>{escape(span.title)} of {escape(device_id)}</h1>"
    yield f"<p>{clock(span.start_ms)} to {clock(span.end_ms)}, {lasting((span.end_ms - span.start_ms) / 1000)}</p>"
    if span.status:
        times = f"; the encoder was restarted {span.restarts} times" if span.restarts else ""
        yield f"<p>{ENDINGS.get(span.status, escape(span.status)).capitalize()}{times}.</p>"
        yield f'<p class="soft">Session {escape(span.session_id)}</p>'


def _numbers(rows: Sequence[Row]) -> Iterator[str]:
    yield "<h2>Numbers</h2>"
    if not rows:
        yield "<p>Nothing of the stream was measured in this time.</p>"
        return
    yield '<table><tr><th></th><th class="n">least</th><th class="n">mean</th><th class="n">most</th><th></th></tr>'
    for row in rows:
        values = "".join(f'<td class="n">{value:,g}</td>' for value in (row.least, row.mean, row.most))
        yield f"<tr><th>{escape(row.title)}</th>{values}<td>{escape(row.unit)}</td></tr>"
    yield "</table>"


def _data(data: Mapping[str, float]) -> Iterator[str]:
    if data:
        yield "<h2>Data used</h2><table>"
        for name, amount in sorted(data.items()):
            yield f'<tr><th>{escape(name)}</th><td class="n">{size(amount)}</td></tr>'
        yield f'<tr><th>all</th><td class="n">{size(sum(data.values()))}</td></tr></table>'


def _moments(moments: Sequence[Moment], clock: Clock) -> Iterator[str]:
    yield "<h2>Worst moments</h2>"
    if not moments:
        yield "<p>None: no warning and no error was recorded.</p>"
        return
    yield "<table><tr><th>when</th><th>what</th><th>links then</th></tr>"
    for moment in moments:
        texts = "<br>".join(escape(text) for text in moment.texts)
        links = "<br>".join(f"{escape(name)}: {escape(state)}" for name, state in moment.links.items())
        when = f'<td class="at {moment.severity}">{clock(moment.at_ms)}<br>{moment.severity}</td>'
        yield f'<tr>{when}<td>{texts}</td><td class="at">{links}</td></tr>'
    yield "</table>"


def _events(events: Sequence[RecordedEvent], clock: Clock) -> Iterator[str]:
    if events:
        yield "<h2>All events</h2><table>"
        for event in events:
            kind = f'<td class="{event.severity}">{escape(event.kind)}</td>'
            yield f'<tr><td class="at">{clock(event.timestamp_ms)}</td>{kind}<td>{escape(event.text)}</td></tr>'
        yield "</table>"


def _plots(span: Span, lines: Sequence[Line], events: Sequence[RecordedEvent], clock: Clock) -> Iterator[str]:
    marks = [event.timestamp_ms for event in events if event.severity in {"critical", "error", "warning"}]
    names = sorted({name_of(line) for line in lines})  # one colour for a link in every plot
    for figure in FIGURES:
        drawn = [line for line in lines if line.metric == figure.metric and line.points]
        if drawn:
            yield "".join(_plot(figure, drawn, names, span, marks, clock))


def _plot(
    figure: Figure, lines: Sequence[Line], names: Sequence[str], span: Span, marks: Iterable[int], clock: Clock
) -> Iterator[str]:
    most = max(point.most for line in lines for point in line.points) * figure.scale or 1.0

    def x(at_ms: int) -> float:
        return LEFT + (WIDTH - 2 * LEFT) * (at_ms - span.start_ms) / max(1, span.end_ms - span.start_ms)

    def y(value: float) -> float:
        return (HEIGHT - BOTTOM) * (1 - max(0.0, value * figure.scale) / most) + 4

    legend = "".join(
        f'<span style="color:{_colour(line, names)}">{escape(name_of(line))}</span>' for line in lines if figure.label
    )
    yield f"<figure><figcaption><b>{escape(figure.title)}</b>, {escape(figure.unit)} {legend}</figcaption>"
    yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 4}" role="img" aria-label="{escape(figure.title)}">'
    for at_ms in marks:
        yield f'<line x1="{x(at_ms):.1f}" x2="{x(at_ms):.1f}" y1="0" y2="{HEIGHT - BOTTOM}" stroke="#e4b7b5"/>'
    for line in lines:
        yield _drawn(line.points, _colour(line, names), x, y)
    yield f'<text x="{LEFT}" y="14" font-size="12">{most:,.4g}</text>'
    yield f'<text x="{LEFT}" y="{HEIGHT}" font-size="12">{clock(span.start_ms)}</text>'
    yield f'<text x="{WIDTH - LEFT}" y="{HEIGHT}" font-size="12" text-anchor="end">{clock(span.end_ms)}</text>'
    yield "</svg></figure>"


def _drawn(points: Sequence[Point], colour: str, x: Callable[[int], float], y: Callable[[float], float]) -> str:
    """Return the mean as a line that breaks at gaps; single points are dots."""
    gaps_ms = [b.at_ms - a.at_ms for a, b in pairwise(points)]
    usual_ms = sorted(gaps_ms)[len(gaps_ms) // 2] if gaps_ms else 0
    path, last_ms = [], None
    for point in points:
        goes_on = last_ms is not None and point.at_ms - last_ms <= 3 * usual_ms
        path.append(f"{'L' if goes_on else 'M'}{x(point.at_ms):.1f} {y(point.mean):.1f}{'' if goes_on else 'h.1'}")
        last_ms = point.at_ms
    return f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-linecap="round"/>'


def _colour(line: Line, names: Sequence[str]) -> str:
    return COLOURS[names.index(name_of(line)) % len(COLOURS)]
