"""The producer's side of the protocol: publish samples as batches, and keep each until it is acked.

Emits batches to the buffer and heartbeats to healthd over one XPUB socket. A batch stays in the outbox
until the buffer acks it after COMMIT; all of the outbox is sent again when a new subscription arrives
(the buffer restarted), and what stays unacked is sent again on a timer. Losing a batch takes a full
outbox, and is counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from common import catalog, clock, wire
from common.changes import Changes
from common.instruments import Instruments
from common.log import Log
from common.outbox import Entry, Key, by_priority
from common.sample import Batch, Sample, is_deliverable
from common.spools import Spools
from common.thresholds import Alerts

RESEND_AFTER_S = 10.0  # twice the buffer's commit interval without an ack: the ack was lost
RESEND_AFTER_MAX_S = 80.0  # a paused buffer (disk full) is not asked more often than this
# Between commit and ack nobody but the buffer knows, and that may be gone too: as many as this at most.
LOST_WITH_PROCESS = "samples of the last process were not acked and are not in its spool: lost, unless they were stored"
EXIT_WAIT_S = 0.5  # how long a producer that ends waits for its last acks


class Publisher:
    """Publish samples and heartbeats, keep what is unacked.

    Args:
        producer: name in every batch; also the spool's file name.
        run_dir: where `ingest.ipc` and `health.ipc` are, and the spool goes.
        instruments: counts what is published and dropped.
        log: where drops are reported.
        max_samples: bound of the outbox.

    Attributes:
        socket: for the run loop's poller; `receive` when it is readable.
        changes: finds samples that must be committed at once.

    Raises:
        AlreadyRunning: another process publishes under this name.
    """

    def __init__(self, producer: str, run_dir: Path, instruments: Instruments, log: Log, max_samples: int) -> None:
        self._producer = producer
        self._names = {producer}
        self._instruments = instruments
        self._log = log
        self.changes = Changes(Alerts())
        self.epoch = clock.new_epoch()
        self._boot_id = clock.boot_id()
        self._seq = 0
        self._subscribed = False
        self._unsent: deque[Key] = deque()
        self._resend_after_s = RESEND_AFTER_S
        self._spools = Spools(run_dir, log)
        self._outbox = self._spools.open(producer, max_samples)
        self._unacked = self._spools.unacked_count(producer)
        self._restore()
        self.socket = connect(run_dir, "ingest.ipc", "health.ipc")

    @property
    def unacked_samples(self) -> int:
        """How many samples wait for their ack."""
        return self._outbox.samples

    def take_over(self, names: Sequence[str]) -> None:
        """Publish under additional names, which no other process may use; adopt the batches left in their spools.

        Raises:
            AlreadyRunning: another process publishes under one of them.
        """
        self._names.update(names)
        for name in names:
            if name != self._producer:
                self._spools.adopt(name, self._adopt)
        self._count_unacked()
        self._flush()

    def publish(
        self, samples: Sequence[Sample], timestamp_ms: int, *, urgent: bool = False, producer: str = ""
    ) -> None:
        """Send samples as one batch, in this process's name or another of its own.

        The batch is urgent if it has a P0 sample or one that changes the verdict.
        """
        found, is_news = self.changes.sift(samples)
        if samples and not found:
            return
        kept = []
        # A batch from 1970 would never be acked; the buffer dates it by its time since boot, where that is known.
        has_date = bool(self._boot_id) or wire.EARLIEST_MS <= timestamp_ms <= wire.LATEST_MS
        for sample in found:
            if has_date and is_deliverable(sample):
                kept.append(sample)
            else:
                reason = "not_finite" if has_date else "no_date"
                self._count_lost(reason, 1, catalog.find(sample.name).priority)
        if has_date:
            self._enter(kept, timestamp_ms, urgent or is_news, producer or self._producer)
        self._flush()

    def receive(self) -> None:
        """Handle all messages that arrived on the socket: acks and (un)subscriptions."""
        while True:
            try:
                frame = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            if frame == b"\x01" + wire.SAMPLE_TOPIC:
                self._subscribed = True
                self._resend_all()
            elif frame == b"\x00" + wire.SAMPLE_TOPIC:
                self._subscribed = False
            elif frame.startswith(wire.ACK_PREFIX):
                self._acked(frame)
        self._flush()

    def tick(self) -> None:
        """Resend batches that have waited too long for their ack; call it every few seconds."""
        late_s = time.monotonic() - self._resend_after_s
        late = [e.key for e in self._outbox.entries() if e.sent_s is not None and e.sent_s < late_s]
        if late and self._subscribed:
            self._resend_after_s = min(2 * self._resend_after_s, RESEND_AFTER_MAX_S)
            self._resend(late)
        self._spool(self._outbox.respool)
        self._flush()

    def close(self) -> None:
        """Ask for a commit, wait briefly for the acks and leave the rest to the spool."""
        deadline_s = time.monotonic() + EXIT_WAIT_S
        if len(self._outbox) and self._subscribed:
            self.publish([], clock.wall_ms(), urgent=True)
        while len(self._outbox) and self._subscribed and (rest_s := deadline_s - time.monotonic()) > 0:
            if self.socket.poll(int(rest_s * 1000) + 1):
                self.receive()
        if self._outbox.samples:
            self._log.warning("left unacked samples in the spool", count=self._outbox.samples)
        self.socket.close(linger=100)
        self._outbox.close()
        self._unacked.close()
        self._spools.close()

    def _enter(self, samples: Sequence[Sample], timestamp_ms: int, urgent: bool, producer: str) -> None:
        """Put samples into the outbox as one batch, or as several where the buffer would refuse one as too large."""
        priorities = by_priority(samples)
        most_important = min(priorities, default=0)
        batch = Batch(
            producer,
            self.epoch,
            self._seq + 1,
            min(max(timestamp_ms, wire.EARLIEST_MS), wire.LATEST_MS),
            max(0, clock.boottime_ms() - (clock.wall_ms() - timestamp_ms)),  # of the same instant
            self._boot_id,
            urgent or most_important == 0,
            samples,
        )
        payload = wire.encode_batch(batch)
        if len(samples) <= wire.MAX_SAMPLES and len(payload) <= wire.MAX_BATCH_BYTES:
            self._seq += 1
            self._keep(Entry((self.epoch, self._seq), priorities, payload))
        elif len(samples) > 1:
            half = len(samples) // 2
            self._enter(samples[:half], timestamp_ms, urgent, producer)
            self._enter(samples[half:], timestamp_ms, urgent, producer)
        else:
            self._count_lost("too_large", 1, most_important)

    def _restore(self) -> None:
        """Take over the batches an earlier process of this name did not get acked."""
        entries = list(self._spools.left_in(self._outbox))
        self._outbox.restore(entries)
        if entries:
            self._log.info("took over spooled batches", count=sum(entry.samples for entry in entries))
        missing = self._unacked.left - self._outbox.unacked
        self._count_unacked()
        for priority, samples in missing.items():
            self._count_lost("not_spooled", samples, priority)
        if missing:
            self._log.warning(LOST_WITH_PROCESS, count=missing.total())

    def _adopt(self, entry: Entry) -> None:
        """Keep a batch of another name.

        Raises:
            OSError: it cannot be written to the spool.
        """
        self._hold(entry)
        self._outbox.spool(entry)

    def _hold(self, entry: Entry) -> None:
        for lost in self._outbox.add(entry):
            self._count_lost_batch("outbox_full", lost)
        self._unsent.append(entry.key)

    def _keep(self, entry: Entry) -> None:
        """Hold a batch until it is acked, in the spool too."""
        self._hold(entry)
        self._spool(lambda: self._outbox.spool(entry))

    def _spool(self, write: Callable[[], None]) -> None:
        """Write to the spool, then how much is unacked."""
        try:
            write()
        except OSError as error:
            self._log.throttled_warning("spool", "cannot write the spool", error=str(error))
        self._count_unacked()

    def _count_unacked(self) -> None:
        self._unacked.write(self._outbox.unacked)

    def _count_lost_batch(self, reason: str, lost: Entry) -> None:
        """Count each sample of a batch under its own priority, not under the batch's."""
        for priority, samples in lost.by_priority.items():
            self._count_lost(reason, samples, priority)

    def _count_lost(self, reason: str, samples: int, priority: int) -> None:
        self._instruments.count(
            "publisher.dropped_samples_total",
            samples,
            producer=self._producer,
            priority=str(priority),
            reason=reason,
        )
        self._log.throttled_warning(reason, "dropped samples", reason=reason, count=samples, priority=priority)

    def _acked(self, frame: bytes) -> None:
        try:
            acks = wire.decode_acks(frame)
        except wire.WireError as error:
            self._log.throttled_warning("ack", "ignored an ack", error=str(error))
            return
        for ack in acks:
            if ack.producer in self._names and self._outbox.ack(ack.epoch, ack.seqs):
                self._resend_after_s = RESEND_AFTER_S
        self._count_unacked()  # before they leave the spool: killed in between, they would be missed
        self._outbox.shrink()

    def _resend_all(self) -> None:
        self._unsent.clear()
        self._resend([entry.key for entry in self._outbox.entries()])

    def _resend(self, keys: list[Key]) -> None:
        for entry in map(self._outbox.get, keys):
            if entry is not None:
                entry.sent_s = None
        self._unsent.extend(keys)

    def _flush(self) -> None:
        """Send the batches not sent yet, until the socket's queue is full."""
        if not self._unsent or not self._subscribed:
            return
        while self._unsent:
            entry = self._outbox.get(self._unsent[0])
            if entry is not None:
                try:
                    self.socket.send_multipart([wire.SAMPLE_TOPIC, entry.payload], zmq.NOBLOCK)
                except zmq.Again:
                    return
                entry.sent_s = time.monotonic()
            self._unsent.popleft()


def connect(run_dir: Path, *endpoints: str) -> zmq.Socket[bytes]:
    """Connect an XPUB socket that shows its subscribers, refuses to drop, and forgets dead peers."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # a restarted buffer's subscription must show, though known
    socket.setsockopt(zmq.XPUB_NODROP, 1)  # a full pipe is EAGAIN, not silence
    socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing queues for a peer that is gone; the outbox holds it
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    for endpoint in endpoints:
        socket.connect(f"ipc://{run_dir / endpoint}")
    return socket


def send_heartbeat(socket: zmq.Socket[bytes], heartbeat: wire.Heartbeat) -> None:
    """Send a heartbeat on an XPUB socket, or drop it where nobody takes it."""
    try:
        socket.send_multipart([wire.STATUS_TOPIC, wire.encode_heartbeat(heartbeat)], zmq.NOBLOCK)
    except zmq.Again:
        pass  # healthd is stopped with a full pipe; it will judge by the silence
