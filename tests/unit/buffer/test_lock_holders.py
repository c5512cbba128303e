"""Who else has the database in use, and what the buffer says of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from buffer import lock_holders
from buffer.storage import errors
from buffer.storage.store import Store
from buffer.wal_checkpoints import CHECK_S, HELD_TIMES, RETRY_S, WalCheckpoints
from common.events import Event
from common.instruments import Instruments
from common.log import Log
from common.service import Service
from common.status import BufferStatus
from tests.unit.buffer.clients import prompt
from tests.unit.buffer.databases import batch, storage


def test_a_writer_is_named_and_not_waited_for_long(store: Store, path: Path) -> None:
    """The transaction fails at once; the next one works when the other process has ended."""
    with prompt(path, "BEGIN IMMEDIATE") as pid:
        with pytest.raises(errors.BusyError):
            store.write([batch(("a", 1))])
        assert lock_holders.writer(path).endswith(f"(process {pid})")
        assert "another process" == lock_holders.readers(path.with_name("other.db"))
    assert 1 == store.write([batch(("a", 1))]).inserted


class Checkpoints:
    """The WAL checkpoints of a store, with a clock that a test turns."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.events, self.status = 1000.0, list[Event](), BufferStatus()
        monkeypatch.setattr("buffer.wal_checkpoints.time.monotonic", lambda: self.now_s)
        settings = SimpleNamespace(storage=storage(store.path))
        service = SimpleNamespace(
            loop=SimpleNamespace(every=lambda *_, **__: None), config=SimpleNamespace(settings=settings),
            instruments=Instruments(), log=Log("test"), event=self.events.append,
        )  # fmt: skip
        self.task = WalCheckpoints(cast("Service", service), store, self.status, lambda: False)
        self.now_s += settings.storage.wal_checkpoint_interval_s

    def step(self, after_s: float) -> None:
        """Do what is due after a time."""
        self.now_s += after_s
        self.task.step()


def test_a_reader_that_stays_is_named_until_it_ends(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that reads for a moment; while it stays, an attempt a minute is enough."""
    store.write([batch(("a", 1))])
    checkpoints = Checkpoints(store, monkeypatch)
    with prompt(path, "BEGIN") as pid:
        store.write([batch(("a", 2), seq=2)])
        for _ in range(HELD_TIMES):
            assert checkpoints.status.held_by is None
            checkpoints.step(CHECK_S)
        assert f"(process {pid}) keeps a read transaction open" in str(checkpoints.status.held_by)
        checkpoints.step(RETRY_S)
    checkpoints.step(CHECK_S)
    assert ["database_held"] == [event.kind for event in checkpoints.events]
    checkpoints.step(RETRY_S)
    assert ("None", 0) == (str(checkpoints.status.held_by), store.wal_bytes())
    assert ["database_held", "database_free"] == [event.kind for event in checkpoints.events]


LOCKS = """\
1: POSIX  ADVISORY  READ 708 fd:01:{inode} 124 124
1: -> POSIX  ADVISORY  WRITE 709 fd:01:{inode} 124 124
2: POSIX  ADVISORY  READ 710 fd:01:{inode} 128 128
3: FLOCK  ADVISORY  WRITE 711 fd:01:{inode} 0 EOF
4: POSIX  ADVISORY  READ 712 fd:01:1 124 124
5: OFDLCK ADVISORY  READ -1 fd:01:{inode} 125 125
6: POSIX  ADVISORY  WRITE 713 fd:01:{inode} 120 120
"""


def test_only_transactions_on_this_file_count(tmp_path: Path) -> None:
    """Neither who waits, nor who has it open, nor another file, nor what is no lock of SQLite's."""
    database = tmp_path / "metrics.db"
    shared = tmp_path / "metrics.db-shm"
    shared.touch()
    tmp_path.joinpath("708").mkdir()
    tmp_path.joinpath("708", "comm").write_text("sqlite3\n")
    tmp_path.joinpath("locks").write_text(LOCKS.format(inode=shared.stat().st_ino))
    assert "sqlite3 (process 708)" == lock_holders.readers(database, tmp_path)
    assert "a process that has ended (process 713)" == lock_holders.writer(database, tmp_path)
    tmp_path.joinpath("locks").unlink()
    assert "another process" == lock_holders.readers(database, tmp_path)
