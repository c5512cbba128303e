"""What /health says in the cases that operators meet: each row of the table in docs/health.md."""

from __future__ import annotations

from typing import Any

import pytest

from docs.health_page import CASES
from healthd.programs import Snapshot
from healthd.verdict.rollup import assess
from tests.unit.healthd.build import LIMITS, NOW_S, WALL_MS, beat, known, program, shipper, supervision
from tests.unit.healthd.test_report import report, view

GIVEN: dict[str, Snapshot] = {
    "the clock is 10 s ahead": known(shipper(status={"skew_ms": 10_000})),
    "the clock is 10 s behind": known(shipper(status={"skew_ms": -10_000})),
    "wrong token": known(shipper(status={"refusal": "HTTP 401 Unauthorized"})),
    "token without the right to write": known(shipper(status={"refusal": "HTTP 403 Forbidden"})),
    "wrong path": known(shipper(status={"refusal": "HTTP 404 Not Found"})),
    "captive portal": known(shipper(status={"refusal": "a web page answered, not the server"})),
    "dead zone of ten minutes": known(shipper(current_s=600.0, due=[0, 0, 900, 0], error={"error": "timed out"})),
    "the server came late": known(shipper(status={"skew_ms": None})),
    "a collector is off": known(supervision=supervision(program("gps", "EXITED", exit_status=3))),
    "a collector was stopped": known(supervision=supervision(program("cpu", "STOPPED")), without=["cpu"]),
    "the buffer is gone": known(beat("buffer", age_s=60)),
    "the disk is full": known(
        beat("buffer", status={"paused": "database or disk is full"}, error={"error": "database or disk is full"})
    ),
}


def test_every_case_is_in_the_table() -> None:
    """And no other."""
    assert list(GIVEN) == [case.case for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.case)
def test_what_health_says(case: Any) -> None:
    """Its status, its reason with the rule's advice; where nothing is wrong, nothing is said."""
    found = assess(GIVEN[case.case], LIMITS, NOW_S)
    assert (case.status, [case.rule] if case.rule else []) == (found.status, [one.rule for one in found.reasons])
    body = report(GIVEN[case.case])
    assert case.status == body["status"]
    for reason in body["reasons"]:
        assert case.text in reason["text"]
        assert reason["advice"]


def test_a_refusal_is_an_error_at_once() -> None:
    """Nobody has to wait twenty intervals to learn of a wrong token."""
    assert "error" == view(GIVEN["wrong token"]).status(NOW_S)
    assert WALL_MS
