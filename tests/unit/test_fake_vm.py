"""What the fake VictoriaMetrics does besides what tests/integration/test_server_contract.py holds it to.

What v1.150.0 was measured to do and Debian's 1.79.5 does not, faults by script, control from another process.
"""

from __future__ import annotations

import gzip
import http.client
import json
import math
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fake_vm import FakeVm
from tests.fake_vm.imports import MAX_LINE_BYTES, Parsed, parse
from tests.fake_vm.query import evaluate
from tests.fake_vm.script import Script, Step
from tests.fake_vm.selector import QueryError, parse_selector
from tests.fake_vm.store import Store

ROOT = Path(__file__).parents[2]
NOW = 1_795_000_000_000  # a fixed day in November 2026
INF = math.inf


def line(values: str = "[1]", timestamps: str = f"[{NOW}]", metric: str = '{"__name__":"m"}') -> bytes:
    """One JSON line, written as text so that it may be wrong."""
    return f'{{"metric":{metric},"values":{values},"timestamps":{timestamps}}}\n'.encode()


def stored(parsed: Parsed) -> list[float]:
    """Give all values in body order."""
    return [value for row in parsed.lines for value in row.values]


def times(count: int) -> str:
    """`count` timestamps, a millisecond apart."""
    return json.dumps([NOW + i for i in range(count)])


def metric(**labels: str) -> str:
    """The `metric` object of a series named m."""
    return json.dumps({"__name__": "m", **labels})


LINES = [
    # body, values stored, rows invalid, rows ignored by reason
    pytest.param(gzip.compress(line(), mtime=0), [], 1, {}, id="gzip without Content-Encoding"),
    pytest.param(line('[null,1,"NaN","Infinity"]', times(4)), [1, INF], 0, {}, id="null and quoted specials"),
    pytest.param(line('["-Inf","inf","nan"]', times(3)), [-INF, INF], 0, {}, id="quoted specials, short"),
    pytest.param(line("[1,-Infinity]", times(2)), [], 1, {}, id="bare -Infinity drops the line"),
    pytest.param(line(timestamps="[true]"), [], 1, {}, id="a bool timestamp drops the line"),
    pytest.param(line(metric="{}"), [], 1, {}, id="no labels"),
    pytest.param(line(metric='"m"'), [], 1, {}, id="a metric that is no object"),
    pytest.param(b"[1]\n", [], 1, {}, id="a line that is no object"),
    pytest.param(line(timestamps=f"[{NOW // 1000}]"), [], 0, {"small_timestamp": 1}, id="seconds for ms"),
    pytest.param(line(timestamps="[0,-5]"), [], 1, {}, id="two timestamps for one value"),
    pytest.param(
        line("[1,2]", times(2), metric(**{f"l{i}": "x" for i in range(45)})),
        [],
        0,
        {"too_many_labels": 1},
        id="45 labels lose the series, counted once",
    ),
    pytest.param(line(metric=metric(**{"l" * 257: "x"})), [], 0, {"too_long_label_name": 1}, id="long name"),
    pytest.param(line(metric=metric(x="é" * 2049)), [], 0, {"too_long_label_value": 1}, id="long value, in bytes"),
    pytest.param(line(metric='{"lonely":"1"}'), [1], 0, {}, id="no __name__"),
    pytest.param(line(metric='{"__name__":"m","x":"a\tb"}'), [1], 0, {}, id="a control character in a label"),
]


@pytest.mark.parametrize(("body", "values", "invalid", "ignored"), LINES)
def test_a_body_is_stored_or_lost_as_on_the_server(
    body: bytes, values: list[float], invalid: int, ignored: dict[str, int]
) -> None:
    """Every trap of one JSON line, with its counter, and never an error status."""
    parsed = parse(body, "", now_ms=NOW)
    assert (values, invalid, ignored, None) == (
        stored(parsed),
        parsed.rows_invalid,
        dict(parsed.rows_ignored),
        parsed.error,
    )


def test_an_extra_label_overrides() -> None:
    """Also when the line has the label; an empty one is none."""
    (row,) = parse(line(metric=metric(a="1")), "", now_ms=NOW, extra_labels={"a": "2", "b": ""}).lines
    assert dict(row.labels) == {"__name__": "m", "a": "2"}


THREE = b"".join(line(f"[{i}]") for i in range(3))
PACKED = gzip.compress(THREE, mtime=0)
MANY = b"".join(line(f"[{i}]", metric=metric(series=str(i * 7919))) for i in range(5000))
WRONG_CRC = PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:]
BODIES = [
    # body, Content-Encoding, samples stored, whether it is a 400
    pytest.param(PACKED + b"xx", "gzip", 3, False, id="a stub of a member at the end"),
    pytest.param(THREE, "gzip", 0, True, id="plain, said to be gzip"),
    pytest.param(zlib.compress(THREE), "deflate", 3, False, id="deflate"),
    pytest.param(b"", "deflate", 0, True, id="nothing, said to be deflate"),
    pytest.param(zlib.compress(THREE)[:-1] + b"x", "deflate", 3, True, id="deflate, wrong checksum"),
    pytest.param(THREE, "identity", 3, False, id="identity"),
    pytest.param(PACKED, "GZIP", 0, True, id="GZIP"),
    pytest.param(PACKED, "br", 0, True, id="br"),
    pytest.param(PACKED, "zstd", 0, True, id="zstd (not in the standard library)"),
]


@pytest.mark.parametrize(("body", "encoding", "samples", "refused"), BODIES)
def test_an_encoding_is_undone_as_on_the_server(body: bytes, encoding: str, samples: int, refused: bool) -> None:
    """What decoded is stored, whatever the status says."""
    parsed = parse(body, encoding, now_ms=NOW)
    assert (samples, refused) == (parsed.samples, parsed.error is not None)


def test_half_of_a_gzip_body_is_a_204_with_part_of_it_stored() -> None:
    """The prefix that decoded is kept; the line cut in two is one bad line."""
    packed = gzip.compress(MANY, mtime=0)
    parsed = parse(packed[: len(packed) // 2], "gzip", now_ms=NOW)
    assert parsed.error is None
    assert parsed.rows_invalid <= 1
    assert list(range(parsed.samples)) == stored(parsed)
    assert 1000 < parsed.samples < 4000


def test_a_flaw_inside_a_gzip_body_keeps_the_lines_before_it() -> None:
    """And answers 400."""
    packer = zlib.compressobj(wbits=31)
    sound = packer.compress(THREE + b"{half") + packer.flush(zlib.Z_FULL_FLUSH)
    parsed = parse(sound + b"\xff" * 100, "gzip", now_ms=NOW)  # 0xff: a block of no known type
    assert parsed.error is not None
    assert (parsed.samples, parsed.rows_invalid) == (3, 0)


def test_a_line_too_long_ends_the_body() -> None:
    """Lines before it are stored, lines after it are not."""
    long = line(metric=metric(x="x" * MAX_LINE_BYTES))
    parsed = parse(line() + long + line("[2]"), "", now_ms=NOW)
    assert (stored(parsed), parsed.error is not None) == ([1], True)


# --- the server, over a socket ------------------------------------------------------


@dataclass
class Reply:
    """What an HTTP client has to go by."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def vm() -> Iterator[FakeVm]:
    """A running server without faults."""
    with FakeVm() as server:
        yield server


def ask(server: FakeVm, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """One request on a connection of its own."""
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def samples_body(count: int, name: str = "m") -> bytes:
    """`count` samples on one line, recent enough for an instant query."""
    now_ms = int(time.time() * 1000)
    row = {"metric": {"__name__": name}, "values": [*range(count)], "timestamps": [now_ms - i for i in range(count)]}
    return json.dumps(row).encode()


def send(server: FakeVm, count: int = 4, name: str = "m") -> int:
    """Import samples and give the status."""
    return ask(server, "POST", "/api/v1/import", samples_body(count, name)).status


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/import",
        "/prometheus/api/v1/import",
        "/insert/0/prometheus/api/v1/import",
        "/insert/3:7/prometheus/api/v1/import?extra_label=a=b",
    ],
)
def test_every_form_of_the_path_takes_samples(vm: FakeVm, path: str) -> None:
    """Single node, its alias, and vminsert's."""
    assert ask(vm, "POST", path, samples_body(2)).status == 204
    assert len(vm.samples()) == 2


@pytest.mark.parametrize("path", ["/api/v1/import/", "/api/v1/nothing", "/insert/0/api/v1/import"])
def test_a_wrong_path_is_a_400(vm: FakeVm, path: str) -> None:
    """With the server's own words, and nothing stored."""
    reply = ask(vm, "POST", path, samples_body(2))
    assert reply.status == 400
    assert b"unsupported path requested" in reply.body
    assert vm.samples() == []


def test_a_bad_extra_label_is_a_400(vm: FakeVm) -> None:
    """And nothing is stored."""
    assert ask(vm, "POST", "/api/v1/import?extra_label=a", samples_body(2)).status == 400
    assert vm.samples() == []


def test_repeats_are_counted_and_the_largest_value_is_visible(vm: FakeVm) -> None:
    """5, then 3, then -9 at one millisecond: visible is 5, received three times."""
    for value in (5, 3, -9):
        ask(vm, "POST", "/api/v1/import", line(f"[{value}]"))
    (sample,) = vm.samples()
    assert (
        sample.name,
        sample.labels,
        sample.timestamp_ms,
        sample.value,
        sample.received_count,
    ) == ("m", {}, NOW, 5, 3)


def test_a_chunked_body_is_read(vm: FakeVm) -> None:
    """http.client sends an iterator without a length in chunks."""
    body = samples_body(3)
    assert ask(vm, "POST", "/api/v1/import", iter([body[:10], body[10:]])).status == 204
    assert (3, len(body)) == (len(vm.samples()), vm.requests()[0].body_bytes)


def test_what_arrived_of_an_aborted_upload_is_stored(vm: FakeVm) -> None:
    """The client will send it again: repeats are normal."""
    host, port = vm.url.removeprefix("http://").split(":")
    whole = samples_body(2) + b"\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n" + whole + b"{half")
    vm.wait_for(lambda v: len(v.requests()) == 1)
    assert (len(vm.samples()), vm.rows_invalid) == (2, 1)


STEPS: list[Any] = [
    # step, status answered (0: none), samples of 4 stored
    pytest.param({"status": 503, "headers": {"Retry-After": "2"}}, 503, 0, id="status"),
    pytest.param({"status": 200, "json": {"received": 2}, "accept": 2}, 200, 2, id="accept"),
    pytest.param({"status": 500, "accept": 3}, 500, 3, id="stored in part, then an error"),
    pytest.param({"delay_s": 0.01}, 204, 4, id="delay"),
    pytest.param({"reset": "before"}, 0, 0, id="reset before"),
    pytest.param({"reset": "mid_body"}, 0, 0, id="reset in the middle of a line"),
    pytest.param({"drop": "after_store"}, 0, 4, id="drop"),
    pytest.param({"swallow": True}, 204, 0, id="swallow"),
    pytest.param({"html": True}, 200, 0, id="captive portal"),
    pytest.param({"redirect": "http://127.0.0.1:9/"}, 302, 0, id="redirect"),
    pytest.param({"hang_s": 0.01}, 0, 0, id="hang"),
]


@pytest.mark.parametrize(("step", "status", "count"), STEPS)
def test_a_step_applies_once_and_then_all_is_well(vm: FakeVm, step: dict[str, Any], status: int, count: int) -> None:
    """The record says what was answered and stored; the next request is served."""
    vm.script([step])
    if status:
        assert status == send(vm)
    else:
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            send(vm)
    vm.wait_for(lambda v: len(v.requests()) == 1)
    assert (status, count) == (vm.requests()[0].status, vm.requests()[0].stored)
    assert count == len(vm.samples())
    assert send(vm, name="next") == 204


def test_a_step_shows_on_the_wire(vm: FakeVm) -> None:
    """Headers, JSON, page and location are those of the script."""
    vm.script(
        [{"status": 429, "headers": {"Retry-After": "2"}}, {"json": {"received": 1}}, {"html": True}, {"redirect": "u"}]
    )
    limited, partial, portal, moved = (ask(vm, "POST", "/api/v1/import", samples_body(1)) for _ in range(4))
    assert limited.headers["Retry-After"] == "2"
    assert (partial.status, json.loads(partial.body)) == (200, {"received": 1})
    assert portal.headers["Content-Type"].startswith("text/html")
    assert moved.headers["Location"] == "u"


def test_a_reset_is_a_reset(vm: FakeVm) -> None:
    """RST, not FIN; of half a body the whole lines are stored."""
    vm.script([{"reset": "before"}, {"reset": "mid_body"}])
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            ask(vm, "POST", "/api/v1/import", samples_body(1, "a") + b"\n" + samples_body(200, "b"))
    vm.wait_for(lambda v: len(v.requests()) == 2)
    assert [sample.name for sample in vm.samples()] == ["a"]


def test_steps_repeat_and_end() -> None:
    """Twice, then for ever; loading replaces the rest."""
    script = Script()
    assert script.next_step() is None
    script.load([Step(status=500, repeat=2), Step(status=503, repeat=-1)])
    assert [step.status for step in (script.next_step() for _ in range(5)) if step] == [500, 500, 503, 503, 503]
    assert script.steps_left == 1
    script.load([])
    assert script.next_step() is None


@pytest.mark.parametrize(
    "raw",
    [{"statis": 503}, {"status": "503"}, {"status": True}, {"reset": "after"}, {"repeat": 0}, {"repeat": -2}, [], 5],
)
def test_a_wrong_step_is_refused(raw: object) -> None:
    """A typo in a test must not pass for a fault that did no harm."""
    with pytest.raises(ValueError, match=r"unknown key|is not of type|none of|neither|a step is"):
        Step.from_json(raw)


def test_a_skewed_clock_shows_in_every_date(vm: FakeVm) -> None:
    """An hour ahead, to the second of the header; the host is named."""
    vm.set_state(date_skew_s=3600)
    for path in ("/health", "/api/v1/import", "/nothing"):
        headers = ask(vm, "GET", path).headers
        ahead_s = time.mktime(time.strptime(headers["Date"], "%a, %d %b %Y %H:%M:%S %Z")) - time.mktime(time.gmtime())
        assert 3598 <= ahead_s <= 3601
        assert headers["X-Server-Hostname"]


def test_down_is_down_until_it_is_not(vm: FakeVm) -> None:
    """Health and imports alike; the script waits meanwhile."""
    vm.script([{"status": 500}])
    vm.set_state(down=503)
    assert (send(vm), ask(vm, "GET", "/health").status) == (503, 503)
    vm.set_state(down=None)
    assert (ask(vm, "GET", "/health").status, send(vm), send(vm)) == (200, 500, 204)


def test_one_poisoned_series_refuses_the_whole_body(vm: FakeVm) -> None:
    """The pattern is of a whole name; nothing of the body is stored."""
    vm.set_state(poison="bad_.*")
    assert (send(vm, name="bad_1"), send(vm, name="not_bad_1")) == (400, 204)
    assert ask(vm, "POST", "/api/v1/import", samples_body(1, "good") + b"\n" + samples_body(1, "bad_2")).status == 400
    assert {"not_bad_1"} == {sample.name for sample in vm.samples()}


def test_a_crash_forgets_and_shows_as_a_restart(vm: FakeVm) -> None:
    """All samples, or those of the last seconds; the start timestamp changes."""
    send(vm)
    before = vm.start_timestamp
    vm.forget(last_s=0)
    assert (len(vm.samples()), vm.start_timestamp > before) == (4, True)
    vm.set_state(forget=True)
    assert vm.samples() == []
    metrics = ask(vm, "GET", "/metrics").body.decode()
    assert f"vm_app_start_timestamp {vm.start_timestamp}\n" in metrics


def test_counters_and_version_are_on_the_metrics_page(vm: FakeVm) -> None:
    """Under the server's own names."""
    ask(vm, "POST", "/api/v1/import", b"broken\n" + line(timestamps="[1]"))
    page = ask(vm, "GET", "/metrics").body.decode()
    for expected in (
        'vm_rows_invalid_total{type="vmimport"} 1\n',
        'vm_rows_ignored_total{reason="small_timestamp"} 1\n',
        'short_version="v1.150.0"} 1\n',
    ):
        assert expected in page


def test_a_token_guards_imports_and_queries_and_is_not_recorded() -> None:
    """Health and metrics stay open."""
    with FakeVm(token="secret") as vm:
        good = {"Authorization": "Bearer secret", "X-Device-ID": "d1"}
        statuses = [ask(vm, "POST", "/api/v1/import", samples_body(1), headers).status for headers in ({}, good)]
        assert statuses == [401, 204]
        assert [ask(vm, "GET", "/api/v1/query?query=m", None, h).status for h in ({}, good)] == [401, 200]
        assert [ask(vm, "GET", path).status for path in ("/health", "/metrics")] == [200, 200]
        (refused, taken) = vm.requests()
        assert (refused.stored, taken.stored) == (0, 1)
        assert (taken.headers["authorization"], taken.headers["x-device-id"]) == ("Bearer", "d1")
        assert "secret" not in repr(vm.requests())


def test_a_connection_is_kept_and_an_idle_one_closed() -> None:
    """Two requests share a connection; then the server hangs up first."""
    with FakeVm(idle_timeout_s=0.2) as vm:
        connection = http.client.HTTPConnection(vm.url.removeprefix("http://"), timeout=30)
        for _ in range(2):
            connection.request("POST", "/api/v1/import", samples_body(1))
            response = connection.getresponse()
            assert (response.status, response.read()) == (204, b"")
        assert connection.sock.recv(1) == b""
        connection.close()
        assert len({request.connection for request in vm.requests()}) == 1


def test_wire_bytes_are_what_the_client_sent(vm: FakeVm) -> None:
    """Request line, headers and body."""
    host, port = vm.url.removeprefix("http://").split(":")
    request = b"POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(request)
        assert client.recv(100).startswith(b"HTTP/1.1 204")
    assert [len(request)] == [r.wire_bytes for r in vm.requests()]


def test_a_stopped_server_comes_back_on_its_port_with_its_samples() -> None:
    """Connections break at once; a request under way is neither stored nor answered."""
    with FakeVm() as vm:
        send(vm)
        url = vm.url
        vm.script([{"delay_s": 60}])
        late = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        late.request("POST", "/api/v1/import", samples_body(9, "late"))
        while vm.steps_left:
            time.sleep(0.001)
        vm.stop()
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            late.getresponse()
        vm.wait_for(lambda v: [request.status for request in v.requests()] == [204, 0])
        late.close()
        with pytest.raises(OSError, match="refused"):
            send(vm)
        vm.start()
        assert (url, 204, 4) == (vm.url, send(vm, 0), len(vm.samples()))


def test_the_control_paths_mirror_the_methods(vm: FakeVm) -> None:
    """A test in another process can do all of it."""

    def control(method: str, name: str, body: object = None) -> Any:
        reply = ask(vm, method, f"/_fake/{name}", json.dumps(body))
        return reply.status, reply.body

    assert control("POST", "script", [{"accept": 1}])[0] == 200
    assert json.loads(control("GET", "state")[1])["steps_left"] == 1
    send(vm)
    (sample,) = control("GET", "samples")[1].splitlines()
    assert (json.loads(sample)["name"], json.loads(sample)["received_count"]) == ("m", 1)
    assert [(r["status"], r["samples"], r["stored"]) for r in json.loads(control("GET", "requests")[1])] == [
        (204, 4, 1)
    ]
    assert control("POST", "state", {"down": 502})[0] == 200
    assert send(vm) == 502
    assert control("POST", "reset")[0] == 200
    assert (send(vm), len(vm.samples()), len(vm.requests())) == (204, 4, 1)
    for name, body in (("script", {}), ("script", [{"x": 1}]), ("state", {"x": 1}), ("state", {"poison": "("})):
        assert control("POST", name, body)[0] == 400


# --- queries ------------------------------------------------------------------------


@pytest.fixture
def store() -> Store:
    """Three samples of a{device=x} and b{device=x} a second apart, one of c{device=y}."""
    store = Store()
    body = b"".join(
        line(json.dumps([1, 2, 3][:n]), json.dumps([NOW, NOW + 1000, NOW + 2000][:n]), json.dumps(labels))
        for n, labels in (
            (3, {"__name__": "a", "device": "x"}),
            (3, {"__name__": "b", "device": "x"}),
            (1, {"__name__": "c", "device": "y"}),
        )
    )
    for received_s in (1.0, 2.0):  # twice: queries see each sample once
        store.add(parse(body, "", now_ms=NOW).lines, received_s)
    return store


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rate(a[1m])", "supported: selector"),
        ("a[1m]", "supported: selector"),
        ("sum(a) + 1", "unexpected text"),
        ("count_over_time(a)", "want '\\['"),
        ("{}", "cannot be empty"),
        ('a{device=~"("}', "cannot parse regexp"),
        ('count_over_time({device="x"}[1m])', "duplicate output timeseries"),
    ],
)
def test_a_query_outside_the_grammar_is_refused(store: Store, text: str, complaint: str) -> None:
    """With a reason, never with a wrong number."""
    with pytest.raises(QueryError, match=complaint):
        evaluate(text, store, NOW)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("a", "a"),
        ("a{}", "a"),
        ('{device="x",}', "ab"),
        ('{device!="x"}', "c"),
        ('{__name__=~"a|c"}', "ac"),
        ('{nothing=""}', "abc"),
        ("{device=~`[xy]`, __name__!~'a|b'}", "c"),
    ],
)
def test_a_selector_matches_whole_values(store: Store, selector: str, names: str) -> None:
    """All four operators, all three quotes."""
    assert list(names) == [s.labels["__name__"] for s in store.select(parse_selector(selector).matches)]


def test_the_query_paths_answer_over_http(vm: FakeVm) -> None:
    """Export, series, names and query, by GET and by POST; mistakes are 400 and 422."""
    body = b'{"metric":{"__name__":"m","a":"b"},"values":[1.5,Inf],"timestamps":[%d,%d]}' % (NOW, NOW - 1000)
    ask(vm, "POST", "/api/v1/import", body)
    form = f"match[]=m&end={NOW / 1000 + 1}"
    exported = {"metric": {"__name__": "m", "a": "b"}, "values": ["Infinity", 1.5], "timestamps": [NOW - 1000, NOW]}
    assert exported == json.loads(ask(vm, "GET", f"/select/0/prometheus/api/v1/export?{form}").body)
    assert exported == json.loads(ask(vm, "POST", "/api/v1/export", form).body)
    assert ask(vm, "GET", f"/api/v1/export?match[]=m&start={NOW / 1000 + 1}&end=2100-01-01T00:00:00Z").body == b""
    assert [exported["metric"]] == json.loads(ask(vm, "GET", "/api/v1/series?match[]=m").body)["data"]
    assert json.loads(ask(vm, "GET", "/api/v1/label/__name__/values").body)["data"] == ["m"]
    result = json.loads(ask(vm, "POST", "/api/v1/query", f"query=m&time={NOW / 1000}").body)["data"]["result"]
    assert [{"metric": exported["metric"], "value": [NOW / 1000, "1.5"]}] == result
    assert [ask(vm, "GET", f"/api/v1/{x}").status for x in ("export", "series", "query?query=m[")] == [400, 422, 422]


# --- the program --------------------------------------------------------------------


@pytest.fixture
def run() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start the program; return it and its URL."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "tests.fake_vm", "--port", "0", *flags]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())["url"]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_program_keeps_its_samples_over_a_kill(
    run: Callable[..., tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    """Whole lines of the file come back, a line cut short does not, and the next is sound."""
    data = tmp_path / "samples.jsonl"
    body = b'{"metric":{"__name__":"m","a":"b"},"values":[1,Inf],"timestamps":[%d,%d]}' % (NOW, NOW + 1)
    process, url = run("--data", str(data))
    host = url.removeprefix("http://")

    def post(path: str, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("POST" if body else "GET", path, body)
        found = connection.getresponse().read()
        connection.close()
        return found

    post("/api/v1/import", body)
    process.kill()
    process.wait()
    data.write_bytes(b"not json\n" + data.read_bytes() + b'{"name":"cut')
    process, url = run("--data", str(data))
    host = url.removeprefix("http://")
    post("/api/v1/import", body)
    rows = [json.loads(row) for row in post("/_fake/samples", b"").splitlines()]
    assert [(r["name"], r["labels"], r["timestamp_ms"], r["value"], r["received_count"]) for r in rows] == [
        ("m", {"a": "b"}, NOW, 1, 2),
        ("m", {"a": "b"}, NOW + 1, INF, 2),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_ends_at_once_though_a_request_hangs(
    run: Callable[..., tuple[subprocess.Popen[str], str]], number: signal.Signals
) -> None:
    """Exit status 0, and not only when the minute of the request is over."""
    process, url = run()
    host = url.removeprefix("http://")
    control = http.client.HTTPConnection(host, timeout=30)
    control.request("POST", "/_fake/script", json.dumps([{"hang_s": 60}]))
    control.getresponse().read()
    hanging = http.client.HTTPConnection(host, timeout=30)
    hanging.request("POST", "/api/v1/import", samples_body(1))
    requests: list[Any] = []
    while not requests:  # it is recorded before it hangs
        control.request("GET", "/_fake/requests")
        requests = json.loads(control.getresponse().read())
    process.send_signal(number)
    assert process.wait(30) == 0
    hanging.close()
    control.close()
