"""Upload one lease to the server, chunk by chunk, and report the result of each sample to the buffer.

Samples are sent and accounted for in the order of the lease, so the progress of an upload is a cursor and a stack:
the ends of the ranges that were halved, the innermost last. A body that is too large (413) is halved;
a body that is refused (400, 422) is halved until the sample at fault is found. That sample is quarantined only if the
server itself (not a proxy's page) refuses it alone twice, a minute apart, and accepts another sample at the same
moment: at a wrong URL everything is refused, and then no sample is at fault. Meanwhile the samples after it are sent;
the buffer gets their results once the refused one is decided.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from shipper import jsonl
from shipper.buffer_client import BufferClient, Chunk
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted, BodyRefused, NotWelcome, Outcome
from shipper.lease import Lease

Encode: TypeAlias = "Callable[[Lease, int, int], bytes]"

SECOND_TRIAL_S = 60.0  # after the first refusal alone


class _Verdict(NamedTuple):
    """What became of the samples up to one: accepted, rejected for a reason, or refused once and to be tried again."""

    upto: int
    reject_reason: str = ""
    refused_s: float | None = None


class Upload:
    """A lease under way.

    Args:
        lease: samples on loan.
        buffer: hears what became of them.
        client: takes bodies to the server.
        chunk_bytes: cap of a body after compression; a single sample may exceed it.
        encode: makes bodies.

    Attributes:
        lease: as given.
        batch_id: of this round.
        chunk_index: of the next chunk that is reported to the buffer.
        attempt: of the next request, 1 for the first; it counts failures in a row.
        start: samples that were reported to the buffer.
        accepted, rejected, bytes_sent, bytes_rcvd: totals of this round.
        http_status: of the last answer, 0 before it.
        began_s: monotonic.
        doubtful: range of samples that the server may have, although no answer says so.
    """

    def __init__(
        self, lease: Lease, buffer: BufferClient, client: HttpClient, chunk_bytes: int, encode: Encode = jsonl.body
    ) -> None:
        self.lease = lease
        self.batch_id = uuid.uuid4().hex
        self.chunk_index = 0
        self.attempt = 1
        self.start = 0
        self.accepted = self.rejected = self.bytes_sent = self.bytes_rcvd = self.http_status = 0
        self.began_s = time.monotonic()
        self.doubtful = (0, 0)
        self._buffer = buffer
        self._client = client
        self._chunk_bytes = chunk_bytes
        self._encode = encode
        self._cursor = 0  # samples of which something is known
        self._verdicts: list[_Verdict] = []  # from start to cursor
        self._stops: list[int] = []
        self._unsendable = jsonl.unsendable(lease)
        self._suspect_until = 0  # the end of the range that was refused first, while it is looked into
        self._others_taken = False  # the server took something of that range

    @property
    def finished(self) -> bool:
        """Whether every sample was reported to the buffer."""
        return self.start == len(self.lease)

    @property
    def remaining(self) -> int:
        """How many samples nothing is known of."""
        return len(self.lease) - self._cursor

    @property
    def parked_until_s(self) -> float | None:
        """When a refused sample is tried again, with nothing else left to do; None while there is."""
        if self.remaining or self._is_owed:
            return None
        return next((v.refused_s + SECOND_TRIAL_S for v in self._verdicts if v.refused_s is not None), None)

    def advance(self, most: int) -> Exchange | None:
        """Send one chunk of at most `most` samples; None where there was nothing to send.

        What is learned is reported to the buffer by `settle`, once it is counted; until that has worked,
        this does no more than that.

        Raises:
            BufferAwayError, BufferBusyError, LeaseLostError: as `settle`.
            Interrupted: the process was asked to end.
        """
        if self._is_owed:
            self.settle()
            return None
        if not self.remaining:
            return self._try_again()
        if self._unsendable and self._unsendable[0].start == self._cursor:
            refusal = self._unsendable.pop(0)
            self._note(_Verdict(refusal.stop, refusal.reason))
            return None
        stop, packed = self._chunk(most)
        return self._learn(self._send(packed, stop - self._cursor), stop)

    def settle(self) -> None:
        """Report the known results to the buffer; those after a `BufferBusyError` stay to be reported.

        Raises:
            BufferAwayError, BufferBusyError, LeaseLostError: it could not be reported.
        """
        while self._is_owed:
            upto, reject_reason, _ = self._verdicts[0]
            if reject_reason:
                self._buffer.reject(self.lease.number, upto, reject_reason)
                self.rejected += upto - self.start
            else:
                self._buffer.done(self.lease.number, upto, self.batch_id, self.chunk_index)
                self.accepted += upto - self.start
                self.chunk_index += 1
            self.start = upto
            del self._verdicts[0]

    def unreported(self) -> list[Chunk]:
        """Return the chunks that the server took and the buffer does not know of."""
        chunks, begin = [], self.start
        for number, verdict in enumerate(self._verdicts):
            if verdict.refused_s is None and not verdict.reject_reason:
                groups = [
                    (series.name, series.device_id, dict(series.tags), list(series.timestamps[first:last]))
                    for series, first, last in self.lease.parts(begin, verdict.upto)
                ]
                chunks.append(Chunk(self.lease.priority, self.batch_id, self.chunk_index + number, groups))
            begin = verdict.upto
        return chunks

    @property
    def _is_owed(self) -> bool:
        return bool(self._verdicts) and self._verdicts[0].refused_s is None

    def _note(self, verdict: _Verdict) -> None:
        self._verdicts.append(verdict)
        self._cursor = verdict.upto

    def _send(self, packed: bytes, samples: int) -> Exchange:
        exchange = self._client.upload(packed, samples)
        self.bytes_sent += exchange.bytes_sent
        self.bytes_rcvd += exchange.bytes_rcvd
        self.http_status = exchange.status
        return exchange

    def _chunk(self, most: int) -> tuple[int, bytes]:
        """Return the end of the next chunk and its packed body, halved until it fits."""
        while self._stops and self._stops[-1] <= self._cursor:
            self._stops.pop()
        ends = [
            len(self.lease),
            self._cursor + most,
            *self._stops[-1:],
            *(refusal.start for refusal in self._unsendable[:1]),
        ]
        stop = min(ends)
        packed = self._packed(self._cursor, stop)
        while len(packed) > self._chunk_bytes and stop - self._cursor > 1:
            stop = self._halve(stop)
            packed = self._packed(self._cursor, stop)
        return stop, packed

    def _packed(self, start: int, stop: int) -> bytes:
        return self._client.transport.pack(self._encode(self.lease, start, stop))

    def _halve(self, stop: int) -> int:
        """Keep the end of a range for later and return the end of its first half."""
        middle = self._cursor + (stop - self._cursor) // 2
        self._stops += [stop, middle]
        return middle

    def _learn(self, exchange: Exchange, stop: int) -> Exchange:
        outcome = exchange.outcome
        if exchange.is_doubtful:
            self.doubtful = (self._cursor, stop)
        if isinstance(outcome, Accepted):
            self.attempt = 1
            self._others_taken = True
            self._note(_Verdict(self._cursor + outcome.count))
        elif isinstance(outcome, BodyRefused):
            return self._narrow(exchange, outcome, stop)
        else:
            self.attempt += 1
            self._others_taken = False  # what the server takes after an outage is another matter
        return exchange

    def _narrow(self, exchange: Exchange, refused: BodyRefused, stop: int) -> Exchange:
        """Halve a refused range; schedule a second trial of a single sample that alone was refused."""
        if self._cursor >= self._suspect_until:
            self._suspect_until, self._others_taken = stop, False
        if stop - self._cursor > 1:
            self._halve(stop)
            return exchange
        if not self._others_taken or not refused.own:
            verdict = self._probe(stop)
            if not isinstance(verdict, Accepted):
                return self._failed(exchange, refused, verdict)
            self._others_taken = True
        self._note(_Verdict(stop, refused_s=time.monotonic()))
        return exchange

    def _try_again(self) -> Exchange:
        """Retry a sample refused alone; quarantine it if it is refused again while others are taken."""
        index = next(i for i, verdict in enumerate(self._verdicts) if verdict.refused_s is not None)
        stop = self._verdicts[index].upto
        exchange = self._send(self._packed(stop - 1, stop), 1)
        outcome = exchange.outcome
        if isinstance(outcome, Accepted):
            self.attempt = 1
            self._verdicts[index] = _Verdict(stop)
        elif isinstance(outcome, BodyRefused):
            verdict = self._probe(stop)
            if isinstance(verdict, Accepted) and outcome.own:
                self._verdicts[index] = _Verdict(stop, outcome.reason)
            else:
                self._verdicts[index] = _Verdict(stop, refused_s=time.monotonic())
                return exchange if isinstance(verdict, Accepted) else self._failed(exchange, outcome, verdict)
        else:
            self.attempt += 1
        return exchange

    def _failed(self, exchange: Exchange, refused: BodyRefused, verdict: Outcome) -> Exchange:
        self.attempt += 1
        return replace(exchange, outcome=verdict, detail=f"{refused.reason}, and so is everything else")

    def _probe(self, stop: int) -> Outcome:
        """Return what the server says to an empty body, or if it wants none, to another sample than the one before."""
        outcome = self._send(self._packed(0, 0), 0).outcome
        neighbour = self._neighbour(stop)
        if isinstance(outcome, BodyRefused) and neighbour is not None:
            outcome = self._send(self._packed(neighbour, neighbour + 1), 1).outcome
        return NotWelcome("refuses_everything") if isinstance(outcome, BodyRefused) else outcome

    def _neighbour(self, stop: int) -> int | None:
        """Return a sample that can be sent, from there on or else a taken one; sent twice, it is stored once."""
        suspects = {verdict.upto - 1 for verdict in self._verdicts if verdict.refused_s is not None}
        suspects.update(n for refusal in self._unsendable for n in range(refusal.start, refusal.stop))
        following = (n for n in range(stop, len(self.lease)) if n not in suspects)
        begin, taken = self.start, []
        for verdict in self._verdicts:
            taken += [] if verdict.refused_s is not None or verdict.reject_reason else [begin]
            begin = verdict.upto
        return next(following, next(iter(taken), None))
