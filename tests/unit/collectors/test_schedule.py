"""The sources of a collector: what they yield is published, what they wait for wakes them, what fails is an event."""

from __future__ import annotations

import argparse
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zmq

from collectors.host import Host
from collectors.schedule import LINE_EVERY_S, SourceSchedule
from collectors.source import Source
from common import publisher, running_session, wire
from common.activity import Activity, noted
from common.events import Event
from common.sample import Sample
from common.service import EXIT_OFF, Service
from tests.harness import wait_for
from tests.unit.common.peers import RawBuffer


@dataclass(frozen=True)
class Config:
    """A collector's section."""

    enabled: bool = True
    interval_s: float = 60.0
    watch_interval_s: float = 60.0


ON = Config()


@dataclass(frozen=True)
class OffByDefault(Config):
    """A collector's section that somebody has to enable."""

    enabled: bool = False


@dataclass
class State:
    """What a collector of a test is told to do, and what it heard."""

    descriptors: list[Any] = field(default_factory=list)
    error: str = ""
    rest_s: float | None = None
    heard: list[Any] = field(default_factory=list)
    during: Callable[[], object] = list


class Rig:
    """A schedule of sources, each made of its state; its loop is turned by the test."""

    def __init__(self, run_dir: Path, *functions: str, config: Config, names: Sequence[str]) -> None:
        self.service = Service("probe", argparse.Namespace(config=None))
        self.states = {name: State() for name in names}
        self.state = self.states[names[0]]
        self.activity = Activity(run_dir, "probe")
        published = self.service.publishes(names)
        sources = [Source(name, self._module(name, functions), Host(run_dir), config) for name in names]
        self.schedule = SourceSchedule(self.service, published, self.activity, sources)
        self.scheduled = self.schedule.scheduled
        self.buffer = RawBuffer(run_dir)

    def _module(self, name: str, functions: Sequence[str]) -> ModuleType:
        module = ModuleType(name)
        everything = {"collect": self._collect, "watch": self._watch, "hear": self._hear}
        vars(module).update({name: everything[name] for name in ("collect", *functions)})
        vars(module).update(State=lambda: self.states[name])
        return module

    def taken(self) -> list[tuple[str, Any]]:
        """Return name and value of what the buffer has got."""
        self.buffer.take()
        return [(sample.name, sample.value) for batch in self.buffer.batches for sample in batch.samples]

    def until(self, expected: Sequence[tuple[str, Any]]) -> None:
        """Turn the loop until the buffer has what is expected."""

        def there() -> bool:
            self.service.loop.every(0.01, lambda: None)
            self.service.loop.turn()
            return list(expected) == self.taken()

        wait_for(f"{expected}", there)

    def _collect(self, _host: Host, _config: Config, state: State) -> Iterator[Sample | Event]:
        if state.error:
            raise RuntimeError(state.error)
        state.during()
        yield Event("collector_recovered", "hello")
        yield Sample("m", 1)

    def _watch(self, _host: Host, _config: Config, state: State) -> Iterator[Sample | Event]:
        for descriptor in state.descriptors:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            yield Sample("seen", os.read(number, 100).decode())

    def _hear(self, samples: Sequence[Sample], timestamp_ms: int, producer: str, state: State) -> None:
        state.heard.append((producer, timestamp_ms, [s.name for s in samples]))


@pytest.fixture
def rig(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a maker of rigs."""
    monkeypatch.setenv("BELABOX_RUN__DIR", str(run_dir))
    monkeypatch.setattr(publisher, "EXIT_WAIT_S", 0)
    made: list[Rig] = []

    def make(*functions: str, config: Config = ON, names: Sequence[str] = ("probe",)) -> Rig:
        made.append(Rig(run_dir, *functions, config=config, names=names))
        return made[-1]

    yield make
    for one in made:
        one.service.close()
        one.buffer.close()


def test_samples_and_events_are_published(rig: Any) -> None:
    """Events at once and apart, samples as one batch."""
    one = rig()
    one.until([("event", "hello"), ("m", 1)])
    assert [True, False] == [batch.urgent for batch in one.buffer.batches]


def test_a_readable_descriptor_wakes_the_collector(rig: Any) -> None:
    """Long before its next interval."""
    one = rig("watch")
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    one.scheduled[0].collect()
    one.until([("event", "hello"), ("m", 1)] * 2)
    one.state.descriptors = [reading]
    os.write(writing, b"x")
    one.scheduled[0].watch()
    os.write(writing, b"y")
    one.until([("event", "hello"), ("m", 1), ("event", "hello"), ("m", 1), ("seen", "x"), ("seen", "y")])
    os.close(writing)
    one.state.descriptors = []
    one.scheduled[0].watch()
    os.close(reading)


def test_one_that_rests_is_watched_seldom(rig: Any) -> None:
    """Until it says that it has to be watched again."""
    one = rig("watch")
    intervals = []
    for one.state.rest_s in (None, 600.0, None):
        one.scheduled[0].watch()
        intervals.append(one.scheduled[0]._watch_timer.interval_s)
    assert [ON.watch_interval_s, 600.0, ON.watch_interval_s] == intervals


def test_one_that_waits_for_a_moment_is_watched_then(rig: Any) -> None:
    """Before its usual turn, which stays as it is."""
    one = rig("watch")
    one.scheduled[0].watch()
    timer, one.state.rest_s = one.scheduled[0]._watch_timer, 0.01
    before_s = time.monotonic()
    one.scheduled[0].watch()
    assert before_s + 0.01 <= timer.due_s <= time.monotonic() + 0.01
    assert ON.watch_interval_s == timer.interval_s


def test_a_socket_wakes_the_collector_too(rig: Any) -> None:
    """Not only the number of a descriptor."""
    one = rig("watch")
    ours, theirs = socket.socketpair()
    one.until([("event", "hello"), ("m", 1)])
    one.state.descriptors = [ours]
    theirs.send(b"x")
    one.scheduled[0].watch()
    theirs.send(b"y")
    one.until([("event", "hello"), ("m", 1), ("seen", "x"), ("seen", "y")])
    one.state.descriptors = []
    one.scheduled[0].watch()
    ours.close()
    theirs.close()


def test_a_collector_hears_what_is_committed(rig: Any, run_dir: Path) -> None:
    """Samples, their time and whose they are; a message that is no batch does not disturb it."""
    feed: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
    feed.bind(f"ipc://{run_dir / 'feed.ipc'}")
    one = rig("hear")
    one.scheduled[0].collect()

    def heard() -> bool:
        payload = one.buffer.payloads[-1] if one.buffer.take() else b""
        feed.send_multipart([wire.COMMITTED_TOPIC, b"garbage"])
        feed.send_multipart([wire.COMMITTED_TOPIC, payload])
        one.service.loop.every(0.01, lambda: None)
        one.service.loop.turn()
        return bool(one.state.heard)

    wait_for("the feed", heard)
    feed.close(linger=0)
    assert ("probe", ["m"]) == one.state.heard[-1][::2]


def test_a_failing_collector_is_an_event_and_its_recovery_another(rig: Any) -> None:
    """Once each, however often it fails."""
    one = rig()
    one.state.error = "boom"
    one.scheduled[0].collect()
    one.scheduled[0].collect()
    one.state.error = ""
    one.scheduled[0].collect()
    texts = ["probe: boom", "hello", "probe reads again"]
    one.until([*(("event", text) for text in texts), ("m", 1), ("event", "hello"), ("m", 1)])


def test_a_source_that_raises_is_named_and_the_others_go_on(rig: Any) -> None:
    """Its error is in its own status, and under its name come its events."""
    one = rig(names=("broken", "sound"))
    one.state.error = "boom"
    one.until([("event", "broken: boom"), ("event", "hello"), ("m", 1)])
    statuses = {scheduled.source.name: scheduled.status for scheduled in one.scheduled}
    assert {"broken": "boom", "sound": None} == {name: status.error for name, status in statuses.items()}
    assert statuses["broken"].last_collection_ms is None
    assert statuses["sound"].last_collection_ms is not None
    assert ["broken", "sound", "sound"] == [batch.producer for batch in one.buffer.batches]


def test_the_log_has_the_first_collect_then_ten_minutes_of_them(
    rig: Any, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each would wear the flash; level debug has it. While a stream runs its session is named."""
    said: list[dict[str, Any]] = []
    one, now_s = rig(), 1000.0
    monkeypatch.setattr(one.service.log, "info", lambda message, **fields: said.append({"message": message, **fields}))
    monkeypatch.setattr("collectors.schedule.time.monotonic", lambda: now_s)
    for now_s in (1000.0, 1010.0, 1000.0 + LINE_EVERY_S):  # noqa: B007 - the clock
        one.scheduled[0].collect()
        running_session.publish(run_dir, "5b0e")
    lines = [line for line in said if line["message"] == "collected"]
    assert [("probe", 1, 1), ("probe", 2, 2)] == [(it["collector"], it["count"], it["collects"]) for it in lines]
    assert all("duration_ms" in line for line in lines)
    assert [None, "5b0e"] == [line.get("session_id") for line in lines]


def test_where_a_source_is_at_work_can_be_read_from_outside(rig: Any, run_dir: Path) -> None:
    """Its name and the path it reads, while it reads; nothing between its collects."""
    one = rig(names=("slow", "other"))
    host = Host(run_dir, on_read=one.activity.reading)
    during = []
    one.state.during = lambda: during.append((host.text("proc/stuck"), noted(run_dir, "probe")))
    one.scheduled[0].collect()
    assert [(None, ("slow", "proc/stuck"))] == during
    assert ("", "") == noted(run_dir, "probe")


def test_nothing_is_noted_of_a_process_that_never_ran(run_dir: Path) -> None:
    """And a place where nothing can be written is no reason to fail."""
    assert ("", "") == noted(run_dir, "nobody")
    Activity(Path("/proc/absent"), "probe").begin("cpu")


@pytest.mark.parametrize(
    ("config", "status"), [(Config(enabled=False), 0), (OffByDefault(enabled=True), 0), (OffByDefault(), EXIT_OFF)]
)
def test_a_collector_that_is_off_by_default_ends(rig: Any, config: Config, status: int) -> None:
    """With a status of its own, unless it is enabled; one that an operator has disabled stays."""
    one = rig(config=config)
    one.schedule.end_while_off()
    assert (status, bool(status)) == (one.service.exit_code, one.service.loop.stopping)
