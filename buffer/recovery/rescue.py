"""Replace a database in which damage is found at run time, and salvage damaged files.

Reads the damage that the store noticed, creates a new database within a second and then, in slices between other work,
copies the rows of the old one. Never fails: missing space or permission is reported, and the step is tried again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

from buffer import free_space
from buffer.recovery import checkup
from buffer.recovery.aside import FOREIGN, SALVAGED, Aside
from buffer.recovery.lost_name import LostName
from buffer.recovery.note import Note
from buffer.recovery.salvage import Salvage
from buffer.storage import database, errors
from buffer.storage.store import Store
from common import catalog
from common.events import Event
from common.service import Service
from common.status import BufferStatus

WATCH_S = 1.0
REPLACE_EVERY_S = 10.0  # memory or a card that is broken itself damages the next one too
REST = 2.0  # times the length of a slice, then the next: a third of a core
RETRY_S = 30.0  # while the disk is full
REPORT_EVERY_S = 10.0
LOST_WITH_DATABASE = "samples could be read in no damaged file, and are lost"


class Rescue:
    """Watch over the database file.

    Args:
        service: whose loop, counters and log these are.
        store: the database.
        status: says how far a damaged file is read.
        replaced: called when a fresh database has taken the place of a damaged one.
    """

    def __init__(self, service: Service, store: Store, status: BufferStatus, replaced: Callable[[], None]) -> None:
        self._service, self._store, self._status = service, store, status
        self._replaced = replaced
        self._aside = Aside(store.path)
        self._name = LostName(service, store, self._aside)
        self._salvage: Salvage | None = None
        self._work: Iterator[None] | None = None
        self._closed = False  # given up, and nothing in its place yet
        self._unfinished = True  # there may be something to be salvaged
        self._last_s = -REPLACE_EVERY_S
        self._reported_s = 0.0
        for kind in ("database", "log", "foreign", "name"):
            service.instruments.count("storage.corruptions_total", 0, kind=kind)
        for name in ("salvaged", "unsalvaged"):
            service.instruments.count(f"storage.{name}_samples_total", 0)
        self._timer = service.loop.every(WATCH_S, self.step)

    @property
    def busy(self) -> bool:
        """Return whether rows of a damaged database are still being copied."""
        return self._unfinished

    def step(self) -> None:
        """Replace a damaged database, restore a deleted one, or salvage one slice."""
        try:
            if self._store.damage is not None or self._closed:
                self._replace()
            elif not self._name.is_in_place():
                self._put_back()
            else:
                self._slice()
        except errors.Error as error:
            self._store.notice(error)
            self._give_up(error)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Stop the salvage; the next start continues it."""
        self._forget()
        try:
            if self._store.damage is None and not self._closed:
                self._name.finish()
        except (errors.Error, OSError) as error:
            self._service.failed(error)

    def _put_back(self) -> None:
        began_s = time.monotonic()
        self._forget()
        if self._name.step():
            self._unfinished = True
            self._replaced()
        else:
            self._timer.postpone(time.monotonic() + REST * (time.monotonic() - began_s))

    def _replace(self) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s < REPLACE_EVERY_S:
            return
        self._last_s = now_s
        self._forget()
        damage = self._store.damage
        if not self._closed:
            self._store.abandon()
            self._closed = True
        if damage is not None:
            verdict = checkup.FileVerdict(f"{type(damage).__name__}: {damage}")
            checkup.replace(self._service, self._aside, verdict, Note(self._store.series.known()))
            self._store.damage = None
        self._store.open()
        self._closed, self._unfinished = False, True
        self._replaced()

    def _slice(self) -> None:
        if self._work is None and not self._begin():
            return
        current, work = self._salvage, self._work
        assert work is not None and current is not None  # noqa: S101, PT018 - _begin made them
        began_s, before, done = time.monotonic(), current.progress.samples, current.progress.done
        try:
            next(work)
        except StopIteration:
            self._finish(current)
        else:
            self._report_progress(current)
            took_s = time.monotonic() - began_s
            if current.progress.done > done:
                current.pace.took(took_s)
            self._timer.postpone(time.monotonic() + (RETRY_S if current.waiting else REST * took_s))
        finally:
            self._service.instruments.count("storage.salvaged_samples_total", current.progress.samples - before)

    def _begin(self) -> bool:
        """Start with the newest file that is not salvaged yet; False where there is none."""
        if not self._unfinished:
            return False
        waiting = self._aside.unfinished()
        if not waiting:
            self._count_lost()
            self._unfinished = False
            return False
        path = waiting[-1]
        self._salvage = Salvage(path, self._store, self._has_room)
        self._work = self._salvage.work()
        self._service.log.info("salvaging", file=path.name, done_percent=self._salvage.percent)
        return True

    def _finish(self, done: Salvage) -> None:
        progress = done.progress
        report = {
            "state": SALVAGED if done.is_ours else FOREIGN,
            "samples_salvaged": progress.samples,
            "samples_known": progress.known,
            "samples_lost_estimate": done.unnamed,
        }
        database.sync_log(self._store.path)  # the report is on the disk at once; the rows have to be there before
        self._aside.report(done.path, report)
        done.finish()
        self._service.instruments.count("storage.unsalvaged_samples_total", done.unnamed)
        dropped = self._aside.prune()
        self._service.log.warning(
            "salvage is finished", file=done.path.name, **report, deleted=[path.name for path in dropped]
        )
        lost = f", about {done.unnamed} more could not be read" if done.unnamed else ""
        text = f"{done.path.name}: {progress.samples} samples were copied, {progress.known} were there already{lost}"
        self._service.event(Event("database_salvaged", text))
        self._forget()

    def _count_lost(self) -> None:
        """Report the samples that were in the damaged files and could be read in none of them."""
        with self._store.transaction():
            lost = self._store.restore.take_lost()
        if not lost:
            return
        for name, samples in lost.items():
            labels = {"reason": "damaged", "priority": str(catalog.find(name).priority)}
            self._service.instruments.count("storage.lost_samples_total", samples, **labels)
        self._service.log.error(LOST_WITH_DATABASE, count=sum(lost.values()), metrics=lost)
        most = ", ".join(f"{samples} of {name}" for name, samples in Counter(lost).most_common(5))
        text = f"{sum(lost.values())} samples could be read in no damaged file: {most}"
        self._service.event(Event("samples_damaged", text))

    def _report_progress(self, done: Salvage) -> None:
        file, samples = done.path.name, done.progress.samples
        held = f"; waiting: {done.waiting}" if done.waiting else ""
        self._status.salvage = f"{done.percent:.0f} % of {file} is read, {samples} samples are copied{held}"
        now_s = time.monotonic()
        if now_s - self._reported_s >= REPORT_EVERY_S:
            self._reported_s = now_s
            self._service.log.info(
                "salvaging", file=file, done_percent=done.percent, samples=samples, waiting=done.waiting
            )

    def _has_room(self) -> bool:
        """Tell whether salvaged rows, their log and its checkpoint leave room for what comes from the producers."""
        storage = self._service.config.settings.storage
        free = free_space.free_bytes(self._store.path)
        needed = storage.reserve_size + min(storage.wal_checkpoint_size_mb << 20, storage.max_size // 20)
        if free is None or free >= needed:
            return True
        return bool(self._aside.prune(0))

    def _give_up(self, error: Exception) -> None:
        """Report a missing permission or missing space; the next step tries again."""
        self._service.failed(error)
        self._forget()
        if self._store.damage is None and not self._closed:
            self._timer.postpone(time.monotonic() + RETRY_S)

    def _forget(self) -> None:
        if self._salvage is not None:
            self._salvage.close()
        self._salvage, self._work = None, None
        self._status.salvage = None
