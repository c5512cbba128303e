"""What the journal hears: each line where it is kept in memory, what is worth a look where it is on the disk."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import journal, log
from common.log import Log


@pytest.fixture
def heard(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen in the journal's place, in memory, for a process of systemd's."""
    monkeypatch.setattr(journal, "SOCKET", run_dir / "journal")
    monkeypatch.setattr(journal, "ON_DISK", run_dir / "kept")
    monkeypatch.setenv("JOURNAL_STREAM", "9:123")
    monkeypatch.setattr(log, "_in_force", [])  # another test may have set up the same, without a journal
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as place:
        place.bind(str(run_dir / "journal"))
        place.settimeout(30)
        yield place
    monkeypatch.delenv("JOURNAL_STREAM")
    log.set_up("info", "json", "stderr")


def test_a_line_has_its_process_as_identifier(heard: socket.socket) -> None:
    """In words: time and level are the journal's own; a second direction of the log does not double it."""
    log.set_up("info", "json", "stdout")
    log.set_up("debug", "console", "stdout")
    Log("buffer").warning("commit is late", delay_ms=12)
    assert b"MESSAGE=commit is late delay_ms=12\nPRIORITY=4\nSYSLOG_IDENTIFIER=belabox-metrics-buffer\n" == heard.recv(
        999
    )
    Log("buffer").info("two\nlines")
    assert b"MESSAGE=two\\nlines\nPRIORITY=6\nSYSLOG_IDENTIFIER=belabox-metrics-buffer\n" == heard.recv(999)


def test_on_the_disk_it_has_what_is_worth_a_look(heard: socket.socket, run_dir: Path) -> None:
    """All else is in the file already."""
    (run_dir / "kept").mkdir()
    log.set_up("info", "json", "stdout")
    Log("buffer").info("uploaded")
    Log("buffer").error("gone")
    assert b"MESSAGE=gone\n" in heard.recv(999)


def test_a_journal_that_is_gone_holds_nobody_up(heard: socket.socket) -> None:
    """The line is in the file."""
    log.set_up("info", "json", "stdout")
    heard.close()
    Log("buffer").error("gone")


def test_outside_of_systemd_there_is_none(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's journal stays clean."""
    monkeypatch.delenv("JOURNAL_STREAM")
    assert [] == journal.handlers()
    monkeypatch.setenv("JOURNAL_STREAM", "9:123")
    heard.close()
    journal.SOCKET.unlink()
    assert [] == journal.handlers()
