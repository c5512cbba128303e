"""Ingest: receive batches, commit them, ack them, and publish them on the feed.

Reads batches from every producer, emits acks upstream and committed batches on the feed. Batches are committed together
when 1000 samples wait, after 5 s, or when an urgent one arrives. A message that is not a batch is counted, logged
(throttled) and dropped. While the database cannot be written (disk full), only critical samples are accepted, for which
there is a reserve: the others stay in the producers' outboxes, which are asked to resend them afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from buffer import free_space, lock_holders
from buffer.delivery.upload_marks import UploadMarks
from buffer.reserve import Reserve
from buffer.storage import errors
from buffer.storage.store import Store, Written
from common import bound, catalog, wire
from common.config import Config
from common.events import Event
from common.sample import CRITICAL, Batch
from common.service import Service
from common.status import BufferStatus

MESSAGES_PER_TURN = 1_000  # then the drain and the heartbeat get their turn
RETRY_S = 1.0  # while the database refuses
RETRY_MAX_S = 10.0  # where the reason cannot be seen from outside: each attempt may write what fits, and wear the flash
RESUME_BYTES = 1 << 20  # besides the reserve: with less than that the disk would be full again at once
CRITICAL_BYTES = 64 * 1024  # what a commit of a few samples may take: a page of each index and table
HELD_SAMPLES = 20_000  # critical ones kept in memory while the disk is full

_Key = tuple[str, str, int]


class Ingest:
    """The buffer's end of `ingest.ipc`, and the feed.

    Args:
        service: whose loop, counters and log these are.
        store: where batches go.
        marks: what the server accepted; written with the batches.
        status: says why the buffer is paused.

    Attributes:
        paused: why nothing but critical samples is taken at the moment, or None.
        reserve: room for these.
    """

    def __init__(self, service: Service, store: Store, marks: UploadMarks, status: BufferStatus) -> None:
        self._service = service
        self._store = store
        self._marks = marks
        self._status = status
        self.paused: str | None = None
        self._waiting: dict[_Key, tuple[Batch, bytes]] = {}
        self._waiting_samples = 0
        self._urgent = False
        self._full = self._held = False
        self._retry_s = RETRY_S
        settings = service.config.settings.storage
        self.reserve = Reserve(store.path, settings.reserve_size)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket: zmq.Socket[bytes] = context.socket(zmq.XSUB)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_BATCH_BYTES + 1024)
        self._socket.bind(f"ipc://{service.run_dir / 'ingest.ipc'}")
        self._socket.send(b"\x01" + wire.SAMPLE_TOPIC)
        self._feed: zmq.Socket[bytes] = context.socket(zmq.PUB)
        self._feed.bind(f"ipc://{service.run_dir / 'feed.ipc'}")
        service.loop.on_readable(self._socket, self.receive)
        self._timer = service.loop.every(settings.commit_interval_s, self.tick, first_s=settings.commit_interval_s)
        service.on_reload(self.reload)
        for reason in ("frames", "msgpack", "version", "shape", "range", "sample", "apart"):
            service.instruments.count("storage.refused_samples_total", 0, reason=reason)

    def bind_again(self) -> list[str]:
        """Bind the sockets whose files were deleted again; return the names of those files."""
        files = {"ingest.ipc": self._socket, "feed.ipc": self._feed}
        return [name for name, socket in files.items() if bound.bind_again(socket, self._service.run_dir / name)]

    def receive(self) -> None:
        """Read the batches that have arrived; commit once enough samples or an urgent one wait."""
        settings = self._service.config.settings.storage
        for _ in range(MESSAGES_PER_TURN):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._take(frames)
            if self.paused is None and self._waiting_samples >= settings.commit_samples:
                self.commit()
        if self._urgent and not self._held:
            self.commit()

    def tick(self) -> None:
        """Commit, and have everything committed in this interval on the disk."""
        self.commit()
        began_s = time.perf_counter()
        try:
            if self._store.sync():
                self._service.instruments.observe("storage.sync_duration_seconds", time.perf_counter() - began_s)
        except OSError as error:
            self._service.failed(error)

    def commit(self) -> None:
        """Write the waiting batches, ack and publish them; on failure keep them and pause."""
        self._urgent = False
        if self._has_space() and self._write(list(self._waiting)):
            self._resume()
        if self.paused is not None:
            if not self._held:
                self._write_critical()
            self._timer.postpone(time.monotonic() + self._retry_s)

    def reload(self, config: Config) -> None:
        """Apply the new commit interval, to the batches already waiting too, and the new reserve size."""
        self._timer.interval_s = config.settings.storage.commit_interval_s
        self.reserve.size_bytes = config.settings.storage.reserve_size

    def close(self) -> None:
        """Commit the waiting batches and close the sockets."""
        if self.paused is None:
            self.receive()  # one turn; a producer that goes on sending keeps what is not acked
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
        if self.paused is not None and not (_is_critical(batch) and self._waiting_samples < HELD_SAMPLES):
            return  # its producer keeps it and sends it again
        key = batch.producer, batch.epoch, batch.seq
        if key not in self._waiting:
            self._waiting[key] = batch, frames[1]
            self._waiting_samples += max(1, len(batch.samples))  # empty ones fill the memory too
        self._urgent = self._urgent or batch.urgent

    def _refuse(self, reason: str, detail: str, count: int) -> None:
        self._service.instruments.count("storage.refused_samples_total", count, reason=reason)
        self._service.log.throttled_warning(reason, "refused", reason=reason, detail=detail, count=count)

    def _write(self, keys: Sequence[_Key]) -> bool:
        """Commit some of the waiting batches, ack and publish them; False where the database refuses."""
        if not keys and not self._marks:
            return True
        batches = [self._waiting[key] for key in keys]
        marks = self._marks if self.paused is None else ()  # critical samples alone have a reserve
        began_s = time.perf_counter()
        try:
            written = self._store.write((batch for batch, _ in batches), marks)
        except errors.Error as error:
            self._pause(error)
            return False
        if marks:
            self._marks.clear()
        self._count(written, time.perf_counter() - began_s)
        if batches:
            self._acknowledge([batch for batch, _ in batches])
            self._publish(batches)
        self._write_sessions()
        for key in keys:
            self._waiting_samples -= max(1, len(self._waiting.pop(key)[0].samples))
        if self.paused is None:
            self._service.worked()
        return True

    def _write_sessions(self) -> None:
        try:
            self._store.sessions.write_files()
        except OSError as error:
            self._service.log.throttled_warning("session", "cannot write a session's file", error=str(error))

    def _write_critical(self) -> None:
        """Commit critical samples alone, in the reserve if there is no other room."""
        keys = [key for key, (batch, _) in self._waiting.items() if _is_critical(batch)]
        if not keys:
            return
        free = free_space.free_bytes(self._store.path)
        if (free is None or free >= CRITICAL_BYTES) and self._write(keys):
            return
        if self._full and self.reserve.release():
            self._service.instruments.count("storage.reserve_used_total")
            self._service.log.warning("the disk is full; the reserve goes to critical samples")
            self._write(keys)

    def _has_space(self) -> bool:
        """Tell whether it is worth trying to write; on a full disk each attempt would wear the flash."""
        free = free_space.free_bytes(self._store.path) if self.paused is not None and self._full else None
        return free is None or free >= self.reserve.size_bytes + RESUME_BYTES

    def _pause(self, error: errors.Error) -> None:
        self._store.notice(error)
        self._service.failed(error, error_code=errors.code(error))
        self._held = isinstance(error, errors.BusyError)
        reason = f"{lock_holders.writer(self._store.path)} keeps a write transaction open" if self._held else str(error)
        if self.paused is None:
            self._service.event(Event("storage_paused", f"the database takes no writes: {reason}"))
        free = free_space.free_bytes(self._store.path)
        self._full = free is not None and free < RESUME_BYTES
        is_visible = self.paused is None or self._full or self._held
        self._retry_s = RETRY_S if is_visible else min(2 * self._retry_s, RETRY_MAX_S)
        self.paused = self._status.paused = reason

    def _resume(self) -> None:
        """Accept all samples again, and ask the producers to resend the unacked ones."""
        if self.paused is not None:
            self.paused = self._status.paused = None
            self._held = False
            self._service.worked()
            self._socket.send(b"\x01" + wire.SAMPLE_TOPIC)  # a new subscription: all that is unacked is sent again
            self._service.log.info("the database takes writes again")
            self._service.event(Event("storage_resumed", "the database takes writes again"))

    def _count(self, written: Written, duration_s: float) -> None:
        instruments = self._service.instruments
        instruments.count("storage.samples_committed_total", written.inserted)
        instruments.count("storage.duplicates_total", written.duplicates)
        instruments.count("storage.commits_total")
        instruments.observe("storage.commit_duration_seconds", duration_s)
        for reason, count in written.moved.items():
            instruments.count("storage.moved_samples_total", count, reason=reason)
        if written.refused:
            self._refuse("apart", "an event without its labels, or a session that is none", written.refused)
        if written.step_ms:
            instruments.count("storage.clock_steps_total")
            self._service.log.warning("the wall clock was stepped", step_ms=written.step_ms)
            self._service.event(Event("clock_stepped", f"the wall clock jumped by {written.step_ms / 1000:+.1f} s"))
        self._service.log.debug(
            "committed",
            count=written.inserted,
            duplicates=written.duplicates,
            duration_ms=round(duration_s * 1e3, 2),
        )

    def _acknowledge(self, batches: Sequence[Batch]) -> None:
        """Tell the producers exactly which batches are committed."""
        seqs: dict[tuple[str, str], list[int]] = {}
        for batch in batches:
            seqs.setdefault((batch.producer, batch.epoch), []).append(batch.seq)
        self._socket.send(wire.encode_acks(wire.Ack(*producer, numbers) for producer, numbers in seqs.items()))

    def _publish(self, batches: Sequence[tuple[Batch, bytes]]) -> None:
        for _, payload in batches:
            self._feed.send_multipart([wire.COMMITTED_TOPIC, payload])
        if any(_is_critical(batch) for batch, _ in batches):
            self._feed.send_multipart([wire.DUE_TOPIC, b""])


def _is_critical(batch: Batch) -> bool:
    return any(catalog.find(sample.name).priority == CRITICAL for sample in batch.samples)
