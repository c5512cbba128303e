"""One collector as a process: on its interval, collect, stamp, publish; count and time every collect.

Reads: what the collector reads, below a root.
Emits: one batch per collect, all samples with the same millisecond.
Fails: an unreadable item is a counted fault; a collector that raises or gets nothing readable is
    reported in the heartbeat and tried again at the next interval.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from collectors import registry
from collectors.host import Host
from common import clock
from common.config import Config
from common.process import Process
from common.sample import Sample, is_deliverable


class Collecting:
    """A collector with its state and its host."""

    def __init__(self, module: ModuleType, host: Host, config: Any) -> None:
        self._module = module
        self.host = host
        self.config = config
        self._state = module.State()

    def collect(self) -> list[Sample]:
        """Read everything once."""
        self.host.begin()
        return [s for s in self._module.collect(self.host, self.config, self._state) if is_deliverable(s)]


class Stage:
    """The steps of a collector's process."""

    def __init__(self, process: Process, collecting: Collecting) -> None:
        self._process = process
        self._collecting = collecting
        self._publisher = process.publishes()
        self._known_gaps: Mapping[str, str] = {}
        self._timer = process.loop.every(collecting.config.interval_s, self.step)
        process.on_reload(self.reload)
        for counter in ("metrics_collected_total", "metrics_failed_total", "collects_skipped_total"):
            process.instruments.count(f"collector.{counter}", 0, collector=process.name)
        self._say()

    def step(self) -> None:
        """Collect once and publish it."""
        if not self._collecting.config.enabled:
            return
        timestamp_ms, began_s = clock.wall_ms(), time.perf_counter()
        try:
            samples = self._collecting.collect()
        except Exception as error:  # noqa: BLE001 - the boundary that counts what a collector did not foresee
            self._failed(error)
            return
        duration_s = time.perf_counter() - began_s
        self._count(samples, duration_s)
        self._report_gaps()
        if not samples and self._collecting.host.faults:
            self._failed("; ".join(f"{path}: {why}" for path, why in self._collecting.host.faults.items()))
            return
        self._process.worked()
        self._process.facts["last_collection_ms"] = timestamp_ms
        if samples:
            self._publisher.publish(samples, timestamp_ms)
        self._process.log.debug(
            "collected", collector=self._process.name, count=len(samples), duration_ms=round(duration_s * 1000, 2)
        )

    def reload(self, config: Config) -> None:
        """Take over a new section; readings go on from where they are."""
        self._collecting.config = config.collectors[self._process.name]
        self._timer.interval_s = self._collecting.config.interval_s
        self._say()

    def _say(self) -> None:
        config = self._collecting.config
        self._process.facts.update(kind="collector", enabled=config.enabled, collect_interval_s=config.interval_s)

    def _failed(self, error: Exception | str) -> None:
        self._process.instruments.count("collector.metrics_failed_total", collector=self._process.name)
        self._process.failed(error, collector=self._process.name)

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
        gaps = {**dict.fromkeys(host.absent, "absent"), **host.faults}
        if gaps.keys() == self._known_gaps.keys():
            return
        for path in sorted(gaps.keys() - self._known_gaps.keys()):
            self._process.log.info("not collected", item=path, reason=gaps[path])
        for path in sorted(self._known_gaps.keys() - gaps.keys()):
            self._process.log.info("collected again", item=path)
        self._known_gaps = gaps


def build(options: argparse.Namespace, module: ModuleType) -> Process:
    """Build the process of one collector."""
    process = Process(options.name, options, registry.sections(options.name))
    section = process.config.collectors[options.name]
    Stage(process, Collecting(module, Host(options.root), section))
    return process
