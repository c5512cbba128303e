"""The fake VictoriaMetrics against the real one, side by side.

In: the same bodies and queries, sent to both.
Out: the same status codes, samples and answers, as far as Debian's 1.79.5 and the
v1.150.0 that the fake follows agree. Left out is what differs between the two:
quoted specials, unknown encodings, truncated gzip, limits of labels, and which of
several values at one millisecond wins.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.fake_vm import FakeVm

START_TIMEOUT_S = 30.0
# The real server makes rows searchable some time after a flush.
VISIBLE_TIMEOUT_S = 15.0
POLL_S = 0.05

NOW = int(time.time()) * 1000 - 60_000
DAY_MS = 86_400_000

Exported = dict[str, list[tuple[int, float]]]


@dataclass
class Node:
    """A server, real or fake, by its address."""

    host: str

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def send(self, body: bytes, path: str = "/api/v1/import", **headers: str) -> int:
        """Import a body and give the status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body, named)[0]

    def export(self, selector: str) -> Exported:
        """Give (timestamp_ms, value) of each selected series, a day ahead included."""
        form = urlencode({"match[]": selector, "start": "0", "end": NOW // 1000 + 2 * 86400})
        status, body = self.ask("GET", f"/api/v1/export?{form}")
        assert status == 200, body
        found: Exported = {}
        for row in map(_row, body.splitlines()):
            pairs = found.setdefault(json.dumps(row["metric"], sort_keys=True), [])
            pairs.extend(zip(row["timestamps"], map(float, row["values"]), strict=True))
        return {labels: sorted(pairs) for labels, pairs in found.items()}

    def query(self, text: str, time_ms: int) -> tuple[int, list[Any]]:
        """Give the status and the vector, sorted."""
        form = urlencode({"query": text, "time": time_ms / 1000, "nocache": "1"})
        status, body = self.ask("GET", f"/api/v1/query?{form}")
        result = json.loads(body).get("data", {}).get("result", [])
        return status, sorted(result, key=lambda point: json.dumps(point, sort_keys=True))

    def metric(self, name: str) -> float:
        """Give one number of the metrics page."""
        page = self.ask("GET", "/metrics")[1].decode()
        return float(next(line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith(name)))


def _row(line: bytes) -> Any:
    # 1.79.5 writes a bare +Inf, which is no JSON; later versions write "Infinity".
    return json.loads(re.sub(rb"([+-])Inf\b", rb'"\1Infinity"', line))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The installed victoria-metrics; without one the comparison says nothing."""
    program = shutil.which("victoria-metrics")
    if program is None:
        message = "victoria-metrics is not installed: the fake was NOT compared with the real server"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("victoria-metrics")
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        program,
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr={host}",
        "-retentionPeriod=100y",
        "-dedup.minScrapeInterval=1ms",
        "-search.latencyOffset=0s",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_healthy(Node(host), process, folder / "log")
        yield Node(host)
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_healthy(node: Node, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if node.ask("GET", "/health") == (200, b"OK"):
                return
        except OSError:
            pass  # not listening yet
        time.sleep(POLL_S)
    pytest.fail(f"victoria-metrics did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def fake() -> Iterator[Node]:
    """The fake one, in this process."""
    with FakeVm() as vm:
        yield Node(vm.url.removeprefix("http://"))


def assert_same_samples(real: Node, fake: Node, name: str) -> None:
    """Compare what both export of the series whose names start with `name`.

    A sentinel, sent last and flushed with the rest, tells that the real server shows all
    it has; so a sample too many does not pass unseen.
    """
    sentinel = f"{name}_sentinel"
    for node in (real, fake):
        assert node.send(line([1], [NOW], name=sentinel)) == 204
    real.ask("GET", "/internal/force_flush")
    selector = f'{{__name__=~"{name}.*"}}'
    expected = fake.export(selector)
    deadline = time.monotonic() + VISIBLE_TIMEOUT_S
    found: Exported = {}
    while found != expected and time.monotonic() < deadline:
        time.sleep(POLL_S if found else 0.0)
        found = real.export(selector)
    assert found == expected
    assert any(sentinel in labels for labels in expected)


def line(values: list[float], timestamps: list[int], **labels: str) -> bytes:
    """One JSON line; `name` is the metric's name."""
    metric = {"__name__" if key == "name" else key: value for key, value in labels.items()}
    return json.dumps({"metric": metric, "values": values, "timestamps": timestamps}).encode() + b"\n"


def grid(count: int, step_ms: int = 1000) -> list[int]:
    """`count` timestamps up to now."""
    return [NOW - i * step_ms for i in reversed(range(count))]


COLUMNS = line([float(i) for i in range(500)], grid(500), name="columns", device="x")
ROWS = b"".join(line([i / 8], [t], name="rows", core=str(i % 3)) for i, t in enumerate(grid(90)))
GOOD = [
    pytest.param("columns", COLUMNS, {}, id="one line per series"),
    pytest.param("rows", ROWS, {}, id="one line per sample"),
    pytest.param("crlf", ROWS.replace(b"rows", b"crlf").replace(b"\n", b"\r\n"), {}, id="CRLF"),
    pytest.param("bare", ROWS.replace(b"rows", b"bare").rstrip(b"\n"), {}, id="no newline at the end"),
    pytest.param(
        "zipped", gzip.compress(ROWS.replace(b"rows", b"zipped"), mtime=0), {"Content_Encoding": "gzip"}, id="gzip"
    ),
    pytest.param(
        "members",
        gzip.compress(ROWS.replace(b"rows", b"members")[:77], mtime=0)
        + gzip.compress(ROWS.replace(b"rows", b"members")[77:], mtime=0),
        {"Content_Encoding": "gzip"},
        id="two gzip members, cut inside a line",
    ),
    pytest.param("dense", line([1, 2, 3], grid(3, 1), name="dense"), {}, id="a millisecond apart"),
    pytest.param("shuffled", line([1, 2, 3], [NOW, NOW - 9000, NOW - 5000], name="shuffled"), {}, id="out of order"),
    pytest.param("past", line([1], [1_500_000_000_000], name="past"), {}, id="2017"),
    pytest.param("ahead", line([1, 2], [NOW + DAY_MS, NOW + 3 * DAY_MS], name="ahead"), {}, id="1 and 3 days ahead"),
    pytest.param("text", line([1], [NOW], name="text", place='Zürich "\\ 😀\t'), {}, id="label text"),
    pytest.param("floats", line([0.1, -2.5, 1e6, 123.456], grid(4), name="floats"), {}, id="floats"),
]


@pytest.mark.parametrize(("name", "body", "headers"), GOOD)
def test_a_good_body_is_stored_the_same(
    real: Node, fake: Node, name: str, body: bytes, headers: dict[str, str]
) -> None:
    """Every sample, label and timestamp, and no other."""
    assert [node.send(body, **headers) for node in (fake, real)] == [204, 204]
    assert_same_samples(real, fake, name)


def test_a_body_sent_three_times_is_visible_once(real: Node, fake: Node) -> None:
    """With dedup on, a repeat changes nothing."""
    body = COLUMNS.replace(b"columns", b"again")
    assert {node.send(body) for node in (fake, real) for _ in range(3)} == {204}
    assert_same_samples(real, fake, "again")


ODD = [
    # name, then values, timestamps and labels as text; {0}, {1}, {2} are timestamps
    ("bool", "[1,true]", "[{0},{1}]", ""),
    ("numeric_string", '[1,"1.5"]', "[{0},{1}]", ""),
    ("float_timestamp", "[1]", "[{0}.0]", ""),
    ("exponent_timestamp", "[1]", "[1.7e12]", ""),
    ("lengths_differ", "[1,2]", "[{0}]", ""),
    ("empty", "[]", "[]", ""),
    ("bare_infinity", "[1,Infinity]", "[{0},{1}]", ""),
    ("bare_inf", "[Inf,-inf,1]", "[{0},{1},{2}]", ""),
    ("bare_nan", "[NaN,1]", "[{0},{1}]", ""),
    ("number_label", "[1]", "[{0}]", ',"port":8080'),
    ("no_string_label", "[1]", "[{0}]", ',"up":true,"x":null,"y":""'),
    ("equal_labels", "[1]", "[{0}]", ',"p":"1","p":"2"'),
    ("equal_keys", '[1],"values":[2]', "[{0}]", ""),
    ("beyond_float64", "[9007199254740993]", "[{0}]", ""),
    ("broken", "[1", "[{0}]", ""),
]


@pytest.mark.parametrize(("name", "values", "timestamps", "labels"), ODD)
def test_an_odd_line_is_stored_or_lost_the_same(
    real: Node, fake: Node, name: str, values: str, timestamps: str, labels: str
) -> None:
    """Always 204, and the good lines around it are stored."""
    stamped = timestamps.format(NOW, NOW + 1, NOW + 2)
    odd = f'{{"metric":{{"__name__":"odd_{name}"{labels}}},"values":{values},"timestamps":{stamped}}}\n'
    before, after = (line([1], [NOW], name=f"odd_{name}", place=place) for place in ("before", "after"))
    assert [node.send(before + odd.encode() + after) for node in (fake, real)] == [204, 204]
    assert_same_samples(real, fake, f"odd_{name}")


def test_the_counters_of_lost_lines_agree(real: Node, fake: Node) -> None:
    """Over all that was sent so far: both servers were sent the same."""
    for node in (fake, real):
        assert node.send(b"broken\n" + line([1], [NOW + 3 * DAY_MS], name="ahead")) == 204
    counters = ['vm_rows_invalid_total{type="vmimport"}', 'vm_rows_ignored_total{reason="big_timestamp"}']
    expected = [fake.metric(counter) for counter in counters]
    deadline = time.monotonic() + VISIBLE_TIMEOUT_S
    # The real server makes its metrics page anew only once a second.
    while [real.metric(counter) for counter in counters] != expected and time.monotonic() < deadline:
        time.sleep(POLL_S)
    assert [real.metric(counter) for counter in counters] == expected
    assert all(expected)


PACKED = gzip.compress(line([1], [NOW], name="refused"), mtime=0)
WRONG = [
    pytest.param(b"\x1f\x8bnot gzip at all", {"Content_Encoding": "gzip"}, 400, id="a bad gzip header"),
    pytest.param(b"", {"Content_Encoding": "gzip"}, 400, id="nothing, said to be gzip"),
    pytest.param(PACKED[:7], {"Content_Encoding": "gzip"}, 400, id="half a gzip header"),
    pytest.param(PACKED + b"x" * 20, {"Content_Encoding": "gzip"}, 400, id="garbage after gzip"),
    pytest.param(
        PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:], {"Content_Encoding": "gzip"}, 400, id="a wrong checksum"
    ),
    pytest.param(PACKED, {}, 204, id="gzip without Content-Encoding"),
    pytest.param(b"\n\n", {}, 204, id="nothing"),
]


@pytest.mark.parametrize(("body", "headers", "status"), WRONG)
def test_a_wrong_body_is_answered_the_same(
    real: Node, fake: Node, body: bytes, headers: dict[str, str], status: int
) -> None:
    """And what it stored all the same is the same."""
    assert [node.send(body, **headers) for node in (fake, real)] == [status, status]
    assert_same_samples(real, fake, "refused")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/prometheus/api/v1/import", 204),
        ("/api/v1/import?extra_label=device=y&extra_label=z=1", 204),
        ("/api/v1/import?extra_label=device", 400),
        ("/api/v1/import/", 400),
        ("/api/v1/nothing", 400),
    ],
)
def test_a_path_is_answered_the_same(real: Node, fake: Node, path: str, status: int) -> None:
    """An extra label overrides the line's own."""
    body = line([1], [NOW], name="path", device="x")
    assert [node.send(body, path) for node in (fake, real)] == [status, status]
    assert_same_samples(real, fake, "path")


@pytest.fixture(scope="module")
def queried(real: Node, fake: Node) -> int:
    """Two series of x and one of y, twice over; the time of their last sample."""
    body = b"".join(line([1, 2, 3], grid(3), name=f"query_{n}", device="x") for n in "ab")
    body += line([7], [NOW - 2000], name="query_c", device="y")
    for node in (fake, real, fake, real):
        assert node.send(body) == 204
    assert_same_samples(real, fake, "query_")
    return NOW


@pytest.mark.parametrize("offset_ms", [0, -500, 30_250, 299_999, 300_000])
@pytest.mark.parametrize(
    "text",
    [
        "query_a",
        'query_a{device="y"}',
        '{__name__=~"query_[ab]"}',
        "count_over_time(query_a[2s])",
        'count_over_time({__name__=~"query_.",device="x"}[1m]) keep_metric_names',
        'sum(count_over_time({__name__=~"query_.",device=~"x|y"}[1m]))',
        'count(count_over_time({__name__=~"query_.",device!="z"}[1m]))',
        'sum(count_over_time({__name__=~"query_[abc]"}[1m])) by (device)',
        "tlast_over_time(query_b[1m])",
        "timestamp(query_b)",
        'max(timestamp({__name__=~"query_[ab]"}))',
        'max(tlast_over_time({__name__=~"query_[abc]"}[1h]))',
        'count_over_time({__name__=~"query_[ab]"}[5m])',
        "count_over_time(query_nothing[1m])",
    ],
)
def test_a_query_is_answered_the_same(real: Node, fake: Node, queried: int, text: str, offset_ms: int) -> None:
    """Status, labels, values and times; window edges included."""
    assert fake.query(text, queried + offset_ms) == real.query(text, queried + offset_ms)


def test_both_tell_when_they_started_and_what_time_it_is(real: Node, fake: Node) -> None:
    """What a shipper takes from a server besides statuses."""
    for node in (fake, real):
        assert abs(node.metric("vm_app_start_timestamp ") - time.time()) < 120
        connection = http.client.HTTPConnection(node.host, timeout=10)
        connection.request("GET", "/health")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"OK")
        assert response.headers["Date"].endswith(" GMT")
        assert response.headers["X-Server-Hostname"] == socket.gethostname()
        connection.close()


@pytest.mark.parametrize("path", ["/api/v1/label/__name__/values?", "/api/v1/series?match[]=known_sentinel&"])
def test_both_know_the_same_names(real: Node, fake: Node, path: str) -> None:
    """The real one looks at the days of the window, the fake one at all it has."""
    assert_same_samples(real, fake, "known")

    def found(node: Node) -> set[str]:
        status, body = node.ask("GET", f"{path}start={NOW // 1000 - 60}&end={NOW // 1000 + 60}")
        assert status == 200
        return {json.dumps(name) for name in json.loads(body)["data"]}

    deadline = time.monotonic() + VISIBLE_TIMEOUT_S
    while "known_sentinel" not in str(found(real)) and time.monotonic() < deadline:
        time.sleep(POLL_S)  # names can be searched a while after the samples
    assert "known_sentinel" in str(found(real))
    assert found(real) <= found(fake)
