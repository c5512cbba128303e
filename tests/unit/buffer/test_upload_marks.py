"""What the server accepted waits for the next commit, and outlives the process meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from buffer.delivery import upload_marks
from buffer.delivery.upload_marks import UploadMarks
from buffer.storage.pending import UploadMark
from buffer.storage.store import Store
from common.sample import NORMAL
from tests.unit.buffer.databases import NOW_MS, batch, query


@pytest.fixture
def marks(store: Store, tmp_path: Path) -> Iterator[UploadMarks]:
    """The marks of a database with ten pending samples."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in range(10)])
    made = UploadMarks(store, tmp_path)
    yield made
    made.close()


def accept(marks: UploadMarks, store: Store, first: int, end: int, batch_id: str = "b") -> None:
    """Have the server accept some of the samples."""
    rows = store.pending.rows(NORMAL, NOW_MS + 99, 10)[first:end]
    marks.add(UploadMark(NORMAL, rows, batch_id, first, NOW_MS))


def test_a_mark_is_written_with_the_next_samples(marks: UploadMarks, store: Store, path: Path) -> None:
    """In one transaction, with the time at which the server accepted it."""
    accept(marks, store, 0, 4)
    assert [(0,)] == query(path, "SELECT count(*) FROM upload_checkpoints")
    store.write([batch(("b", 1))], marks)
    marks.clear()
    assert ([0, 0, 7, 0], 0) == (store.pending.counts, len(marks))
    assert [("b", 0, 4, NOW_MS)] == query(
        path, "SELECT batch_id, chunk_index, metrics_count, upload_time FROM upload_checkpoints"
    )


def test_a_killed_process_leaves_them_to_the_next(marks: UploadMarks, store: Store, tmp_path: Path) -> None:
    """Exactly once each, and nothing of one that the kill cut."""
    accept(marks, store, 0, 3)
    accept(marks, store, 3, 5, "c")
    file = tmp_path / "marks"
    file.write_bytes(file.read_bytes() + b"[2, [[1, 17")
    again = UploadMarks(store, tmp_path)
    assert [5, 0] == [again.recover(), again.recover()]
    again.close()
    assert ([0, 0, 5, 0], b"") == (store.pending.counts, file.read_bytes())


def test_as_many_as_may_wait_do(marks: UploadMarks, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted anew once they are written."""
    monkeypatch.setattr(upload_marks, "MOST_SAMPLES", 4)
    accept(marks, store, 0, 4)
    assert (1, [0, 0, 10, 0]) == (len(marks), store.pending.counts)
    marks.write()
    assert (0, [0, 0, 6, 0]) == (len(marks), store.pending.counts)
    accept(marks, store, 0, 4)
    assert (1, [0, 0, 6, 0]) == (len(marks), store.pending.counts)


def test_the_file_is_this_users_and_closed_in_the_end(store: Store, tmp_path: Path) -> None:
    """It says what was sent where."""
    one = UploadMarks(store, tmp_path)
    assert 0o600 == (tmp_path / "marks").stat().st_mode & 0o7777
    assert stat.S_ISREG(os.fstat(one._fd).st_mode)
    one.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(one._fd)


def test_too_many_are_written_at_once(marks: UploadMarks, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backfill does not fill the memory."""
    monkeypatch.setattr(upload_marks, "MOST_SAMPLES", 5)
    accept(marks, store, 0, 4)
    assert (1, [0, 0, 10, 0]) == (len(marks), store.pending.counts)
    accept(marks, store, 4, 8)
    assert (0, [0, 0, 2, 0]) == (len(marks), store.pending.counts)
