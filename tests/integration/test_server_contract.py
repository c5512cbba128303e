"""What VictoriaMetrics does with a body, a path and a query: one table, for the real server and the fake one alike.

Each row was measured on Debian's 1.79.5 and on v1.150.0, which the fake follows. What the two do differently is tested
of the fake alone, in tests/unit/test_fake_vm.py: quoted specials, unknown encodings, truncated gzip, limits of labels,
and which of several values at one millisecond wins.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from tests.chaos.server import RealServer
from tests.fake_vm import FakeVm
from tests.harness import require, wait_for

NOW = int(time.time()) * 1000 - 60_000
DAY_MS = 86_400_000
Series = dict[str, list[tuple[int, float]]]  # milliseconds from NOW and value, by the labels besides the name


class Case(NamedTuple):
    """One body.

    Attributes:
        body: NAME stands for a name of its own.
        stored: what is there afterwards.
        status: of the answer.
        invalid: rows counted as such.
        ahead: rows ignored for their time.
        pack: what is done to the body before it is sent, said to be gzip; None: nothing.
    """

    body: bytes
    stored: Series
    status: int = 204
    invalid: int = 0
    ahead: int = 0
    pack: Callable[[bytes], bytes] | None = None


def line(values: str = "[1]", times: str = "", labels: str = "") -> bytes:
    """Return a JSON line, written as text so that it may be wrong; by default its times are NOW and the next ones."""
    stamps = times or str([NOW + index for index in range(values.count(",") + 1)])
    return f'{{"metric":{{"__name__":"NAME"{labels}}},"values":{values},"timestamps":{stamps}}}\n'.encode()


def values(*given: float) -> Series:
    """Return a series without labels, a millisecond apart."""
    return {"{}": list(enumerate(given))}


def _members(body: bytes) -> bytes:
    return gzip.compress(body[:50], mtime=0) + gzip.compress(body[50:], mtime=0)


def _wrong_checksum(body: bytes) -> bytes:
    packed = gzip.compress(body, mtime=0)
    return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]


GOOD = b'{"metric":{"__name__":"NAME","at":"%s"},"values":[1],"timestamps":[%d]}\n'
BEFORE, AFTER = GOOD % (b"before", NOW), GOOD % (b"after", NOW)
AROUND: Series = {'{"at": "before"}': [(0, 1)], '{"at": "after"}': [(0, 1)]}
CASES = {
    "one line per series": Case(line("[1,2.5]"), values(1, 2.5)),
    "one line per sample": Case(line("[1]") + line("[2]", f"[{NOW + 1}]"), values(1, 2)),
    "CRLF": Case(line().replace(b"\n", b"\r\n") * 2, values(1)),
    "no newline at the end": Case(line().rstrip(b"\n"), values(1)),
    "empty lines": Case(b"\n\r\n" + line(), values(1)),
    "nothing": Case(b"\n\n", {}),
    "out of order": Case(line("[3,1]", f"[{NOW + 1},{NOW}]"), values(1, 3)),
    "the same three times": Case(line() * 3, values(1)),
    "2017": Case(line(times="[1500000000000]"), {"{}": [(1_500_000_000_000 - NOW, 1)]}),
    "a day ahead": Case(line(times=f"[{NOW + DAY_MS}]"), {"{}": [(DAY_MS, 1)]}),
    "3 days ahead": Case(line(times=f"[{NOW + 3 * DAY_MS}]"), {}, ahead=1),
    "floats": Case(line("[0.1,-2.5,1e6,123.456]"), values(0.1, -2.5, 1e6, 123.456)),
    "beyond float64": Case(line("[9007199254740993]"), values(2.0**53)),
    "bare Inf": Case(line("[Inf,-inf,1]"), values(float("inf"), float("-inf"), 1)),
    "bare NaN vanishes uncounted": Case(line("[NaN,1]"), {"{}": [(1, 1)]}),
    "label text": Case(
        line(labels=',"place":"Z\\u00fcrich \\"\\\\ \\t"'), {'{"place": "Zürich \\"\\\\ \\t"}': [(0, 1)]}
    ),
    "a label that is a number": Case(line(labels=',"port":8080'), values(1)),
    "labels that are no text": Case(line(labels=',"up":true,"x":null,"y":""'), values(1)),
    "equal labels: the last": Case(line(labels=',"p":"1","p":"2"'), {'{"p": "2"}': [(0, 1)]}),
    "equal keys: the first": Case(line('[1],"values":[2]', f"[{NOW}]"), values(1)),
    "a bad line among good ones": Case(BEFORE + b"{broken\n" + AFTER, AROUND, invalid=1),
    "a bool": Case(BEFORE + line("[1,true]") + AFTER, AROUND, invalid=1),
    "a numeric string": Case(BEFORE + line('[1,"1.5"]') + AFTER, AROUND, invalid=1),
    "a float timestamp": Case(BEFORE + line(times=f"[{NOW}.0]") + AFTER, AROUND, invalid=1),
    "an exponent in a timestamp": Case(BEFORE + line(times="[1.7e12]") + AFTER, AROUND, invalid=1),
    "lengths differ": Case(BEFORE + line("[1,2]", f"[{NOW}]") + AFTER, AROUND, invalid=1),
    "no values": Case(BEFORE + line("[]", "[]") + AFTER, AROUND, invalid=1),
    "bare Infinity": Case(BEFORE + line("[1,Infinity]") + AFTER, AROUND, invalid=1),
    "an open list": Case(BEFORE + line("[1", f"[{NOW}]") + AFTER, AROUND, invalid=1),
    "gzip": Case(line("[1,2]"), values(1, 2), pack=gzip.compress),
    "two gzip members, cut inside a line": Case(line("[1,2]"), values(1, 2), pack=_members),
    "garbage after gzip": Case(line(), values(1), 400, pack=lambda body: gzip.compress(body) + b"x" * 20),
    "a wrong checksum is stored all the same": Case(line(), values(1), 400, pack=_wrong_checksum),
    "half a gzip header": Case(line(), {}, 400, pack=lambda body: gzip.compress(body)[:7]),
    "a bad gzip header": Case(line(), {}, 400, pack=lambda _: b"\x1f\x8bnot gzip at all"),
    "nothing, said to be gzip": Case(b"", {}, 400, pack=bytes),
}
NAMES = {case: f"contract_{number}" for number, case in enumerate(CASES)}
PATHS = {
    "/prometheus/api/v1/import": (204, {"device": "x"}),
    "/api/v1/import?extra_label=device=y&extra_label=z=1": (204, {"device": "y", "z": "1"}),
    "/api/v1/import?extra_label=device": (400, None),
    "/api/v1/import/": (400, None),
    "/api/v1/nothing": (400, None),
}
QUERIED = ("query_a", "query_b", "query_c")  # a and b of x at 0, 1 and 2 s, c of y at 0 s
T = (NOW + 2000) / 1000
QUERIES: list[tuple[str, int, list[tuple[dict[str, str], float]]]] = [
    ("query_a", 2000, [({"__name__": "query_a", "device": "x"}, 3)]),
    ("query_a", 1500, [({"__name__": "query_a", "device": "x"}, 2)]),
    ("query_a", 301_999, [({"__name__": "query_a", "device": "x"}, 3)]),
    ("query_a", 302_000, []),
    ("count_over_time(query_a[2s])", 2000, [({"device": "x"}, 2)]),
    ("count_over_time(query_a{device='y'}[1h])", 2000, []),
    ('count_over_time({__name__="query_c",device="y"}[1h30m])', 2000, [({"device": "y"}, 1)]),
    (
        'count_over_time({__name__=~"query_.",device="x"}[1m]) keep_metric_names', 2000,
        [({"__name__": "query_a", "device": "x"}, 3), ({"__name__": "query_b", "device": "x"}, 3)],
    ),
    ('sum(count_over_time({__name__=~"query_.",device=~"x|y"}[1m]))', 2000, [({}, 7)]),
    ('count(count_over_time({__name__=~"query_.",device!="z"}[1m]))', 2000, [({}, 3)]),
    (
        'sum(count_over_time({__name__=~"query_[abc]"}[1m])) by (device)', 2000,
        [({"device": "x"}, 6), ({"device": "y"}, 1)],
    ),
    ("tlast_over_time(query_b[1m])", 30_000, [({"device": "x"}, T)]),
    ("timestamp(query_b)", 30_000, [({"device": "x"}, T)]),
    ('max(timestamp({__name__=~"query_[ab]"}))', 30_000, [({}, T)]),
    ("count_over_time(query_nothing[1m])", 2000, []),
]  # fmt: skip


class Node:
    """A server, real or fake, to which everything above was sent."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.statuses = {name: self._send(name, case) for name, case in CASES.items()}
        body = line(labels=',"device":"x"')
        self.path_statuses = {
            path: self.ask("POST", path, body.replace(b"NAME", b"path_%d" % number))[0]
            for number, path in enumerate(PATHS)
        }
        for name, labels, count in (("query_a", "x", 3), ("query_b", "x", 3), ("query_c", "y", 1)):
            for second in range(count):
                row = line(f"[{second + 1}]", f"[{NOW + 1000 * second}]", f',"device":"{labels}"')
                self.ask("POST", "/api/v1/import", row.replace(b"NAME", name.encode()))
        self.ask("POST", "/api/v1/import", line().replace(b"NAME", b"sentinel"))
        self.ask("GET", "/internal/force_flush")
        wait_for("what was sent last", lambda: self.export("sentinel"))

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def export(self, name: str) -> Series:
        """Return what is stored of a metric, a day ahead included."""
        form = urlencode({"match[]": f'{{__name__="{name}"}}', "start": "0", "end": NOW // 1000 + 4 * 86_400})
        status, body = self.ask("GET", f"/api/v1/export?{form}")
        assert status == 200, body
        found: Series = {}
        for row in map(_row, body.splitlines()):
            labels = {label: text for label, text in row["metric"].items() if label != "__name__"}
            pairs = found.setdefault(json.dumps(labels, sort_keys=True, ensure_ascii=False), [])
            pairs += [
                (at_ms - NOW, float(value)) for at_ms, value in zip(row["timestamps"], row["values"], strict=True)
            ]
        return {labels: sorted(pairs) for labels, pairs in found.items()}

    def query(self, text: str, time_ms: int) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each point."""
        form = urlencode({"query": text, "time": time_ms / 1000, "nocache": "1"})
        status, body = self.ask("GET", f"/api/v1/query?{form}")
        assert status == 200, body
        rows = sorted(json.loads(body)["data"]["result"], key=lambda point: json.dumps(point, sort_keys=True))
        return [(row["metric"], float(row["value"][1])) for row in rows]

    def metric(self, name: str) -> float:
        """Return one number of the metrics page, 0 where it is not there."""
        page = self.ask("GET", "/metrics")[1].decode()
        return next((float(row.rsplit(" ", 1)[1]) for row in page.splitlines() if row.startswith(name)), 0.0)

    def _send(self, name: str, case: Case) -> int:
        body = case.body.replace(b"NAME", NAMES[name].encode())
        if case.pack is None:
            return self.ask("POST", "/api/v1/import", body)[0]
        return self.ask("POST", "/api/v1/import", case.pack(body), {"Content-Encoding": "gzip"})[0]


def _row(text: bytes) -> Any:
    # 1.79.5 writes a bare +Inf, which is no JSON; later versions write "Infinity".
    return json.loads(re.sub(rb"([+-])Inf\b", rb'"\1Infinity"', text))


@contextmanager
def _real(folder: Path) -> Iterator[str]:
    server = RealServer(require("victoria-metrics"), folder)
    server.start()
    try:
        yield server.url.removeprefix("http://")
    finally:
        server.kill()


@pytest.fixture(scope="module", params=["victoria-metrics", "the fake"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Give each server in turn."""
    if request.param == "the fake":
        with FakeVm() as vm:
            yield Node(vm.url.removeprefix("http://"))
    else:
        with _real(tmp_path_factory.mktemp("server")) as host:
            yield Node(host)


@pytest.mark.parametrize("name", CASES)
def test_a_body_is_stored_or_lost(node: Node, name: str) -> None:
    """Status, series, times and values, and no other: a bad line costs itself and is no error."""
    assert (CASES[name].status, CASES[name].stored) == (node.statuses[name], node.export(NAMES[name]))


def test_what_is_lost_is_counted(node: Node) -> None:
    """Lines that are none, and those of times that cannot be; the page is made once a second."""
    invalid = sum(case.invalid for case in CASES.values())
    ahead = sum(case.ahead for case in CASES.values())
    counters = ('vm_rows_invalid_total{type="vmimport"}', 'vm_rows_ignored_total{reason="big_timestamp"}')
    wait_for("the page", lambda: [invalid, ahead] == [node.metric(name) for name in counters])


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_answered(node: Node, path: str) -> None:
    """An extra label overrides the line's own; what is no path is a 400 and stores nothing."""
    status, labels = PATHS[path]
    stored = {json.dumps(labels): [(0, 1.0)]} if labels else {}
    assert (status, stored) == (node.path_statuses[path], node.export(f"path_{list(PATHS).index(path)}"))


@pytest.mark.parametrize(("text", "at_ms", "expected"), QUERIES)
def test_a_query_is_answered(node: Node, text: str, at_ms: int, expected: list[tuple[dict[str, str], float]]) -> None:
    """Labels and values; the edges of windows included."""
    assert expected == node.query(text, NOW + at_ms)


def test_it_tells_when_it_started_and_what_time_it_is(node: Node) -> None:
    """What a shipper takes from a server besides statuses."""
    assert 0 <= time.time() - node.metric("vm_app_start_timestamp ") < 3600
    connection = http.client.HTTPConnection(node.host, timeout=60)
    connection.request("GET", "/health")
    response = connection.getresponse()
    assert (200, b"OK") == (response.status, response.read())
    assert response.headers["Date"].endswith(" GMT")
    assert response.headers["X-Server-Hostname"] == socket.gethostname()
    connection.close()


@pytest.mark.parametrize("path", ["label/__name__/values?", "series?match[]=sentinel&"])
def test_it_knows_the_names(node: Node, path: str) -> None:
    """Names can be searched a while after the samples."""
    query = f"/api/v1/{path}start={NOW // 1000 - 60}&end={NOW // 1000 + 60}"
    wait_for("the name", lambda: b"sentinel" in node.ask("GET", query)[1])
