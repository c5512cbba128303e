"""How slowly old samples go."""

from __future__ import annotations

import pytest

from common.remote import Backfill as Settings
from common.remote import Lanes, Remote
from shipper.pace.backfill import Backfill, Uplink, fresh_s
from shipper.pace.schedule import MAX_CHUNK_SAMPLES

START_S = 5000.0


@pytest.mark.parametrize(
    ("expected_s", "priority", "least_s"), [(65, 0, 0), (65, 1, 0), (125, 2, 0), (1205, 3, 0), (605, 1, 300)]
)
def test_what_a_lane_keeps_waiting_is_fresh(expected_s: float, priority: int, least_s: float) -> None:
    """Two intervals of the lane, at least two of uploads, and the commit."""
    assert expected_s == fresh_s(Remote(), priority, 5.0, least_s)


def test_the_uplink_is_measured_by_what_is_large() -> None:
    """A small body shows how far away the server is."""
    uplink = Uplink()
    assert uplink.bytes_per_s is None
    uplink.measured(500, 0.1)
    assert 5000 == uplink.bytes_per_s
    uplink.measured(200_000, 2.0)
    assert uplink.bytes_per_s == pytest.approx(100_000, rel=0.05)


def test_the_uplink_is_forgotten() -> None:
    """What was in the last town does not matter: after 15 uploads 5 % is left of it."""
    uplink = Uplink()
    uplink.measured(100_000, 1.0)
    for _ in range(15):
        uplink.measured(10_000, 1.0)
    assert uplink.bytes_per_s == pytest.approx(10_000, rel=0.15)


@pytest.mark.parametrize(
    ("expected_s", "settings", "body_bytes"),
    [
        (1.0, Settings(), 1000),
        (2.5, Settings(), 50_000),
        (1.0, Settings(bandwidth_percent=100.0), 50_000),
        (0.1, Settings(requests_per_s=10.0), 1000),
        (5.0, Settings(requests_per_s=0.2), 1000),
    ],
)
def test_a_request_waits_for_its_share(expected_s: float, settings: Settings, body_bytes: int) -> None:
    """20 % of 100 KB/s, and one request a second: whichever is longer."""
    uplink = Uplink()
    uplink.measured(100_000, 1.0)
    backfill = Backfill(Remote(backfill=settings), uplink)
    backfill.sent(START_S, body_bytes)
    assert backfill.until_s == pytest.approx(START_S + expected_s)


def test_while_nothing_is_known_little_is_sent() -> None:
    """And one request a second."""
    backfill = Backfill(Remote(), Uplink())
    backfill.sent(START_S, 10_000)
    assert (50, START_S + 1) == (backfill.most(), backfill.until_s)


def test_a_request_does_not_keep_p1_waiting() -> None:
    """At 10 KB/s and 5 bytes a sample 2.5 s are 5,000 samples, a quarter of lane P1's interval."""
    uplink = Uplink()
    backfill = Backfill(Remote(), uplink)
    for _ in range(8):
        samples = backfill.most()
        uplink.measured(5 * samples, 5 * samples / 10_000)
        backfill.accepted(samples, 5 * samples)
    assert 5000 == pytest.approx(backfill.most(), abs=5)


def test_on_a_wide_uplink_chunks_are_as_large_as_they_get() -> None:
    """A month's backlog does not take a month."""
    uplink = Uplink()
    backfill = Backfill(Remote(), uplink)
    for _ in range(8):
        samples = backfill.most()
        uplink.measured(3 * samples, 0.01)
        backfill.accepted(samples, 3 * samples)
    assert MAX_CHUNK_SAMPLES == backfill.most()


def test_far_away_is_not_slow() -> None:
    """A long round trip does not make chunks smaller than the first one, and the next one no later."""
    uplink = Uplink()
    backfill = Backfill(Remote(priority=Lanes(high_s=1.0)), uplink)
    for _ in range(8):
        samples = backfill.most()
        uplink.measured(3 * samples, 2.0)
        backfill.accepted(samples, 3 * samples)
    assert 50 == backfill.most()
    backfill.sent(START_S, 150)
    assert backfill.until_s == pytest.approx(START_S + 10)
