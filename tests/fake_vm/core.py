"""What the server remembers and does, without its sockets.

In: parsed bodies, changes of state, scripts.
Out: stored samples, the record of import requests, counters. Safe to use from
several threads; `wait_for` lets a test wait for any of it.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from tests.fake_vm.imports import Line
from tests.fake_vm.journal import Journal
from tests.fake_vm.script import Script
from tests.fake_vm.store import NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.fake_vm.imports import Parsed


@dataclass(frozen=True)
class State:
    """Faults that last until they are changed.

    date_skew_s: added to the Date header.
    down:        status that answers everything but /_fake/, for example 503.
    latency_ms:  wait before each answer, but not before a 401.
    poison:      pattern of a whole __name__; a body with such a series is answered
                 400 and not stored at all.
    """

    date_skew_s: float = 0.0
    down: int | None = None
    latency_ms: float = 0.0
    poison: str | None = None


@dataclass(frozen=True)
class ImportRequest:
    """One import request as it came in; times are Unix seconds.

    status:     what was answered; 0 when nothing was.
    samples:    valid samples in the body, stored or not.
    stored:     how many of them were stored.
    body_bytes: the body, compressed as it came.
    wire_bytes: request line, headers, framing and body.
    headers:    those of interest, lower case; of `authorization` only the scheme.
    connection: number of the TCP connection it came on.
    """

    status: int
    samples: int
    stored: int
    body_bytes: int
    wire_bytes: int
    headers: dict[str, str]
    path: str
    connection: int
    time_s: float


class Core:
    """A server's memory."""

    def __init__(
        self,
        *,
        data: str | Path | None = None,
        token: str | None = None,
        latency_ms: float = 0.0,
    ) -> None:
        """Start with what the data file holds, if there is one."""
        self.token = token
        self.store = Store()
        self.script = Script()
        self.closing = threading.Event()
        self.start_timestamp = 0
        self.rows_invalid = 0
        self.rows_ignored: Counter[str] = Counter()
        self._initial_state = self.state = State(latency_ms=latency_ms)
        self._requests: list[ImportRequest] = []
        self._changed = threading.Condition(threading.RLock())
        self.journal = Journal(data) if data is not None else None
        if self.journal is not None:
            self.journal.load(self.store)

    def begin(self) -> None:
        """Note a start; two starts within a second still differ.

        The first one of a server that keeps nothing was a minute ago: after a start just now, what is missing would
        be sent again for that reason.
        """
        if self.start_timestamp == 0 and self.journal is None:
            self.start_timestamp = int(time.time()) - 60
        else:
            self._start_anew()
        self.closing = threading.Event()

    def pause(self, seconds: float) -> bool:
        """Wait, but no longer than until the server closes; tell if it is open."""
        closing = self.closing  # a new one by the time of the next start
        return not (closing.wait(seconds) if seconds > 0 else closing.is_set())

    def authorized(self, authorization: str) -> bool:
        """Tell whether the header holds the token, if one is asked for."""
        return self.token is None or authorization == f"Bearer {self.token}"

    def poisoned(self, parsed: Parsed) -> bool:
        """Tell whether a series of the body matches the poison pattern."""
        if self.state.poison is None:
            return False
        pattern = re.compile(self.state.poison)
        names = (dict(line.labels).get(NAME, "") for line in parsed.lines)
        return any(pattern.fullmatch(name) for name in names)

    def commit(self, parsed: Parsed, limit: int | None) -> int:
        """Store the first `limit` samples (None: all); return how many."""
        lines = parsed.lines if limit is None else _first(parsed.lines, limit)
        received_s = time.time()
        with self._changed:
            if limit is None:
                self.rows_invalid += parsed.rows_invalid
                self.rows_ignored += parsed.rows_ignored
            self.store.add(lines, received_s)
            if self.journal is not None:
                self.journal.append(lines, received_s)
        return sum(len(line.timestamps) for line in lines)

    def record(self, request: ImportRequest) -> None:
        """Remember an import request and wake those who wait."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def requests(self) -> list[ImportRequest]:
        """Return the import requests so far, in order of their answers."""
        with self._changed:
            return list(self._requests)

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """Return once the predicate holds; it is tried after every import request.

        Raises:
            TimeoutError: It did not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(predicate, timeout_s):
                raise TimeoutError(f"not so within {timeout_s} s")

    def set_state(self, changes: dict[str, Any]) -> None:
        """Change what the keys name and leave the rest; `forget` acts at once.

        Raises:
            ValueError: A key is unknown, or the poison is no regular expression.
        """
        changes = dict(changes)
        forget = changes.pop("forget", False)
        unknown = set(changes) - {f.name for f in fields(State)}
        if unknown:
            raise ValueError(f"unknown state {sorted(unknown)}")
        try:
            re.compile(changes.get("poison") or "")
        except re.error as error:
            raise ValueError(f"poison: {error}") from error
        with self._changed:
            self.state = replace(self.state, **changes)
            if forget is not False:
                self.forget(None if forget is True else float(forget))

    def forget(self, last_s: float | None = None) -> None:
        """Crash: lose the samples of the last seconds (None: all, 0: none), start anew."""
        with self._changed:
            self.store.forget_since(0.0 if last_s is None else time.time() - last_s)
            if self.journal is not None:
                self.journal.rewrite(self.store)
            self.rows_invalid = 0
            self.rows_ignored.clear()
            self._start_anew()

    def _start_anew(self) -> None:
        self.start_timestamp = max(int(time.time()), self.start_timestamp + 1)

    def reset(self) -> None:
        """Be as new: no samples, requests, script, counters or faults."""
        with self._changed:
            started = self.start_timestamp
            self.forget()
            self.start_timestamp = started
            self._requests.clear()
            self.script.load([])
            self.state = self._initial_state


def _first(lines: Iterable[Line], limit: int) -> list[Line]:
    kept: list[Line] = []
    for labels, timestamps, values in lines:
        if limit <= 0:
            break
        kept.append(Line(labels, timestamps[:limit], values[:limit]))
        limit -= len(timestamps)
    return kept
