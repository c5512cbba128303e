"""Structured logging: one line per event, as JSON or in console format, with secrets redacted.

Fields keep the same names everywhere: collector, count, duration_ms; batch_id, chunk_index, attempt,
backoff_ms, endpoint, http_status, bytes_sent, bytes_rcvd, retry_after_sec; error, error_type.
Built on the standard library's logging, so what libraries log comes out in the same form.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO

from common import clock, journal

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
THROTTLE_S = 60.0  # a repeating line comes once in this time, with how many were held back
MAX_THROTTLED = 500  # keys remembered; an error's text may differ each time

# Nothing of this is in a line; looking it up for each costs time and memory (the standard library's logging HOWTO).
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

_USERINFO = re.compile(r"(?<=://)\S*@")  # to the last @: a password with / or @ in it is common and invalid
_QUERY = re.compile(r"(?i)([?&][^=&\s]{0,40}(?:key|token|pass|secret|auth)[^=&\s]{0,40}=)[^&\s\"',]+")
_BEARER = re.compile(r"(?i)(bearer\s+)[^\s\"',]+")


class Secrets:
    """The secrets of this process, and the log filter that redacts them."""

    def __init__(self) -> None:
        self._values: list[str] = []

    def add(self, value: str) -> None:
        """Hide a value from now on."""
        if value and value not in self._values:
            self._values = sorted([*self._values, value], key=len, reverse=True)  # one may begin with another

    def redact(self, text: str) -> str:
        """Return the text with every secret, password or key in a URL, and bearer token replaced."""
        for value in self._values:
            text = text.replace(value, "***")
        return _BEARER.sub(r"\1***", _QUERY.sub(r"\1***", _USERINFO.sub("***@", text)))


SECRETS = Secrets()


class Log:
    """Write events with fields: ``log.info("chunk uploaded", count=50, http_status=204)``."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._last_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    @property
    def is_debug(self) -> bool:
        """Return whether lines of level debug are written."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, message: str, **fields: Any) -> None:
        """Log details for developers."""
        self._write(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Log normal operation."""
        self._write(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Log a problem that an operator may have to look at."""
        self._write(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Log a problem that an operator has to look at."""
        self._write(logging.ERROR, message, fields)

    def throttled_warning(self, key: str, message: str, **fields: Any) -> None:
        """Log a warning that may repeat, at most once a minute per key."""
        now_s = time.monotonic()
        if now_s - self._last_s.get(key, -THROTTLE_S) < THROTTLE_S:
            self._held_back[key] = self._held_back.get(key, 0) + 1
            return
        if len(self._last_s) >= MAX_THROTTLED:
            self._last_s.clear()
            self._held_back.clear()
        self._last_s[key] = now_s
        held_back = self._held_back.pop(key, 0)
        self._write(logging.WARNING, message, {**fields, **({"held_back": held_back} if held_back else {})})

    def uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Log an uncaught exception with its traceback; for `sys.excepthook`."""
        self._logger.critical("ended by a bug", exc_info=(kind, error, trace))

    def _write(self, level: int, message: str, fields: dict[str, Any]) -> None:
        self._logger.log(level, message, extra={"fields": fields})


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": clock.rfc3339(int(record.created * 1000)),
            "level": record.levelname,
            "process": record.name,
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return _escaped(json.dumps(_plain(line), ensure_ascii=False))


class _WordsFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={_plain(value)}" for key, value in getattr(record, "fields", {}).items())
        line = f"{self._head(record)}{record.getMessage()} {fields}".rstrip()
        trace = SECRETS.redact(self.formatException(record.exc_info)).split("\n") if record.exc_info else []
        return "\n".join(map(_escaped, (SECRETS.redact(line), *trace)))

    def _head(self, _record: logging.LogRecord) -> str:
        """Return nothing: the journal has time, level and process apart."""
        return ""


class _ConsoleFormatter(_WordsFormatter):
    def _head(self, record: logging.LogRecord) -> str:
        when = clock.rfc3339(int(record.created * 1000))[11:23]
        return f"{when} {record.levelname:<7} {record.name}: "


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it, redacted first: a secret with escaped characters would not be found."""
    if isinstance(value, dict):
        return {SECRETS.redact(str(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return SECRETS.redact(str(value))


def _escaped(line: str) -> str:
    """Escape what is no printable character, as JSON does: what steers a terminal, forges a line, or is not UTF-8."""
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in line)


class _Direction(NamedTuple):
    level: str
    form: str
    stream: TextIO | None


_in_force: list[_Direction] = []


class _SharedFile(logging.FileHandler):
    """A log file that several processes append to; the one that finds it too large renames it, the others reopen it.

    Args:
        path: of the file.
        most_bytes: of it; the one before it is kept as ``<name>.1``.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        super().__init__(path, encoding="utf-8")
        self._most_bytes = most_bytes

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line to the file that has the name now, and look at its size."""
        if self.stream is not None and not self._is_current():
            self.stream.close()
            self.stream = self._open()
        super().emit(record)
        if self.stream is not None and os.fstat(self.stream.fileno()).st_size > self._most_bytes:
            fcntl.flock(self.stream.fileno(), fcntl.LOCK_EX)  # until the next line closes it
            if self._is_current():
                with suppress(OSError):
                    os.replace(self.baseFilename, f"{self.baseFilename}.1")  # noqa: PTH105

    def _is_current(self) -> bool:
        """Return whether the open file is the one of that name: no other process has renamed it."""
        try:
            return self.stream is not None and os.path.samestat(
                Path(self.baseFilename).stat(), os.fstat(self.stream.fileno())
            )
        except OSError:
            return False


def set_up(level: str, form: str, output: str, rotation: int = 100 << 20) -> None:
    """Direct this process's log; calling it again (a reload) replaces the old direction.

    Args:
        level: debug, info, warn or error.
        form: "json" or "console".
        output: "stdout", "stderr", or the path of a file that all processes share, beside stdout.
        rotation: bytes at which the shared file begins again.

    Raises:
        OSError: the file cannot be opened.
    """
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    direction = _Direction(level, form, streams.get(output))
    if direction.stream is not None and direction in _in_force:
        return  # supervisord has set it up before it forked this process: what is not written to is shared
    handlers: list[logging.Handler] = [logging.StreamHandler(streams.get(output, sys.stdout))]
    if output not in streams:
        Path(output).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        handlers.append(_SharedFile(Path(output), rotation))
    _in_force[:] = [direction]
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        if isinstance(old, logging.FileHandler):
            old.close()
    for handler in handlers:
        handler.setFormatter(_JsonFormatter() if form == "json" else _ConsoleFormatter())
    for handler in journal.handlers():
        handler.setFormatter(_WordsFormatter())
        handlers.append(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(LEVELS[level])
    logging.getLogger("urllib3").setLevel(logging.WARNING)
