"""The comparison itself: counts in, series that are short out."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from shipper.audit import UnreachableError, Uploaded, parse_counts, parse_start, short

CPU = frozenset({("__name__", "cpu"), ("device_id", "d")})
DISK = frozenset({("__name__", "disk"), ("device_id", "d")})


def counted(number: str) -> bytes:
    """Return an answer with one number."""
    return b'{"data":{"result":[{"metric":{},"value":[1,"%b"]}]}}' % number.encode()


def test_a_series_with_less_at_the_server_is_short() -> None:
    """One that is equal, or has more there, is not."""
    uploaded = [Uploaded(1, CPU, 30), Uploaded(2, DISK, 30)]
    assert [1] == short(uploaded, Counter({CPU: 29, DISK: 30}))
    assert [] == short(uploaded, Counter({CPU: 31, DISK: 30}))
    assert [1, 2] == short(uploaded, Counter())


def test_two_series_that_are_one_at_the_server_are_counted_together() -> None:
    """Names that differ here and not there, such as a.b and a_b."""
    uploaded = [Uploaded(1, CPU, 10), Uploaded(2, CPU, 5)]
    assert [] == short(uploaded, Counter({CPU: 15}))
    assert [1, 2] == short(uploaded, Counter({CPU: 14}))


def test_an_instant_query_is_read_by_labels() -> None:
    """Each series with its number, whatever the order of its labels."""
    result = [{"metric": {"device_id": "d", "__name__": "cpu"}, "value": [1.5, "30"]}]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
    assert Counter({CPU: 30}) == parse_counts(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"data":{}}',
        b'{"data":{"result":[1]}}',
        b"\xff",
        counted("Infinity"),
        counted("1e999"),
        counted("-1"),
        b"[" * 99_999,
    ],
)
def test_anything_else_is_no_answer(body: bytes) -> None:
    """A portal's page or another API must not look like a server that lost everything."""
    with pytest.raises(UnreachableError):
        parse_counts(body)


def test_the_start_is_read_from_the_servers_own_metrics() -> None:
    """Either metric will do; without one it is not known."""
    assert parse_start(b"go_threads 8\nvm_app_start_timestamp 1795313745\n") == 1795313745
    assert parse_start(b"process_start_time_seconds 1.79531374e+09\n") == 1795313740
    assert parse_start(b"vm_app_start_timestamp soon\n") is None
    assert parse_start(b"") is None
    assert parse_start(b"vm_app_start_timestamp +Inf\n") is None
    assert parse_start(b"vm_app_start_timestamp 1e300\n") is None
