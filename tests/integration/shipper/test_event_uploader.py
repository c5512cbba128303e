"""Events in words on their way to a server for logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.log_server import LogServer
from tests.unit.shipper.running import Running, Start, reload
from tests.unit.shipper.stub import rows

AT_MS = 1_764_000_000_123


def events(count: int) -> list[list[Any]]:
    """Return rows as the buffer gives them; each third is of a stream."""
    return [
        [n, AT_MS + n, "link_down", "warning", "network", f"link {n} is gone", "a-b-c" if n % 3 == 0 else None]
        for n in range(1, count + 1)
    ]


def with_token(run_dir: Path) -> dict[str, str]:
    """Return the keys of a token, which is in a file."""
    token = run_dir / "token"
    token.write_text("sesame-5", encoding="ascii")
    token.chmod(0o600)
    return {"remote__auth__type": "bearer_token", "remote__auth__token_file": str(token)}


def begun(start: Start, count: int, **keys: str) -> Running:
    """Start a shipper whose buffer has events, and one sample that goes first."""
    running = start(rows(1), **keys)
    running.stub.events = events(count)
    return running


def test_every_event_arrives_in_order(start: Start, logs: LogServer) -> None:
    """In the fields that VictoriaLogs looks for; the buffer knows how far it went."""
    running = begun(start, 5, remote__events__url=logs.url)
    running.until("all of them", lambda: running.stub.events_sent == 5)
    assert [f"link {n} is gone" for n in range(1, 6)] == [line["_msg"] for line in logs.lines]
    assert {
        "_time": "2025-11-24T16:00:00.126+00:00", "_msg": "link 3 is gone", "device_id": "belabox-001",
        "kind": "link_down", "severity": "warning", "source": "network", "session_id": "a-b-c",
    } == {**logs.lines[2], "device_id": "belabox-001"}  # fmt: skip
    assert "session_id" not in logs.lines[0]
    assert {"/insert/jsonline?_stream_fields=device_id,source"} == set(logs.paths)
    assert 5 == running.counter("events_sent")


def test_without_an_address_they_stay(start: Start) -> None:
    """Nobody is asked for them."""
    running = begun(start, 5)
    running.until("the sample", lambda: running.stub.uploaded)
    running.for_a_while(0.3)
    assert "events" not in running.stub.asked


def test_a_server_in_trouble_gets_them_later(start: Start, logs: LogServer) -> None:
    """Each once, as far as it says; samples do not wait for it."""
    logs.statuses = [503, 400, 500]
    running = begun(start, 3, remote__events__url=logs.url)
    running.until("all of them", lambda: running.stub.events_sent == 3)
    assert [1, 2, 3] == [int(line["_msg"].split()[1]) for line in logs.lines]
    assert (1, 1, 1) == tuple(running.counter("event_failures", reason=f"http_{code}") for code in (503, 400, 500))
    assert [0] == running.stub.uploaded


def test_a_server_that_is_away_costs_the_samples_nothing(start: Start) -> None:
    """They go on, and the log says why events do not."""
    keys = {"remote__events__url": "http://127.0.0.1:9/insert/jsonline", "remote__priority__normal": "1s"}
    running = begun(start, 3, **keys)
    running.until("a failure", lambda: running.counter("event_failures", reason="connection"))
    running.stub.pending += rows(3, first=10)
    running.until("samples", lambda: len(running.stub.uploaded) == 4)
    assert running.log("events not sent")[0]["endpoint"] == "http://127.0.0.1:9/insert/jsonline"


def test_the_token_is_for_its_own_server(start: Start, logs: LogServer, run_dir: Path) -> None:
    """Another host does not get it, and a query of the operator's own is left as it is."""
    running = begun(start, 1, remote__events__url=f"{logs.url}?_stream_fields=kind", **with_token(run_dir))
    running.until("it", lambda: running.stub.events_sent)
    assert {"/insert/jsonline?_stream_fields=kind"} == set(logs.paths)
    assert [headers for headers in logs.headers if "Authorization" in headers] == []


def test_the_same_server_gets_the_token(start: Start, logs: LogServer, run_dir: Path) -> None:
    """Behind one vmauth, say."""
    url = logs.url.replace("/insert/jsonline", "/api/v1/import")
    running = begun(start, 1, remote__url=url, remote__events__url=logs.url, **with_token(run_dir))
    running.until("it", lambda: running.stub.events_sent)
    assert "Bearer sesame-5" == logs.headers[-1]["Authorization"]


def test_a_reload_turns_it_on(start: Start, logs: LogServer, environment: Callable[..., None]) -> None:
    """And off again."""
    running = begun(start, 1)
    running.until("the sample", lambda: running.stub.uploaded)
    reload(running, environment, remote__events__url=logs.url)
    running.until("it", lambda: running.stub.events_sent)
    reload(running, environment, remote__events__url="")
    running.stub.events = events(9)
    running.for_a_while(0.3)
    assert 1 == len(logs.lines)
