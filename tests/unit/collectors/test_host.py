"""Reading a machine's files: what cannot be read costs that item, and says why."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import collectors.host
from collectors.host import Host, unsigned
from tests.unit.collectors import trees


@pytest.fixture
def fifo(tmp_path: Path) -> int:
    """Make a pipe named `sensor` that has a writer and nothing in it: read(2) says EAGAIN."""
    os.mkfifo(tmp_path / "sensor")
    return os.open(tmp_path / "sensor", os.O_RDWR | os.O_NONBLOCK)


def test_eagain_is_a_fault(tmp_path: Path, fifo: int) -> None:
    """A driver that says EAGAIN gives nothing and a reason; Python's buffered readers raise TypeError there."""
    host = Host(tmp_path)
    assert host.integer("sensor") is None
    os.close(fifo)
    assert {"sensor": os.strerror(errno.EAGAIN)} == host.faults


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.EACCES, errno.ENODATA, errno.EISDIR])
def test_other_errors_are_faults(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there and cannot be read is a fault with the kernel's reason."""
    monkeypatch.setattr(collectors.host, "read", trees.failing(number))
    host = Host()
    assert host.text("proc/stat") is None
    assert ({"proc/stat": os.strerror(number)}, set()) == (host.faults, host.absent)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EOPNOTSUPP])
def test_what_is_not_there_is_absent(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device or a kernel's feature that is not there is no fault."""
    monkeypatch.setattr(collectors.host, "read", trees.failing(number))
    host = Host()
    assert host.text("proc/stat") is None
    assert ({}, {"proc/stat"}) == (host.faults, host.absent)


def test_begin_forgets(tmp_path: Path) -> None:
    """Each collect has its own faults."""
    host = trees.write(tmp_path, {"sensor": "no number"})
    host.integer("sensor")
    host.text("other")
    host.begin(1.0)
    assert ({}, set()) == (host.faults, host.absent)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("42\n", 42),
        ("-44000\n", -44000),
        ("0", 0),
        ("", None),
        ("\n", None),
        ("<unknown>\n", None),
        ("1.5\n", None),
        ("9" * 30, None),
        ("9" * 5000, None),
    ],
)
def test_integer(content: str, expected: int | None, tmp_path: Path) -> None:
    """A file holds one whole number of 64 bits, or none."""
    host = trees.write(tmp_path, {"sensor": content})
    assert expected == host.integer("sensor")
    assert (expected is None) == bool(host.faults)


@pytest.mark.parametrize(
    ("content", "lines", "fault"),
    [
        ("a\nb\n", ["a", "b"], None),
        ("a\nb", ["a"], "ends inside a line"),
        ("a\x85b\u2028c\n", ["a\x85b\u2028c"], None),
    ],
)
def test_parse_hands_over_complete_lines(content: str, lines: list[str], fault: str | None, tmp_path: Path) -> None:
    """A last line that was cut is not handed to a parser; only a newline ends a line."""
    host = trees.write(tmp_path, {"table": content})
    assert lines == host.parse("table", list)
    assert fault == host.faults.get("table")


@pytest.mark.parametrize(("content", "fault"), [("", "empty"), ("x\n", "not understood"), ("x", "ends inside a line")])
def test_parse_of_nothing(content: str, fault: str, tmp_path: Path) -> None:
    """What a parser can make nothing of is a fault."""
    host = trees.write(tmp_path, {"table": content})
    assert host.parse("table", lambda _lines: None) is None
    assert {"table": fault} == host.faults


def test_a_file_beyond_the_limit_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning is not taken for the whole."""
    host = trees.write(tmp_path, {"table": "x" * 100, "just": "x" * 99})
    monkeypatch.setattr(collectors.host, "MAX_BYTES", 99)
    assert (None, "x" * 99) == (host.text("table"), host.text("just"))
    assert {"table": "longer than 99 bytes"} == host.faults


@pytest.mark.parametrize(
    ("content", "expected"),
    [("a\nbb\ncc\n", "cc\n"), ("a\n", "a\n"), ("aaaaaaaaaaaa", ""), ("", ""), ("12345\n78\n", "78\n")],
)
def test_the_tail_of_a_file_that_grows(content: str, expected: str, tmp_path: Path) -> None:
    """Whole lines alone; what is before costs nothing."""
    host = trees.write(tmp_path, {"log": content})
    assert expected == host.tail("log", 6)
    assert {} == host.faults


@pytest.mark.parametrize("kind", ["a stranger's", "a link", "a pipe", "a folder"])
def test_what_anybody_may_have_put_there(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In /tmp a file is read that is regular, no link, and of somebody who is trusted."""
    host = trees.write(tmp_path, {"ours": "words\n"})
    assert ("words\n", "words\n") == (host.trusted_text("ours"), host.tail("ours", 100))
    path = "ours" if kind == "a stranger's" else "theirs"
    if kind == "a stranger's":
        monkeypatch.setattr(Host, "trusted_users", lambda _: frozenset({os.geteuid() + 1}))
    elif kind == "a link":
        (tmp_path / path).symlink_to("ours")
    elif kind == "a pipe":
        os.mkfifo(tmp_path / path)
    else:
        (tmp_path / path).mkdir()
    assert (None, None) == (host.trusted_text(path), host.tail(path, 100))
    assert [path] == list(host.faults)


def test_who_is_trusted(tmp_path: Path) -> None:
    """This user, whose the root is (root, on a machine), and whose belaUI is."""
    (tmp_path / "opt/belaUI").mkdir(parents=True)
    assert {os.geteuid()} == Host(tmp_path).trusted_users()
    assert {os.geteuid(), 0} <= Host().trusted_users()


def test_numbered(tmp_path: Path) -> None:
    """Numbered names come in the order of their numbers, others not at all."""
    for name in ("zone10", "zone9", "zone", "zoneX", "other1", "zone0"):
        (tmp_path / name).touch()
    assert ["zone0", "zone9", "zone10"] == Host(tmp_path).numbered("", "zone")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("18446744073709551615", 2**64 - 1),
        ("-1", None),
        ("1_0", None),
        ("", None),
        ("²", None),
        ("9" * 21, None),
    ],
)
def test_unsigned(text: str, expected: int | None) -> None:
    """A counter is decimal digits, as many as 64 bits need."""
    assert expected == unsigned(text)


def test_nothing_mounted(tmp_path: Path) -> None:
    """A directory where nothing is mounted does not pass for the file system around it."""
    (tmp_path / "mnt").mkdir()
    host = Host(tmp_path)
    assert host.file_system("/mnt") is None
    assert {"/mnt"} == host.absent


def test_mounted() -> None:
    """A mount point tells what statvfs(2) says."""
    status = Host().file_system("/proc")
    assert status is not None
    assert os.statvfs("/proc").f_namemax == status.f_namemax


def test_nul_in_a_name() -> None:
    """A name that no path can have is a fault, not an exception."""
    host = Host()
    assert (None, [], None) == (host.text("a\0b"), host.names("a\0b"), host.file_system("/a\0b"))
    assert {"a\0b"} == set(host.faults)
