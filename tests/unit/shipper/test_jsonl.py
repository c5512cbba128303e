"""What goes into a body: everything the server keeps, nothing it would drop in silence."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from common import wire
from shipper import jsonl, lease
from shipper.lease import Lease, LeasedSeries
from tests.fake_vm.imports import parse
from tests.unit.shipper.stub import Row, lease_of, rows

NOW_MS = 1_795_000_000_000  # a fixed day in November 2026
TWO_SERIES = [
    Row("cpu.temperature", NOW_MS, 52.3, {}),
    Row("cpu.temperature", NOW_MS + 1000, 53, {}),
    Row("cpu.temperature", NOW_MS + 2000, 54.5, {}),
    Row("disk.read_bytes_total", NOW_MS, 1_048_576_000, {"device": "sda"}),
]


def documents(body: bytes) -> list[dict[str, Any]]:
    """Return the lines of a body, decoded."""
    return [json.loads(line) for line in body.splitlines()]


def labels(tags: dict[str, str]) -> dict[str, str]:
    """Return what a series is called at the server."""
    series = LeasedSeries("m", "box", tuple(tags.items()), [NOW_MS], [1])
    found: dict[str, str] = documents(jsonl.body(Lease(1, 2, [series], 1), 0, 1))[0]["metric"]
    return found


def refused(*samples: Row) -> list[tuple[int, int, str]]:
    """Return what of these samples is not to be sent."""
    return [tuple(refusal) for refusal in jsonl.unsendable(lease_of(samples))]  # type: ignore[misc]


def test_one_line_holds_all_of_a_series() -> None:
    """Values and timestamps pair up, ascending; the name is the catalogue's for export."""
    assert jsonl.body(lease_of(TWO_SERIES), 0, 4) == (
        b'{"metric":{"__name__":"cpu_temperature_celsius","device_id":"box"},'
        b'"values":[52.3,53,54.5],"timestamps":[1795000000000,1795000001000,1795000002000]}\n'
        b'{"metric":{"__name__":"disk_read_bytes_total","device_id":"box","device":"sda"},'
        b'"values":[1048576000],"timestamps":[1795000000000]}\n'
    )


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (0, 1), (1, 3), (2, 4), (3, 4), (1, 1)])
def test_a_range_holds_exactly_its_samples(start: int, stop: int) -> None:
    """Samples are numbered through all series."""
    found = [value for line in documents(jsonl.body(lease_of(TWO_SERIES), start, stop)) for value in line["values"]]
    assert [row.value for row in TWO_SERIES][start:stop] == found


def test_the_same_range_is_always_the_same_bytes() -> None:
    """A resend must not look like a correction."""
    assert jsonl.body(lease_of(TWO_SERIES), 0, 4) == jsonl.body(lease_of(TWO_SERIES), 0, 4)


def test_a_long_series_is_split_into_lines_the_server_holds() -> None:
    """No line of more than 10,000 samples, and none is lost."""
    long = [Row("m", NOW_MS + n, n, {}) for n in range(25_000)]
    lines = documents(jsonl.body(lease_of(long), 0, 25_000))
    assert [10_000, 10_000, 5_000] == [len(line["values"]) for line in lines]
    assert list(range(25_000)) == [value for line in lines for value in line["values"]]


def test_the_server_keeps_every_sample() -> None:
    """What the body says is what the server's own reader finds in it."""
    odd = [
        Row("memory.used_percent", NOW_MS, 0.1, {"a.b": 'say "hi"\n', "ключ": "значение"}),
        Row("0day", NOW_MS, -0.0, {"0": "x", "": "y"}),
        Row("tiny", NOW_MS, 5e-324, {}),
        Row("huge", NOW_MS, 1e308, {}),
        Row("whole", NOW_MS, 2**63 - 1, {}),
    ]
    parsed = parse(jsonl.body(lease_of(odd), 0, len(odd)), "", now_ms=NOW_MS)
    assert (len(odd), 0, 0) == (parsed.samples, parsed.rows_invalid, sum(parsed.rows_ignored.values()))
    assert [float(row.value) for row in odd] == [line.values[0] for line in parsed.lines]


def test_integers_keep_their_digits_and_floats_are_as_short_as_they_can_be() -> None:
    """The server's float64 is its own affair; nothing is rounded here."""
    body = jsonl.body(lease_of([Row("m", NOW_MS, 2**53 + 1, {}), Row("m", NOW_MS + 1, 0.1, {})]), 0, 2)
    assert b'"values":[9007199254740993,0.1]' in body


def test_label_names_are_made_safe() -> None:
    """`[a-zA-Z_][a-zA-Z0-9_]*`, as Prometheus wants them."""
    expected = {"a_b", "_0", "_", "x_y", "ok_1"}
    assert expected == set(jsonl.label_names(["a.b", "0", "", "x:y", "ok_1"]).values())


def test_tags_that_become_alike_stay_apart() -> None:
    """The one that needed no change keeps the name, and no value is lost."""
    found = labels({"a.b": "dot", "a_b": "line", "a-b": "dash"})
    assert {"a_b": "line", "exported_a_b": "dash", "exported_exported_a_b": "dot"} == {
        name: value for name, value in found.items() if name not in {"__name__", "device_id"}
    }


def test_a_tag_cannot_take_the_place_of_our_own_labels() -> None:
    """Whose sample it is, and which, is not for a tag to say."""
    found = labels({"device_id": "other", "__name__": "n"})
    assert {"__name__": "m", "device_id": "box", "exported_device_id": "other", "exported___name__": "n"} == found


def test_an_empty_label_is_left_out() -> None:
    """The server takes it for none; so that both call the series the same, so do we."""
    assert {"__name__": "m", "device_id": "box"} == labels({"empty": ""})


def test_all_label_values_are_text() -> None:
    """A number would vanish and merge two series into one."""
    series = lease.from_reply({"lease": 1, "groups": [["m", "box", {"port": 8080, "up": True}, [NOW_MS], [1]]]}, 2, 9)
    assert series is not None
    assert {"8080", "True", "m", "box"} == set(documents(jsonl.body(series, 0, 1))[0]["metric"].values())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, None, "1.5"])
def test_a_value_that_would_cost_the_line_is_not_sent(value: Any) -> None:
    """The server drops it, or all of its line, and answers 204."""
    assert [(1, 2, "not_a_finite_number")] == refused(*rows(1), Row("m", NOW_MS, value, {}), *rows(1, first=5))


@pytest.mark.parametrize("timestamp", [1.5, True, None])
def test_a_timestamp_that_is_none_is_not_sent(timestamp: Any) -> None:
    """A float timestamp costs the whole line."""
    assert [(0, 1, "not_a_timestamp")] == refused(Row("m", timestamp, 1, {}))


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({f"tag_{n}": "x" for n in range(39)}, "too_many_labels"),
        ({"n" * 257: "x"}, "too_long_label_name"),
        ({"tag": "x" * 4097}, "too_long_label_value"),
        ({"tag": "é" * 2049}, "too_long_label_value"),
        ({"tag": "\udcff"}, "not_unicode"),
    ],
)
def test_a_series_beyond_the_servers_limits_is_not_sent(tags: dict[str, str], reason: str) -> None:
    """It would be dropped as a whole, and the answer would be 204."""
    beyond = [Row("m", NOW_MS + n, n, tags) for n in range(3)]
    assert [(1, 4, reason)] == refused(*rows(1), *beyond, *rows(1, first=5))


@pytest.mark.parametrize(
    "tags", [{f"tag_{n}": "x" for n in range(38)}, {"n" * 256: "x"}, {"tag": "x" * 4096}, {"tag": "é" * 2048}]
)
def test_a_series_at_the_servers_limits_is_sent(tags: dict[str, str]) -> None:
    """The server keeps what is just within."""
    at_limit = lease_of([Row("m", NOW_MS, 1, tags)])
    assert [] == jsonl.unsendable(at_limit)
    assert parse(jsonl.body(at_limit, 0, 1), "", now_ms=NOW_MS).samples == 1


def test_a_sample_without_a_name_is_not_sent() -> None:
    """The server would keep it as a series that nobody finds."""
    assert [(0, 1, "no_name")] == refused(Row("", NOW_MS, 1, {}))


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"lease": 1},
        {"lease": "x", "groups": []},
        {"lease": 1, "groups": [["m", "box", {}, [1]]]},
        {"lease": 1, "groups": [["m", "box", {}, [1, 2], [1]]]},
        {"lease": 1, "groups": [["m", "box", [], [1], [1]]]},
        {"lease": 1, "groups": [[7, "box", {}, [1], [1]]]},
        {"lease": 1, "groups": 5},
    ],
)
def test_a_lease_of_another_shape_is_a_wire_error(reply: dict[str, Any]) -> None:
    """A buffer of another version ends nothing here."""
    with pytest.raises(wire.WireError):
        lease.from_reply(reply, 2, 10)


def test_nothing_pending_is_no_lease() -> None:
    """Lease 0 has no samples."""
    assert lease.from_reply({"lease": 0, "groups": []}, 2, 10) is None


def test_a_full_lease_says_that_more_may_be_pending() -> None:
    """It holds as many as were asked for."""
    assert [True, False] == [lease_of(rows(5), asked=asked).full for asked in (5, 6)]


def test_a_series_without_samples_is_passed_over() -> None:
    """Numbers go on behind it."""
    empty = LeasedSeries("e", "box", (), [], [])
    full = LeasedSeries("m", "box", (), [NOW_MS, NOW_MS + 1], [1, 2])
    parts = list(Lease(1, 2, [empty, full, empty], 9).parts(1, 2))
    assert [(full, 1, 2)] == parts
