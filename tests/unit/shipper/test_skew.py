"""The local clock against the server's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.service import Service
from common.status import ShipperStatus
from shipper.http.answer import Answer
from shipper.http.client import HttpClient
from shipper.http.transport import Transport, TransportError
from shipper.report import Report
from shipper.skew import ClockCheck, Skew, compare, measure
from shipper.urls import health_url
from tests.fake_vm import FakeVm

DATE_S = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
DATE = {"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "X-Server-Hostname": "vm-1"}


@pytest.mark.parametrize(
    ("remote_url", "expected"),
    [
        ("http://vm:8428/api/v1/import", "http://vm:8428/health"),
        ("https://vm.example.com/api/v1/import?extra_label=a=b", "https://vm.example.com/health"),
        ("http://vminsert:8480/insert/0/prometheus/api/v1/import", "http://vminsert:8480/health"),
        (
            "https://proxy.example.com/metrics/insert/0:1/prometheus/api/v1/import",
            "https://proxy.example.com/metrics/health",
        ),
        ("https://proxy.example.com/vm/api/v1/import/", "https://proxy.example.com/vm/health"),
        ("http://[::1]:8428/write", "http://[::1]:8428/health"),
        ("http://vm:8428", "http://vm:8428/health"),
    ],
)
def test_the_servers_health_is_beside_its_import(remote_url: str, expected: str) -> None:
    """Single node, cluster, and both behind a prefix."""
    assert expected == health_url(remote_url)


@pytest.mark.parametrize(
    ("began_s", "duration_s", "expected_ms"),
    [(DATE_S + 0.5, 0.0, 0), (DATE_S + 2.5, 1.0, 2500), (DATE_S - 3.0, 0.2, -3400), (DATE_S + 0.4, 0.2, 0)],
)
def test_skew_is_positive_when_the_local_clock_is_ahead(began_s: float, duration_s: float, expected_ms: int) -> None:
    """Halfway through the exchange, against the middle of the second that the header names."""
    expected = Skew(expected_ms, "vm-1", duration_s)
    assert expected == compare(Answer(200, DATE, b"OK", duration_s), began_s)


def test_what_a_cache_has_kept_is_older_than_its_date() -> None:
    """An hour-old answer with Age: 3600 is an answer of now."""
    skew = compare(Answer(200, {**DATE, "Age": "3600"}), DATE_S + 3600.5)
    assert skew is not None
    assert 0 == skew.ms


def test_any_answer_of_the_server_will_do() -> None:
    """A health page that wants a token has a date all the same."""
    assert compare(Answer(401, DATE), DATE_S) is not None


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {}),
        Answer(200, {"Date": "today"}),
        Answer(200, {"Date": "Sat, 99 Foo 99999 99:99:99 GMT"}),
    ],
)
def test_an_answer_without_a_date_shows_nothing(answer: Answer) -> None:
    """No clock is compared."""
    assert compare(answer, DATE_S) is None


def test_a_real_server_is_compared(vm: FakeVm, open_client: Callable[..., HttpClient]) -> None:
    """A server an hour ahead: the local clock is behind."""
    vm.set_state(date_skew_s=3600)
    assert measure(open_client(), health_url(vm.import_url)).ms == pytest.approx(-3_600_000, abs=600)


def test_a_slow_round_trip_is_measured_again(
    open_client: Callable[..., HttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one may have made the connection; the shorter one is the better one."""
    durations = [2.0, 0.1]
    monkeypatch.setattr(Transport, "get", lambda *_, **__: Answer(200, DATE, b"OK", durations.pop(0)))
    assert measure(open_client(), "http://vm/health").duration_s == 0.1
    assert [] == durations


def test_no_date_is_no_measurement(open_client: Callable[..., HttpClient], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what came instead."""
    monkeypatch.setattr(Transport, "get", lambda *_, **__: Answer(302, DATE))
    with pytest.raises(TransportError, match="redirect"):
        measure(open_client(), "http://vm/health")


def skew_of(process: Service) -> float | None:
    """Return what `/health` shows."""
    assert isinstance(process.status, ShipperStatus)
    return process.status.skew_ms


def checked(process: Service, client: HttpClient, remote_url: str) -> ClockCheck:
    """Return a check that has compared once."""
    check = ClockCheck(process.config.settings.monitoring, remote_url, client, Report(process))
    check.compare()
    return check


def test_a_skew_is_reported(
    vm: FakeVm, start_process: Callable[..., Service], open_client: Callable[..., HttpClient]
) -> None:
    """In the status, as a gauge and, being large, as a warning that names both URLs and the server."""
    vm.set_state(date_skew_s=-10)
    process = start_process()
    checked(process, open_client(), vm.import_url)
    assert skew_of(process) == pytest.approx(10_000, abs=600)
    readings: dict[str, Any] = {name: value for _, name, _, value in process.instruments.readings()}
    assert readings["time.skew_ms"] == skew_of(process)
    log = (process.run_dir / "log").read_text()
    for word in (
        "WARNING",
        "large clock skew",
        '"event": "clock_skewed"',
        f"{vm.url}/health",
        vm.import_url,
        '"server": "',
    ):
        assert word in log


def test_a_small_skew_is_no_warning(
    vm: FakeVm, start_process: Callable[..., Service], open_client: Callable[..., HttpClient]
) -> None:
    """But it is written down."""
    process = start_process()
    checked(process, open_client(), vm.import_url)
    log = (process.run_dir / "log").read_text()
    assert "clock skew measured" in log
    assert "WARNING" not in log


def test_a_clock_that_cannot_be_asked_is_a_log_line(
    vm: FakeVm, start_process: Callable[..., Service], open_client: Callable[..., HttpClient]
) -> None:
    """Once, without the query, and what was known stays known."""
    process = start_process()
    client = open_client()
    check = checked(process, client, vm.import_url)
    known = skew_of(process)
    vm.stop()
    client.transport.close()
    assert [False, False] == [check.compare(), check.compare()]
    vm.start()
    log = (process.run_dir / "log").read_text()
    assert log.count("clock skew not measured") == 1
    assert known == skew_of(process)
    assert check.compare()
