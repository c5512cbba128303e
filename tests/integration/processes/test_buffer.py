"""Batches into the real buffer: when they are committed, when they are acked, and what ends none of it."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from common import wire
from common.sample import Batch, Sample
from common.wire import Heartbeat
from tests.harness import ROOT, wait_for
from tests.patience import Patience
from tests.unit.buffer.clients import TIMEOUT_MS, WITH_ALARMS, Producer, RawProducer, prompt
from tests.unit.buffer.databases import DEVICE, NOW_MS, V2, make, query, v2_row
from tests.unit.common.child import Child, buffer
from tests.unit.common.peers import Ears, reading, serve

SLOW = {"BELABOX_STORAGE__COMMIT_INTERVAL": "60s"}

COUNTED = "SELECT count(*), count(DISTINCT metric_value) FROM metrics WHERE metric_name = 'm'"


def database(run_dir: Path) -> Path:
    """Return where a test's database is."""
    return run_dir / "metrics.db"


def settle(producer: Producer, within_s: float) -> None:
    """Wait until everything is acked; fail where it took longer than it may."""
    patience = Patience(within_s)
    producer.settle()
    assert not patience.is_over()


def connected(producer: Producer) -> None:
    """Wait for the buffer's subscription."""
    serve(producer.publisher, "the subscription", lambda: producer.publisher._subscribed)


def is_unacked(producer: Producer, samples: int, for_s: float = 0.3) -> bool:
    """Tell whether so many samples stay unacked for a while."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        if producer.publisher.socket.poll(10):
            producer.publisher.receive()
    return producer.publisher.unacked_samples == samples


def test_a_thousand_samples_are_committed_at_once(run_dir: Path) -> None:
    """One fewer waits for company, however small the batches are."""
    with buffer(run_dir, SLOW), Producer(run_dir) as producer:
        connected(producer)
        for number in range(333):
            producer.put(*(Sample("m", number, {"l": str(label)}) for label in range(3)), at_ms=NOW_MS + number)
        assert is_unacked(producer, 999)
        producer.put(Sample("m", -1))
        settle(producer, 5)
    assert [(1000,)] == query(database(run_dir), "SELECT count(*) FROM metrics")


def test_fewer_are_committed_after_the_interval(run_dir: Path) -> None:
    """No sample waits longer than `commit_interval`."""
    with buffer(run_dir, {"BELABOX_STORAGE__COMMIT_INTERVAL": "500ms"}), Producer(run_dir) as producer:
        connected(producer)
        producer.numbers(range(3))
        settle(producer, 5)


def test_an_urgent_batch_takes_along_what_waits(run_dir: Path) -> None:
    """Who is about to end, or has P0, is not kept waiting for 60 s, nor are those before it."""
    with Child(run_dir, ["-c", WITH_ALARMS], SLOW), Producer(run_dir) as producer:
        connected(producer)
        producer.numbers(range(3))
        assert is_unacked(producer, 3, 0.1)
        producer.put(Sample("m", 3), at_ms=NOW_MS + 3, urgent=True)
        settle(producer, 5)
        producer.numbers(range(4, 6))
        producer.put(Sample("alarm.0", 1), urgent=True)
        settle(producer, 5)


def test_a_reload_shortens_the_interval_at_once(run_dir: Path) -> None:
    """From 60 s to 100 ms on SIGHUP, what waits already is committed soon."""
    path = run_dir / "c.yaml"
    path.write_text("storage: {commit_interval: 60s}\n", encoding="ascii")
    from_file = {"BELABOX_STORAGE__COMMIT_INTERVAL": None}
    with buffer(run_dir, from_file, "--config", str(path)) as running, Producer(run_dir) as producer:
        connected(producer)
        producer.numbers(range(3))
        assert is_unacked(producer, 3, 0.1)
        path.write_text("storage: {commit_interval: 100ms}\n", encoding="ascii")
        running.send(signal.SIGHUP)
        running.wait_for_line("reloaded")
        producer.numbers(range(3, 6))
        settle(producer, 5)


def test_what_waits_is_committed_and_acked_at_the_end(run_dir: Path) -> None:
    """SIGTERM loses nothing that was read."""
    with buffer(run_dir, SLOW) as running, Producer(run_dir) as producer, Ears(run_dir) as ears:
        connected(producer)
        producer.numbers(range(5))
        assert is_unacked(producer, 5, 0.2)
        ears.wait_for("it is heard")
        running.send(signal.SIGTERM)
        producer.settle()
        said = ears.wait_for("the goodbye", lambda said: said.state == "stopping")
        assert 5 == reading(said, "storage.samples_committed_total")
        assert 0 == running.wait()
    assert [(5, 5)] == query(database(run_dir), COUNTED)


KILLED_AT_COMMIT = """
import os, runpy, signal, sys
import apsw
from common import wire
decode, armed = wire.decode_batch, []
def decode_and_arm(payload):
    armed.append(1)
    return decode(payload)
wire.decode_batch = decode_and_arm
def die():
    if armed:
        os.kill(os.getpid(), signal.SIGKILL)
    return False
apsw.connection_hooks.append(lambda connection: connection.set_commit_hook(die))
sys.argv = ["buffer"]
runpy.run_module("buffer", run_name="__main__")
"""

KILLED_BEFORE_THE_ACK = """
import os, runpy, signal, sys
from common import wire
wire.encode_acks = lambda acks: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["buffer"]
runpy.run_module("buffer", run_name="__main__")
"""


@pytest.mark.parametrize(("program", "committed"), [(KILLED_AT_COMMIT, 0), (KILLED_BEFORE_THE_ACK, 20)])
def test_an_ack_is_a_promise_that_kill_9_cannot_break(run_dir: Path, program: str, committed: int) -> None:
    """Killed before COMMIT nothing is acked and nothing is there; killed after it the redelivery changes nothing."""
    with Producer(run_dir) as producer:
        with Child(run_dir, ["-c", program]) as dying:
            producer.put(*(Sample("m", number, {"l": str(number)}) for number in range(20)))
            serve(producer.publisher, "the kill", lambda: dying.process.poll() is not None)
        assert 20 == producer.publisher.unacked_samples
        assert [(committed, committed)] == query(database(run_dir), COUNTED)
        with buffer(run_dir), Ears(run_dir) as ears:
            producer.settle()
            ears.wait_for(
                "the redelivered samples",
                lambda said: (
                    reading(said, "storage.duplicates_total"), reading(said, "storage.samples_committed_total"),
                ) == (committed, 20 - committed),
            )  # fmt: skip
    assert [(20, 20)] == query(database(run_dir), COUNTED)


def test_kills_in_a_stream_lose_and_double_nothing(run_dir: Path) -> None:
    """Killed again and again while batches stream in, the buffer ends up with each of them once."""
    batches = 4_000
    with Producer(run_dir) as producer:
        published = 0
        for _ in range(6):
            with buffer(run_dir) as running:
                connected(producer)
                for _ in range(batches // 6):
                    producer.put(Sample("m", published), at_ms=NOW_MS + published)
                    published += 1
                producer.publisher.receive()
                running.kill()
            serve(producer.publisher, "the end of the subscription", lambda: not producer.publisher._subscribed)
        with buffer(run_dir):
            producer.settle()
    assert [(published, published)] == query(database(run_dir), COUNTED)
    assert [("ok",)] == query(database(run_dir), "PRAGMA integrity_check")


def test_committed_batches_go_on_to_the_feed(run_dir: Path) -> None:
    """After COMMIT subscribers get the payload as it came, and a wake-up when P0 was in it."""
    with Child(run_dir, ["-c", WITH_ALARMS]), Producer(run_dir) as producer:
        connected(producer)
        feed: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        feed.subscribe(b"")
        feed.connect(f"ipc://{run_dir / 'feed.ipc'}")

        def hears() -> bool:
            producer.put(Sample("m", 1))
            producer.settle()
            return bool(feed.poll(50))

        wait_for("the feed", hears)
        while feed.poll(200):
            topic, payload = feed.recv_multipart()
            assert (b"committed", [Sample("m", 1)]) == (topic, wire.decode_batch(payload)[0].samples)
        producer.put(Sample("alarm.0", 2))
        producer.settle()
        assert feed.poll(TIMEOUT_MS)
        assert b"committed" == feed.recv_multipart()[0]
        assert feed.poll(TIMEOUT_MS)
        assert [b"due", b""] == feed.recv_multipart()
        feed.close(linger=0)


@pytest.fixture
def raw(run_dir: Path) -> Iterator[RawProducer]:
    """A producer that may send anything to a real buffer."""
    with buffer(run_dir), RawProducer(run_dir) as one:
        yield one


def batch(seq: int, *samples: object, version: int = 1) -> bytes:
    """Return a payload, valid or not."""
    return bytes(msgpack.packb([version, "raw", "e", seq, NOW_MS + seq, 1_000_000, "boot", False, samples]))


NO_BATCHES = (
    ("frames", [b"sample"]),
    ("frames", [b"sample", batch(1), b""]),
    ("frames", [b"samplex", batch(1)]),
    ("frames", [b"other", batch(1)]),
    ("frames", [b"", b"", b"", b"", b""]),
    ("msgpack", [b"sample", b""]),
    ("msgpack", [b"sample", batch(1)[:-3]]),
    ("msgpack", [b"sample", b"\x91" * 3_000]),
    ("version", [b"sample", batch(1, version=2)]),
    ("shape", [b"sample", wire.pack({"v": 1})]),
    ("range", [b"sample", bytes(msgpack.packb([1, "p", "e", 1, 0, 0, "", False, []]))]),
    ("sample", [b"sample", batch(1, ["m", None])]),  # of a sound batch, which is acked
)


def test_what_is_no_batch_is_counted_by_reason(raw: RawProducer, run_dir: Path) -> None:
    """It costs itself alone: the counter goes up by one, nothing of it is acked, the next batch is taken."""
    good = range(2, 2 + len(NO_BATCHES))
    with Ears(run_dir) as ears:
        for seq, (reason, frames) in zip(good, NO_BATCHES, strict=True):
            raw.send(*frames)
            raw.send(b"sample", batch(seq, ["m", seq]))
            so_far = Counter(one for one, _ in NO_BATCHES[: good.index(seq) + 1])

            def is_counted(said: Heartbeat, reason: str = reason, so_far: Counter[str] = so_far) -> bool:
                return reading(said, "storage.refused_samples_total", reason=reason) == so_far[reason]

            said = ears.wait_for(f"{reason} of {frames!r}", is_counted)
            assert so_far.total() == reading(said, "storage.refused_samples_total")
            wait_for("the ack", lambda seq=seq: seq in raw.acked())  # type: ignore[misc]
    assert {1, *good} == raw.acked()
    assert [(len(good),)] == query(database(run_dir), "SELECT count(*) FROM metrics")


def test_one_bad_sample_costs_itself_alone(raw: RawProducer, run_dir: Path) -> None:
    """The rest of its batch is stored and the batch is acked."""
    raw.send(b"sample", batch(7, ["a", 1], ["b", float("nan")], ["c", 3, {"l": 5}], ["d", "text"]))
    wait_for("the ack", raw.acks)
    assert [wire.Ack("raw", "e", [7])] == raw.acks()
    assert [("a",), ("d",)] == query(database(run_dir), "SELECT metric_name FROM metrics ORDER BY 1")


def test_a_message_beyond_the_limit_costs_its_connection_and_nothing_else(run_dir: Path) -> None:
    """Who sends 8 MiB at once is cut off; the buffer takes everybody else's batches."""
    with buffer(run_dir) as running, Producer(run_dir) as producer, RawProducer(run_dir) as raw:
        raw.send(b"sample", b"x" * (8 << 20))
        producer.numbers(range(5))
        producer.settle()
        assert running.process.poll() is None


def test_a_flood_of_empty_batches_does_not_wait_in_memory(run_dir: Path) -> None:
    """Batches without samples are acked like others, long before the interval."""
    with buffer(run_dir, SLOW), RawProducer(run_dir) as raw:
        for seq in range(5_000):
            raw.send(b"sample", batch(seq))
        wait_for("acks", lambda: len(raw.acked()) >= 4_000)


FLOOD = """
import sys, time
from pathlib import Path
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import Sample
from common.wire import Heartbeat
producer = Publisher("flood", Path(sys.argv[1]), Instruments(), Log("p"), 1_000_000)
seq = 0
while True:
    producer.receive()
    if producer.unacked_samples < 100_000:
        now_ms = time.time_ns() // 1_000_000
        producer.publish([Sample("m", 1, {"l": str(seq), "n": str(n)}) for n in range(5)], now_ms)
        seq = (seq + 1) % 1000
"""


def test_a_buffer_ends_in_time_although_batches_keep_coming(run_dir: Path) -> None:
    """SIGTERM under a flood is obeyed while the flood goes on."""
    with buffer(run_dir) as running, Ears(run_dir) as ears:
        flood = subprocess.Popen([sys.executable, "-c", FLOOD, str(run_dir)], cwd=ROOT)
        try:
            ears.wait_for("the flood", lambda said: reading(said, "storage.samples_committed_total") > 10_000)
            assert 0 == running.stop()
            assert flood.poll() is None
        finally:
            flood.kill()
            flood.wait()


def hold_back(pid: int, limit: int) -> None:
    """Let a process write no file beyond a size; what it tries fails as on a full disk."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def test_a_database_that_refuses_pauses_the_buffer_and_loses_nothing(run_dir: Path) -> None:
    """While writes fail health says so and producers hold what they have; afterwards all of it is there, once."""
    with buffer(run_dir) as running, Producer(run_dir) as producer, Ears(run_dir) as ears:
        producer.numbers(range(100))
        producer.settle()
        hold_back(running.pid, database(run_dir).with_name("metrics.db-wal").stat().st_size)
        producer.numbers(range(100, 3_000))
        serve(
            producer.publisher,
            "the pause",
            lambda: ears.wait_for("any").status.get("paused") and producer.publisher.unacked_samples > 0,
        )
        said = ears.wait_for("the error", lambda said: said.error is not None)
        assert said.error is not None
        assert "cannot rollback" not in said.error["error"]
        unacked = producer.publisher.unacked_samples
        assert 0 < unacked <= 2_900
        hold_back(running.pid, resource.RLIM_INFINITY)
        producer.settle()
        ears.wait_for("all is well", lambda said: said.error is None and said.status.get("paused") is None)
        assert 0 == running.stop()
    assert [(3_000, 3_000)] == query(database(run_dir), COUNTED)


def test_another_writer_pauses_the_buffer_which_names_it(run_dir: Path) -> None:
    """Its heartbeats go on, producers hold what they have, and all of it is there once the other one has ended."""
    with buffer(run_dir), Producer(run_dir) as producer, Ears(run_dir) as ears:
        producer.numbers(range(100))
        producer.settle()
        with prompt(database(run_dir), "BEGIN IMMEDIATE") as pid:
            producer.numbers(range(100, 3_000))
            serve(
                producer.publisher,
                "the pause",
                lambda: f"(process {pid})" in str(ears.wait_for("any").status.get("paused")),
            )
            assert 0 < producer.publisher.unacked_samples <= 2_900
        producer.settle()
        ears.wait_for("all is well", lambda said: said.error is None and said.status.get("paused") is None)
    assert [(3_000, 3_000)] == query(database(run_dir), COUNTED)


@pytest.mark.root
def test_a_full_disk_pauses_the_buffer_and_loses_nothing(run_dir: Path) -> None:
    """The same on a real file system that is full, until somebody makes room."""
    folder = run_dir / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "small", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("NOT ALLOWED TO MOUNT A SMALL FILE SYSTEM: this test of a full disk did not run")
    path = folder / "metrics.db"
    environment = {"BELABOX_STORAGE__PATH": str(path), "BELABOX_STORAGE__RESERVE_SIZE": "0"}
    try:
        with buffer(run_dir, environment) as running, Producer(run_dir) as producer, Ears(run_dir) as ears:
            producer.numbers(range(100))
            producer.settle()
            (folder / "ballast").write_bytes(b"x" * (1 << 20))
            for number in range(100, 2_100):
                producer.put(
                    *(Sample("m", number + label / 100, {"l": f"{label}"}) for label in range(20)),
                    at_ms=NOW_MS + number,
                )
            serve(producer.publisher, "the pause", lambda: ears.wait_for("any").status.get("paused"))
            subprocess.run(["mount", "-o", "remount,size=200m", "small", folder], check=True)
            producer.settle()
            ears.wait_for("all is well", lambda said: said.status.get("paused") is None)
            assert 0 == running.stop()
        assert [(100 + 2_000 * 20,) * 2] == query(path, COUNTED)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_an_older_file_is_migrated_by_the_running_buffer(run_dir: Path) -> None:
    """The process says what it found, and goes on with the file."""
    make(database(run_dir), V2, [v2_row(number) for number in range(100)])
    with buffer(run_dir) as running, Producer(run_dir) as producer:
        producer.put(Sample("m", 1))
        producer.settle()
        assert 2 == running.wait_for_line("migrated")["schema_found"]
    assert [(101,)] == query(database(run_dir), "SELECT count(*) FROM metrics")


def test_a_changed_device_id_is_for_what_comes_after_it(run_dir: Path) -> None:
    """Renaming a box does not rename its past."""
    for device, number in ((DEVICE, 1), ("box-2", 2)):
        with buffer(run_dir, {"BELABOX_DEVICE__ID": device}), Producer(run_dir) as producer:
            producer.put(Sample("m", number), at_ms=NOW_MS + number)
            producer.settle()
    expected = [(DEVICE, 1), ("box-2", 2)]
    assert expected == query(database(run_dir), "SELECT device_id, metric_value FROM metrics ORDER BY id")


def test_the_heartbeat_tells_sizes_and_backlog(run_dir: Path) -> None:
    """What `/health` shows of the buffer is in its status: how large, how much waits and since when."""
    with buffer(run_dir), Producer(run_dir) as producer:
        producer.numbers(range(7))
        producer.settle()
    with buffer(run_dir) as running, Ears(run_dir) as ears:
        said = ears.wait_for("the backlog", lambda said: said.status.get("pending") == [0, 0, 7, 0])
        status = said.status
        assert ("buffer", NOW_MS, None) == (status["kind"], status["oldest_pending_ms"], status["paused"])
        assert status["wal_size_bytes"] > 0
        assert status["free_bytes"] > 0
        assert 7 == reading(said, "storage.metrics_pending_upload")
        assert running.pid == said.pid


def test_a_batch_of_every_kind_of_value_comes_back(run_dir: Path) -> None:
    """From a publisher through the wire, SQLite and the view, every value is the one that was read."""
    numbers = [0, -1, 1.5, 2**53, 2**63 - 1, -(2**63 - 1), 1e300, 5e-324, 0.1]
    with buffer(run_dir), Producer(run_dir) as producer:
        producer.put(*(Sample("m", value, {"l": str(index)}) for index, value in enumerate(numbers)))
        producer.put(Sample("t", "x" * 8_192, {"é": "\u2028"}), at_ms=NOW_MS + 1)
        producer.settle()
    assert [(value,) for value in numbers] == query(
        database(run_dir), "SELECT metric_value FROM metrics WHERE metric_name = 'm' ORDER BY id"
    )
    assert [("x" * 8_192, '{"é":"\u2028"}')] == query(
        database(run_dir), "SELECT value_text, tags FROM metrics WHERE metric_name = 't'"
    )


def test_a_batch_is_what_the_document_says() -> None:
    """The helper above writes what the wire reads."""
    expected = Batch("raw", "e", 3, NOW_MS + 3, 1_000_000, "boot", False, [Sample("a", 1)])
    assert (expected, 0) == wire.decode_batch(batch(3, ["a", 1]))
