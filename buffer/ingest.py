"""Batches in: from the socket to COMMIT to the ack, and on to the feed.

Reads batches from every producer, emits acks upstream and committed batches on the feed. A batch waits
for company until 1000 samples wait, 5 s have passed or an urgent one comes. What is not a batch is
counted, logged once in a while and dropped. When the database refuses (disk full), reading stops: the
producers' windows hold what comes, and reading goes on by itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import apsw
import zmq

from buffer.store import Store
from common import catalog, wire
from common.process import Process
from common.sample import CRITICAL, Batch

MESSAGES_PER_TURN = 1_000  # then the drain and the heartbeat get their turn
RETRY_S = 1.0  # while the database refuses

_Key = tuple[str, str, int]


class Ingest:
    """The buffer's end of `ingest.ipc`, and the feed.

    Args:
        process: whose loop, counters and log these are.
        store: where batches go.

    Attributes:
        paused: why nothing is read at the moment, or None.
    """

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self._store = store
        self.paused: str | None = None
        self._waiting: dict[_Key, tuple[Batch, bytes]] = {}
        self._waiting_samples = 0
        self._urgent = False
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket: zmq.Socket[bytes] = context.socket(zmq.XSUB)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_BATCH_BYTES + 1024)
        self._socket.bind(f"ipc://{process.run_dir / 'ingest.ipc'}")
        self._socket.send(b"\x01" + wire.SAMPLE_TOPIC)
        self._feed: zmq.Socket[bytes] = context.socket(zmq.PUB)
        self._feed.bind(f"ipc://{process.run_dir / 'feed.ipc'}")
        process.loop.on_readable(self._socket, self.receive)
        settings = process.config.settings.storage
        self._timer = process.loop.every(settings.commit_interval_s, self.commit, first_s=settings.commit_interval_s)
        for reason in ("frames", "msgpack", "version", "shape", "range", "sample"):
            process.instruments.count("storage.refused_samples_total", 0, reason=reason)

    def receive(self) -> None:
        """Read what has come, and commit as soon as enough of it or anything urgent is there."""
        settings = self._process.config.settings.storage
        for _ in range(MESSAGES_PER_TURN):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._take(frames)
            if self._waiting_samples >= settings.commit_samples:
                self.commit()
            if self.paused:
                return
        if self._urgent:
            self.commit()

    def commit(self) -> None:
        """Write what waits, ack it and pass it on; on failure keep it, and stop reading."""
        self._timer.interval_s = self._process.config.settings.storage.commit_interval_s
        if not self._waiting:
            return
        batches = [batch for batch, _ in self._waiting.values()]
        began_s = time.perf_counter()
        try:
            written = self._store.write(batches)
        except apsw.Error as error:
            self._pause(error)
            return
        self._resume()
        self._count(written.inserted, written.duplicates, time.perf_counter() - began_s)
        self._acknowledge(batches)
        self._publish()
        self._waiting.clear()
        self._waiting_samples = 0
        self._urgent = False

    def close(self) -> None:
        """Commit what waits and close the sockets."""
        while self.paused is None and self._socket.poll(0):
            self.receive()
        self.commit()
        self._socket.close(linger=100)
        self._feed.close(linger=0)

    def _take(self, frames: Sequence[bytes]) -> None:
        if len(frames) != 2 or frames[0] != wire.SAMPLE_TOPIC:
            self._refuse("frames", f"{len(frames)} frames", 1)
            return
        try:
            batch, refused = wire.decode_batch(frames[1])
        except wire.WireError as error:
            self._refuse(error.reason, str(error), 1)
            return
        if refused:
            self._refuse("sample", f"in a batch of {batch.producer}", refused)
        key = batch.producer, batch.epoch, batch.seq
        if key not in self._waiting:
            self._waiting[key] = batch, frames[1]
            self._waiting_samples += len(batch.samples)
        self._urgent = self._urgent or batch.urgent

    def _refuse(self, reason: str, detail: str, count: int) -> None:
        self._process.instruments.count("storage.refused_samples_total", count, reason=reason)
        self._process.log.throttled_warning(reason, "refused", reason=reason, detail=detail, count=count)

    def _pause(self, error: apsw.Error) -> None:
        self._process.failed(error, error_code=getattr(error, "extendedresult", None))
        if self.paused is None:
            self._process.loop.ignore(self._socket)
        self.paused = str(error)
        self._timer.postpone(time.monotonic() + RETRY_S)

    def _resume(self) -> None:
        self._process.worked()
        if self.paused is not None:
            self.paused = None
            self._process.loop.on_readable(self._socket, self.receive)
            self._process.log.info("the database takes writes again")

    def _count(self, inserted: int, duplicates: int, duration_s: float) -> None:
        instruments = self._process.instruments
        instruments.count("storage.samples_committed_total", inserted)
        instruments.count("storage.duplicates_total", duplicates)
        instruments.count("storage.commits_total")
        instruments.observe("storage.commit_duration_seconds", duration_s)
        self._process.log.debug(
            "committed", count=inserted, duplicates=duplicates, duration_ms=round(duration_s * 1e3, 2)
        )

    def _acknowledge(self, batches: Sequence[Batch]) -> None:
        """Tell the producers exactly which batches are committed."""
        seqs: dict[tuple[str, str], list[int]] = {}
        for batch in batches:
            seqs.setdefault((batch.producer, batch.epoch), []).append(batch.seq)
        self._socket.send(wire.encode_acks(wire.Ack(*producer, numbers) for producer, numbers in seqs.items()))

    def _publish(self) -> None:
        critical = False
        for batch, payload in self._waiting.values():
            self._feed.send_multipart([wire.COMMITTED_TOPIC, payload])
            critical = critical or any(catalog.find(sample.name).priority == CRITICAL for sample in batch.samples)
        if critical:
            self._feed.send_multipart([wire.DUE_TOPIC, b""])
