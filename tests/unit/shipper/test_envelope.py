"""The body and the answers of the second kind of server, `remote.type: json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from shipper.envelope import body, upload_url
from tests.http_server import serving
from tests.unit.shipper.running import Start
from tests.unit.shipper.stub import NOW_MS, Row, lease_of, rows

Answers = Callable[[dict[str, Any]], "tuple[int, dict[str, Any]]"]


class Receiver:
    """What came, and what is answered.

    Attributes:
        paths, received: of all requests.
        answer: what to say to an envelope; None takes all of it.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.received: list[dict[str, Any]] = []
        self.answer: Answers | None = None
        self.url = ""

    @property
    def values(self) -> list[float]:
        """The values of all metrics, in order."""
        return [metric["value"] for document in self.received for metric in document["metrics"]]

    def take(self, path: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Take an envelope; return status and answer."""
        self.paths.append(path)
        count = len(document["metrics"])
        status, found = self.answer(document) if self.answer else (200, {"success": True, "received": count})
        if status == 200:
            taken = document["metrics"][: found.get("received", 0)]
            self.received.append({**document, "metrics": taken})
        return status, {**found, "checkpoint": 1234567890123}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a receiver on loopback."""
    taken = Receiver()

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Take it."""
            text = self.rfile.read(int(self.headers["Content-Length"]))
            status, document = taken.take(self.path, json.loads(text))
            answer = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Handler) as port:
        taken.url = f"http://127.0.0.1:{port}/api/v1"
        yield taken


def keys(receiver: Receiver) -> dict[str, str]:
    """Return the configuration."""
    return {"remote__type": "json", "remote__url": receiver.url, "remote__compression": "false"}


def test_an_envelope_has_the_documents_form() -> None:
    """Dotted names, labels as tags, times in RFC 3339 with milliseconds, in the order of the lease."""
    samples = [Row("cpu.usage", 1_760_193_000_123, 45.2, {"core": "0"}), Row("srt.rtt", 1_760_193_000_456, 125, {})]
    assert {
        "session_id": None,
        "device_id": "box",
        "timestamp": "2025-10-11T14:30:00.456Z",
        "metrics": [
            {"name": "cpu.usage", "value": 45.2, "tags": {"core": "0"}, "timestamp": "2025-10-11T14:30:00.123Z"},
            {"name": "srt.rtt", "value": 125, "tags": {}, "timestamp": "2025-10-11T14:30:00.456Z"},
        ],
    } == json.loads(body(lease_of(samples), 0, 2))


def test_a_part_of_a_lease_is_a_part_of_its_samples() -> None:
    """And none of them is an envelope without metrics."""
    lease = lease_of([Row("m", NOW_MS + n, n, {"slot": str(n % 2)}) for n in range(10)])
    assert [4, 6, 8, 1] == [metric["value"] for metric in json.loads(body(lease, 2, 6))["metrics"]]
    assert [] == json.loads(body(lease, 0, 0))["metrics"]


@pytest.mark.parametrize(
    "url",
    ["https://host/api/v1", "https://host/api/v1/", "https://host/api/v1/metrics", "https://host/api/v1/metrics/"],
)
def test_bodies_go_to_the_metrics_below_the_url(url: str) -> None:
    """As the documents write it, or in full."""
    assert "https://host/api/v1/metrics" == upload_url(url)
    assert "https://host/api/v1/metrics?key=a/b" == upload_url(f"{url}?key=a/b")


def test_samples_arrive_and_are_marked(receiver: Receiver, start: Start) -> None:
    """Each once, by the count in the answer."""
    running = start(rows(120), **keys(receiver))
    running.until("all of them", lambda: len(running.stub.uploaded) == 120)
    assert list(range(120)) == receiver.values
    assert {"/api/v1/metrics"} == set(receiver.paths)
    assert receiver.url + "/metrics" == running.status["endpoint"]


def test_a_part_that_was_received_is_marked_and_the_rest_is_sent_again(receiver: Receiver, start: Start) -> None:
    """Exactly the first ones."""
    receiver.answer = lambda document: (200, {"success": True, "received": min(20, len(document["metrics"]))})
    running = start(rows(50), **keys(receiver))
    running.until("all of them", lambda: len(running.stub.uploaded) == 50)
    assert [20, 20, 10] == [len(marked) for marked, _, _ in running.stub.done]
    assert list(range(50)) == receiver.values


@pytest.mark.parametrize(
    ("status", "answer"), [(200, {}), (200, {"success": False, "received": 5}), (200, {"received": 99}), (503, {})]
)
def test_an_answer_without_a_count_that_fits_is_no_delivery(
    receiver: Receiver, start: Start, status: int, answer: dict[str, Any]
) -> None:
    """It is tried again until there is one."""
    receiver.answer = lambda _: (status, answer)
    running = start(rows(5), **keys(receiver))
    running.until("two attempts", lambda: running.status["upload_failures"] >= 2)
    assert [] == running.stub.uploaded
    receiver.answer = None
    running.until("all of them", lambda: len(running.stub.uploaded) == 5)


def test_a_sample_that_the_receiver_refuses_is_found_and_quarantined(
    receiver: Receiver, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything around it arrives."""

    def answer(document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        bad = any(metric["name"] == "poison" for metric in document["metrics"])
        count = len(document["metrics"])
        return (400, {"success": False, "error": "bad metric"}) if bad else (200, {"success": True, "received": count})

    monkeypatch.setattr("shipper.upload.SECOND_TRIAL_S", 0.2)
    receiver.answer = answer
    running = start([*rows(10), *rows(1, "poison", first=10), *rows(10, first=11)], **keys(receiver))
    running.until("all of them", lambda: len(running.stub.uploaded) == 20 and running.stub.rejected)
    assert [([10], "http_400")] == running.stub.rejected
