"""The types of a dashboard (panel, query), and their JSON for Grafana. Pure.

Source: Grafana's dashboard JSON model, schema version 39.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

SCHEMA_VERSION = 39
SOURCE = {"type": "prometheus", "uid": "victoriametrics"}
WIDTH, HEIGHT = 24, 8


class Query(NamedTuple):
    """One query of a panel, and how its lines are called, e.g. ``{{interface}}``."""

    expr: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel.

    Attributes:
        title: what it answers.
        queries: what is drawn.
        unit: Grafana's name of it, e.g. ``bps``.
        kind: timeseries, stat or table.
        width: of 24 columns.
        steps: values from which on it is yellow and red; fewer for none.
    """

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    steps: tuple[float, ...] = ()


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
        "templating": {"list": [_device()] if dashboard.by_device else []},
        "annotations": {"list": [_marks(dashboard.marks)] if dashboard.marks else []},
        "panels": list(_panels(dashboard.panels)),
    }


def _device() -> dict[str, Any]:
    query = "label_values(process_up, device_id)"
    return {
        "name": "device", "label": "Device", "type": "query", "datasource": SOURCE, "definition": query,
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
    instant = panel.kind != "timeseries"
    targets = [
        {
            "refId": chr(ord("A") + at), "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend,
            "instant": instant, "range": not instant, **({"format": "table"} if panel.kind == "table" else {}),
        }
        for at, query in enumerate(panel.queries)
    ]  # fmt: skip
    return {
        "id": number, "type": panel.kind, "title": panel.title, "datasource": SOURCE, "gridPos": place,
        "targets": targets, "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
    }  # fmt: skip


def _defaults(panel: Panel) -> dict[str, Any]:
    colours = ("green", "yellow", "red")
    steps = [{"color": colour, "value": value} for colour, value in zip(colours, (None, *panel.steps), strict=False)]
    drawn = {"custom": {"lineWidth": 2, "fillOpacity": 8, "spanNulls": False}} if panel.kind == "timeseries" else {}
    return {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, **drawn}
