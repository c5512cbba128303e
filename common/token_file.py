"""A file that contains one secret, and that only its owner can read.

It is read again when it changes, so that a token can be replaced without a restart. The token is redacted from every
log.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from common.log import SECRETS

MAX_BYTES = 4096  # a header line of more than 8 KiB is refused by common proxies

_Stamp = tuple[int, ...]


class TokenFile:
    """A token in a file.

    Args:
        path: of the file.
        reads: now; else `refresh` does, and until it can the token is one that nobody knows.

    Attributes:
        path: as given.
        text: the token as it was read last.

    Raises:
        OSError: it cannot be read.
        ValueError: others can read it, or there is no token in it.
    """

    def __init__(self, path: Path, *, reads: bool = True) -> None:
        self.path = path
        self._stamp: _Stamp = ()
        self.text = secrets.token_urlsafe()
        if reads:
            self._read()

    def refresh(self) -> bool:
        """Read the file again if it has changed; tell whether it had.

        Raises:
            OSError, ValueError: as at first; the old token stays.
        """
        if _stamp(self.path.stat()) == self._stamp:
            return False
        self._read()
        return True

    def _read(self) -> None:
        if not stat.S_ISREG(self.path.stat().st_mode):  # opening a pipe would wait for its writer
            raise ValueError(f"expected a file, got {str(self.path)!r}")
        with self.path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_mode & 0o077:
                mode = status.st_mode & 0o777
                raise ValueError(f"group or others can read {str(self.path)!r}; do chmod 600 (it was {mode:o})")
            content = stream.read(MAX_BYTES + 1)
        self.text = checked(content.decode("latin-1"))
        self._stamp = _stamp(status)


def checked(text: str) -> str:
    """Return a token without the space around it; from here on it is hidden.

    Raises:
        ValueError: it is none; the message does not hold it.
    """
    text = text.strip()
    if not text:
        raise ValueError("expected a token, got nothing")
    if len(text) > MAX_BYTES or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"expected up to {MAX_BYTES} printable ASCII characters without spaces")
    SECRETS.add(text)
    return text


def reason(error: OSError | ValueError) -> str:
    """Return why a token could not be read, for people."""
    return f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)


def _stamp(status: os.stat_result) -> _Stamp:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
