"""The types of a dashboard (panel, query), and their JSON for Grafana. Pure.

Source: Grafana's dashboard JSON model, schema version 39.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

SCHEMA_VERSION = 39
SOURCE = {"type": "prometheus", "uid": "${source}"}  # chosen above the dashboard
LOGS = {"type": "victoriametrics-logs-datasource", "uid": "victorialogs"}
WIDTH, HEIGHT = 24, 8


class Query(NamedTuple):
    """One query of a panel, and how its lines are called, e.g. ``{{interface}}``."""

    expr: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel.

    Attributes:
        title: what it answers.
        about: what to do about it, in a sentence or two; Grafana shows it at the title.
        queries: what is drawn; of a table, a column each, called by its legend.
        unit: Grafana's name of it, e.g. ``bps``.
        kind: timeseries, stat, table or logs.
        width: of 24 columns.
        steps: values from which on it is yellow and red; fewer for none.
        link: where a tap on a value leads, "" for nowhere.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    steps: tuple[float, ...] = ()
    link: str = ""


class Dashboard(NamedTuple):
    """One dashboard.

    Attributes:
        uid: also its file's name.
        title: for people.
        panels: from left to right, row by row.
        by_device: it shows one device, to be chosen.
        marks: a query whose samples are drawn as marks over all panels, "" for none.
    """

    uid: str
    title: str
    panels: tuple[Panel, ...]
    by_device: bool = True
    marks: str = ""


def document(dashboard: Dashboard) -> dict[str, Any]:
    """Return the JSON of a dashboard."""
    return {
        "uid": f"belabox-{dashboard.uid}",
        "title": f"belabox: {dashboard.title}",
        "tags": ["belabox-metrics"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [_SOURCES, *([_device()] if dashboard.by_device else [])]},
        "links": [_OTHERS],
        "annotations": {"list": [_marks(dashboard.marks)] if dashboard.marks else []},
        "panels": list(_panels(dashboard.panels)),
    }


_SOURCES = {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}
_OTHERS = {
    "title": "belabox", "type": "dashboards", "tags": ["belabox-metrics"], "keepTime": True, "includeVars": True,
    "asDropdown": False, "targetBlank": False, "icon": "external link", "tooltip": "the same device and time",
}  # fmt: skip


def _device() -> dict[str, Any]:
    query = "label_values(process_up, device_id)"
    return {
        "name": "device", "label": "Device", "type": "query", "datasource": SOURCE,
        "query": {"query": query, "refId": "device"}, "refresh": 2, "sort": 1,
    }  # fmt: skip


def _marks(expr: str) -> dict[str, Any]:
    return {
        "name": "Events", "datasource": SOURCE, "enable": True, "expr": expr, "step": "10s",
        "titleFormat": "{{kind}}", "textFormat": "{{source}}", "iconColor": "orange",
    }  # fmt: skip


def _panels(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        yield _panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": HEIGHT})
        x += panel.width


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    source = LOGS if panel.kind == "logs" else SOURCE
    return {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.about, "datasource": source,
        "gridPos": place, "targets": [_target(at, query, panel) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        **({"transformations": _columns(panel)} if panel.kind == "table" else {}),
    }  # fmt: skip


def _target(at: int, query: Query, panel: Panel) -> dict[str, Any]:
    instant = panel.kind != "timeseries"
    ref = {"refId": chr(ord("A") + at), "datasource": LOGS if panel.kind == "logs" else SOURCE, "expr": query.expr}
    if panel.kind == "logs":
        return ref
    form = {"format": "table"} if panel.kind == "table" else {}
    return {**ref, "legendFormat": query.legend, "instant": instant, "range": not instant, **form}


def _columns(panel: Panel) -> list[dict[str, Any]]:
    """Return what makes one table of the answers: a row for each set of labels, a column for each query."""
    names = {f"Value #{chr(ord('A') + at)}": query.legend for at, query in enumerate(panel.queries)}
    if len(panel.queries) == 1:
        names["Value"] = panel.queries[0].legend
    hidden = dict.fromkeys(("Time", "__name__", "job", "instance"), True)
    organize = {"excludeByName": hidden, "renameByName": {name: text for name, text in names.items() if text}}
    return [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]


def _defaults(panel: Panel) -> dict[str, Any]:
    colours = ("green", "yellow", "red")
    steps = [{"color": colour, "value": value} for colour, value in zip(colours, (None, *panel.steps), strict=False)]
    drawn = {"custom": {"lineWidth": 2, "fillOpacity": 8, "spanNulls": False}} if panel.kind == "timeseries" else {}
    links = {"links": [{"title": panel.title, "url": panel.link}]} if panel.link else {}
    return {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, **drawn, **links}
