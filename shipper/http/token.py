"""The bearer token: from a file that only its owner can read, or from the environment.

Without one that can be used nothing is sent: the reason is an upload's error, in the log and in `/health`, and the file
is looked at again before each request. A file that becomes unusable later leaves the old token in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from common.log import Log
from common.remote import Auth
from common.token_file import TokenFile, checked, reason

ENVIRONMENT = "BELABOX_TOKEN"


class UnusableTokenError(Exception):
    """There is no token to send; says why, with the key."""


class Token:
    """What goes into the Authorization header.

    Args:
        auth: section remote.auth.
        environ: where the token is when there is no file.
        log: gets a line when a changed file cannot be used.
    """

    def __init__(self, auth: Auth, environ: Mapping[str, str], log: Log) -> None:
        self._log = log
        self._auth, self._environ = auth, environ
        self._file: TokenFile | None = None
        with suppress(UnusableTokenError):
            self.headers()  # from here on it is hidden, and a file that changes is known as changed

    def headers(self) -> dict[str, str]:
        """Return the authorization header; empty where none is configured.

        Raises:
            UnusableTokenError: a token is asked for and there is none that can be used.
        """
        if self._auth.type != "bearer_token":
            return {}
        if self._auth.token_file is None:
            return {"Authorization": f"Bearer {_from_environment(self._environ)}"}
        if self._file is None:
            self._file = _opened(self._auth.token_file)
        else:
            self._refresh(self._file)
        return {"Authorization": f"Bearer {self._file.text}"}

    def _refresh(self, file: TokenFile) -> None:
        try:
            if file.refresh():
                self._log.info("read the token again", file=str(file.path))
        except (OSError, ValueError) as error:
            path = str(file.path)
            self._log.throttled_warning("token", "the old token stays in use", file=path, error=reason(error))


def _opened(path: Path) -> TokenFile:
    try:
        return TokenFile(path)
    except (OSError, ValueError) as error:
        raise UnusableTokenError(f"remote.auth.token_file: {reason(error)}") from None


def _from_environment(environ: Mapping[str, str]) -> str:
    if ENVIRONMENT not in environ:
        raise UnusableTokenError(f"remote.auth.token_file: bearer_token needs it, or {ENVIRONMENT} in the environment")
    try:
        return checked(environ[ENVIRONMENT])
    except ValueError as error:
        raise UnusableTokenError(f"{ENVIRONMENT}: {error}") from None
