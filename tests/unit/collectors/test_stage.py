"""A collector's process: what it yields is published, what it waits for wakes it, what fails is an event."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zmq

from collectors import stage
from collectors.host import Host
from collectors.stage import Collecting, Stage
from common import publisher, wire
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

    descriptors: list[int] = field(default_factory=list)
    error: str = ""
    heard: list[Any] = field(default_factory=list)


class Rig:
    """A stage around a collector that is made of its state, its loop turned by the test."""

    def __init__(self, run_dir: Path, *functions: str, config: Config) -> None:
        module = ModuleType("probe")
        self.state = State()
        self.process = Service("probe", argparse.Namespace(config=None))
        everything = {"collect": self._collect, "watch": self._watch, "hear": self._hear}
        vars(module).update({name: everything[name] for name in ("collect", *functions)}, State=lambda: self.state)
        self.stage = Stage(self.process, Collecting(module, Host(run_dir), config))
        self.buffer = RawBuffer(run_dir)

    def taken(self) -> list[tuple[str, Any]]:
        """Return name and value of what the buffer has got."""
        self.buffer.take()
        return [(sample.name, sample.value) for batch in self.buffer.batches for sample in batch.samples]

    def until(self, expected: Sequence[tuple[str, Any]]) -> None:
        """Turn the loop until the buffer has what is expected."""

        def there() -> bool:
            self.process.loop.every(0.01, lambda: None)
            self.process.loop.turn()
            return list(expected) == self.taken()

        wait_for(f"{expected}", there)

    def _collect(self, *_: object) -> Iterator[Sample | Event]:
        if self.state.error:
            raise RuntimeError(self.state.error)
        yield Event("collector_recovered", "hello")
        yield Sample("m", 1)

    def _watch(self, *_: object) -> Iterator[Sample | Event]:
        for descriptor in self.state.descriptors:
            yield Sample("seen", os.read(descriptor, 100).decode())

    def _hear(self, samples: Sequence[Sample], timestamp_ms: int, producer: str, state: State) -> None:
        state.heard.append((producer, timestamp_ms, [s.name for s in samples]))


@pytest.fixture
def rig(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a maker of rigs."""
    monkeypatch.setenv("BELABOX_RUN__DIR", str(run_dir))
    monkeypatch.setattr(publisher, "EXIT_WAIT_S", 0)
    made: list[Rig] = []

    def make(*functions: str, config: Config = ON) -> Rig:
        made.append(Rig(run_dir, *functions, config=config))
        return made[-1]

    yield make
    for one in made:
        one.process.close()
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
    one.stage.step()
    one.until([("event", "hello"), ("m", 1)] * 2)
    one.state.descriptors = [reading]
    os.write(writing, b"x")
    one.stage.watch()
    os.write(writing, b"y")
    one.until([("event", "hello"), ("m", 1), ("event", "hello"), ("m", 1), ("seen", "x"), ("seen", "y")])
    os.close(writing)
    one.state.descriptors = []
    one.stage.watch()
    os.close(reading)


def test_a_collector_hears_what_is_committed(rig: Any, run_dir: Path) -> None:
    """Samples, their time and whose they are; a message that is no batch does not disturb it."""
    feed: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
    feed.bind(f"ipc://{run_dir / 'feed.ipc'}")
    one = rig("hear")
    one.stage.step()

    def heard() -> bool:
        payload = one.buffer.payloads[-1] if one.buffer.take() else b""
        feed.send_multipart([wire.COMMITTED_TOPIC, b"garbage"])
        feed.send_multipart([wire.COMMITTED_TOPIC, payload])
        one.process.loop.every(0.01, lambda: None)
        one.process.loop.turn()
        return bool(one.state.heard)

    wait_for("the feed", heard)
    feed.close(linger=0)
    assert ("probe", ["m"]) == one.state.heard[-1][::2]


def test_a_failing_collector_is_an_event_and_its_recovery_another(rig: Any) -> None:
    """Once each, however often it fails."""
    one = rig()
    one.state.error = "boom"
    one.stage.step()
    one.stage.step()
    one.state.error = ""
    one.stage.step()
    texts = ["probe: boom", "hello", "probe reads again"]
    one.until([*(("event", text) for text in texts), ("m", 1), ("event", "hello"), ("m", 1)])


@pytest.mark.parametrize(
    ("config", "status"), [(Config(enabled=False), 0), (OffByDefault(enabled=True), 0), (OffByDefault(), EXIT_OFF)]
)
def test_a_collector_that_is_off_by_default_ends(
    rig: Any, monkeypatch: pytest.MonkeyPatch, config: Config, status: int
) -> None:
    """With a status of its own, unless it is enabled; one that an operator has disabled stays."""
    monkeypatch.setattr(stage, "OFF_S", 0.0)
    one = rig(config=config)
    one.stage.step()
    assert (status, bool(status)) == (one.process.exit_code, one.process.loop.stopping)
