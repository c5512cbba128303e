"""Events in words to a server for logs (JSON lines, as VictoriaLogs takes them); off until `remote.events.url` is set.

Reads events from the buffer, oldest first; emits one request at a time, and tells the buffer how far the server has
them. A request whose answer was lost is sent again: at the server an event may be there twice, never missing; what it
forgot in a crash is sent again too. Fails
by waiting longer each time; samples go first, and a server that hangs holds them up for `MAX_REQUEST_S` and no longer.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from common.remote import VICTORIAMETRICS, Auth, Remote, Tls
from shipper.buffer_client import BufferClient, StoredEvent
from shipper.event_audit import EventAudit
from shipper.http import proof
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted
from shipper.policy import backoff_s
from shipper.report import Report

LOOK_S = 10.0  # how often the buffer is asked for more
MAX_REQUEST_S = 3.0  # for a connection, and for an answer
STREAM = "_stream_fields=device_id,source"  # what VictoriaLogs keeps together; another server ignores it


class EventUploader:
    """Upload events to the log server, in order, at least once.

    Args:
        remote: section remote, as `remote_for_events` returns it.
        buffer: has the events.
        client: of the log server.
        report: takes what people hear.
    """

    def __init__(self, remote: Remote, buffer: BufferClient, client: HttpClient, report: Report) -> None:
        self._remote, self._buffer, self._client, self._report = remote, buffer, client, report
        self._audit = EventAudit(remote, buffer, client, report)
        self._failures = 0
        self._wait_until_s = 0.0

    def step(self) -> float:
        """Send one request of unsent events; return when to look again, monotonic.

        Raises:
            BufferAwayError, BufferBusyError: as the buffer's client does.
            Interrupted: the process was asked to end.
        """
        now_s = time.monotonic()
        if now_s < self._wait_until_s:
            return self._wait_until_s
        device_id, events = self._buffer.events()
        if not events:
            self._audit.step()
            return now_s + LOOK_S
        packed = self._client.transport.pack(body(device_id, events))
        exchange = self._client.upload(packed, len(events), proof.EVENTS)
        if not isinstance(exchange.outcome, Accepted):
            return self._failed(exchange)
        self._failures, self._wait_until_s = 0, 0.0
        upto = events[exchange.outcome.count - 1].id
        self._buffer.events_sent(upto)
        self._report.instruments.count("uploader.events_sent_total", exchange.outcome.count)
        return time.monotonic()

    def close(self) -> None:
        """Close the connection."""
        self._client.transport.close()

    def _failed(self, exchange: Exchange) -> float:
        """Report a failure and start the back-off; return when it ends."""
        wait_s = backoff_s(self._failures, self._remote, random.random())  # noqa: S311 - it spreads load
        self._failures += 1
        self._audit.suspect()
        self._wait_until_s = time.monotonic() + wait_s
        reason = "" if isinstance(exchange.outcome, Accepted) else exchange.outcome.reason
        self._report.instruments.count("uploader.event_failures_total", reason=reason)
        self._report.log.throttled_warning(
            "events",
            "events not sent",
            reason=exchange.detail,
            endpoint=self._client.transport.endpoint,
            next_attempt_s=round(wait_s, 1),
        )
        return self._wait_until_s


def remote_for_events(remote: Remote) -> Remote:
    """Return the section with the log server in the place of the server; token and pins are for the latter alone."""
    url = remote.events.url if urlsplit(remote.events.url).query else f"{remote.events.url}?{STREAM}"
    theirs, ours = urlsplit(url), urlsplit(remote.url)
    same = (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc)
    return replace(
        remote,
        url=url,
        type=VICTORIAMETRICS,
        auth=remote.auth if same else Auth(),
        tls=remote.tls if same else Tls(),
        connect_timeout_s=min(MAX_REQUEST_S, remote.connect_timeout_s),
        timeout_s=min(MAX_REQUEST_S, remote.timeout_s),
    )


def body(device_id: str, events: Sequence[StoredEvent]) -> bytes:
    """Return events as JSON lines, in the fields that VictoriaLogs looks for."""
    return b"".join(json.dumps(_fields(device_id, event), ensure_ascii=False).encode() + b"\n" for event in events)


def _fields(device_id: str, event: StoredEvent) -> dict[str, Any]:
    when = datetime.fromtimestamp(event.timestamp_ms / 1000, tz=timezone.utc).isoformat(timespec="milliseconds")
    session = {"session_id": event.session_id} if event.session_id else {}
    return {
        "_time": when, "_msg": event.text, "device_id": device_id, "kind": event.kind, "severity": event.severity,
        "source": event.source, **session,
    }  # fmt: skip
