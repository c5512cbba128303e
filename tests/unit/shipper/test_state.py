"""What may be sent in a mode: how much at once, and when to look for something to probe with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.remote import Remote
from shipper.chunk_size import ChunkSize
from shipper.state import DEGRADED, State, initial

START_S = 5000.0


def state(mode: str = "auto", **keys: int) -> State:
    """Return the state of a server that was never asked."""
    return initial(Remote(mode=mode, **keys), START_S)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch_size", "fresh", "old", "expected"),
    [(2_500, 50, 50, (2_500, 2_500)), (2_500, 50, 20_000, (2_500, 20_000)), (2_500, 9_000, 50, (9_000, 2_500)),
     (90_000, 50, 50, (25_000, 25_000))],
)  # fmt: skip
def test_a_lease_holds_a_chunk_and_a_batch(batch_size: int, fresh: int, old: int, expected: tuple[int, int]) -> None:
    """And no more than fits into the memory, whatever is configured."""
    one = replace(state(batch_size=batch_size), fresh=ChunkSize(fresh), old=ChunkSize(old))
    assert expected == (one.lease(old=False), one.lease(old=True))


def test_a_chunk_is_no_larger_than_the_memory_allows() -> None:
    """From the start on."""
    assert 25_000 == state(chunk_size=90_000).chunk(old=False)


@pytest.mark.parametrize(("probe_s", "look_s"), [(0, 10), (5, 10), (12, 12)])
def test_a_probe_is_looked_for_when_it_may_go_and_not_all_the_time(probe_s: int, look_s: int) -> None:
    """A third of an upload interval apart."""
    one = replace(state(), mode=DEGRADED, probe_s=START_S + probe_s)
    assert START_S + look_s == one.look_for_probe_s(START_S)
    assert state().look_for_probe_s(START_S) is None
    assert state(DEGRADED).look_for_probe_s(START_S) is None


def test_p1_of_a_bad_uplink_goes_once_a_minute() -> None:
    """Where the operator says that it is bad: from the start."""
    assert (60.0, 0.0) == (state(DEGRADED).high_interval_s, state().high_interval_s)
