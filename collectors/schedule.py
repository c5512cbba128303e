"""Run the sources of one collector on its loop: collect at their intervals, stamp, publish, count and time.

Reads: what the sources read, below a root; for a source with `hear`, the samples that the buffer commits.
Emits: one batch per collect, all samples with the same millisecond; events as they come; a status for each source.
Fails: an unreadable item is a counted fault; a source that raises or gets nothing readable is named in the
    heartbeat and in an event and tried again at its next interval, and the others go on. A source that hangs blocks its
    process; its name and the file it reads are in the file that `common.activity` writes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from collectors.source import Source, SourceOutput
from common import clock, log, running_session
from common.activity import Activity
from common.config import Config
from common.events import Event
from common.feed import Feed
from common.publisher import Publisher
from common.sample import Batch
from common.service import EXIT_OFF, Service
from common.status import CollectorStatus, SourceStatus

LINE_EVERY_S = 600.0  # fifteen sources' lines for each collect would be 80,000 a day, each a page of flash
APART_S = 1.0  # between two collects: a rate over less is noise
OFF_S = 2.0  # longer than supervisord's startsecs: an earlier end is a failed start


class Scheduled:
    """The steps of one source.

    Attributes:
        source: as given.
        status: what `/health` shows of it.
    """

    def __init__(self, service: Service, publisher: Publisher, activity: Activity, source: Source) -> None:
        self.source = source
        self.status = SourceStatus()
        self._service = service
        self._publisher = publisher
        self._activity = activity
        self._known_gaps: Mapping[str, str] = {}
        self._waiting_on: tuple[int, ...] = ()
        self._is_failing = False
        self._is_news = False  # the next collect was brought forward by an event
        self._collected_s = 0.0
        self._since: Counter[str] = Counter()  # the last line in the log
        self._line_due_s = 0.0
        self._timer = service.loop.every(source.config.interval_s, self.collect)
        if source.watches:
            self._watch_timer = service.loop.every(source.config.watch_interval_s, self.watch)
        for counter in ("metrics_collected_total", "metrics_failed_total", "collects_skipped_total"):
            service.instruments.count(f"collector.{counter}", 0, collector=source.name)
        self._show_config()

    def collect(self) -> None:
        """Collect once and publish it."""
        if not self.source.config.enabled:
            return
        timestamp_ms, began_s, self._collected_s = clock.wall_ms(), time.perf_counter(), time.monotonic()
        seen = self._guarded(self.source.collect)
        if seen is None:
            return
        self._count(seen, time.perf_counter() - began_s)
        self._report_gaps()
        self._wait_on_descriptors()
        self._report(seen.events)
        if not seen.samples and self.source.host.faults:
            self._failed("; ".join(f"{path}: {why}" for path, why in self.source.host.faults.items()))
            return
        self._worked()
        self.status.last_collection_ms = timestamp_ms
        self._publish(seen, timestamp_ms, urgent=self._is_news)
        self._is_news = False

    def watch(self) -> None:
        """Read what cannot wait, and publish what it gives."""
        if not self.source.config.enabled:
            return
        timestamp_ms = clock.wall_ms()
        seen = self._guarded(self.source.watch)
        self._wait_on_descriptors()
        if seen is None:
            return
        self._report(seen.events)
        self._service.instruments.count(
            "collector.metrics_collected_total", len(seen.samples), collector=self.source.name
        )
        self._publish(seen, timestamp_ms)
        if seen.events:  # its other numbers have changed with it
            self._is_news = True
            self._timer.postpone(min(self._timer.due_s, max(time.monotonic(), self._collected_s + APART_S)))

    def hear(self, batch: Batch) -> None:
        """Pass on what was committed."""
        self._guarded(lambda: self.source.hear(batch))

    def reload(self, config: Config) -> None:
        """Apply a new section; readings go on from where they are."""
        section = self.source.config = config.collectors[self.source.name]
        self._timer.interval_s = section.interval_s
        if self.source.watches:
            self._watch_timer.interval_s = section.watch_interval_s
        self._show_config()

    def _show_config(self) -> None:
        config = self.source.config
        self.status.enabled, self.status.interval_s = config.enabled, config.interval_s

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """Do a piece of the source's work; None where it failed."""
        self._activity.begin(self.source.name)
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - the boundary that counts what a source did not foresee
            self._failed(error)
            return None
        finally:
            self._activity.end()

    def _failed(self, error: Exception | str) -> None:
        name, kind = self.source.name, type(error).__name__ if isinstance(error, Exception) else "Error"
        text = log.SECRETS.redact(str(error))
        self._service.instruments.count("collector.metrics_failed_total", collector=name)
        self.status.error = text
        self._service.log.throttled_warning(
            f"{name} {kind} {text}", "failed", error=text, error_type=kind, collector=name
        )
        if not self._is_failing:
            self._is_failing = True
            self._service.event(Event("collector_failed", f"{name}: {error}", name), name)
            self._service.beat()

    def _worked(self) -> None:
        self.status.error = None
        if self._is_failing:
            self._is_failing = False
            name = self.source.name
            self._service.event(Event("collector_recovered", f"{name} reads again", name), name)
            self._service.beat()

    def _report(self, events: Iterable[Event]) -> None:
        for event in events:
            self._service.event(event, self.source.name)

    def _publish(self, seen: SourceOutput, timestamp_ms: int, *, urgent: bool = False) -> None:
        if seen.samples:
            self._publisher.publish(seen.samples, timestamp_ms, producer=self.source.name, urgent=urgent)

    def _wait_on_descriptors(self) -> None:
        """Have the loop wait for what the source has open now; a kernel that hangs up shows as readable."""
        wanted = self.source.descriptors if self.source.watches else ()
        for descriptor in self._waiting_on:
            if descriptor not in wanted:
                self._service.loop.ignore(descriptor)
        for descriptor in wanted:
            if descriptor not in self._waiting_on:
                self._service.loop.on_readable(descriptor, self.watch)
        self._waiting_on = wanted
        if self.source.watches:
            self._rest()

    def _rest(self) -> None:
        """Leave the source alone for as long as it says, or look at it again before the next turn."""
        rest_s, interval_s, timer = self.source.rest_s, self.source.config.watch_interval_s, self._watch_timer
        timer.interval_s = max(rest_s or 0.0, interval_s)
        if rest_s is not None and rest_s < interval_s:
            now_s = time.monotonic()
            timer.postpone(now_s + rest_s if timer.due_s <= now_s else min(timer.due_s, now_s + rest_s))

    def _count(self, seen: SourceOutput, duration_s: float) -> None:
        name, instruments = self.source.name, self._service.instruments
        instruments.count("collector.metrics_collected_total", len(seen.samples), collector=name)
        instruments.count("collector.metrics_failed_total", len(self.source.host.faults), collector=name)
        instruments.count("collector.collects_skipped_total", self._timer.skipped, collector=name)
        instruments.observe("collector.collection_duration_seconds", duration_s, collector=name)
        self._timer.skipped = 0
        self._say(len(seen.samples), duration_s)

    def _say(self, count: int, duration_s: float) -> None:
        """Log each collect for developers; for operators the first, then once in ten minutes what there was since."""
        log, is_due = self._service.log, self._collected_s >= self._line_due_s
        self._since.update(count=count, collects=1)
        if not (is_due or log.is_debug):
            return
        session = running_session.fields(self._service.run_dir)
        fields = {"collector": self.source.name, "duration_ms": round(1000 * duration_s, 1), **session}
        log.debug("collected once", count=count, **fields)
        if is_due:
            log.info("collected", **self._since, **fields)
            self._since.clear()
            self._line_due_s = self._collected_s + LINE_EVERY_S

    def _report_gaps(self) -> None:
        """Log once what is not there or not readable, and once when that changes."""
        host = self.source.host
        gaps = {**dict.fromkeys(host.absent, "absent"), **host.notes, **host.faults}
        if gaps.keys() == self._known_gaps.keys():
            return
        for path in sorted(gaps.keys() - self._known_gaps.keys()):
            self._service.log.info("not collected", collector=self.source.name, item=path, reason=gaps[path])
        for path in sorted(self._known_gaps.keys() - gaps.keys()):
            self._service.log.info("collected again", collector=self.source.name, item=path)
        self._known_gaps = gaps


class SourceSchedule:
    """All sources of a process.

    Attributes:
        scheduled: each of them.
    """

    def __init__(self, service: Service, publisher: Publisher, activity: Activity, sources: Sequence[Source]) -> None:
        self._service = service
        self.scheduled = [Scheduled(service, publisher, activity, source) for source in sources]
        service.status = CollectorStatus(sources={one.source.name: one.status for one in self.scheduled})
        if any(source.hears for source in sources):
            self._feed = Feed(service.run_dir)
            service.loop.on_readable(self._feed.socket, self.hear)
            service.on_close(self._feed.close)
        if all(source.is_off_by_default for source in sources):
            interval_s = max(OFF_S, *(source.config.interval_s for source in sources))
            service.loop.every(interval_s, self.end_while_off, first_s=OFF_S)
        service.on_reload(self.reload)

    def hear(self) -> None:
        """Pass on what was committed to each source that hears, and let it say at once what it makes of it."""
        hearing = [scheduled for scheduled in self.scheduled if scheduled.source.hears]
        for batch in self._feed.batches():
            for scheduled in hearing:
                scheduled.hear(batch)
        for scheduled in hearing:
            if scheduled.source.watches:
                scheduled.watch()

    def reload(self, config: Config) -> None:
        """Apply a new configuration to every source."""
        for scheduled in self.scheduled:
            scheduled.reload(config)

    def end_while_off(self) -> None:
        """End, so that it costs no memory; one that an operator has disabled stays, to be enabled again."""
        if all(one.source.is_off_by_default and not one.source.config.enabled for one in self.scheduled):
            self._service.log.info("not enabled, ends", collector=self._service.name)
            self._service.exit_code = EXIT_OFF
            self._service.loop.stop()
