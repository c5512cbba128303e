"""Finished spans become files that open with plain tools, whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffer.retention import archive
from buffer.retention.archive import CHECK_MS, GRACE_MS, Archiver, Space, next_span
from buffer.retention.archive_folder import ArchiveFolder
from buffer.retention.context import Context
from buffer.storage import samples
from buffer.storage.archive_file import ArchiveFile
from buffer.storage.samples import StoredSample
from buffer.storage.store import Store
from common import clock
from common.instruments import Instruments
from common.log import Log
from common.settings import Archive as Settings
from common.settings import Storage
from tests.harness import require
from tests.unit.buffer.aged import DAY_MS, HOUR_MS, LOCAL, NOW_MS, PENDING, REFUSED, Put, put
from tests.unit.buffer.databases import DEVICE, storage

SPAN_MS = 12 * HOUR_MS
START_MS = NOW_MS - DAY_MS
DUE_MS = START_MS + SPAN_MS + GRACE_MS


class Desk:
    """A store, its archive and what a test sets: the settings and the room there is."""

    def __init__(self, path: Path) -> None:
        self.config: Storage = storage(path)
        self.store = Store(self.config, DEVICE)
        self.shelf = ArchiveFolder(path.parent / "archive")
        self.free_bytes: int | None = 1 << 40
        self.used_bytes = 0
        self.instruments = Instruments()
        self.now_ms = DUE_MS
        self.begin()

    def begin(self) -> Archiver:
        """Make the task anew, as a new process does."""
        space = Space(lambda: self.free_bytes, lambda: self.used_bytes)
        self.task = Archiver(Context(self.store, self.shelf, lambda: self.config, self.instruments, Log("test")), space)
        self.task.pace.rows = 7
        return self.task

    def set(self, **changes: Any) -> None:
        """Change settings of the archive."""
        self.config = replace(self.config, archive=replace(self.config.archive, **changes))

    def run(self) -> int:
        """Step until there is nothing to do; return how many slices it took."""
        self.now_ms += CHECK_MS
        steps = 0
        while self.task.step(self.now_ms):
            steps += 1
        return steps

    def names(self) -> list[str]:
        """Return the files there are, below the archive's folder."""
        return sorted(str(path.relative_to(self.shelf.path)) for path in self.shelf.path.rglob("*") if path.is_file())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A fresh database and no archive."""
    new = Desk(tmp_path / "metrics.db")
    yield new
    new.store.close()


def day(start_ms: int) -> str:
    """Return the name of a day's folder."""
    return f"{datetime.fromtimestamp(start_ms / 1000, tz=timezone.utc):%Y-%m-%d}"


def opened(path: Path, sql: str) -> list[list[str]]:
    """Gunzip a file and ask the `sqlite3` command."""
    plain = path.with_suffix("").with_suffix(".plain")
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    done = subprocess.run([require("sqlite3"), str(plain), sql], capture_output=True, text=True, check=True, timeout=60)
    plain.unlink()
    return [line.split("|") for line in done.stdout.splitlines()]


def test_a_span_is_archived_when_it_is_finished_and_resends_have_come() -> None:
    """Noon to midnight UTC, ten minutes later; before that nothing is due."""
    oldest_ms = START_MS + HOUR_MS
    assert None is next_span(DUE_MS - 1, SPAN_MS, None, oldest_ms)
    assert (START_MS, START_MS + SPAN_MS) == next_span(DUE_MS, SPAN_MS, None, oldest_ms)
    assert None is next_span(DUE_MS, SPAN_MS, None, None)


def test_the_next_span_is_the_next_that_has_samples() -> None:
    """A device that was off for a week writes no empty files, and catches up one by one."""
    archived_ms, later_ms = START_MS - 7 * DAY_MS, START_MS + HOUR_MS
    assert (START_MS, START_MS + SPAN_MS) == next_span(NOW_MS, SPAN_MS, archived_ms, later_ms)
    assert (archived_ms, archived_ms + SPAN_MS) == next_span(NOW_MS, SPAN_MS, archived_ms, archived_ms)


@given(
    st.integers(0, 20 * DAY_MS),
    st.sampled_from([1, 2, 5, 12, 24]),
    st.one_of(st.none(), st.integers(0, 20 * DAY_MS)),
    st.integers(0, 20 * DAY_MS),
)
def test_spans_neither_overlap_nor_leave_a_gap(now_ms: int, hours: int, archived_ms: int | None, offset: int) -> None:
    """Whatever the interval was before: a span begins at the last one's end or later, and holds the oldest sample."""
    oldest_ms = (archived_ms or 0) + offset
    span = next_span(now_ms, hours * HOUR_MS, archived_ms, oldest_ms)
    if span is not None:
        assert (archived_ms or 0) <= span[0] <= oldest_ms < span[1] <= now_ms - GRACE_MS
        assert 0 < span[1] - span[0] <= hours * HOUR_MS


def test_samples_read_back_with_the_sqlite3_command(desk: Desk) -> None:
    """After gunzip the view `metrics` has the rows of the span, of every state, and no others."""
    put(desk.store, [
        Put(START_MS - 1, 1), Put(START_MS, 2.5), Put(START_MS + 1, 3, 1, PENDING), Put(START_MS + 1, "h265", 2, LOCAL),
        Put(START_MS + SPAN_MS - 1, 4, 1, REFUSED, 1), Put(START_MS + SPAN_MS, 5),
    ])  # fmt: skip
    desk.store._connection.execute("INSERT INTO sessions (rowid, id, start_time) VALUES (7, 'stream', 1)")
    desk.store._connection.execute("UPDATE samples SET session = 7 WHERE value = 2.5")
    desk.run()
    path = desk.shelf.path / day(START_MS) / "metrics-00.db.gz"
    columns = "timestamp_ms, metric_name, metric_value, value_text, session_id, uploaded, priority, device_id"
    rows = opened(path, f"SELECT {columns} FROM metrics ORDER BY 1, 2; PRAGMA integrity_check")
    assert [
        [str(START_MS), "test.number1", "2.5", "", "stream", "1", "2", "d"],
        [str(START_MS + 1), "test.number1", "3", "", "", "0", "2", "d"],
        [str(START_MS + 1), "test.number2", "", "h265", "", "2", "2", "d"],
        [str(START_MS + SPAN_MS - 1), "test.number1", "4", "", "", "2", "1", "d"],
        ["ok"],
    ] == rows
    live = desk.store._connection.execute("PRAGMA table_info(metrics)").fetchall()
    assert [row[1] for row in live] == [row[1] for row in opened(path, "PRAGMA table_info(metrics)")]


def test_events_are_json_lines(desk: Desk) -> None:
    """In order of time, those of the span, text as it was."""
    put(desk.store, [Put(START_MS, 1)])
    times_ms = [START_MS + SPAN_MS, START_MS + 5, START_MS + 5, START_MS, START_MS - 1]
    desk.store._connection.executemany(
        "INSERT INTO events (timestamp_ms, kind, severity, source, text) VALUES (?, 'modem', 'warning', 'srt', ?)",
        [(time_ms, f'„{number}"\n') for number, time_ms in enumerate(times_ms)],
    )
    desk.run()
    path = desk.shelf.path / day(START_MS) / "events-00.log.gz"
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert ['„3"\n', '„1"\n', '„2"\n'] == [line["text"] for line in lines]
    expected = {
        "timestamp_ms": START_MS, "kind": "modem", "severity": "warning", "source": "srt", "text": '„3"\n',
        "session_id": None,
    }  # fmt: skip
    assert expected == lines[0]


def test_files_are_named_after_the_start_of_their_span(desk: Desk) -> None:
    """One folder a day, `00` and `12`, and nothing temporary is left."""
    put(desk.store, [Put(START_MS + offset, 1) for offset in (0, SPAN_MS, 2 * SPAN_MS)])
    desk.now_ms = NOW_MS + GRACE_MS
    desk.run()
    expected = [f"{day(START_MS)}/{kind}" for kind in (
        "events-00.log.gz", "events-12.log.gz", "metrics-00.db.gz", "metrics-12.db.gz",
    )]  # fmt: skip
    assert expected == desk.names()
    assert 2 == desk.instruments.counter("storage.archives_written_total")


def test_until_it_is_whole_a_file_has_a_temporary_name(desk: Desk) -> None:
    """At no step is there a `.gz` that does not decompress to its end."""
    put(desk.store, [Put(START_MS + n, n) for n in range(100)])
    steps = 0
    while desk.task.step(desk.now_ms):
        steps += 1
        for name in desk.names():
            if name.endswith(".gz"):
                gzip.decompress((desk.shelf.path / name).read_bytes())
    assert steps > 30


def test_a_killed_archive_goes_on_where_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new process after every slice, and each sample is in the file once; work is not begun again."""
    monkeypatch.setattr(clock, "boot_id", lambda: "this-boot")
    monkeypatch.setattr(archive, "BYTES_PER_ROW", 1 << 20)  # compressed in one slice: that part does begin anew
    put(desk.store, [Put(START_MS + n, n) for n in range(100)])
    path = desk.shelf.path / day(START_MS) / "metrics-00.db.gz"
    processes = 0
    while not path.exists():
        task = desk.begin()
        task.pace.rows = 7
        for _ in range(6):  # begin, events, and some slices of the draft
            task.step(desk.now_ms)
        processes += 1
    assert 3 < processes < 10
    query = "SELECT count(*), count(DISTINCT timestamp_ms), sum(metric_value) FROM metrics"
    assert [["100", "100", "4950"]] == opened(path, query)


@pytest.mark.parametrize("damage", ["another boot", "torn", "empty", "no boot id"])
def test_a_draft_that_cannot_be_trusted_is_begun_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """Of an earlier boot, torn or empty: thrown away, and the file is whole all the same."""
    put(desk.store, [Put(START_MS + n, n) for n in range(100)])
    monkeypatch.setattr(clock, "boot_id", lambda: "boot-1")
    for _ in range(8):
        desk.task.step(desk.now_ms)
    path = desk.shelf.path / day(START_MS) / "metrics-00.db.tmp"
    if damage == "torn":
        os.truncate(path, 5000)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        monkeypatch.setattr(clock, "boot_id", lambda: "boot-2" if damage == "another boot" else "")
    desk.begin()
    desk.run()
    rows = opened(path.with_name("metrics-00.db.gz"), "SELECT count(*), sum(metric_value) FROM metrics")
    assert [["100", "4950"]] == rows


def test_only_a_draft_of_this_boot_is_taken_up(desk: Desk, tmp_path: Path) -> None:
    """Another's, or one of a kernel that does not tell: after a power cut it may be torn without looking so."""
    put(desk.store, [Put(START_MS + n, n) for n in range(3)])
    rows = desk.store.samples.read(samples.before(0), NOW_MS, 2)
    for written, found, expected in (("a", "a", START_MS + 1), ("a", "b", START_MS), ("", "", START_MS)):
        path = tmp_path / f"{written}-{found}"
        first = desk.store.archive_file(path, written, START_MS)
        first.add(rows)
        first.close()
        again = desk.store.archive_file(path, found, START_MS)
        assert expected == again.after[0]
        again.close()


def test_an_archived_span_is_not_archived_again(desk: Desk) -> None:
    """Not in a new process, and not when the size cap has taken the files."""
    put(desk.store, [Put(START_MS, 1)])
    desk.run()
    for file in desk.shelf.files():
        desk.shelf.drop(file)
    desk.begin()
    assert 0 == desk.run()
    assert [] == desk.names()
    assert not (desk.shelf.path / day(START_MS)).exists()


def test_a_file_that_is_there_already_is_left_alone(desk: Desk) -> None:
    """Killed between the rename and the mark: the file stands, and the next span follows."""
    put(desk.store, [Put(START_MS, 1), Put(START_MS + SPAN_MS, 1)])
    path = desk.shelf.path / day(START_MS) / "metrics-00.db.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"whole")
    desk.now_ms = NOW_MS + GRACE_MS
    desk.run()
    assert b"whole" == path.read_bytes()
    assert path.with_name("metrics-12.db.gz").exists()


def test_a_draft_is_deleted_piece_by_piece_and_by_the_next_process_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of it: what is left of 200 MB does not stay for a month."""
    monkeypatch.setattr(archive, "DISCARD_BYTES", 4096)
    put(desk.store, [Put(START_MS + n, n) for n in range(1000)])
    path = desk.shelf.path / day(START_MS) / "metrics-00.db.gz"
    while not path.exists():
        desk.task.step(desk.now_ms)
    whole = path.with_name("metrics-00.db.tmp").stat().st_size
    desk.task.step(desk.now_ms)
    assert whole - 4096 == path.with_name("metrics-00.db.tmp").stat().st_size
    desk.begin()
    desk.run()
    assert [f"{day(START_MS)}/events-00.log.gz", f"{day(START_MS)}/metrics-00.db.gz"] == desk.names()
    assert 0 == desk.run()


def test_a_mark_from_a_clock_far_ahead_is_not_believed(desk: Desk) -> None:
    """Archives go on although one was once written in the year 2040."""
    desk.store._connection.execute(
        "INSERT INTO upkeep (name, value) VALUES ('archived_until_ms', ?)", (NOW_MS + 5000 * DAY_MS,)
    )
    put(desk.store, [Put(START_MS, 1)])
    desk.run()
    assert f"{day(START_MS)}/metrics-00.db.gz" in desk.names()


def test_files_are_deleted_when_their_time_is_over(desk: Desk) -> None:
    """30 days after their span began, with their folder; younger ones and what is not ours stay."""
    for age, name in ((31, "metrics-00.db.gz"), (31, "events-12.log.gz"), (29, "metrics-12.db.gz"), (40, "mine.txt")):
        path = desk.shelf.path / day(NOW_MS - age * DAY_MS) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    desk.set(enabled=False)
    desk.run()
    assert [f"{day(NOW_MS - 40 * DAY_MS)}/mine.txt", f"{day(NOW_MS - 29 * DAY_MS)}/metrics-12.db.gz"] == desk.names()
    assert not (desk.shelf.path / day(NOW_MS - 31 * DAY_MS)).exists()


@pytest.mark.parametrize("case", ["off", "disk nearly full", "size cap near"])
def test_no_archive_without_room(desk: Desk, case: str) -> None:
    """Switched off, nearly full, or about to be given up again: none is begun."""
    put(desk.store, [Put(START_MS, 1)])
    if case == "off":
        desk.set(enabled=False)
    elif case == "disk nearly full":
        desk.free_bytes = desk.config.archive.min_free - 1
    else:
        desk.used_bytes = int(0.95 * desk.config.max_size)
    assert 0 == desk.run()
    assert [] == desk.names()


def test_it_goes_on_when_there_is_room_again(desk: Desk) -> None:
    """The span is written late, and not left out."""
    put(desk.store, [Put(START_MS, 1)])
    desk.free_bytes = 0
    desk.run()
    desk.free_bytes = None  # cannot be told: as good as enough
    desk.run()
    assert f"{day(START_MS)}/metrics-00.db.gz" in desk.names()


def test_on_a_nearly_full_disk_the_oldest_files_make_room(desk: Desk) -> None:
    """One after the other, until half of the reserve is free; new samples are worth more."""
    paths = [desk.shelf.file("metrics-{}.db.gz", NOW_MS - age * DAY_MS) for age in (3, 2, 1)]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    desk.set(min_free=10)
    desk.task._space = Space(lambda: 6 - 2 * sum(path.exists() for path in paths), lambda: 0)
    desk.run()
    assert [False, False, False] == [path.exists() for path in paths]
    paths[0].parent.mkdir()
    paths[0].write_bytes(b"x")
    desk.task._space = Space(lambda: 5, lambda: 0)
    desk.run()
    assert paths[0].exists()


def test_a_disk_that_fills_up_ends_an_archive_and_takes_back_its_room(desk: Desk) -> None:
    """What is unfinished goes first, finished files stay if that is enough; later it is written all the same."""
    old = desk.shelf.file("metrics-{}.db.gz", START_MS - DAY_MS)
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x")
    put(desk.store, [Put(START_MS + n, n) for n in range(100)])
    for _ in range(8):
        assert desk.task.step(desk.now_ms)
    unfinished = [name for name in desk.names() if not name.endswith(".gz")]
    assert unfinished
    desk.task._space = Space(
        lambda: 1 << 40 if not any(name.endswith(".tmp") for name in desk.names()) else 0, lambda: 0
    )
    assert not desk.task.step(desk.now_ms)
    assert f"{day(START_MS - DAY_MS)}/metrics-00.db.gz" in desk.names()
    assert [] == [name for name in desk.names() if name.endswith(".tmp")]
    desk.task._space = Space(lambda: None, lambda: 0)
    desk.run()
    assert f"{day(START_MS)}/metrics-00.db.gz" in desk.names()


def test_an_archive_that_cannot_be_written_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error goes to the caller, and the next attempt succeeds."""
    put(desk.store, [Put(START_MS, 1)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _no_device)
        with pytest.raises(OSError, match="I/O error"):
            desk.run()
    desk.run()
    assert f"{day(START_MS)}/metrics-00.db.gz" in desk.names()


def _no_device(_fd: int) -> None:
    raise OSError(5, "I/O error")


def test_memory_and_slices_are_bounded_by_rows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step takes more rows than the pace allows, and no more bytes than go with them."""
    put(desk.store, [Put(START_MS + n, n) for n in range(300)])
    seen: list[int] = []

    class Measured(ArchiveFile):
        def add(self, rows: Sequence[StoredSample]) -> None:
            seen.append(len(rows))
            super().add(rows)

    monkeypatch.setattr("buffer.storage.store.ArchiveFile", Measured)
    desk.run()
    assert 300 == sum(seen)
    assert 7 == max(seen)


def test_the_default_settings_are_the_documents() -> None:
    """Every 12 hours, on."""
    assert (True, 43_200.0) == (Settings().enabled, Settings().interval_s)
