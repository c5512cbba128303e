"""The bearer token: from a file that only its owner can read, or from the environment.

A token that cannot be used is a configuration error at the start; later the old one stays in use and the log
says why.
"""

from __future__ import annotations

from collections.abc import Mapping

from common.config import ConfigError
from common.log import Log
from common.remote import Auth
from common.token_file import TokenFile, checked, reason

ENVIRONMENT = "BELABOX_TOKEN"


class Token:
    """What goes into the Authorization header.

    Args:
        auth: section remote.auth.
        environ: where the token is when there is no file.
        log: gets a line when a changed file cannot be used.

    Raises:
        ConfigError: a token is asked for and there is none that can be used.
    """

    def __init__(self, auth: Auth, environ: Mapping[str, str], log: Log) -> None:
        self._log = log
        self._file: TokenFile | None = None
        self._text = ""
        if auth.type != "bearer_token":
            return
        if auth.token_file is None:
            self._text = _from_environment(environ)
            return
        try:
            self._file = TokenFile(auth.token_file)
        except (OSError, ValueError) as error:
            raise ConfigError([f"remote.auth.token_file: {reason(error)}"]) from None

    def headers(self) -> dict[str, str]:
        """Return the header that proves who this is; none where none is asked for."""
        if self._file is not None:
            self._refresh(self._file)
            self._text = self._file.text
        return {"Authorization": f"Bearer {self._text}"} if self._text else {}

    def _refresh(self, file: TokenFile) -> None:
        try:
            if file.refresh():
                self._log.info("read the token again", file=str(file.path))
        except (OSError, ValueError) as error:
            path = str(file.path)
            self._log.throttled_warning("token", "the old token stays in use", file=path, error=reason(error))


def _from_environment(environ: Mapping[str, str]) -> str:
    if ENVIRONMENT not in environ:
        raise ConfigError([f"remote.auth.token_file: bearer_token needs it, or {ENVIRONMENT} in the environment"])
    try:
        return checked(environ[ENVIRONMENT])
    except ValueError as error:
        raise ConfigError([f"{ENVIRONMENT}: {error}"]) from None
