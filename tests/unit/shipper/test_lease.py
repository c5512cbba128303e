"""What the shipper makes of a lease: every sample is in one chunk, in its place, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from common.wire import WireError
from shipper import lease
from shipper.lease import Lease, LeasedSeries


def leased(*counts: int, asked: int = 100) -> Lease:
    """Return a lease of series with so many samples each."""
    series = [LeasedSeries(f"m{n}", "box", (), range(size), range(size)) for n, size in enumerate(counts)]
    return Lease(1, 2, series, asked)


@pytest.mark.parametrize("counts", [(5,), (3, 0, 2, 1), (0, 4), (1, 1, 1)])
def test_chunks_hold_each_sample_once(counts: tuple[int, ...]) -> None:
    """Wherever the body is cut: a sample that is in none is lost, one that is in two is sent twice."""
    whole = [(f"m{n}", place) for n, size in enumerate(counts) for place in range(size)]
    for start in range(len(whole) + 1):
        for stop in range(start, len(whole) + 1):
            parts = list(leased(*counts).parts(start, stop))
            found = [(series.name, place) for series, begin, end in parts for place in range(begin, end)]
            assert whole[start:stop] == found
            assert all(begin < end for _, begin, end in parts)  # a series without samples has no line


@pytest.mark.parametrize(("asked", "full"), [(5, True), (6, False)])
def test_a_lease_with_as_many_as_were_asked_for_is_full(asked: int, full: bool) -> None:
    """More may be pending: the next lease follows at once, not after the queue's interval."""
    assert full is leased(3, 2, asked=asked).full


def reply(**changes: Any) -> dict[str, Any]:
    """Return the drain's reply with two samples."""
    return {"lease": 7, "groups": [["m", "box", {"l": "v"}, [1, 2], [3.0, 4.0]]], "session_id": "s", **changes}


def test_a_reply_becomes_a_lease() -> None:
    """Its samples, their labels, and the stream they are of."""
    found = lease.from_reply(reply(), 2, 2)
    assert found is not None
    assert (7, 2, 2, True, "s") == (found.number, found.priority, len(found), found.full, found.session_id)
    assert [LeasedSeries("m", "box", (("l", "v"),), [1, 2], [3.0, 4.0])] == found.series


def test_samples_outside_of_a_stream_have_no_session() -> None:
    """What is no text is none either."""
    for session_id in (None, 7):
        found = lease.from_reply(reply(session_id=session_id), 2, 2)
        assert found is not None
        assert found.session_id is None


@pytest.mark.parametrize("changes", [{"lease": 0}, {"groups": []}, {"lease": 0, "groups": []}])
def test_without_a_number_or_samples_there_is_no_lease(changes: dict[str, Any]) -> None:
    """There is nothing to send, and nothing that could be accounted for."""
    assert lease.from_reply(reply(**changes), 2, 100) is None


@pytest.mark.parametrize(
    "group",
    [
        [None, "box", {}, [1], [1.0]],
        ["m", 7, {}, [1], [1.0]],
        ["m", "box", {}, [1, 2], [1.0]],
        ["m", "box", [], [1], [1.0]],
        ["m", "box", {}, [1]],
    ],
)
def test_a_reply_of_another_shape_is_refused(group: list[Any]) -> None:
    """A value under another sample's time would be invented."""
    with pytest.raises(WireError):
        lease.from_reply(reply(groups=[group]), 2, 100)
