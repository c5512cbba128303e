"""What processes report of themselves survives the wire, and nothing else is believed."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import pytest

from common import status
from common.status import STATUSES, BufferStatus, CollectorStatus, ShipperStatus, SourceStatus

FULL = (
    CollectorStatus(
        sources={"cpu": SourceStatus(True, 10.0, 1_795_000_000_000, "no /proc/stat"), "disk": SourceStatus()}
    ),
    BufferStatus(
        database_size_bytes=4096,
        wal_size_bytes=0,
        free_bytes=1,
        pending=[0, 1, 2, 3],
        oldest_pending_ms=5,
        paused="full",
    ),
    ShipperStatus(mode="realtime", last_upload_ms=7, due=[0, 0, 0, 1], budget={"daily": {"used": 1}}, skew_ms=-12),
)


@pytest.mark.parametrize("given", FULL, ids=lambda given: type(given).__name__)
def test_a_status_is_the_same_after_the_wire(given: Any) -> None:
    """What a process reports is what healthd reads, nested sources included."""
    carried = msgpack.unpackb(msgpack.packb(status.to_wire(given)))
    assert given == status.read(type(given), carried)


@pytest.mark.parametrize("wrong", [None, "text", float("nan"), True, [], ["x"], {"a": 1}], ids=repr)
def test_a_field_that_is_not_what_it_should_be_is_unknown(wrong: Any) -> None:
    """A confused sender costs the field alone: it is unknown, never 0."""
    read = status.read(ShipperStatus, {"skew_ms": wrong, "due": wrong, "mode": "offline"})
    assert (None, None, "offline") == (read.skew_ms, read.due, read.mode)


def test_a_source_that_is_no_map_is_passed_over() -> None:
    """One source that cannot be read hides no other."""
    read = status.read(CollectorStatus, {"sources": {"cpu": 5, "disk": {"interval_s": 30.0}}})
    assert {"disk": SourceStatus(interval_s=30.0)} == read.sources


def test_a_map_travels_as_it_is() -> None:
    """A process that has no typed status yet reports a map."""
    assert {"kind": "collector"} == status.to_wire({"kind": "collector"})


@pytest.mark.parametrize("kind", STATUSES, ids=lambda kind: kind.__name__)
def test_every_field_says_what_it_means(kind: Any) -> None:
    """The reference page has a sentence for each field."""
    described = status.fields_of(kind)
    assert [field.name for field in dataclasses.fields(kind)] == list(described)
    assert all(described.values())
