"""A producer against a buffer's real socket: acks, holes, resends, drops, and what a kill leaves behind."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common import catalog, clock, wire
from common import publisher as module
from common.instruments import Instruments
from common.lock import AlreadyRunning
from common.log import Log
from common.outbox import Entry, Outbox
from common.publisher import Publisher, send_heartbeat
from common.sample import Batch, Sample
from common.wire import Ack
from tests.harness import ROOT, wait_for
from tests.patience import Patience
from tests.unit.common.peers import RawBuffer, serve

NOW_MS = 1_760_193_000_000

Make = Callable[..., Publisher]


@pytest.fixture
def instruments() -> Instruments:
    """What the publisher of a test counts."""
    return Instruments()


@pytest.fixture
def make(run_dir: Path, instruments: Instruments, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return a maker of publishers; they are closed without waiting for acks."""
    made: list[Publisher] = []

    def new(name: str = "p", max_samples: int = 100_000) -> Publisher:
        made.append(Publisher(name, run_dir, instruments, Log("test"), max_samples))
        return made[-1]

    yield new
    monkeypatch.setattr(module, "EXIT_WAIT_S", 0)
    for one in made:
        if not one.socket.closed:
            one.close()


def publish(publisher: Publisher, *values: float, name: str = "m") -> None:
    """Publish one batch for each value."""
    for value in values:
        publisher.publish([Sample(name, value)], NOW_MS)


def values(buffer: RawBuffer) -> list[object]:
    """Return the values that a buffer has taken."""
    return [sample.value for batch in buffer.batches for sample in batch.samples]


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [record.getMessage() for record in caplog.records]


def test_a_batch_reaches_the_buffer_as_it_was_read(run_dir: Path, make: Make) -> None:
    """Producer, epoch, numbers from 1, clocks and samples arrive."""
    producer = make()
    with RawBuffer(run_dir) as buffer:
        producer.publish([Sample("m", 1.5, {"l": "v"})], NOW_MS)
        producer.publish([Sample("m", 2)], NOW_MS + 1, urgent=True)
        serve(producer, "two batches", lambda: buffer.take() == 2)
    first, second = buffer.batches
    assert ("p", producer.epoch, 1, NOW_MS, False) == (
        first.producer, first.epoch, first.seq, first.timestamp_ms, first.urgent,
    )  # fmt: skip
    assert [Sample("m", 1.5, {"l": "v"})] == first.samples
    assert (2, NOW_MS + 1, True) == (second.seq, second.timestamp_ms, second.urgent)


@pytest.mark.parametrize("step_ms", [-86_400_000, 0, 1, 86_400_000, 20 * 365 * 86_400_000])
def test_a_clock_that_steps_between_reading_and_publishing_costs_nothing(
    run_dir: Path, make: Make, step_ms: int
) -> None:
    """A sample stamped before NTP moved the clock by years is still a batch that the buffer takes."""
    producer = make()
    with RawBuffer(run_dir) as buffer:
        producer.publish([Sample("m", 1)], time.time_ns() // 1_000_000 - step_ms)
        serve(producer, "the batch", lambda: buffer.take() == 1)
    assert [1] == values(buffer)


def test_a_critical_sample_makes_its_batch_urgent(run_dir: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has priority 0 does not wait for company at the buffer."""
    critical = catalog.Metric("alarm", "gauge", "", (), "", 0, "alarm")
    monkeypatch.setattr(catalog, "find", lambda _name: critical)
    producer = make()
    with RawBuffer(run_dir) as buffer:
        publish(producer, 1, name="alarm")
        serve(producer, "the batch", buffer.take)
    assert [True] == [batch.urgent for batch in buffer.batches]


def test_an_ack_names_exactly_what_is_committed(run_dir: Path, make: Make) -> None:
    """After acks of 2 and 4, a buffer that starts anew gets 1, 3 and 5 and nothing else."""
    producer = make()
    with RawBuffer(run_dir) as buffer:
        publish(producer, 1, 2, 3, 4, 5)
        serve(producer, "five batches", lambda: buffer.take() == 5)
        buffer.ack([buffer.batches[1], buffer.batches[3]])
        serve(producer, "two acks", lambda: producer.unacked_samples == 3)
    with RawBuffer(run_dir) as again:
        serve(producer, "the rest", lambda: again.take() == 3)
    assert [1, 3, 5] == again.seqs


def test_a_restarted_buffer_gets_everything_unacked_byte_for_byte(run_dir: Path, make: Make) -> None:
    """A new subscription is answered with the same payloads, so that the database can tell they are the same."""
    producer = make()
    with RawBuffer(run_dir) as buffer:
        publish(producer, *range(50))
        serve(producer, "50 batches", lambda: buffer.take() == 50)
    with RawBuffer(run_dir) as again:
        serve(producer, "50 batches again", lambda: again.take() == 50)
    assert buffer.payloads == again.payloads


def test_what_was_published_without_a_buffer_arrives_once_there_is_one(run_dir: Path, make: Make) -> None:
    """A slow start of the buffer loses nothing."""
    producer = make()
    publish(producer, 1, 2, 3)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "three batches", lambda: buffer.take() == 3)
    assert [1, 2, 3] == buffer.seqs


def test_a_reader_that_stops_costs_nothing_and_acks_make_room(run_dir: Path, make: Make) -> None:
    """What a full pipe refuses is sent once it is read again: every batch exactly once, without a timer."""
    count = 2_000
    producer = make()
    with RawBuffer(run_dir, queue=10) as buffer:
        serve(producer, "the subscription", lambda: not buffer.take() and producer._subscribed)
        text = "x" * 500  # a pipe is also what the kernel holds
        for number in range(count):
            producer.publish([Sample("m", text), Sample("n", number)], NOW_MS)
        refused = sum(entry.sent_s is None for entry in producer._outbox.entries())

        def read_and_ack() -> bool:
            known = len(buffer.payloads)
            buffer.take()
            buffer.ack([wire.decode_batch(payload)[0] for payload in buffer.payloads[known:]])
            return not producer.unacked_samples

        serve(producer, "everything acked", read_and_ack)
    assert refused > count / 4
    assert list(range(1, count + 1)) == sorted(buffer.seqs)


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now_s


def test_what_stays_unacked_is_sent_again_after_10_20_40_and_80_seconds(
    run_dir: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost ack is made up for, and a paused buffer is asked less and less often; an ack resets that."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    producer = make()
    with RawBuffer(run_dir) as buffer:
        publish(producer, 1)
        serve(producer, "the batch", lambda: buffer.take() == 1)
        waits: list[float] = []
        resent_s = clock.now_s
        for _ in range(320):
            clock.now_s += 1
            producer.tick()
            if producer._outbox.entries()[0].sent_s == clock.now_s:
                serve(producer, "a resend", lambda: buffer.take() == len(waits) + 2)
                waits.append(clock.now_s - resent_s)
                resent_s = clock.now_s
        assert [11, 21, 41, 81, 81, 81] == waits
        assert {buffer.payloads[0]} == set(buffer.payloads)
        publish(producer, 2)
        buffer.ack(buffer.batches[:1])
        serve(producer, "the ack", lambda: producer.unacked_samples == 1)
        clock.now_s += 11
        known = len(buffer.payloads)
        producer.tick()
        serve(producer, "a resend after 10 s", lambda: buffer.take() >= known + 1)
    monkeypatch.setattr(module, "time", time)


def test_what_a_full_outbox_drops_is_counted_by_priority(
    make: Make, instruments: Instruments, caplog: pytest.LogCaptureFixture
) -> None:
    """Oldest of the lowest priority first; each loss is in a counter of this producer, and one log line a minute."""
    producer = make(max_samples=3)
    publish(producer, 1, 2, 3, 4, 5, name="memory.total_bytes")
    expected = {"producer": "p", "priority": "2", "reason": "outbox_full"}
    assert 2 == instruments.counter("publisher.dropped_samples_total", **expected)
    assert 3 == producer.unacked_samples
    assert 1 == messages(caplog).count("dropped samples")


def test_a_batch_of_several_priorities_is_counted_sample_by_sample(
    make: Make, instruments: Instruments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One critical sample among others does not make all of them critical losses."""
    for priority, name in ((0, "alarm"), (3, "detail")):
        monkeypatch.setitem(catalog.METRICS, name, catalog.Metric(name, "gauge", "", (), "A test's.", priority, name))
    catalog.find.cache_clear()  # another test may have asked for these names
    publisher = make(max_samples=4)
    for _ in range(2):
        publisher.publish(
            [Sample("alarm", 1.0), Sample("m", 2.0), Sample("detail", 3.0), Sample("detail", 4.0)], NOW_MS
        )
    counted = [
        instruments.counter("publisher.dropped_samples_total", producer="p", priority=priority, reason="outbox_full")
        for priority in "0123"
    ]
    assert [1, 0, 1, 2] == counted


def test_drops_are_counted_when_the_spool_cannot_be_written_either(
    run_dir: Path, make: Make, instruments: Instruments
) -> None:
    """A full disk during a long outage does not hide the losses of the window."""
    (run_dir / "spool").mkdir()
    (run_dir / "spool" / "p.batches").symlink_to("/dev/full")
    publish(make(max_samples=3), 1, 2, 3, 4, 5)
    assert 2 == instruments.counter("publisher.dropped_samples_total", producer="p", priority="2", reason="outbox_full")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, 2**63, 10**400])
def test_what_cannot_be_delivered_is_dropped_and_counted(
    run_dir: Path, make: Make, instruments: Instruments, value: float
) -> None:
    """A value that no server takes costs itself alone and is counted with its priority."""
    producer = make()
    producer.publish([Sample("m", value), Sample("m", 1)], NOW_MS)
    assert 1 == instruments.counter("publisher.dropped_samples_total", producer="p", priority="2", reason="not_finite")
    with RawBuffer(run_dir) as buffer:
        serve(producer, "the batch", buffer.take)
    assert [1] == values(buffer)


@pytest.mark.parametrize("timestamp_ms", [5_000, wire.LATEST_MS + 1])
def test_a_board_in_1970_keeps_its_samples(
    run_dir: Path, make: Make, monkeypatch: pytest.MonkeyPatch, timestamp_ms: int
) -> None:
    """The buffer takes the batch, and dates it by the time since boot."""
    producer, boot_ms = make(), clock.boottime_ms()
    monkeypatch.setattr(clock, "wall_ms", lambda: timestamp_ms)
    producer.publish([Sample("m", 1)], timestamp_ms)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "the batch", lambda: buffer.take() == 1)
    batch, refused = wire.decode_batch(buffer.payloads[0])
    assert (0, 1) == (refused, len(batch.samples))
    assert 0 <= batch.boottime_ms - boot_ms < 60_000


@pytest.mark.parametrize("timestamp_ms", [0, 5_000, wire.EARLIEST_MS - 1, wire.LATEST_MS + 1])
def test_without_a_boot_a_clock_outside_any_date_costs_its_samples(
    run_dir: Path, make: Make, instruments: Instruments, timestamp_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing could ever date them; they are counted, and fill no outbox with what no ack removes."""
    monkeypatch.setattr(clock, "boot_id", lambda: "")
    producer = make()
    producer.publish([Sample("m", 1), Sample("n", 2)], timestamp_ms)
    assert 0 == producer.unacked_samples
    assert 2 == instruments.counter("publisher.dropped_samples_total", producer="p", priority="2", reason="no_date")
    publish(producer, 3)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "the next batch", lambda: buffer.take() == 1)
    assert [3] == values(buffer)


def test_more_samples_than_a_batch_may_hold_become_several(run_dir: Path, make: Make) -> None:
    """A collect of any size arrives whole, in batches the buffer takes, numbered without a hole."""
    producer = make()
    producer.publish([Sample("m", number) for number in range(45_000)], NOW_MS)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "all of it", lambda: buffer.take() and len(buffer.payloads) == 4)
    batches = buffer.batches
    assert list(range(45_000)) == [sample.value for batch in batches for sample in batch.samples]
    assert [1, 2, 3, 4] == [batch.seq for batch in batches]


def test_more_bytes_than_a_batch_may_hold_become_several(run_dir: Path, make: Make, instruments: Instruments) -> None:
    """A thousand long texts would break the connection as one message; as several they arrive."""
    producer = make()
    texts = [Sample("m", f"{number:04}" + "x" * 8_000) for number in range(1_000)]
    producer.publish([*texts, Sample("m", "x" * (wire.MAX_BATCH_BYTES + 1))], NOW_MS)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "all of it", lambda: buffer.take() and len(values(buffer)) == 1_000)
    assert [text.value for text in texts] == values(buffer)
    assert max(map(len, buffer.payloads)) <= wire.MAX_BATCH_BYTES
    assert 1 == instruments.counter("publisher.dropped_samples_total", producer="p", priority="2", reason="too_large")


KILLED_PRODUCER = """
import os, signal, sys
from pathlib import Path
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import Batch, Sample
producer = Publisher("p", Path(sys.argv[1]), Instruments(), Log("p"), 100_000)
for number in range(int(sys.argv[2])):
    producer.publish([Sample("m", number), Sample("t", "text")], 1_760_193_000_000 + number)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_producer(run_dir: Path, batches: int) -> None:
    """Run a producer that publishes batches to nobody and is killed."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED_PRODUCER, str(run_dir), str(batches)], cwd=ROOT, check=False, timeout=60
    )
    assert -signal.SIGKILL == done.returncode


def test_what_a_killed_producer_had_in_flight_is_resent_by_the_next(
    run_dir: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A kill -9 loses nothing: the next process of that name sends the same batches under their old epoch."""
    caplog.set_level(logging.INFO)
    killed_producer(run_dir, 30)
    producer = make()
    publish(producer, 1000)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "31 batches", lambda: buffer.take() == 31)
        buffer.ack(buffer.batches)
        serve(producer, "all acked", lambda: producer.unacked_samples == 0)
    old, new = buffer.batches[:30], buffer.batches[30]
    assert list(range(30)) == [batch.samples[0].value for batch in old]
    assert [NOW_MS + number for number in range(30)] == [batch.timestamp_ms for batch in old]
    assert (1, producer.epoch) == (new.seq, new.epoch)
    assert 2 == len({batch.epoch for batch in buffer.batches})
    assert "took over spooled batches" in messages(caplog)
    assert 0 == (run_dir / "spool" / "p.batches").stat().st_size


def test_an_ack_of_one_epoch_says_nothing_of_another(run_dir: Path, make: Make) -> None:
    """Number 1 of the killed process and number 1 of this one are two batches."""
    killed_producer(run_dir, 1)
    producer = make()
    publish(producer, 1000)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "two batches", lambda: buffer.take() == 2)
        assert [1, 1] == buffer.seqs
        buffer.ack(buffer.batches[:1])
        serve(producer, "one ack", lambda: producer.unacked_samples == 1)
    assert [producer.epoch] == [one.key[0] for one in producer._outbox.entries()]


def test_a_spooled_batch_that_cannot_be_read_is_reported_and_left_out(
    run_dir: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A spool of another version costs a log line, not the start."""
    (run_dir / "spool").mkdir()
    held = Outbox(run_dir / "spool" / "p.batches", 10)
    of_version_2 = Entry(("e", 1), Counter({2: 1}), b"\x92\x02\x00")
    held.add(of_version_2)
    held.spool(of_version_2)
    held.close()
    assert 0 == make().unacked_samples
    assert ["dropped a spooled batch"] == messages(caplog)


def test_a_full_disk_under_the_spool_only_logs(run_dir: Path, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Without room for the spool everything is delivered as ever, and one line a minute says what is missing."""
    (run_dir / "spool").mkdir()
    (run_dir / "spool" / "p.batches").symlink_to("/dev/full")
    producer = make()
    publish(producer, 1, 2, 3)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "three batches", lambda: buffer.take() == 3)
        buffer.ack(buffer.batches)
        serve(producer, "all acked", lambda: producer.unacked_samples == 0)
    assert ["cannot write the spool"] == messages(caplog)


def test_what_dies_with_a_producer_that_could_not_spool_is_counted_by_the_next(
    run_dir: Path, make: Make, instruments: Instruments, caplog: pytest.LogCaptureFixture
) -> None:
    """By priority: what is unacked and in memory alone; what was acked or spooled is not lost."""
    (run_dir / "spool").mkdir()
    (run_dir / "spool" / "p.batches").symlink_to("/dev/full")
    killed = make()
    publish(killed, 1, 2, 3)
    with RawBuffer(run_dir) as buffer:
        serve(killed, "three batches", lambda: buffer.take() == 3)
        buffer.ack(buffer.batches[:1])
        serve(killed, "the ack", lambda: killed.unacked_samples == 2)
    killed._spools.close()  # the kernel does that to a killed process
    make()
    assert 2 == instruments.counter("publisher.dropped_samples_total", producer="p", priority="2", reason="not_spooled")
    assert module.LOST_WITH_PROCESS in messages(caplog)


def test_what_dies_with_a_spool_that_is_deleted_is_counted_by_the_next(
    run_dir: Path, make: Make, instruments: Instruments, caplog: pytest.LogCaptureFixture
) -> None:
    """Once: what was unacked when the last process was killed, and is not found."""
    killed = make()
    publish(killed, 1, 2)
    killed._spools.close()  # the kernel does that to a killed process
    shutil.rmtree(run_dir / "spool")
    for _ in range(2):
        make().close()
    assert 2 == instruments.counter("publisher.dropped_samples_total", producer="p", priority="2", reason="not_spooled")
    assert 1 == messages(caplog).count(module.LOST_WITH_PROCESS)


@pytest.mark.parametrize("is_shrunk", [False, True])
def test_a_kill_at_an_ack_invents_no_loss(
    run_dir: Path, make: Make, instruments: Instruments, monkeypatch: pytest.MonkeyPatch, is_shrunk: bool
) -> None:
    """Before or after the spool is emptied: what is acked is not counted as lost."""
    killed = make()
    publish(killed, 1, 2)
    if not is_shrunk:
        monkeypatch.setattr(Outbox, "shrink", lambda _: None)
    with RawBuffer(run_dir) as buffer:
        serve(killed, "two batches", lambda: buffer.take() == 2)
        buffer.ack(buffer.batches)
        serve(killed, "the acks", lambda: killed.unacked_samples == 0)
    killed._spools.close()
    make()
    assert 0 == instruments.counter("publisher.dropped_samples_total", producer="p", priority="2", reason="not_spooled")


def test_a_spool_that_can_be_written_again_holds_what_it_missed(
    run_dir: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as the disk has room a kill costs nothing any more."""
    killed = make()
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", lambda *_: 0)
        publish(killed, 1, 2)
    killed.tick()
    killed._spools.close()
    assert 2 == make().unacked_samples


def test_no_place_for_a_spool_only_logs(run_dir: Path, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A run directory that takes no files still publishes."""
    (run_dir / "spool").write_text("in the way", encoding="ascii")
    producer = make()
    publish(producer, 1)
    with RawBuffer(run_dir) as buffer:
        serve(producer, "the batch", buffer.take)
    assert ["no spool; what is unacked is lost if this process is killed"] == messages(caplog)


@pytest.mark.root
def test_a_read_only_disk_under_the_spool_only_logs(
    run_dir: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A file system that went read-only after an error does not keep a producer from publishing."""
    spool = run_dir / "spool"
    spool.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "spool", spool], check=False, capture_output=True
    ).returncode:
        pytest.skip("NOT ALLOWED TO MOUNT: this test of a read-only disk did not run")
    try:
        producer = make()
        publish(producer, 1)
        with RawBuffer(run_dir) as buffer:
            serve(producer, "the batch", buffer.take)
        (record,) = caplog.records
        assert "Read-only file system" in vars(record)["fields"]["error"]
    finally:
        subprocess.run(["umount", "-l", spool], check=True)


def test_two_processes_cannot_publish_under_one_name(make: Make) -> None:
    """The second collector of a name would count everything twice and write into the first one's spool."""
    first = make("cpu")
    make("memory")
    with pytest.raises(AlreadyRunning, match="producer cpu is in use by process"):
        make("cpu")
    first.close()
    make("cpu")


def test_close_waits_for_the_last_acks(run_dir: Path, make: Make) -> None:
    """A producer that ends asks for a commit with an empty urgent batch and leaves an empty spool."""
    producer = make()
    done = threading.Event()

    def answer() -> None:
        with RawBuffer(run_dir) as buffer:
            while not done.is_set():
                known = len(buffer.payloads)
                if buffer.take() > known and buffer.batches[-1].urgent:
                    buffer.ack(buffer.batches)
                done.wait(0.005)

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        publish(producer, 1, 2)
        serve(producer, "the subscription", lambda: producer._subscribed)
        producer.close()
    finally:
        done.set()
        answering.join()
    assert 0 == producer.unacked_samples
    assert 0 == (run_dir / "spool" / "p.batches").stat().st_size


def test_close_waits_half_a_second_at_most_and_leaves_the_rest_to_the_spool(
    run_dir: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A buffer that does not ack delays the end of a producer no longer than that, and loses nothing."""
    producer = make()
    with RawBuffer(run_dir) as buffer:
        publish(producer, 1, 2)
        serve(producer, "two batches", lambda: buffer.take() == 2)
        patience, began_s = Patience(1.5), time.monotonic()
        producer.close()
        assert 0.4 < time.monotonic() - began_s
        assert not patience.is_over()
    assert "left unacked samples in the spool" in messages(caplog)
    again = make()
    with RawBuffer(run_dir) as second:
        serve(again, "the rest", lambda: second.take() == 3)
    assert [1, 2] == values(second)


def test_close_without_a_buffer_does_not_wait(make: Make) -> None:
    """With nobody subscribed there is nothing to wait for."""
    producer = make()
    publish(producer, 1)
    patience = Patience(0.4)
    producer.close()
    assert not patience.is_over()


@pytest.mark.parametrize(
    "frame",
    [
        b"ack",
        b"ack\xc1",
        b"ack" + wire.pack([1, [["p", ["e"], [1]]]]),
        b"ack" + wire.pack([1, [["p", "e", [[1]]]]]),
        b"ack" + wire.pack([9, []]),
        b"sample",
        b"\x02",
    ],
)
def test_what_is_no_ack_acknowledges_nothing(run_dir: Path, make: Make, frame: bytes) -> None:
    """Garbage from above is ignored, and the next real ack counts."""
    producer = make()
    with RawBuffer(run_dir) as buffer:
        publish(producer, 1, 2)
        serve(producer, "two batches", lambda: buffer.take() == 2)
        buffer.say(frame)
        buffer.ack(buffer.batches[:1])
        serve(producer, "the real ack", lambda: producer.unacked_samples == 1)


def test_acks_of_other_producers_are_ignored(run_dir: Path, make: Make) -> None:
    """Every producer hears every ack and takes its own."""
    producer = make()
    with RawBuffer(run_dir) as buffer:
        publish(producer, 1, 2)
        serve(producer, "two batches", lambda: buffer.take() == 2)
        others = [Ack("q", producer.epoch, [1, 2]), Ack("p", "0123", [1, 2]), Ack("p", producer.epoch, [99])]
        buffer.say(wire.encode_acks([*others, Ack("p", producer.epoch, [2])]))
        serve(producer, "its own ack", lambda: producer.unacked_samples == 1)
    assert [1] == [one.key[1] for one in producer._outbox.entries()]


def test_a_heartbeat_with_nobody_listening_is_gone_without_an_error(make: Make) -> None:
    """Health is told, not queued."""
    said = wire.Heartbeat("p", 1, "e", NOW_MS, NOW_MS, 2.0)
    producer = make()
    for _ in range(3):
        send_heartbeat(producer.socket, said)


def test_a_log_of_a_lost_sample_is_json_an_operator_can_search(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The line of a loss names reason, count and priority as fields."""
    publish(make(), float("nan"))
    fields = vars(caplog.records[0])["fields"]
    assert {"reason": "not_finite", "count": 1, "priority": 2} == json.loads(json.dumps(fields))


def test_what_another_name_left_is_taken_over(run_dir: Path, make: Make) -> None:
    """Batches spooled by processes whose work this one does now are delivered as they are, and their files are gone."""
    make("cpu").close()
    old = Outbox(run_dir / "spool" / "cpu.batches", 10)
    left = wire.encode_batch(Batch("cpu", "0123", 7, NOW_MS, 1, "b", False, [Sample("m", 1)]))
    entry = Entry(("0123", 7), Counter({2: 1}), left)
    old.add(entry)
    old.spool(entry)
    old.close()
    producer = make("system")
    producer.take_over(["cpu", "memory"])
    assert ["system.batches"] == [file.name for file in (run_dir / "spool").glob("*.batches")]
    with RawBuffer(run_dir) as buffer:
        serve(producer, "the old batch", lambda: buffer.take() == 1)
        assert [left] == buffer.payloads
        buffer.ack(buffer.batches)
        serve(producer, "its ack", lambda: producer.unacked_samples == 0)
    assert 0 == (run_dir / "spool" / "system.batches").stat().st_size


def test_names_that_are_taken_over_are_in_use(run_dir: Path, make: Make) -> None:
    """A source that runs in its collector cannot run beside it too: it would count everything twice."""
    make("system").take_over(["cpu", "memory"])
    with pytest.raises(AlreadyRunning, match="producer memory is in use"):
        make("memory")


def test_the_spool_is_private(run_dir: Path, make: Make) -> None:
    """Folder and files of the spool are this user's alone."""
    publish(make(), 1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (run_dir / "spool").iterdir()}
    assert dict.fromkeys(("p.batches", "p.lock"), 0o600) == modes
    assert 0o700 == (run_dir / "spool").stat().st_mode & 0o777


def test_a_subscription_that_goes_away_stops_the_sending(run_dir: Path, make: Make) -> None:
    """While there is no buffer nothing is sent into the void; the window keeps it."""
    producer = make()
    with RawBuffer(run_dir) as buffer:
        publish(producer, 1)
        serve(producer, "the batch", lambda: buffer.take() == 1)
    serve(producer, "the end of the subscription", lambda: not producer._subscribed)
    publish(producer, 2)
    wait_for("nothing", lambda: producer._outbox.entries()[1].sent_s is None, 1)
