"""Access control: on loopback everybody may read, elsewhere the token is needed, as a header or as the login cookie.

A link with a code, made by `belabox-metrics page --share`, sets the cookie too: it works once, within ten minutes.

Without a token only the login form, its files and `/health/live` are served. Wrong guesses are limited per minute, for
each address and in total. Where no token is required, only host names of this machine are answered, so that another
site cannot read the page through DNS rebinding.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from common.config import ConfigError
from common.log import Log
from common.settings import Health
from common.token_file import TokenFile, reason
from healthd.http.connection import JSON, Reply, Request

LOGIN = "/login"
COOKIE = "belabox_metrics"
COOKIE_S = 30 * 86_400
CODE_FILE, CODE_S = "login-code", 600.0  # in the run directory
GUESSES, GUESSES_S = 5, 60.0  # of one address; all together would lock the owner out
MAX_NOTED = 10_000

_HERE = re.compile(r"(localhost|\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:.]+\])(:\d+)?")


class Access:
    """Access control: who may read the page and the API.

    Args:
        token: what opens it; None where none is asked for.
        code: the file with a code that is good once.
        log: told of refused guesses.

    Attributes:
        open_paths: what is answered to everybody; whoever has the paths says which.
    """

    def __init__(self, token: TokenFile | None, code: Path, log: Log) -> None:
        self.open_paths = frozenset[str]()
        self._token = token
        self._code = code
        self._log = log
        self._guesses = _Guesses()

    def refusal(self, request: Request) -> Reply | None:
        """Return the refusal of a request, None where it is allowed."""
        if self._token is None:
            return None if _is_here(request.headers.get("host", "")) else _error(HTTPStatus.MISDIRECTED_REQUEST)
        if request.path in self.open_paths:
            return None
        given = request.headers.get("authorization", "")
        if given.startswith("Bearer "):
            return self._judge(request.peer, lambda: _equal(given.removeprefix("Bearer ").strip(), self._secret()))
        if self._is_known(_cookie(request.headers.get("cookie", ""))):
            return None
        if request.path == "/":
            return _see(LOGIN)
        return _error(HTTPStatus.UNAUTHORIZED, ("WWW-Authenticate", "Bearer"))

    def login(self, request: Request) -> Reply:
        """Return the answer to a posted form: a cookie and the page, or the form again."""
        code, given = request.form.get("code", ""), request.form.get("token", "").strip()
        is_right = (lambda: self._take(code)) if code else (lambda: _equal(given, self._secret()))
        refusal = None if self._token is None else self._judge(request.peer, is_right)
        if refusal is None:
            return _see("/", ("Set-Cookie", f"{COOKIE}={self._cookie()}; Max-Age={COOKIE_S}; {_COOKIE_RULES}"))
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
            return _see(f"{LOGIN}?wait")
        return _see(f"{LOGIN}?used" if code else f"{LOGIN}?again")

    def _judge(self, peer: str, is_right: Callable[[], bool]) -> Reply | None:
        if not self._guesses.allowed(peer, time.monotonic()):
            return _error(HTTPStatus.TOO_MANY_REQUESTS, ("Retry-After", str(int(GUESSES_S))))
        if is_right():
            return None
        self._guesses.note(peer, time.monotonic())
        self._log.throttled_warning(f"guess {peer}", "a wrong token or code was given", peer=peer)
        return _error(HTTPStatus.UNAUTHORIZED, ("WWW-Authenticate", "Bearer"))

    def _take(self, guess: str) -> bool:
        """Tell whether a code is the one that was made, and use it up."""
        try:
            code, _, end_s = self._code.read_text(encoding="ascii").strip().partition(" ")
            if not _equal(guess, code):
                return False
            self._code.unlink()  # of two at once, one finds it gone
        except (OSError, ValueError):
            return False
        return end_s.isdecimal() and time.time() < int(end_s)

    def _secret(self) -> str:
        assert self._token is not None  # noqa: S101 - who asks has looked
        try:
            self._token.refresh()
        except (OSError, ValueError) as error:
            self._log.throttled_warning("token", "the old token stays in use", error=reason(error))
        return self._token.text

    def _cookie(self) -> str:
        """Return a cookie; a new token invalidates it, and so does its age."""
        end_s = str(int(time.time()) + COOKIE_S)
        return f"{end_s}.{self._seal(end_s)}" if self._token is not None else ""

    def _is_known(self, cookie: str) -> bool:
        end_s, _, seal = cookie.partition(".")
        fresh = end_s.isdecimal() and len(end_s) < 12 and int(end_s) > time.time()
        return fresh and _equal(seal, self._seal(end_s))

    def _seal(self, text: str) -> str:
        return hmac.new(self._secret().encode(), text.encode(), hashlib.sha256).hexdigest()


def token(health: Health) -> TokenFile | None:
    """Return the token that visitors need, None where none is required.

    Raises:
        ConfigError: the file cannot be used.
    """
    try:
        return None if health.token_file is None else TokenFile(health.token_file)
    except (OSError, ValueError) as error:
        raise ConfigError([f"health.token_file: {reason(error)}"]) from None


class _Guesses:
    """Wrong tokens of the last minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wrong: deque[tuple[float, str]] = deque(maxlen=MAX_NOTED)

    def allowed(self, peer: str, now_s: float) -> bool:
        with self._lock:
            while self._wrong and now_s - self._wrong[0][0] > GUESSES_S:
                self._wrong.popleft()
            return sum(peer == who for _, who in self._wrong) < GUESSES

    def note(self, peer: str, now_s: float) -> None:
        with self._lock:
            self._wrong.append((now_s, peer))


_COOKIE_RULES = "Path=/; HttpOnly; SameSite=Strict"


def _is_here(host: str) -> bool:
    name = socket.gethostname().lower()
    return not host or _HERE.fullmatch(host) is not None or host.lower().partition(":")[0] in {name, f"{name}.local"}


def _cookie(header: str) -> str:
    fields = (field.strip().partition("=") for field in header.split(";"))
    return next((value for name, _, value in fields if name == COOKIE), "")


def _equal(given: str, right: str) -> bool:
    """Compare two texts in a time that depends on neither of them, nor on their lengths."""
    digests = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, right)]
    return hmac.compare_digest(*digests)


def _see(path: str, *headers: tuple[str, str]) -> Reply:
    return Reply(HTTPStatus.SEE_OTHER, "text/plain; charset=utf-8", b"", (("Location", path), *headers))


def _error(status: HTTPStatus, *headers: tuple[str, str]) -> Reply:
    return Reply(status, JSON, b'{"error": "%s"}\n' % status.phrase.lower().encode(), headers)
