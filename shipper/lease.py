"""The samples of one lease, numbered from 0 in the order in which they are put into request bodies.

Reads the drain's reply to `lease` (see `common/PROTOCOL.md`). Fails with `WireError` on another shape.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from common.wire import WireError


class LeasedSeries(NamedTuple):
    """The leased samples of one series.

    Attributes:
        name: dotted, as stored.
        device_id: whose they are.
        tags: pairs of name and value.
        timestamps: Unix milliseconds, ascending.
        values: one for each timestamp.
    """

    name: str
    device_id: str
    tags: tuple[tuple[str, str], ...]
    timestamps: Sequence[int]
    values: Sequence[float]


class Lease:
    """A number of samples of one priority.

    Args:
        number: the buffer's name for it.
        priority: of all of them.
        series: in the order of the body.
        asked: how many samples were asked for.

    Attributes:
        full: it holds as many as were asked for, so more may be pending.
        session_id: of the stream that all of them are of, None outside of one.
    """

    def __init__(
        self, number: int, priority: int, series: Sequence[LeasedSeries], asked: int, session_id: str | None = None
    ) -> None:
        self.number = number
        self.priority = priority
        self.series = series
        self._begins = [0, *accumulate(len(one.timestamps) for one in series)]
        self.full = len(self) >= asked
        self.session_id = session_id

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._begins[-1]

    def parts(self, start: int, stop: int) -> Iterator[tuple[LeasedSeries, int, int]]:
        """Yield each series that has samples in [start, stop), with its own range of them."""
        index = bisect_right(self._begins, start) - 1
        while start < stop:
            begin, end = self._begins[index], self._begins[index + 1]
            if start < end:  # a series without samples has none to give
                yield self.series[index], start - begin, min(stop, end) - begin
            start = max(start, end)
            index += 1


def from_reply(reply: dict[str, Any], priority: int, asked: int) -> Lease | None:
    """Return the lease of a reply to a request for `asked` samples, None when nothing is pending.

    Raises:
        WireError: the reply has another shape.
    """
    try:
        number = int(reply["lease"])
        series = [_series(*group) for group in reply["groups"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WireError("shape", f"a lease: {type(error).__name__} {error}") from error
    session_id = reply.get("session_id")
    lease = Lease(number, priority, series, asked, session_id if isinstance(session_id, str) else None)
    return lease if number and len(lease) else None


def _series(
    name: str, device_id: str, tags: dict[str, str], timestamps: list[int], values: list[float]
) -> LeasedSeries:
    if not isinstance(name, str) or not isinstance(device_id, str) or len(timestamps) != len(values):
        raise WireError("shape", f"a series of {len(timestamps)} timestamps and {len(values)} values")
    return LeasedSeries(
        name, device_id, tuple((str(key), str(value)) for key, value in tags.items()), timestamps, values
    )
