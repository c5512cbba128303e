"""One collector as a process: on its interval, collect, stamp, publish; count and time every collect.

Reads: what the collector reads, below a root; what the buffer has committed, for one that can `hear`.
Emits: one batch per collect, all samples with the same millisecond; events as they come.
Fails: an unreadable item is a counted fault; a collector that raises or gets nothing readable is
    reported in the heartbeat, in an event, and tried again at the next interval.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from collectors import registry
from collectors.admission import admitted
from collectors.host import Host
from common import clock
from common.config import Config
from common.events import Event
from common.feed import Feed
from common.sample import Batch, Sample
from common.service import EXIT_OFF, Service

OFF_S = 2.0  # longer than supervisord's startsecs: an earlier end is a failed start


class Seen(NamedTuple):
    """What one look gave."""

    samples: list[Sample]
    events: list[Event]


class Collecting:
    """A collector with its state and its host."""

    def __init__(self, module: ModuleType, host: Host, config: Any) -> None:
        self._module = module
        self.host = host
        self.config = config
        self._state = module.State()

    @property
    def watches(self) -> bool:
        """Tell whether it looks between its collects too: every `watch_interval_s`, and when a descriptor speaks."""
        return hasattr(self._module, "watch")

    @property
    def is_off_by_default(self) -> bool:
        """Tell whether it collects only where the configuration says so."""
        return not type(self.config)().enabled

    @property
    def hears(self) -> bool:
        """Tell whether it wants to hear what is committed."""
        return hasattr(self._module, "hear")

    @property
    def descriptors(self) -> tuple[Any, ...]:
        """Return what it waits for, open at the moment."""
        return tuple(getattr(self._state, "descriptors", ()))

    def collect(self) -> Seen:
        """Read everything once."""
        self.host.begin()
        return _seen(admitted(self._module.collect(self.host, self.config, self._state), self.host))

    def watch(self) -> Seen:
        """Read what cannot wait for the next collect."""
        self.host.begin()
        return _seen(admitted(self._module.watch(self.host, self.config, self._state), self.host))

    def hear(self, batch: Batch) -> None:
        """Take in what was committed."""
        self._module.hear(batch.samples, batch.timestamp_ms, batch.producer, self._state)


class Stage:
    """The steps of a collector's process."""

    def __init__(self, process: Service, collecting: Collecting) -> None:
        self._process = process
        self._collecting = collecting
        self._started_s = time.monotonic()
        self._publisher = process.publishes()
        self._known_gaps: Mapping[str, str] = {}
        self._waiting_on: tuple[Any, ...] = ()
        self._is_failing = False
        self._timer = process.loop.every(collecting.config.interval_s, self.step)
        if collecting.watches:
            self._watch_timer = process.loop.every(collecting.config.watch_interval_s, self.watch)
        if collecting.hears:
            self._feed = Feed(process.run_dir)
            process.loop.on_readable(self._feed.socket, self.hear)
            process.on_close(self._feed.close)
        process.on_reload(self.reload)
        for counter in ("metrics_collected_total", "metrics_failed_total", "collects_skipped_total"):
            process.instruments.count(f"collector.{counter}", 0, collector=process.name)
        self._say()

    def step(self) -> None:
        """Collect once and publish it."""
        if not self._collecting.config.enabled:
            self._end_if_off_by_default()
            return
        timestamp_ms, began_s = clock.wall_ms(), time.perf_counter()
        seen = self._guarded(self._collecting.collect)
        if seen is None:
            return
        duration_s = time.perf_counter() - began_s
        self._count(seen.samples, duration_s)
        self._report_gaps()
        self._wait_on_descriptors()
        self._report(seen.events)
        if not seen.samples and self._collecting.host.faults:
            self._failed("; ".join(f"{path}: {why}" for path, why in self._collecting.host.faults.items()))
            return
        self._worked()
        self._process.facts["last_collection_ms"] = timestamp_ms
        if seen.samples:
            self._publisher.publish(seen.samples, timestamp_ms)
        self._process.log.debug(
            "collected", collector=self._process.name, count=len(seen.samples), duration_ms=round(duration_s * 1000, 2)
        )

    def watch(self) -> None:
        """Look at what cannot wait, and publish what it gives."""
        if not self._collecting.config.enabled:
            return
        timestamp_ms = clock.wall_ms()
        seen = self._guarded(self._collecting.watch)
        self._wait_on_descriptors()
        if seen is None:
            return
        self._report(seen.events)
        if seen.samples:
            self._process.instruments.count(
                "collector.metrics_collected_total", len(seen.samples), collector=self._process.name
            )
            self._publisher.publish(seen.samples, timestamp_ms)

    def hear(self) -> None:
        """Pass on what was committed."""
        for batch in self._feed.batches():
            self._guarded(lambda batch=batch: self._collecting.hear(batch))  # type: ignore[misc]

    def reload(self, config: Config) -> None:
        """Take over a new section; readings go on from where they are."""
        section = self._collecting.config = config.collectors[self._process.name]
        self._timer.interval_s = section.interval_s
        if self._collecting.watches:
            self._watch_timer.interval_s = section.watch_interval_s
        self._say()

    def _end_if_off_by_default(self) -> None:
        """End, so that it costs no memory; one that an operator has disabled stays, to be enabled again."""
        if self._collecting.is_off_by_default and time.monotonic() - self._started_s > OFF_S:
            self._process.log.info("not enabled, ends", collector=self._process.name)
            self._process.exit_code = EXIT_OFF
            self._process.loop.stop()

    def _say(self) -> None:
        config = self._collecting.config
        self._process.facts.update(kind="collector", enabled=config.enabled, collect_interval_s=config.interval_s)

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """Do a piece of the collector's work; None where it failed."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - the boundary that counts what a collector did not foresee
            self._failed(error)
            return None

    def _failed(self, error: Exception | str) -> None:
        self._process.instruments.count("collector.metrics_failed_total", collector=self._process.name)
        self._process.failed(error, collector=self._process.name)
        if not self._is_failing:
            self._is_failing = True
            self._process.event(Event("collector_failed", f"{self._process.name}: {error}", self._process.name))

    def _worked(self) -> None:
        self._process.worked()
        if self._is_failing:
            self._is_failing = False
            self._process.event(Event("collector_recovered", f"{self._process.name} reads again", self._process.name))

    def _report(self, events: Iterable[Event]) -> None:
        for event in events:
            self._process.event(event)

    def _wait_on_descriptors(self) -> None:
        """Have the loop wait for what the collector has open now; a kernel that hangs up shows as readable."""
        wanted = self._collecting.descriptors if self._collecting.watches else ()
        for source in self._waiting_on:
            if source not in wanted:
                self._process.loop.ignore(source)
        for source in wanted:
            if source not in self._waiting_on:
                self._process.loop.on_readable(source, self.watch)
        self._waiting_on = wanted

    def _count(self, samples: list[Sample], duration_s: float) -> None:
        name, instruments = self._process.name, self._process.instruments
        instruments.count("collector.metrics_collected_total", len(samples), collector=name)
        instruments.count("collector.metrics_failed_total", len(self._collecting.host.faults), collector=name)
        instruments.count("collector.collects_skipped_total", self._timer.skipped, collector=name)
        instruments.observe("collector.collection_duration_seconds", duration_s, collector=name)
        self._timer.skipped = 0

    def _report_gaps(self) -> None:
        """Say once what is not there or not readable, and once when that changes."""
        host = self._collecting.host
        gaps = {**dict.fromkeys(host.absent, "absent"), **host.notes, **host.faults}
        if gaps.keys() == self._known_gaps.keys():
            return
        for path in sorted(gaps.keys() - self._known_gaps.keys()):
            self._process.log.info("not collected", item=path, reason=gaps[path])
        for path in sorted(self._known_gaps.keys() - gaps.keys()):
            self._process.log.info("collected again", item=path)
        self._known_gaps = gaps


def _seen(found: Iterable[Sample | Event]) -> Seen:
    seen = Seen([], [])
    for item in found:
        if isinstance(item, Event):
            seen.events.append(item)
        else:
            seen.samples.append(item)
    return seen


def build(options: argparse.Namespace, module: ModuleType) -> Service:
    """Build the process of one collector."""
    process = Service(options.name, options, registry.sections(options.name))
    section = process.config.collectors[options.name]
    Stage(process, Collecting(module, Host(options.root), section))
    return process
