"""One body to the server and what came of it, counted.

A request may block the run loop for as long as its timeouts: the heartbeat says so before, and each counter
is counted here, so that no way around it exists.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from common.service import Service
from shipper.http.outcome import Accepted, Outcome, TryLater, judge
from shipper.http.transport import Transport, TransportError

QUIET_MARGIN_S = 1.0  # for what is done around a request: building, compressing, judging


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it.

    Attributes:
        outcome: for the samples.
        samples: how many were in the body.
        bytes_sent: of the body, compressed.
        status: of HTTP, 0 where there was no answer.
        bytes_rcvd: of the answer's body.
        duration_s: until the answer was there.
        detail: what went wrong, in words; "" when nothing did.
    """

    outcome: Outcome
    samples: int
    bytes_sent: int
    status: int = 0
    bytes_rcvd: int = 0
    duration_s: float = 0.0
    detail: str = ""


class Courier:
    """Send bodies, and keep the books on it.

    Attributes:
        transport: in use; a reload replaces it.
    """

    def __init__(self, process: Service, transport: Transport) -> None:
        self._process = process
        self.transport = transport
        self._announced_s = 0.0

    def send(self, packed: bytes, samples: int) -> Exchange:
        """Send a packed body of so many samples.

        Raises:
            Interrupted: the process was asked to end; whether the server has the body is not known.
        """
        self.announce(self.transport.longest_s)
        exchange = self._exchange(packed, samples)
        instruments = self._process.instruments
        instruments.observe("uploader.upload_duration_seconds", exchange.duration_s)
        instruments.count("uploader.bytes_sent_total", len(packed))
        if not isinstance(exchange.outcome, Accepted):
            instruments.count("uploader.upload_failures_total", reason=exchange.outcome.reason)
        if exchange.status:
            self._process.facts["last_http_status"] = exchange.status
        return exchange

    def announce(self, longest_s: float) -> None:
        """Say in a heartbeat that the next one may be late; once, and again while it goes on."""
        quiet_s, now_s = longest_s + QUIET_MARGIN_S, time.monotonic()
        announced = self._process.quiet_s >= quiet_s
        if announced and now_s - self._announced_s < self._process.config.settings.run.heartbeat_interval_s:
            return
        self._process.quiet_s = quiet_s
        self._announced_s = now_s
        self._process.beat()

    def at_rest(self) -> None:
        """Let the next heartbeat say that nothing blocks."""
        self._process.quiet_s = 0.0

    def _exchange(self, packed: bytes, samples: int) -> Exchange:
        began_s = time.monotonic()
        try:
            answer = self.transport.post(packed)
        except TransportError as error:
            duration_s = time.monotonic() - began_s
            return Exchange(TryLater(error.reason), samples, len(packed), duration_s=duration_s, detail=str(error))
        outcome = judge(answer, samples, time.time())
        duration_s = time.monotonic() - began_s
        detail = "" if isinstance(outcome, Accepted) else outcome.reason
        return Exchange(outcome, samples, len(packed), answer.status, len(answer.body), duration_s, detail)
