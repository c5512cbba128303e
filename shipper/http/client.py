"""The one client of HTTP: a request to a server, and what its answer is.

It learns how the server answers, so that a portal or proxy in its place is told apart (`proof.py`). A request may
block the run loop for as long as its timeouts: the heartbeat says so before. Every upload is counted here, so that
no way around it exists.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from shipper.http import proof
from shipper.http.answer import Answer
from shipper.http.outcome import Accepted, NotTheServer, Outcome, TryLater, judge
from shipper.http.transport import Transport, TransportError

_DOUBTFUL = (500, 502, 504)  # whoever says so may have handed the body on before
PROBE_S = 5.0  # for a harmless GET that shows whether the server answers alike to everything


@dataclass(frozen=True)
class Exchange:
    """One upload and what came of it.

    Attributes:
        outcome: for the samples.
        samples: how many were in the body.
        bytes_sent: of the body, compressed.
        status: of HTTP, 0 where there was no answer.
        bytes_rcvd: of the answer's body.
        duration_s: until the answer was there.
        detail: what went wrong, in words; "" when nothing did.
        is_doubtful: it failed, and the server may have the samples all the same.
    """

    outcome: Outcome
    samples: int
    bytes_sent: int
    status: int = 0
    bytes_rcvd: int = 0
    duration_s: float = 0.0
    detail: str = ""
    is_doubtful: bool = False


class NotTheServerError(TransportError):
    """Something else answered a question."""


class HttpClient:
    """Requests to one server.

    Args:
        transport: the way to it.
        known: how it answers, as far as it is known before the first answer.
        probe_url: where a harmless GET can be sent.
        announce: called before each request with how long it may block, in seconds.
        count: called with each upload.

    Attributes:
        transport, known: as given, and learned.
    """

    def __init__(
        self,
        transport: Transport,
        known: proof.KnownServer,
        probe_url: str,
        announce: Callable[[float], None],
        count: Callable[[Exchange], None],
    ) -> None:
        self.transport = transport
        self.known = known
        self._probe_url = probe_url
        self._announce = announce
        self._count = count

    def upload(self, packed: bytes, samples: int, asked: str = proof.IMPORT) -> Exchange:
        """Send a packed body of so many samples, or events.

        Raises:
            Interrupted: the process was asked to end; whether the server has the body is not known.
        """
        self._announce(self.transport.longest_s)
        exchange = self._exchange(packed, samples, asked)
        self._count(exchange)
        return exchange

    def ask(self, url: str, asked: str, timeout_s: float, *, most_bytes: int = 64 * 1024) -> Answer:
        """Fetch a URL of the server; the token goes along only to where it belongs.

        Raises:
            NotTheServerError: something else answered.
            TransportError: there was no answer.
            Interrupted: the process was asked to end.
        """
        self._announce(2 * timeout_s)
        answer = self.transport.get(
            url, timeout_s, most_bytes=most_bytes, compressed=asked in (proof.QUERY, proof.EXPORT, proof.METRICS)
        )
        known = self.known if self.transport.is_same_server(url) else proof.KnownServer()
        finding = proof.recognise(answer, asked, known)
        if finding.verdict == proof.STRANGER:
            raise NotTheServerError(finding.reason, finding.text)
        return answer

    def _exchange(self, packed: bytes, samples: int, asked: str) -> Exchange:
        began_s = time.monotonic()
        try:
            answer = self.transport.post(packed)
            outcome = judge(answer, asked, self.known, samples, len(packed))
            if isinstance(outcome, NotTheServer) and outcome.is_bare and self._tells_apart():
                outcome = Accepted(samples)
        except TransportError as error:
            outcome = TryLater(error.reason, answered=False)
            return Exchange(
                outcome, samples, len(packed), duration_s=time.monotonic() - began_s, detail=str(error),
                is_doubtful=error.is_sent,
            )  # fmt: skip
        if isinstance(outcome, Accepted):
            self.known = proof.learn(self.known, answer)
        return Exchange(
            outcome, samples, len(packed), answer.status, len(answer.body), answer.duration_s, _detail(outcome),
            is_doubtful=answer.status in _DOUBTFUL,
        )  # fmt: skip

    def _tells_apart(self) -> bool:
        """Return whether the same server answers something else to another request: a portal does not."""
        return proof.tells_apart(self.transport.get(self._probe_url, PROBE_S))


def _detail(outcome: Outcome) -> str:
    if isinstance(outcome, Accepted):
        return ""
    text = outcome.text if isinstance(outcome, NotTheServer) else ""
    status = outcome.reason.removeprefix("http_")
    if not text and status.isdecimal() and int(status) in set(HTTPStatus):
        text = HTTPStatus(int(status)).phrase
    return f"{outcome.reason}: {text}" if text else outcome.reason
