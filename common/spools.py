"""The spool files of a producer: its own, and those of further names that it publishes under.

A name belongs to one process at a time, by a lock file beside its spool. Batches that an earlier process of a name did
not get acked are read here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from common import lock, wire
from common.log import Log
from common.outbox import Entry, Outbox, by_priority
from common.unacked_count import UnackedCount


class Spools:
    """The folder of the spools, and the names in it that are this process's.

    Args:
        run_dir: below which it is, made where it is missing; beside it the folder of the counts.
        log: where trouble with a file is reported.
    """

    def __init__(self, run_dir: Path, log: Log) -> None:
        self._folder, self._counts = run_dir / "spool", run_dir / "unacked"
        self._log = log
        self._locks: list[int] = []

    def open(self, name: str, max_samples: int) -> Outbox:
        """Return an outbox with the spool of a name, or without one if its file cannot be made.

        Raises:
            AlreadyRunning: another process publishes under this name.
        """
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._hold(name)
            return Outbox(self._folder / f"{name}.batches", max_samples)
        except OSError as error:
            self._log.warning("no spool; what is unacked is lost if this process is killed", error=str(error))
            return Outbox(None, max_samples)

    def unacked_count(self, name: str) -> UnackedCount:
        """Return the count of what a name has unacked, as its last process left it."""
        return UnackedCount(self._counts / name)

    def left_in(self, outbox: Outbox) -> Iterator[Entry]:
        """Yield the batches in an outbox's spool."""
        for payload in outbox.read_spool():
            try:
                batch, _ = wire.decode_batch(payload)
            except wire.WireError as error:
                self._log.warning("dropped a spooled batch", error=str(error))
                continue
            yield Entry((batch.epoch, batch.seq), by_priority(batch.samples), payload)

    def adopt(self, name: str, keep: Callable[[Entry], None]) -> None:
        """Take over a further name, and move what is left in its spool to another one.

        Args:
            name: of the spool.
            keep: puts a batch into its new spool.

        Raises:
            AlreadyRunning: another process publishes under this name.
        """
        if not self._locks:  # there is no folder
            return
        self._hold(name)
        file = self._folder / f"{name}.batches"
        if not file.exists():
            return
        left = Outbox(file, 1)
        try:
            for entry in self.left_in(left):
                keep(entry)
            file.unlink()
            (self._counts / name).unlink(missing_ok=True)
            self._log.info("took over the spool of another name", file=file.name)
        except OSError as error:  # it is in memory, and in its old place until the next start
            self._log.warning("cannot move a spool", file=file.name, error=str(error))
        finally:
            left.close()

    def close(self) -> None:
        """Release the names."""
        while self._locks:
            os.close(self._locks.pop())

    def _hold(self, name: str) -> None:
        self._locks.append(lock.hold(self._folder / f"{name}.lock", f"producer {name}"))
