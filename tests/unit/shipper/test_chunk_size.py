"""How many samples go into one request, and how slowly old ones go."""

from __future__ import annotations

import pytest

from common.remote import Backfill, Priority, Remote
from shipper.chunk_size import LATENCY_GROWTH, MAX_CHUNK_SAMPLES, ChunkSize, Uplink


def test_chunks_grow_while_behind() -> None:
    """50 samples on each round trip of 60 ms would be 800 a second."""
    pace, chunk_bytes = ChunkSize(50), 256 * 1024
    sizes = []
    for _ in range(6):
        sizes.append(pace.samples)
        pace = pace.grown(pace.samples, 3 * pace.samples, chunk_bytes)
    assert [50, 200, 800, 3200, 12_800, 25_000] == sizes


def test_chunks_grow_up_to_the_byte_cap() -> None:
    """At 10 bytes a sample, 20 % below it."""
    pace, chunk_bytes = ChunkSize(50), 10_000
    for _ in range(6):
        pace = pace.grown(pace.samples, 10 * pace.samples, chunk_bytes)
    assert pace.samples == 800


def test_a_small_chunk_says_nothing_about_going_faster() -> None:
    """The rest of a lease, or half of a body that was too large."""
    pace, chunk_bytes = ChunkSize(50), 256 * 1024
    pace = pace.grown(50, 150, chunk_bytes)
    pace = pace.grown(10, 30, chunk_bytes)
    assert pace.samples == 200


def test_a_failure_begins_with_little() -> None:
    """What is lost on a bad link shall be little."""
    pace, chunk_bytes = ChunkSize(50), 256 * 1024
    pace = pace.grown(50, 150, chunk_bytes)
    pace = pace.reset(50)
    assert pace.samples == 50


def test_a_size_that_was_refused_is_not_tried_again() -> None:
    """413 would come with every other chunk."""
    pace, chunk_bytes = ChunkSize(50), 256 * 1024
    pace = pace.grown(50, 150, chunk_bytes)
    pace = pace.halved(200)
    assert pace.samples == 100
    pace = pace.grown(100, 300, chunk_bytes)
    assert pace.samples == 100


def test_a_size_below_the_first_one_can_be_refused_too() -> None:
    """Down to one sample."""
    pace = ChunkSize(50)
    for size in (50, 25, 12, 6, 3, 1):
        pace = pace.halved(size)
    pace = pace.reset(50)
    assert pace.samples == 1


def test_a_size_that_was_refused_is_tried_again_after_a_while() -> None:
    """After 2 chunks that were taken, after 4 when it is refused again."""
    pace, chunk_bytes = ChunkSize(50), 256 * 1024
    sizes = []
    pace = pace.halved(50)
    for _ in range(3):
        pace = pace.grown(pace.samples, 3 * pace.samples, chunk_bytes)
        sizes.append(pace.samples)
    pace = pace.halved(50)
    for _ in range(4):
        pace = pace.grown(pace.samples, 3 * pace.samples, chunk_bytes)
        sizes.append(pace.samples)
    assert [25, 50, 50, 25, 25, 25, 50] == sizes


def test_the_uplink_is_measured_by_what_is_large() -> None:
    """A small body shows how far away the server is: what a large one takes more is for its bytes."""
    uplink = Uplink().measured(100, 500, 0.1)
    assert 0.1 == uplink.latency_s
    assert uplink.measured(100, 190_000, 2.0).bytes_per_s == pytest.approx(100_000, rel=0.01)
    assert 0.1 * LATENCY_GROWTH == pytest.approx(uplink.measured(100, 500, 5.0).latency_s or 0.0)


def test_the_uplink_is_forgotten() -> None:
    """What was in the last town does not matter: after 15 uploads 5 % is left of it."""
    uplink = Uplink().measured(100, 100_000, 1.0)
    for _ in range(15):
        uplink = uplink.measured(100, 10_000, 1.0)
    assert uplink.bytes_per_s == pytest.approx(10_000, rel=0.15)


@pytest.mark.parametrize(
    ("expected_s", "settings", "body_bytes"),
    [
        (1.0, Backfill(), 1000),
        (2.5, Backfill(), 50_000),
        (1.0, Backfill(bandwidth_percent=100.0), 50_000),
        (0.1, Backfill(requests_per_s=10.0), 1000),
        (5.0, Backfill(requests_per_s=0.2), 1000),
    ],
)
def test_a_request_waits_for_its_share(expected_s: float, settings: Backfill, body_bytes: int) -> None:
    """20 % of 100 KB/s, and one request a second: whichever is longer."""
    uplink = Uplink().measured(100, 100_000, 1.0)
    assert expected_s == pytest.approx(uplink.pause_s(body_bytes, Remote(backfill=settings)))


def test_while_nothing_is_known_little_is_sent() -> None:
    """And one request a second."""
    assert (50, 1.0) == (Uplink().fitting(25_000, Remote()), Uplink().pause_s(10_000, Remote()))


@pytest.mark.parametrize(
    ("expected", "remote", "sample_bytes", "bytes_per_s", "latency_s"),
    [
        # At 10 KB/s and 5 bytes a sample 2.5 s are 5,000 samples, a quarter of lane P1's interval.
        (5000, Remote(), 5, 10_000, 0.0),
        # A month's backlog does not take a month.
        (MAX_CHUNK_SAMPLES, Remote(), 3, 1e7, 0.0),
        # Neither does one of two hours where each request takes seconds; its bytes have the same share of time.
        (MAX_CHUNK_SAMPLES, Remote(), 3, 1e7, 3.0),
        (5000, Remote(), 5, 10_000, 3.0),
        # What a request takes anyway does not make it smaller than the first one.
        (107, Remote(priority=Priority(high_s=1.0)), 3, 1e9, 2.0),
    ],
)
def test_a_request_with_old_samples_does_not_keep_p1_waiting(
    expected: int, remote: Remote, sample_bytes: int, bytes_per_s: float, latency_s: float
) -> None:
    """It is as large as what fits a quarter of P1's interval."""
    uplink = Uplink()
    size = ChunkSize(50)
    for _ in range(8):
        samples = uplink.fitting(size.samples, remote)
        body_bytes = sample_bytes * samples
        uplink = uplink.measured(samples, body_bytes, latency_s + body_bytes / bytes_per_s)
        size = size.grown(samples, body_bytes, remote.chunk_bytes)
    assert expected == pytest.approx(uplink.fitting(size.samples, remote), rel=0.05)


def test_a_chunk_has_one_sample_at_least() -> None:
    """However large that is: it would never be sent."""
    assert 1 == ChunkSize(50).grown(50, 1_000_000, 100).samples


@pytest.mark.parametrize(("body_bytes", "latency_s"), [(2048, 0.4), (2049, None)])
def test_a_small_body_tells_the_latency(body_bytes: int, latency_s: float | None) -> None:
    """A large one tells the rate."""
    assert latency_s == Uplink().measured(10, body_bytes, 0.4).latency_s


def test_a_latency_that_has_grown_is_believed_slowly() -> None:
    """By a quarter with each small body; a quicker one is believed at once."""
    uplink, found = Uplink(), []
    for duration_s in (1.0, 9.0, 9.0, 1.1):
        uplink = uplink.measured(1, 100, duration_s)
        found.append(uplink.latency_s)
    assert [1.0, 1.25, 1.5625, 1.1] == found


def test_before_a_measurement_requests_alone_are_limited() -> None:
    """As the operator says."""
    assert 0.001 == Uplink().pause_s(100_000, Remote(backfill=Backfill(requests_per_s=1000.0)))
