"""The JSON of /health has the documented structure, and null where nothing is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from common import VERSION
from docs import health_page
from healthd.programs import Snapshot
from healthd.report import HUNG_S, View, health
from healthd.verdict import advice
from healthd.verdict.rollup import assess
from tests.unit.healthd.build import LIMITS, NOW_S, WALL_MS, beat, collector, known, program, shipper, supervision

LOCAL = "2026-11-18T11:06:40.000Z"


def view(status: Snapshot, **fields: Any) -> View:
    """What the loop would have made of it."""
    lines = replace(LIMITS, uploads=fields.get("uploads", True))
    given = {"uploads": True, "uploaded": True, "clock_synchronised": None, "path": "/health", **fields}
    return View(known=status, verdict=assess(status, lines, NOW_S), made_s=NOW_S, **given)


def report(status: Snapshot, **fields: Any) -> dict[str, Any]:
    """The report as a client decodes it."""
    decoded = json.loads(json.dumps(health(view(status, **fields), NOW_S, WALL_MS), allow_nan=False))
    assert isinstance(decoded, dict)
    return decoded


def test_everything_known_is_reported() -> None:
    """The whole report of a pipeline that reports everything."""
    counted = [["counter", "collector.metrics_collected_total", {"collector": "cpu"}, 1234]]
    said = known(
        collector(readings=counted, restarts=2),
        shipper(
            status={
                "mode": "realtime", "endpoint": "http://vm/api/v1/import", "skew_ms": -1200, "metrics_uploaded": 99,
                "upload_failures": 3, "pending": [1, 2, 3, 4], "retry_queue_size": 0,
                "backoff_until_ms": WALL_MS + 5000, "budget": {"holding": [3]},
            }
        ),
        beat(
            "buffer",
            status={
                "database_size_bytes": 4096, "wal_size_bytes": 0, "pending": [1, 2, 3, 5], "free_bytes": 10**9,
                "oldest_pending_ms": WALL_MS - 60_000, "paused": None,
            },
        ),
        without=["memory", "healthd"],
    )  # fmt: skip
    process = {"pid": 100, "uptime_seconds": 5000, "restarts": 0, "last_heartbeat_age_seconds": 1.0, "last_error": None}
    expected = {
        "status": "ok",
        "version": VERSION,
        "uptime_seconds": 5000,
        "timestamp": LOCAL,
        "mode": "realtime",
        "budget": {"holding": [3]},
        "reasons": [],
        "stream": {"state": "unknown", "status": "idle", "text": "Looking", "since": None, "reasons": []},
        "collectors": {
            "cpu": {
                "status": "ok",
                "process": "cpu",
                "last_collection": "2026-11-18T11:06:35.000Z",
                "metrics_collected": 1234,
                "last_error": None,
            }
        },
        "uploader": {
            "status": "ok",
            "last_upload": "2026-11-18T11:06:33.000Z",
            "metrics_uploaded": 99,
            "upload_failures": 3,
            "pending_metrics": 10,
            "due_metrics": 6,
            "retry_queue_size": 0,
            "backoff_until": "2026-11-18T11:06:45.000Z",
            "duplicate_id": None,
            "audit": None,
            "verified_until": None,
            "unverified_samples": None,
            "lost_at_server": None,
            "withheld": None,
            "endpoint": "http://vm/api/v1/import",
            "lanes": None,
            "last_error": None,
        },
        "storage": {
            "database_size_bytes": 4096,
            "wal_size_bytes": 0,
            "free_bytes": 10**9,
            "metrics_pending_upload": 11,
            "oldest_metric_timestamp": "2026-11-18T11:05:40.000Z",
            "paused": None,
            "held_by": None,
            "unspooled": None,
            "salvage": None,
            "last_error": None,
        },
        "time": {"local": LOCAL, "skew_ms": -1200, "ntp_synced": True},
        "configuration": {"errors": [], "warnings": ["remote.url: x"]},
        "processes": {
            "buffer": {"state": "running", **process},
            "cpu": {"state": "running", **process, "restarts": 2},
            "shipper": {"state": "running", **process},
        },
    }
    assert expected == report(said, clock_synchronised=True, warnings=("remote.url: x",))


def _values(tree: Any) -> list[Any]:
    return [value for inner in tree.values() for value in _values(inner)] if isinstance(tree, dict) else [tree]


def test_what_is_not_known_is_null() -> None:
    """Before the first heartbeat every field is null and no number is made up."""
    made = report(Snapshot(NOW_S, {}))
    status = {key: made[key] for key in ("uploader", "storage", "processes", "mode", "budget")}
    assert {None, "starting"} == set(_values(status))
    assert ({}, None, None) == (made["collectors"], made["time"]["skew_ms"], made["time"]["ntp_synced"])


@pytest.mark.parametrize("value", ["soon", -1, 2**63, 1e300, True, None, []])
def test_a_time_that_is_none_is_null(value: Any) -> None:
    """A time that is none of this century does not cost the report."""
    said = known(shipper(status={"backoff_until_ms": value}), beat("buffer", status={"oldest_pending_ms": value}))
    made = report(said)
    assert (None, None) == (made["uploader"]["backoff_until"], made["storage"]["oldest_metric_timestamp"])


@pytest.mark.parametrize(
    ("spoke", "expected"),
    [
        (collector(source={"error": "EIO"}), ("error", "EIO")),
        (collector(collected_s=99), ("error", "has collected nothing for 32 s")),
        (collector(age_s=60), ("error", "sends no heartbeats")),
        (collector(source={"enabled": False}), ("disabled", None)),
    ],
)
def test_a_collector_that_fails_says_why(spoke: Any, expected: tuple[str, str | None]) -> None:
    """A collector's status is error with the reason, or disabled."""
    cpu = report(known(spoke))["collectors"]["cpu"]
    assert expected == (cpu["status"], cpu["last_error"])


def test_reasons_are_dated_by_the_wall_clock_of_now() -> None:
    """`since` is the wall clock minus how long a reason holds, worst reason first."""
    said = known(collector(age_s=60), beat("buffer", age_s=60))
    lasting = view(said)
    made = health(lasting, NOW_S + 3, WALL_MS + 3_000)
    words = {"meaning": advice.of("gone").meaning, "advice": advice.of("gone").todo}
    assert [
        {"part": "buffer", "severity": "error", "text": "sends no heartbeats", "since": LOCAL, **words},
        {"part": "cpu", "severity": "degraded", "text": "sends no heartbeats", "since": LOCAL, **words},
    ] == made["reasons"]


def test_a_process_that_is_gone_has_no_number_and_no_uptime() -> None:
    """Of a process that ended remain its restarts, its last heartbeat's age and why it ended."""
    said = known(supervision=supervision(program("cpu", "FATAL", spawn_error="can't find command")))
    expected = {
        "state": "fatal",
        "pid": None,
        "uptime_seconds": None,
        "restarts": 0,
        "last_heartbeat_age_seconds": 1.0,
        "last_error": "given up by supervisord: can't find command",
    }
    assert expected == report(said)["processes"]["cpu"]


@pytest.mark.parametrize(
    ("said", "uploads", "expected"),
    [
        (known(), False, "disabled"),
        (known(shipper(current_s=61)), True, "degraded"),
        (known(shipper(age_s=60)), True, "error"),
        (known(collector(age_s=60)), True, "ok"),
    ],
)
def test_the_uploader_has_a_status_of_its_own(said: Snapshot, uploads: bool, expected: str) -> None:
    """The uploader's status is the worst of its own reasons."""
    assert expected == report(said, uploads=uploads)["uploader"]["status"]


def test_ages_are_counted_when_asked() -> None:
    """A second later the same view gives ages one second older."""
    made = health(view(known()), NOW_S + 1, WALL_MS + 1_000)
    assert 2.0 == made["processes"]["cpu"]["last_heartbeat_age_seconds"]


@pytest.mark.parametrize(("age_s", "expected"), [(HUNG_S, "ok"), (HUNG_S + 0.1, "error")])
def test_a_loop_that_hangs_is_an_error(age_s: float, expected: str) -> None:
    """When the view gets old, healthd itself is the trouble, and says so."""
    made = health(view(known()), NOW_S + age_s, WALL_MS)
    assert (expected, [] if expected == "ok" else ["healthd"]) == (made["status"], [r["part"] for r in made["reasons"]])


def _paths(tree: dict[str, Any], path: str = "") -> set[str]:
    """Return the path of each field; a name of a collector or process is NAME."""
    named = path in {"collectors", "processes"}
    found = set()
    for name, value in tree.items():
        inner = ".".join(filter(None, (path, "NAME" if named else name)))
        found |= _paths(value, inner) if isinstance(value, dict) and inner != "budget" else {inner}
    return found


def test_every_field_is_on_its_page() -> None:
    """What /health says is documented, and nothing else is."""
    made = report(known(shipper(status={"budget": {"daily": {}}})))
    assert set(health_page.FIELDS) == _paths(made)
