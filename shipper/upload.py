"""One lease on its way to the server, chunk by chunk, and what became of each sample back to the buffer.

Samples go in the order of the lease and are accounted for in that order, so what is on the way is a cursor
and a stack: the ends of the ranges that were halved, the innermost last. A body that is too large is halved;
a body that is refused is halved down to the sample at fault. That one is put aside only if the server takes
something else at the same moment: a wrong path refuses everything, and then no sample is at fault.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import NamedTuple

from shipper import jsonl
from shipper.drain import Chunk, Drain
from shipper.http.courier import Courier, Exchange
from shipper.http.outcome import Accepted, BodyRefused, NotWelcome, Outcome
from shipper.lease import Lease


class _Owed(NamedTuple):
    """What the buffer is still to be told: samples up to here are done, or rejected for a reason."""

    upto: int
    reject_reason: str = ""


class Upload:
    """A lease under way.

    Args:
        lease: samples on loan.
        drain: told what became of them.
        courier: takes bodies to the server.
        chunk_bytes: cap of a body after compression; a single sample may exceed it.

    Attributes:
        lease: as given.
        batch_id: of this round.
        chunk_index: of the next chunk the server accepts.
        attempt: of the next request, 1 for the first; it counts failures in a row.
        start: samples accounted for.
        accepted, rejected, bytes_sent: totals of this round.
        began_s: monotonic.
    """

    def __init__(self, lease: Lease, drain: Drain, courier: Courier, chunk_bytes: int) -> None:
        self.lease = lease
        self.batch_id = uuid.uuid4().hex
        self.chunk_index = 0
        self.attempt = 1
        self.start = 0
        self.accepted = self.rejected = self.bytes_sent = 0
        self.began_s = time.monotonic()
        self._drain = drain
        self._courier = courier
        self._chunk_bytes = chunk_bytes
        self._stops: list[int] = []
        self._unsendable = jsonl.unsendable(lease)
        self._owed: _Owed | None = None
        self._suspect_until = 0  # the end of the range that was refused first, while it is looked into
        self._others_taken = False  # the server took something of that range

    @property
    def finished(self) -> bool:
        """Whether every sample is accounted for."""
        return self.start == len(self.lease)

    @property
    def remaining(self) -> int:
        """How many samples are not accounted for."""
        return len(self.lease) - self.start

    def advance(self, most: int) -> Exchange | None:
        """Send one chunk of at most `most` samples; None where there was nothing to send.

        What is learned is to be told to the buffer by `settle`, once it is counted; until that has worked,
        this does no more than that.

        Raises:
            BufferAwayError, BufferBusyError, LeaseLostError: as `settle`.
            Interrupted: the process was asked to end.
        """
        if self._owed is not None:
            self.settle()
            return None
        if self._unsendable and self._unsendable[0].start == self.start:
            refusal = self._unsendable.pop(0)
            self._owed = _Owed(refusal.stop, refusal.reason)
            return None
        stop, packed = self._chunk(most)
        exchange = self._courier.send(packed, stop - self.start)
        self.bytes_sent += exchange.bytes_sent
        return self._learn(exchange, stop)

    def settle(self) -> None:
        """Tell the buffer what is known; after a `BufferBusyError` it still is to be told.

        Raises:
            BufferAwayError, BufferBusyError, LeaseLostError: it could not be told.
        """
        if self._owed is None:
            return
        upto, reject_reason = self._owed
        if reject_reason:
            self._drain.reject(self.lease.number, upto, reject_reason)
            self.rejected += upto - self.start
        else:
            self._drain.done(self.lease.number, upto, self.batch_id, self.chunk_index)
            self.accepted += upto - self.start
            self.chunk_index += 1
        self.start = upto
        self._owed = None

    def untold(self) -> Chunk | None:
        """Return what the server took and the buffer does not know of, None where there is nothing of that."""
        if self._owed is None or self._owed.reject_reason:
            return None
        groups = [
            (series.name, series.device_id, dict(series.tags), list(series.timestamps[begin:end]))
            for series, begin, end in self.lease.parts(self.start, self._owed.upto)
        ]
        return Chunk(self.lease.priority, self.batch_id, self.chunk_index, groups)

    def _chunk(self, most: int) -> tuple[int, bytes]:
        """Return the end of the next chunk and its packed body, halved until it fits."""
        while self._stops and self._stops[-1] <= self.start:
            self._stops.pop()
        ends = [
            len(self.lease),
            self.start + most,
            *self._stops[-1:],
            *(refusal.start for refusal in self._unsendable[:1]),
        ]
        stop = min(ends)
        packed = self._packed(self.start, stop)
        while len(packed) > self._chunk_bytes and stop - self.start > 1:
            stop = self._halve(stop)
            packed = self._packed(self.start, stop)
        return stop, packed

    def _packed(self, start: int, stop: int) -> bytes:
        return self._courier.transport.pack(jsonl.body(self.lease, start, stop))

    def _halve(self, stop: int) -> int:
        """Put the end of a range aside and return the end of its first half."""
        middle = self.start + (stop - self.start) // 2
        self._stops += [stop, middle]
        return middle

    def _learn(self, exchange: Exchange, stop: int) -> Exchange:
        outcome = exchange.outcome
        if isinstance(outcome, Accepted):
            self.attempt = 1
            self._others_taken = True
            self._owed = _Owed(self.start + outcome.count)
        elif isinstance(outcome, BodyRefused):
            return self._narrow(exchange, outcome, stop)
        else:
            self.attempt += 1
            self._others_taken = False  # what the server takes after an outage is another matter
        return exchange

    def _narrow(self, exchange: Exchange, refused: BodyRefused, stop: int) -> Exchange:
        """Look closer at a refused range; a refused single sample is put aside if it is alone in that."""
        if self.start >= self._suspect_until:
            self._suspect_until, self._others_taken = stop, False
        if stop - self.start > 1:
            self._halve(stop)
            return exchange
        if not self._others_taken:
            verdict = self._probe()
            if not isinstance(verdict, Accepted):
                self.attempt += 1
                return replace(exchange, outcome=verdict, detail=f"{refused.reason}, and so is everything else")
            self._others_taken = True
        self._owed = _Owed(stop, refused.reason)
        return exchange

    def _probe(self) -> Outcome:
        """Return what the server says to an empty body, or if it wants none, to a neighbour of the sample."""
        outcome = self._courier.send(self._courier.transport.pack(b""), 0).outcome
        neighbour = self._neighbour()
        if isinstance(outcome, BodyRefused) and neighbour is not None:
            outcome = self._courier.send(self._packed(neighbour, neighbour + 1), 1).outcome
        return NotWelcome("refuses_everything") if isinstance(outcome, BodyRefused) else outcome

    def _neighbour(self) -> int | None:
        """Return the next sample of the lease that can be sent; sent twice, it is stored once."""
        number = self.start + 1
        for refusal in self._unsendable:
            if refusal.start <= number:
                number = max(number, refusal.stop)
        return number if number < len(self.lease) else None
