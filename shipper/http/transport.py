"""One HTTP exchange with the server: a body out, an answer in, in bounded time.

Emits requests on one connection that is used again and again. Fails with `TransportError` where there is no
answer; what an answer means is `outcome.py`'s to say. A connection that the server closed while it was idle
is replaced at once and is no failure.
"""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3

from common.config import Config, ConfigError
from common.log import SECRETS, Log
from common.remote import JSON, Remote
from shipper.envelope import upload_url
from shipper.http.answer import Answer
from shipper.http.dial import Pins, open_session
from shipper.http.interrupt import DeadlineOver, interruptible
from shipper.http.meter import Meter
from shipper.http.token import Token, UnusableTokenError

GZIP_LEVEL = 9  # 22 % smaller than level 1 for 0.5 ms more a chunk: a modem's data is dearer than that
MAX_ANSWER_BYTES = 64 * 1024  # an import is answered with a line; a portal's page need not be read to its end
MAX_IDLE_S = 50.0  # the server closes a connection after 60 s; what is sent at that moment is lost
_TLS_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError)  # the connection's end, not the certificate's fault
_NOT_CONNECTED = (  # no route, refused, no such name, no trust: nothing of the request has left
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
    ssl.SSLError,
    socket.gaierror,
)

_IN_WORDS = {  # what http.client and urllib3 name by a class alone
    "BadStatusLine": "the answer is not HTTP",
    "DecodeError": "the answer is compressed wrongly",
    "IncompleteRead": "the answer ended in its middle",
    "InvalidChunkLength": "the answer ended in its middle",
    "ProtocolError": "the answer is not HTTP",
}


class TransportError(Exception):
    """There was no answer.

    Attributes:
        reason: a word for the counter's label: timeout, name_lookup, connection, tls or token.
        is_sent: the server may have the request.
    """

    def __init__(self, reason: str, detail: str, *, is_sent: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.is_sent = reason, is_sent


class _Request(NamedTuple):
    """One request, and the time it may take to connect and for the whole answer."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    connect_s: float
    answer_s: float
    most_bytes: int = MAX_ANSWER_BYTES


class Transport:
    """The way to one server.

    Args:
        remote: section remote.
        device_id: goes along in a header.
        token: goes along in a header.
        stopping: tells whether the process was asked to end.
        meter: counts what the connections carry; without one, one of its own.

    Attributes:
        endpoint: the URL as it may be shown: without a query, which can hold a key.
        longest_s: what one `post` can take.
        meter: as given.
        reconnects: how often a connection in use turned out to be dead: the server may have been, too.

    Raises:
        ConfigError: `remote.ca_file` cannot be used.
    """

    def __init__(
        self,
        remote: Remote,
        device_id: str,
        token: Token,
        stopping: Callable[[], bool],
        meter: Meter | None = None,
    ) -> None:
        self._remote = remote
        self.meter = Meter() if meter is None else meter
        self._device_id = device_id
        self._token = token
        self._stopping = stopping
        self._verify: str | bool = _checked(remote)
        self._upload_url = upload_url(remote.url) if remote.type == JSON else remote.url
        parts = urlsplit(self._upload_url)
        SECRETS.add(parts.query)  # libraries log whole URLs
        self.endpoint = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        self.longest_s = remote.connect_timeout_s + remote.timeout_s
        self._origin = (parts.scheme, parts.netloc)
        self._pins = Pins(parts.hostname or "", remote.tls.pin)
        self._proxies = {"http": remote.proxy, "https": remote.proxy} if remote.proxy else {}
        self._session: requests.Session | None = None
        self._used_s = 0.0
        self._is_kept = False  # the connection, by the server's last answer
        self.reconnects = 0

    def pack(self, body: bytes) -> bytes:
        """Compress a body, if configured; equal bodies give equal bytes."""
        return gzip.compress(body, GZIP_LEVEL, mtime=0) if self._remote.compression else body

    def post(self, packed: bytes) -> Answer:
        """Send a packed body.

        Raises:
            TransportError: there was no answer.
            Interrupted: the process was asked to end.
        """
        headers = {"Content-Type": "application/json", "X-Device-ID": self._device_id}
        if self._remote.compression:
            headers["Content-Encoding"] = "gzip"
        headers.update(self._proof())
        remote = self._remote
        return self._bounded(
            _Request("POST", self._upload_url, headers, packed, remote.connect_timeout_s, remote.timeout_s)
        )

    def get(
        self, url: str, timeout_s: float, *, most_bytes: int = MAX_ANSWER_BYTES, compressed: bool = False
    ) -> Answer:
        """Fetch a URL; the token goes along only to the server that it is for.

        Raises:
            TransportError: there was no answer.
            Interrupted: the process was asked to end.
        """
        headers = self._proof() if self.is_same_server(url) else {}
        if compressed:
            headers = {**headers, "Accept-Encoding": "gzip"}
        return self._bounded(_Request("GET", url, headers, None, timeout_s, timeout_s, most_bytes))

    def _proof(self) -> dict[str, str]:
        try:
            return self._token.headers()
        except UnusableTokenError as error:
            raise TransportError("token", str(error)) from None

    def is_same_server(self, url: str) -> bool:
        """Return whether a URL is of the server that uploads go to."""
        parts = urlsplit(url)
        return (parts.scheme, parts.netloc) == self._origin

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None
            self.meter.read()

    def _bounded(self, request: _Request) -> Answer:
        """Bound a whole exchange by the sum of its timeouts, whichever step takes long."""
        deadline_s, done = request.connect_s + request.answer_s, False
        try:
            answer = interruptible(lambda: self._exchange(request), deadline_s, self._stopping)
            done = True
        except DeadlineOver:
            raise TransportError("timeout", f"no whole answer within {deadline_s:g} s", is_sent=True) from None
        finally:
            if not done:
                self.close()  # what was cut short is in no state to be used again
            self.meter.read()
        self._used_s = time.monotonic()
        return answer

    def _exchange(self, request: _Request) -> Answer:
        if time.monotonic() - self._used_s > MAX_IDLE_S:
            self.close()
        reused, was_kept, made = self._session is not None, self._is_kept, self.meter.made
        try:
            answer = self._once(request)
        except TransportError as error:
            if not reused or error.reason != "connection":
                raise
            self.close()
            self.reconnects += 1
            return self._once(request)
        if reused and was_kept and self.meter.made > made and self.is_same_server(request.url):
            self.reconnects += 1  # urllib3 has replaced a connection that was closed while nothing was sent
        return answer

    def _once(self, request: _Request) -> Answer:
        if self._session is None:
            self._session = open_session(self.meter, self._pins)
        began_s = time.monotonic()
        try:
            with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=(request.connect_s, request.answer_s),
                verify=self._verify,
                proxies=self._proxies,
                allow_redirects=False,  # a redirected POST becomes a GET, whose 200 acknowledges nothing
                stream=True,
            ) as response:
                text = _begin_of(response, request.most_bytes)
                self._is_kept = response.raw.version == 11 and response.headers.get("Connection", "").lower() != "close"
                return Answer(response.status_code, response.headers, text, time.monotonic() - began_s)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _described(error) from None


def open_transport(config: Config, log: Log, stopping: Callable[[], bool], meter: Meter | None = None) -> Transport:
    """Return a transport to the configured server.

    Raises:
        ConfigError: the token or the certificate authority cannot be used.
    """
    settings = config.settings
    token = Token(settings.remote.auth, os.environ, log)
    return Transport(settings.remote, settings.device.id, token, stopping, meter)


def _begin_of(response: requests.Response, most_bytes: int) -> bytes:
    """Read a body to its end, which shows whether it is whole, or as far as it is of interest."""
    text = b""
    try:
        while len(text) < most_bytes and (part := response.raw.read(most_bytes - len(text), decode_content=True)):
            text += part
    except (ValueError, OverflowError) as error:  # urllib3 reads a chunk of whatever size it is told, below 0 too
        raise urllib3.exceptions.ProtocolError("a chunk of a size that cannot be") from error
    return text


def _checked(remote: Remote) -> str | bool:
    """Return the `verify` argument for requests."""
    if remote.ca_file is None:
        return True
    try:
        ssl.create_default_context(cafile=str(remote.ca_file))
    except OSError as error:  # SSLError, for a file that is not PEM, is one
        reason = error.strerror or "not PEM"
        raise ConfigError([f"remote.ca_file: {reason}, got {str(remote.ca_file)!r}"]) from error
    return str(remote.ca_file)


def _described(error: BaseException) -> TransportError:
    """Describe an error in the operating system's words: those of the libraries contain the URL."""
    chain = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    found = [
        one for one in chain if isinstance(one, (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError))
    ]
    inner = next((one for one in reversed(found) if not isinstance(one, requests.RequestException)), error)
    unsent = any(isinstance(one, _NOT_CONNECTED) and not isinstance(one, _TLS_ENDED) for one in chain)
    return TransportError(_word(inner), _text(inner), is_sent=not unsent)


def _word(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "name_lookup"
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return "timeout"
    return "tls" if isinstance(error, ssl.SSLError) and not isinstance(error, _TLS_ENDED) else "connection"


def _text(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return error.strerror or str(error) or type(error).__name__
    return _IN_WORDS.get(type(error).__name__, type(error).__name__)
