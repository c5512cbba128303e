"""Decision 16, row by row: from what is known to ok, degraded or error, with its reasons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common import config
from common.service import EXIT_OFF
from healthd.programs import Condition, Snapshot
from healthd.supervisor import Supervision
from healthd.verdict.rollup import Reason, Verdict, assess, limits
from tests.unit.healthd.build import LIMITS, NOW_S, UPTIME_S, beat, collector, known, program, shipper, supervision

ERROR_DETAILS = {"error": "no such sensor", "error_type": "Error", "timestamp_ms": 1}
FAILS = {"error": "no such sensor"}

# Each: what is known, the status, and the (part, severity) of every reason.
ROWS: dict[str, tuple[Snapshot, str, list[tuple[str, str]]]] = {
    "all is well": (known(), "ok", []),
    "2 intervals since an upload": (known(shipper(current_s=60.0)), "ok", []),
    "beyond 2 intervals": (known(shipper(current_s=60.1)), "degraded", [("uploader", "degraded")]),
    "a tunnel of an hour, little pending": (
        known(shipper(current_s=3600, due=[0, 0, 5000, 0])),
        "degraded",
        [("uploader", "degraded")],
    ),
    "20 intervals and 10,001 due": (
        known(shipper(current_s=600.0, due=[0, 1, 10_000, 0])),
        "degraded",
        [("uploader", "degraded"), ("uploader", "degraded")],
    ),
    "beyond 20 intervals and 10,000 due": (
        known(shipper(current_s=600.1, due=[0, 0, 10_000, 0])),
        "degraded",
        [("uploader", "degraded"), ("uploader", "degraded")],
    ),
    "beyond 20 intervals and 10,001 due": (
        known(shipper(current_s=600.1, due=[0, 1, 10_000, 0])),
        "error",
        [("uploader", "error"), ("uploader", "degraded")],
    ),
    "5,000 due": (known(shipper(due=[0, 0, 2500, 2500])), "ok", []),
    "5,001 due": (known(shipper(due=[0, 1, 2500, 2500])), "degraded", [("uploader", "degraded")]),
    "20,000 due": (known(shipper(due=[20_000, 0, 0, 0])), "degraded", [("uploader", "degraded")]),
    "20,001 due": (known(shipper(due=[20_001, 0, 0, 0])), "error", [("uploader", "error")]),
    "pending by the buffer where the shipper does not say": (
        known(shipper(due=None), beat("buffer", status={"pending": [0, 0, 20_001, 0]})),
        "error",
        [("uploader", "error")],
    ),
    "pending by the buffer does not count where the shipper says": (
        known(beat("buffer", status={"pending": [0, 0, 20_001, 0]})),
        "ok",
        [],
    ),
    "a due count that is no count is none": (
        known(shipper(status={"due": [20_001, None, "x", 0]})),
        "ok",
        [],
    ),
    "never current, but begun long ago": (known(shipper(current_s=None)), "degraded", [("uploader", "degraded")]),
    "an upload that fails is not yet a reason": (known(shipper(error=ERROR_DETAILS)), "ok", []),
    "one collector reports an error": (known(collector(source=FAILS)), "degraded", [("cpu", "degraded")]),
    "3 collects and a heartbeat without a sample": (known(collector(collected_s=32.0)), "ok", []),
    "beyond that": (known(collector(collected_s=32.1)), "degraded", [("cpu", "degraded")]),
    "no such hardware": (known(collector(collected_s=None)), "ok", []),
    "disabled, thus collects nothing": (known(collector(collected_s=9999, source={"enabled": False})), "ok", []),
    "one collector silent for 3 intervals": (known(collector(age_s=6.0)), "ok", []),
    "beyond 3 intervals": (known(collector(age_s=6.1)), "degraded", [("cpu", "degraded")]),
    "announced silence of the shipper": (known(shipper(age_s=42.0, quiet_s=40.0)), "ok", []),
    "beyond the announced silence": (known(shipper(age_s=42.1, quiet_s=40.0)), "error", [("shipper", "error")]),
    "one collector said goodbye": (known(collector(state="stopping")), "degraded", [("cpu", "degraded")]),
    "every collector fails": (
        known(collector("cpu", source=FAILS), collector("memory", age_s=60)),
        "error",
        [("collectors", "error"), ("cpu", "degraded"), ("memory", "degraded")],
    ),
    "every enabled collector fails": (
        known(collector("cpu", source=FAILS), collector("memory", source={"enabled": False})),
        "error",
        [("collectors", "error"), ("cpu", "degraded")],
    ),
    "no collector at all": (known(without=["cpu", "memory"]), "ok", []),
    "the buffer is silent": (known(beat("buffer", age_s=6.1)), "error", [("buffer", "error")]),
    "the buffer was never heard of": (known(without=["buffer"]), "error", [("buffer", "error")]),
    "the shipper said goodbye": (known(shipper(state="stopping")), "error", [("shipper", "error")]),
    "the buffer reports an error": (known(beat("buffer", error=ERROR_DETAILS)), "degraded", [("buffer", "degraded")]),
    "the buffer takes nothing": (
        known(beat("buffer", status={"paused": "disk full"}, error=ERROR_DETAILS)),
        "degraded",
        [("storage", "degraded")],
    ),
    "another process is silent": (known(beat("healthd", age_s=60)), "degraded", [("healthd", "degraded")]),
    "supervisord does not answer": (
        known(supervision=supervision(program("cpu", "FATAL"), problem="timed out")),
        "degraded",
        [("supervisord", "degraded")],
    ),
    "a collector was given up": (
        known(supervision=supervision(program("cpu", "FATAL"))),
        "degraded",
        [("cpu", "degraded")],
    ),
    "a collector of supervisord that never spoke": (
        known(supervision=supervision(program("disk", "BACKOFF"))),
        "degraded",
        [("disk", "degraded")],
    ),
    "the buffer was stopped": (
        known(supervision=supervision(program("buffer", "STOPPED"))),
        "error",
        [("buffer", "error")],
    ),
    "a collector that is off by default, and ended": (
        known(supervision=supervision(program("gps", "EXITED", exit_status=EXIT_OFF))),
        "ok",
        [],
    ),
    "one that is off, and takes its time to end": (
        known(beat("gps", state="stopping", interval_s=0.5, age_s=9), supervision=supervision(program("gps"))),
        "ok",
        [],
    ),
    "one that was off when supervisord last answered": (
        known(
            beat("gps", state="stopping", age_s=99),
            supervision=supervision(program("gps", "EXITED", exit_status=EXIT_OFF), problem="timed out"),
        ),
        "degraded",
        [("supervisord", "degraded")],
    ),
    "the only collectors are off": (
        known(
            without=["cpu", "memory"],
            supervision=supervision(*(program(name, "EXITED", exit_status=EXIT_OFF) for name in ("cpu", "memory"))),
        ),
        "ok",
        [],
    ),
    "a collector that ended with another status": (
        known(supervision=supervision(program("gps", "EXITED", exit_status=1))),
        "degraded",
        [("gps", "degraded")],
    ),
    "somebody else's program": (known(supervision=supervision(program("server", "FATAL"))), "ok", []),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_gives_its_status_and_reasons(row: str) -> None:
    """Every row of the decision gives exactly its status and reasons, boundaries included."""
    snapshot, status, reasons = ROWS[row]
    verdict = assess(snapshot, LIMITS, NOW_S)
    assert (status, reasons) == (verdict.status, [(reason.part, reason.severity) for reason in verdict.reasons])


def test_without_uploads_nothing_is_late() -> None:
    """With remote.enabled false neither ages nor pending samples nor the shipper's absence count."""
    status = known(shipper(current_s=9999, due=[99_999, 0, 0, 0]), without=["shipper"])
    assert Verdict().reasons == assess(status, replace(LIMITS, uploads=False), NOW_S).reasons


@pytest.mark.parametrize(("age_s", "expected"), [(10.0, "ok"), (10.1, "error")])
def test_a_start_has_ten_seconds(age_s: float, expected: str) -> None:
    """Nothing heard yet is "starting" for ten seconds, then an error."""
    verdict = assess(Snapshot(NOW_S - age_s, {}), LIMITS, NOW_S)
    state = "starting" if expected == "ok" else "missing"
    assert (expected, state, state) == (
        verdict.status,
        verdict.conditions["buffer"].state,
        verdict.conditions["shipper"].state,
    )


STATES = {
    "running": (supervision(), collector(), "running", None),
    "starting with a heartbeat": (supervision(program("cpu", "STARTING")), collector(), "running", None),
    "started anew, not heard of yet": (
        supervision(program("cpu", pid=200, changed_s=NOW_S - 0.5)),
        collector(age_s=1.0),
        "starting",
        None,
    ),
    "started anew and silent": (
        supervision(program("cpu", pid=200, changed_s=NOW_S - 10.1)),
        collector(age_s=11),
        "silent",
        "sends no heartbeats",
    ),
    "started through a shell, so that its number differs": (
        supervision(program("cpu", pid=200)),
        collector(),
        "running",
        None,
    ),
    "restarted since supervisord was asked": (
        supervision(program("cpu", "EXITED"), polled_s=NOW_S - 1.5),
        collector(age_s=1.0),
        "running",
        None,
    ),
    "ended since it spoke": (
        supervision(program("cpu", "EXITED", exit_status=1)),
        collector(age_s=1.0),
        "exited",
        "exited with status 1",
    ),
    "ended by a signal": (
        supervision(program("cpu", "EXITED", exit_status=-1)),
        collector(),
        "exited",
        "ended by a signal",
    ),
    "given up": (
        supervision(program("cpu", "FATAL", spawn_error="Exited too quickly")),
        collector(),
        "fatal",
        "given up by supervisord: Exited too quickly",
    ),
    "tried again": (
        supervision(program("cpu", "BACKOFF", spawn_error="Exited too quickly")),
        collector(),
        "backoff",
        "cannot be started, tried again: Exited too quickly",
    ),
    "stopped by an operator": (
        supervision(program("cpu", "STOPPED")),
        collector(state="stopping"),
        "stopped",
        "stopped by an operator",
    ),
    "never started": (supervision(program("cpu", "STOPPED", started=False)), None, "stopped", "stopped, never started"),
    "a word of a later supervisord": (
        supervision(program("cpu", "UNKNOWN")),
        collector(),
        "unknown",
        "supervisord calls it UNKNOWN",
    ),
    "on its way out": (supervision(), collector(state="stopping"), "stopping", None),
    "alive and silent": (supervision(), collector(age_s=6.1), "silent", "sends no heartbeats"),
    "without supervisord, alive": (None, collector(), "running", None),
    "without supervisord, goodbye": (None, collector(state="stopping"), "stopped", "stopped"),
    "without supervisord, silent": (None, collector(age_s=6.1), "silent", "sends no heartbeats"),
    "supervisord hangs": (
        supervision(program("cpu", "FATAL"), problem="timed out"),
        collector(),
        "running",
        None,
    ),
}


@pytest.mark.parametrize("row", STATES)
def test_heartbeats_and_supervisord_make_one_state(row: str) -> None:
    """The newer of heartbeat and supervisord decides what a process is doing."""
    supervised, spoke, state, trouble = STATES[row]
    beats = {} if spoke is None else {"cpu": spoke}
    status = Snapshot(NOW_S - UPTIME_S, beats, supervised)
    assert Condition(state, trouble) == assess(status, LIMITS, NOW_S).conditions["cpu"]


def test_a_program_removed_from_supervisord_is_forgotten() -> None:
    """After `supervisorctl remove` a stopped collector is no trouble any more."""
    gone = known(collector("disk", state="stopping"), supervision=supervision())
    verdict = assess(gone, LIMITS, NOW_S)
    assert ("ok", False) == (verdict.status, "disk" in verdict.conditions)


def test_a_reason_keeps_its_date_while_it_holds() -> None:
    """`since` is when a reason began, through a change of severity, and begins anew when it comes back."""
    late, very_late = known(shipper(current_s=61)), known(shipper(current_s=601, due=[0, 0, 0, 10_001]))
    first = assess(late, LIMITS, NOW_S)
    second = assess(very_late, LIMITS, NOW_S + 1, first)
    third = assess(known(), LIMITS, NOW_S + 2, second)
    fourth = assess(late, LIMITS, NOW_S + 3, third)
    dates = [{r.severity: r.since_s for r in v.reasons if r.rule == "late"} for v in (first, second, third, fourth)]
    assert [{"degraded": NOW_S}, {"error": NOW_S}, {}, {"degraded": NOW_S + 3}] == dates


def test_late_uploads_say_why() -> None:
    """The reason for late uploads carries what the shipper reports."""
    status = known(shipper(current_s=61, error={"error": "401 Unauthorized"}))
    expected = Reason("uploader", "degraded", "late", "nothing uploaded for 60 s: 401 Unauthorized", NOW_S)
    assert (expected,) == assess(status, LIMITS, NOW_S).reasons


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (60, 600, 5_000, 10_000, 20_000)),
        ({"BELABOX_REMOTE__UPLOAD_INTERVAL": "10s"}, (20, 200, 5_000, 10_000, 20_000)),
        (
            {
                "BELABOX_HEALTH__DEGRADED_THRESHOLD__UPLOAD_AGE_SECONDS": "7",
                "BELABOX_HEALTH__ERROR_THRESHOLD__UPLOAD_AGE_SECONDS": "8",
                "BELABOX_HEALTH__DEGRADED_THRESHOLD__PENDING_METRICS": "9",
                "BELABOX_HEALTH__ERROR_THRESHOLD__PENDING_METRICS": "10",
                "BELABOX_HEALTH__ERROR_THRESHOLD__PENDING_METRICS_ALONE": "11",
            },
            (7, 8, 9, 10, 11),
        ),
    ],
)
def test_thresholds_follow_the_upload_interval_unless_configured(
    environment: dict[str, str], expected: tuple[int, ...]
) -> None:
    """Ages are multiples of remote.upload_interval; every line can be drawn elsewhere."""
    found = limits(config.load(None, environment).settings)
    assert expected == (
        found.degraded_age_s,
        found.error_age_s,
        found.degraded_pending,
        found.error_pending,
        found.error_pending_alone,
    )


def test_no_supervisord_is_no_trouble() -> None:
    """An empty list of programs judges nobody whom it does not know."""
    assert "ok" == assess(known(supervision=Supervision(NOW_S)), LIMITS, NOW_S).status
