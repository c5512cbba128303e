"""A process's events on their way: published at once, redacted, logged, held back and counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from common import publisher as publishing
from common.events import BURST, Event
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.reporter import Reporter
from tests.unit.common.peers import RawBuffer, serve

FAILED = "collector_failed"


def test_an_event_is_published_at_once_and_without_its_secrets(
    run_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An urgent batch of one sample, a log line of the same words; a password in an address is in neither."""
    monkeypatch.setattr(publishing, "EXIT_WAIT_S", 0)
    caplog.set_level(logging.INFO)
    instruments, log = Instruments(), Log("test")
    publisher = Publisher("p", run_dir, instruments, log, 1000)
    reporter = Reporter("p", publisher, log, instruments)
    with RawBuffer(run_dir) as buffer:
        reporter.report(Event(FAILED, "GET http://user:secret@host failed", "usb0"))
        serve(publisher, "the event", lambda: buffer.take() == 1)
    publisher.close()
    (batch,) = buffer.batches
    (sample,) = batch.samples
    assert batch.urgent
    assert ("event", "usb0") == (sample.name, sample.tags["subject"])
    assert "secret" not in str(sample.value) + caplog.text
    assert "GET http://" in caplog.text


def test_what_is_held_back_is_counted_and_comes_at_the_end(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that happened is without a trace."""
    monkeypatch.setattr(publishing, "EXIT_WAIT_S", 0)
    instruments, log = Instruments(), Log("test")
    publisher = Publisher("p", run_dir, instruments, log, 1000)
    reporter = Reporter("p", publisher, log, instruments)
    with RawBuffer(run_dir) as buffer:
        for number in range(BURST + 2):
            reporter.report(Event(FAILED, str(number)))
        reporter.tick()
        serve(publisher, "the burst", lambda: buffer.take() == BURST)
        reporter.close()
        serve(publisher, "the rest", lambda: buffer.take() == BURST + 1)
    publisher.close()
    assert f"{BURST + 1} (1 more like this before)" == buffer.batches[-1].samples[0].value
    assert 2 == instruments.counter("events.held_back_total", kind=FAILED, source="p")
