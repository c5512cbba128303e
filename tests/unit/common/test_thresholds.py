"""The colours of a number: where amber and red begin, on which side, and what is not judged."""

from __future__ import annotations

import pytest

from common import thresholds
from common.thresholds import BY_ALERT, DEGRADED, ERROR, OK, THRESHOLDS, Alerts, FixedThreshold

ALL_OFF = Alerts(**{threshold.key: 0.0 for threshold in THRESHOLDS})


@pytest.mark.parametrize(
    ("alert", "ok", "amber", "last", "red"),
    [
        ("packet_loss", 2, 2.1, 5, 5.1),
        ("high_round_trip", 250, 251, 500, 501),
        ("frames_dropped", 0.5, 0.51, 1, 1.1),
        ("buffer_full", 72, 72.1, 90, 90.1),
        ("low_bitrate", 80, 79.9, 50, 49.9),
        ("overheating", 79.8, 80, 85, 85.1),
        ("processor_busy", 90, None, None, 90.1),
        ("low_memory", 200, 199, 100, 99),
    ],
)
def test_a_number_is_amber_before_it_is_red(
    alert: str, ok: float, amber: float | None, last: float | None, red: float
) -> None:
    """As docs/derived.md says; the page warns before the alert, except where busy is not bad until it lasts."""
    threshold, alerts = BY_ALERT[alert], Alerts()
    found = [thresholds.level(threshold, alerts, value) for value in (ok, amber, last, red)]
    assert [OK, DEGRADED if amber else "", DEGRADED if last else "", ERROR] == found
    assert "" == thresholds.level(threshold, ALL_OFF, red)


@pytest.mark.parametrize(
    ("fixed", "ok", "amber", "last", "red"),
    [
        (thresholds.HEALTH_SCORE, 70, 69.9, 40, 39.9),
        (thresholds.FRAME_SHARE, 0.8, 0.79, 0.5, 0.49),
        (thresholds.DISK_PERCENT, 89.9, 90, 1e9, None),
        (thresholds.BATTERY_PERCENT, 20, 19.9, 0, None),
        (thresholds.BUDGET_SHARE, 0.79, 0.8, 0.99, 1),
    ],
)
def test_a_number_without_an_alert_has_colours_too(
    fixed: FixedThreshold, ok: float, amber: float, last: float, red: float | None
) -> None:
    """A disk or a battery alone turns no verdict red."""
    found = [thresholds.fixed_level(fixed, value) for value in (ok, amber, last, red)]
    assert [OK, DEGRADED, DEGRADED, ERROR if red else ""] == found


def test_the_worst_of_some_numbers_is_the_verdict() -> None:
    """What is not judged makes nothing worse."""
    assert [0, 0, 1, 2] == [thresholds.RANKS[level] for level in ("", OK, DEGRADED, ERROR)]


def test_what_exists_without_a_stream_is_the_devices() -> None:
    """The heat of a box that stands in the sun is an alert before anybody streams."""
    assert {"overheating", "processor_busy", "low_memory"} == {row.alert for row in THRESHOLDS if not row.streams}


def test_a_share_needs_its_whole_and_another_number_none() -> None:
    """Half of an unknown target is unknown; a loss is a loss whatever else is known."""
    low, loss = BY_ALERT["low_bitrate"], BY_ALERT["packet_loss"]
    assert [50, None, None, None] == [
        thresholds.value_of(low, value, whole) for value, whole in ((3e6, 6e6), (3e6, None), (3e6, 0), (None, 6e6))
    ]
    assert [5, 5, None] == [
        thresholds.value_of(loss, value, whole) for value, whole in ((5, None), (5, 100), (None, 100))
    ]


def test_a_tenth_of_a_threshold_is_a_tenth() -> None:
    """0.1 times 1.6 is 0.16, not a little more: an alert below 1.6 is over at 1.76, one above 3 at 2.7."""
    low, loss = BY_ALERT["low_memory"], BY_ALERT["packet_loss"]
    assert [True, False] == [thresholds.is_clear(low, value, 1.6) for value in (1.76, 1.75)]
    assert [True, False] == [thresholds.is_clear(loss, value, 3.0) for value in (2.7, 2.71)]
