"""The bearer token: from a file that only its owner can read, or from the environment.

Read again when the file changes, so that a token can be replaced while everything runs. A token that
cannot be used is a configuration error at the start; later the old one stays in use and the log says why.
It is hidden from every log.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from common.config import ConfigError
from common.log import SECRETS, Log
from common.settings import Auth

ENVIRONMENT = "BELABOX_TOKEN"
MAX_BYTES = 4096  # a header line of more than 8 KiB is refused by common proxies

_Stamp = tuple[int, ...]


class Token:
    """What goes into the Authorization header.

    Args:
        auth: section remote.auth.
        environ: where the token is when there is no file.
        log: told when a changed file cannot be used.

    Raises:
        ConfigError: a token is asked for and there is none that can be used.
    """

    def __init__(self, auth: Auth, environ: Mapping[str, str], log: Log) -> None:
        self._file = auth.token_file if auth.type == "bearer_token" else None
        self._log = log
        self._stamp: _Stamp = ()
        self._text = ""
        if self._file is not None:
            try:
                self._read(self._file)
            except (OSError, ValueError) as error:
                raise ConfigError([f"remote.auth.token_file: {_reason(error)}"]) from None
        elif auth.type == "bearer_token":
            self._take_from(environ)

    def headers(self) -> dict[str, str]:
        """Return the header that proves who this is; none where none is asked for."""
        if self._file is not None:
            self._refresh(self._file)
        return {"Authorization": f"Bearer {self._text}"} if self._text else {}

    def _take_from(self, environ: Mapping[str, str]) -> None:
        if ENVIRONMENT not in environ:
            raise ConfigError([f"remote.auth.token_file: bearer_token needs it, or {ENVIRONMENT} in the environment"])
        try:
            self._set(environ[ENVIRONMENT])
        except ValueError as error:
            raise ConfigError([f"{ENVIRONMENT}: {error}"]) from None

    def _refresh(self, file: Path) -> None:
        try:
            if _stamp(file.stat()) != self._stamp:
                self._read(file)
                self._log.info("read the token again", file=str(file))
        except (OSError, ValueError) as error:
            self._log.throttled_warning("token", "the old token stays in use", file=str(file), error=_reason(error))

    def _read(self, file: Path) -> None:
        if not stat.S_ISREG(file.stat().st_mode):  # opening a pipe would wait for its writer
            raise ValueError(f"expected a file, got {str(file)!r}")
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_mode & 0o077:
                raise ValueError(
                    f"group or others can read {str(file)!r}; do chmod 600 (it was {status.st_mode & 0o777:o})"
                )
            content = stream.read(MAX_BYTES + 1)
        self._set(content.decode("latin-1"))
        self._stamp = _stamp(status)

    def _set(self, text: str) -> None:
        """Take a token, or raise ValueError; its value is in no message."""
        text = text.strip()
        if not text:
            raise ValueError("expected a token, got nothing")
        if len(text) > MAX_BYTES or not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError(f"expected up to {MAX_BYTES} printable ASCII characters without spaces")
        if text != self._text:
            SECRETS.add(text)
        self._text = text


def _stamp(status: os.stat_result) -> _Stamp:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _reason(error: Exception) -> str:
    return f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
