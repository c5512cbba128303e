"""What is unacked: order, bounds, and the file that outlives a kill."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import outbox
from common.outbox import Entry, Outbox

ALL = 1_000_000


def entry(seq: int, priority: int = 2, samples: int = 1, size: int = 20) -> Entry:
    """Return a batch whose payload tells which one it is."""
    return Entry(("e", seq), Counter({priority: samples}), b"%d:" % seq + b"x" * size)


def filled(spool: Path | None, *entries: Entry, max_samples: int = ALL) -> Outbox:
    """Return a window that holds entries, spooled."""
    new = Outbox(spool, max_samples)
    for one in entries:
        new.add(one)
        new.spool(one)
    return new


def ack(held: Outbox, seqs: Iterable[int]) -> int:
    """Have batches acked, as a publisher does; return how many of them were there."""
    count = held.ack("e", seqs)
    held.shrink()
    return count


def left_behind(spool: Path) -> list[bytes]:
    """Return what the next process finds."""
    reader = Outbox(spool, ALL)
    payloads = list(reader.read_spool())
    reader.close()
    return payloads


def reopened(spool: Path) -> Outbox:
    """Return the next process's window, restored."""
    new = Outbox(spool, ALL)
    found = list(new.read_spool())
    new.restore(Entry(("e", int(payload.split(b":")[0])), Counter({2: 1}), payload) for payload in found)
    return new


def test_entries_come_out_in_order_of_publication() -> None:
    """What waits longest is resent first."""
    held = filled(None, entry(1), entry(2), entry(3))
    assert [1, 2, 3] == [one.key[1] for one in held.entries()]
    assert (3, 3) == (len(held), held.samples)


def test_an_ack_forgets_exactly_the_named() -> None:
    """An ack of 3 says nothing of 1 and 2, nor of another epoch's 3; unknown numbers are nothing."""
    held = filled(None, *map(entry, range(1, 6)))
    assert 0 == held.ack("other", [3])
    assert 2 == ack(held, [3, 5, 3, 77])
    assert [1, 2, 4] == [one.key[1] for one in held.entries()]
    assert held.get(("e", 3)) is None


def test_a_full_outbox_drops_the_oldest_of_the_lowest_priority() -> None:
    """Low goes before normal, old before new, and what is critical goes last."""
    held = Outbox(None, 4)
    for seq, priority in enumerate([0, 2, 3, 2]):
        assert [] == held.add(entry(seq, priority))
    dropped = [one.key[1] for seq in range(4, 8) for one in held.add(entry(seq, 1))]
    assert [2, 1, 3, 4] == dropped
    assert [0, 5, 6, 7] == [one.key[1] for one in held.entries()]


def test_the_newest_batch_is_never_the_one_that_is_dropped() -> None:
    """A batch larger than the whole window is held alone."""
    held = filled(None, entry(1), entry(2), max_samples=10)
    assert [1, 2] == [one.key[1] for one in held.add(entry(3, priority=3, samples=50))]
    assert 50 == held.samples


def test_what_is_unacked_survives_the_process(tmp_path: Path) -> None:
    """The next process finds every unacked payload, byte for byte and in order."""
    spool = tmp_path / "p.batches"
    held = filled(spool, entry(1), entry(2), entry(3))
    assert [one.payload for one in held.entries()] == left_behind(spool)
    held.close()


def test_the_spool_is_this_users_alone(tmp_path: Path) -> None:
    """Nobody else can read or write what is resent, whatever the umask."""
    old = os.umask(0)
    try:
        filled(tmp_path / "p.batches", entry(1)).close()
    finally:
        os.umask(old)
    assert 0o600 == (tmp_path / "p.batches").stat().st_mode & 0o777


def test_when_everything_is_acked_the_spool_is_empty(tmp_path: Path) -> None:
    """A quiet producer leaves no bytes behind."""
    spool = tmp_path / "p.batches"
    held = filled(spool, entry(1), entry(2))
    ack(held, [1, 2])
    assert 0 == spool.stat().st_size
    held.close()


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 20])
def test_a_torn_last_record_costs_itself_alone(tmp_path: Path, cut: int) -> None:
    """A kill in the middle of a write leaves the records before it readable."""
    spool = tmp_path / "p.batches"
    held = filled(spool, entry(1), entry(2))
    whole = spool.stat().st_size
    third = entry(3)
    held.add(third)
    held.spool(third)
    held.close()
    os.truncate(spool, whole + cut)
    assert [entry(1).payload, entry(2).payload] == left_behind(spool)


def test_what_follows_a_torn_record_is_readable_again(tmp_path: Path) -> None:
    """The next process writes over a torn tail, not behind it, so that a second kill loses nothing either."""
    spool = tmp_path / "p.batches"
    filled(spool, entry(1)).close()
    with spool.open("ab") as stream:
        stream.write(b"\x40\x00\x00\x00torn")
    second = reopened(spool)
    second.add(entry(2))
    second.spool(entry(2))
    second.close()
    assert [entry(1).payload, entry(2).payload] == left_behind(spool)


def test_a_damaged_record_ends_the_reading(tmp_path: Path) -> None:
    """A record whose checksum is wrong is not resent, nor is what follows it."""
    spool = tmp_path / "p.batches"
    filled(spool, entry(1), entry(2), entry(3)).close()
    content = bytearray(spool.read_bytes())
    content[len(content) // 2] ^= 1
    spool.write_bytes(content)
    assert [entry(1).payload] == left_behind(spool)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 100, b"\x00" * 64, bytes(range(256)) * 16])
def test_any_content_of_a_spool_is_read_without_an_error(tmp_path: Path, content: bytes) -> None:
    """A spool that is garbage holds nothing, or empty records; it does not keep a producer from starting."""
    spool = tmp_path / "p.batches"
    spool.write_bytes(content)
    assert [] == [payload for payload in left_behind(spool) if payload]


def test_the_spool_is_compacted_while_acks_come(tmp_path: Path) -> None:
    """A producer that is never quite caught up does not fill the disk."""
    spool = tmp_path / "p.batches"
    held = filled(spool, entry(0, size=100))
    for seq in range(1, 600):
        one = entry(seq, size=10_000)
        held.add(one)
        held.spool(one)
        ack(held, [seq])
    assert spool.stat().st_size < 2 * outbox.COMPACT_BYTES
    assert entry(0, size=100).payload in left_behind(spool)
    held.close()


def test_the_spool_is_compacted_while_batches_are_dropped(tmp_path: Path) -> None:
    """A buffer that is away for days costs the tmpfs a window, not days of batches."""
    spool = tmp_path / "p.batches"
    held = Outbox(spool, max_samples=5)
    for seq in range(600):
        one = entry(seq, size=10_000)
        held.add(one)
        held.spool(one)
    assert spool.stat().st_size < 2 * outbox.COMPACT_BYTES
    assert [one.payload for one in held.entries()] == left_behind(spool)[-5:]
    held.close()


def test_a_spool_that_cannot_be_rewritten_keeps_what_it_has(tmp_path: Path) -> None:
    """Compaction on a full disk fails without a word and without losing a record; the ack counts."""
    spool = tmp_path / "p.batches"
    spool.with_suffix(".new").mkdir()  # what stands in the way of the new file
    held = filled(spool, *(entry(seq, size=100_000) for seq in range(20)))
    assert 18 == ack(held, range(18))
    assert [entry(18, size=100_000).payload, entry(19, size=100_000).payload] == left_behind(spool)[-2:]
    held.close()


def test_a_spool_that_was_deleted_is_made_again_with_the_next_batch(tmp_path: Path) -> None:
    """With all that is unacked in it, whether its file or its folder is gone."""
    spool = tmp_path / "spool" / "p.batches"
    spool.parent.mkdir()
    held = filled(spool, entry(1))
    for seq in (2, 3):
        shutil.rmtree(spool.parent) if seq == 2 else spool.unlink()
        held.add(entry(seq))
        held.spool(entry(seq))
    assert [entry(seq).payload for seq in (1, 2, 3)] == left_behind(spool)
    held.close()


def test_a_short_write_is_an_error_and_not_a_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of a record does not hide the records that come after it."""
    spool = tmp_path / "p.batches"
    held = filled(spool, entry(1))
    write = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda fd, content, offset: write(fd, content[:9], offset))
        with pytest.raises(OSError, match="No space left"):
            held.spool(entry(2))
    held.spool(entry(3))
    assert [entry(1).payload, entry(3).payload] == left_behind(spool)
    held.close()


def test_a_full_disk_is_an_error_that_leaves_the_batch_in_the_outbox(tmp_path: Path) -> None:
    """Spooling is a precaution: without it the batch is delivered all the same."""
    spool = tmp_path / "p.batches"
    spool.symlink_to("/dev/full")
    held = Outbox(spool, ALL)
    held.add(entry(1))
    with pytest.raises(OSError, match="No space left"):
        held.spool(entry(1))
    assert entry(1) == held.get(("e", 1))
    assert 1 == ack(held, [1])
    held.close()


def full(*_: object) -> int:
    """Write nothing."""
    return 0


def test_what_could_not_be_spooled_is_spooled_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole, and once: what is in the spool already is not written again and again."""
    spool = tmp_path / "p.batches"
    held, files = filled(spool, entry(1)), [spool.stat().st_ino]
    held.respool()
    assert files == [spool.stat().st_ino]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        for seq in (2, 3):
            held.add(entry(seq))
            with pytest.raises(OSError, match="No space left"):
                held.spool(entry(seq))
        with pytest.raises(OSError, match="No space left"):
            held.respool()
    held.add(entry(4))
    held.spool(entry(4))
    assert [entry(1).payload, entry(4).payload] == left_behind(spool)
    for _ in range(2):
        held.respool()
        files.append(spool.stat().st_ino)
    assert files[0] != files[1] == files[2]
    assert [entry(seq).payload for seq in (1, 2, 3, 4)] == left_behind(spool)
    held.close()
    held.respool()
    assert files[2] == spool.stat().st_ino


def test_what_is_acked_was_not_to_be_spooled(tmp_path: Path) -> None:
    """An empty spool is not made again for nothing."""
    spool = tmp_path / "p.batches"
    held, file = filled(spool, entry(1)), spool.stat().st_ino
    held.ack("e", [1])
    held.shrink()
    held.respool()
    assert (0, file) == (spool.stat().st_size, spool.stat().st_ino)
    held.close()


@pytest.mark.parametrize(("samples", "priority"), [({2: 5, 0: 1}, 0), ({3: 1}, 3), ({}, 0)])
def test_a_batch_is_as_important_as_its_most_important_sample(samples: dict[int, int], priority: int) -> None:
    """What is dropped first has none that matters; one that nobody can read is kept."""
    assert priority == Entry(("e", 1), Counter(samples), b"").priority


def test_a_spool_that_is_gone_is_made_again_without_a_new_batch(tmp_path: Path) -> None:
    """With its folder, for this user alone: a kill in a quiet hour would lose what was in it."""
    spool = tmp_path / "spool" / "p.batches"
    spool.parent.mkdir()
    held = filled(spool, entry(1))
    shutil.rmtree(spool.parent)
    held.respool()
    assert ([entry(1).payload], 0o700) == (left_behind(spool), spool.parent.stat().st_mode & 0o7777)
    held.close()


def test_a_folder_that_may_not_be_looked_into_is_no_spool_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open is written all the same."""
    spool = tmp_path / "p.batches"
    held, file = filled(spool, entry(1)), spool.stat().st_ino
    held.add(entry(2))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda *_, **__: (_ for _ in ()).throw(PermissionError("no")))
        held.spool(entry(2))
    assert ([entry(1).payload, entry(2).payload], file) == (left_behind(spool), spool.stat().st_ino)
    held.close()


def test_a_spool_of_what_is_unacked_is_not_rewritten(tmp_path: Path) -> None:
    """However large: each batch would cost all that wait."""
    spool = tmp_path / "p.batches"
    held, file = filled(spool, entry(0, size=700_000)), spool.stat().st_ino
    for seq in range(1, 4):
        held.add(entry(seq, size=700_000))
        held.spool(entry(seq, size=700_000))
        assert file == spool.stat().st_ino
    held.close()


def test_a_batch_that_is_in_the_spool_twice_is_held_once(tmp_path: Path) -> None:
    """The sum of samples does not drift, whatever the file repeats."""
    held = Outbox(tmp_path / "p.batches", ALL)
    held.restore([entry(1), entry(1), entry(2)])
    ack(held, [1, 2])
    assert (0, 0) == (len(held), held.samples)
    held.close()


def test_a_batch_after_an_empty_spool_is_found(tmp_path: Path) -> None:
    """What is spooled once everything was acked stands at the start of the file, where the next process looks."""
    spool = tmp_path / "p.batches"
    held = filled(spool, entry(1))
    ack(held, [1])
    held.add(entry(2))
    held.spool(entry(2))
    assert [entry(2).payload] == left_behind(spool)
    held.close()


def test_an_empty_payload_at_the_end_is_a_record(tmp_path: Path) -> None:
    """Reading ends where the file ends, not one record before."""
    spool = tmp_path / "p.batches"
    filled(spool, entry(1), Entry(("e", 2), Counter({2: 1}), b"")).close()
    assert [entry(1).payload, b""] == left_behind(spool)


def test_the_spool_has_a_megabyte_of_what_is_acked_at_most(tmp_path: Path) -> None:
    """It is rewritten, for this user alone, when it exceeds a MiB and twice what is unacked."""
    spool = tmp_path / "p.batches"
    held = filled(spool, entry(0, size=400_000))
    largest, file = 0, spool.stat().st_ino
    for seq in range(1, 600):
        one = entry(seq, size=10_000)
        held.add(one)
        held.spool(one)
        largest = max(largest, spool.stat().st_size)
        ack(held, [seq])
        assert seq > 100 or file == spool.stat().st_ino, "1.4 MB are not worth it yet"
    assert largest <= 1024 * 1024 + 2 * 410_100
    assert 0o600 == spool.stat().st_mode & 0o777
    held.close()


def descriptors(folder: Path) -> int:
    """Count the open files of a folder."""
    return sum(str(folder) in str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


def test_a_spool_holds_one_descriptor_until_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compactions leave none behind, those that fail neither, nor their half of a file; closing twice is closing."""
    monkeypatch.setattr(outbox, "COMPACT_BYTES", 0)
    spool = tmp_path / "p.batches"
    held = filled(spool, *(entry(seq, size=100) for seq in range(10)))
    ack(held, range(7))
    assert 1 == descriptors(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
        ack(held, [7, 8])
    assert ([spool], 1) == (list(tmp_path.iterdir()), descriptors(tmp_path))
    held.close()
    held.close()
    assert 0 == descriptors(tmp_path)


STEPS = st.lists(st.tuples(st.sampled_from(["add", "ack", "restart"]), st.integers(0, 30)), max_size=40)


@given(STEPS, st.integers(0, 3))
def test_no_order_of_events_loses_an_unacked_batch(steps: list[tuple[str, int]], compact_kib: int) -> None:
    """After any adds, acks, restarts and compactions the spool holds at least what is unacked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "COMPACT_BYTES", compact_kib * 1024)
        folder = tempfile.TemporaryDirectory()
        spool = Path(folder.name) / "p.batches"
        held, expected = Outbox(spool, ALL), dict[int, bytes]()
        for seq, (step, argument) in enumerate(steps):
            if step == "add":
                one = entry(seq, size=argument * 20)
                held.add(one)
                held.spool(one)
                expected[seq] = one.payload
            elif step == "ack" and expected:
                acked = list(expected)[argument % len(expected)]
                ack(held, [acked])
                del expected[acked]
            elif step == "restart":
                held.close()
                held = reopened(spool)
        assert set(expected.values()) <= set(left_behind(spool))
        held.close()
        folder.cleanup()
