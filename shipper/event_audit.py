"""Audit events: ask the log server whether it has what it acknowledged, regularly and after each of its restarts.

Queries VictoriaLogs' own metrics and LogsQL. Where these cannot be queried (another log server, a write-only token),
an acknowledged event counts as delivered.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from common.remote import Remote
from common.untrusted import number
from shipper.buffer_client import BufferClient, ServerStart
from shipper.http import proof
from shipper.http.answer import document
from shipper.http.client import HttpClient, NotTheServerError
from shipper.http.transport import TransportError
from shipper.questions import MAX_COUNT, parse_start
from shipper.report import Report

INSERT, SELECT, METRICS = "/insert/jsonline", "/select/logsql/query", "/metrics"
TIMEOUT_S = 3.0
MAX_METRICS_BYTES = 1 << 20
IMPOSSIBLE_S = 3600.0  # then the query side is tried again


class EventAudit:
    """The count of events as a step of the shipper.

    Args:
        remote: section remote, with the log server in the place of the server.
        buffer: has the events.
        client: of the log server.
        report: takes what people hear.
    """

    def __init__(self, remote: Remote, buffer: BufferClient, client: HttpClient, report: Report) -> None:
        self._remote, self._buffer, self._client, self._report = remote, buffer, client, report
        self._suspicious = True
        self._next_s = 0.0

    def suspect(self) -> None:
        """Check at the next step whether the log server was restarted."""
        self._suspicious = True

    def step(self) -> None:
        """Check for a restart, and count the acknowledged events, if that is due.

        Raises:
            BufferAwayError, BufferBusyError, Interrupted: as the buffer's and HTTP's clients do.
        """
        if not self._remote.audit.enabled or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + self._remote.audit.interval_s
        try:
            if self._suspicious:
                self._look_for_restart()
            self._count()
        except NotTheServerError:  # another log server, or none that is to be asked
            self._suspicious, self._next_s = False, time.monotonic() + IMPOSSIBLE_S
        except TransportError as error:
            self._report.log.throttled_warning("event audit", "events cannot be counted", error=str(error))

    def _look_for_restart(self) -> None:
        answer = self._client.ask(self._url(METRICS), proof.METRICS, TIMEOUT_S, most_bytes=MAX_METRICS_BYTES)
        started_s = parse_start(answer.body) if answer.status == 200 else None
        if started_s is not None:
            start = ServerStart.said(started_s, self._report.status.skew_ms, self._remote.audit.grace_s)
            self._buffer.events_restarted(start)
        self._suspicious = False

    def _count(self) -> None:
        if not urlsplit(self._remote.url).path.endswith(INSERT):
            return
        found = self._buffer.events_audit(self._remote.audit.grace_s)
        if not found["upto"]:
            return
        answer = self._client.ask(f"{self._url(SELECT)}?query={quote(logsql(found))}", proof.EXPORT, TIMEOUT_S)
        there = parse_count(answer.body) if answer.status == 200 else None
        if there is None:
            self._next_s = time.monotonic() + IMPOSSIBLE_S
            return
        self._buffer.events_verdict(found["upto"], max(0, found["events"] - there))

    def _url(self, path: str) -> str:
        parts = urlsplit(self._remote.url)
        prefix = parts.path.partition("/insert/")[0] if "/insert/" in parts.path else ""
        return urlunsplit((parts.scheme, parts.netloc, prefix + path, "", ""))


def logsql(found: dict[str, Any]) -> str:
    """Return the query that counts the events of a span; one that is there twice counts once."""
    span = f"[{_utc(found['start_ms'])}, {_utc(found['end_ms'])}]"
    device_id = json.dumps(found["device_id"], ensure_ascii=False)
    return f"_time:{span} device_id:={device_id} | uniq by (_time, source, kind, _msg) | stats count() as events"


def parse_count(body: bytes) -> int | None:
    """Read the count from the answer's only line; None if there is none."""
    count = number(document(body.strip()).get("events"), 0, MAX_COUNT)
    return None if count is None else int(count)


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, tz=timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
