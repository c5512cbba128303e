"""Events in words to a server for logs (JSON lines, as VictoriaLogs takes them); off until `remote.events.url` is set.

Reads events from the buffer, oldest first; emits one request at a time, and tells the buffer how far the server has
them. A request whose answer was lost is sent again: at the server an event may be there twice, never missing. Fails
by waiting longer each time; samples go first, and a server that hangs holds them up for `MOST_S` and no longer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from random import random
from typing import Any
from urllib.parse import urlsplit

from common.remote import Auth, Remote
from common.service import Service
from shipper.drain import Drain, Event
from shipper.http.meter import Meter
from shipper.http.transport import Transport, TransportError, open_transport
from shipper.pace.backoff import Backoff

LOOK_S = 10.0  # how often the buffer is asked for more
MOST_S = 3.0  # for a connection, and for an answer
STREAM = "_stream_fields=device_id,source"  # what VictoriaLogs keeps together; another server ignores it


class EventLog:
    """The way of events to their server.

    Args:
        process: whose configuration, log and instruments are used.
        drain: of the same process.
        stopping: tells whether the process was asked to end.
        meter: counts what the connection carries, for the data budget.

    Raises:
        ConfigError: `remote.ca_file` cannot be used.
    """

    def __init__(self, process: Service, drain: Drain, stopping: Callable[[], bool], meter: Meter) -> None:
        self._process, self._drain = process, drain
        self._stopping, self._meter = stopping, meter
        self._transport: Transport | None = None
        self.configure()

    def configure(self) -> None:
        """Take over what the configuration says now.

        Raises:
            ConfigError: see the class.
        """
        self.close()
        remote = self._process.config.settings.remote
        self._backoff = Backoff(remote.retry, random)
        self._transport = self._opened(remote) if remote.events.url else None

    def step(self) -> float:
        """Send what there is, one request; return when to look again, monotonic.

        Raises:
            BufferAwayError, BufferBusyError: as the drain does.
            Interrupted: the process was asked to end.
        """
        now_s = time.monotonic()
        if self._transport is None or now_s < self._backoff.until_s:
            return max(now_s + LOOK_S, self._backoff.until_s)
        device_id, events = self._drain.events()
        if not events:
            return now_s + LOOK_S
        if not self._posted(self._transport, body(device_id, events)):
            return self._backoff.until_s
        self._drain.events_sent(events[-1].id)
        self._process.instruments.count("uploader.events_sent_total", len(events))
        return time.monotonic()

    def close(self) -> None:
        """Let go of the connection."""
        if self._transport is not None:
            self._transport.close()

    def _posted(self, transport: Transport, lines: bytes) -> bool:
        """Tell whether the server took them; wait otherwise."""
        try:
            answer = transport.post(transport.pack(lines))
            reason = "" if 200 <= answer.status < 300 else f"http_{answer.status}"
        except TransportError as error:
            reason = error.reason
        if not reason:
            self._backoff.succeeded()
            return True
        wait_s = self._backoff.failed(time.monotonic())
        self._process.instruments.count("uploader.event_failures_total", reason=reason)
        self._process.log.throttled_warning(
            "events", "events not sent", reason=reason, endpoint=transport.endpoint, next_attempt_s=round(wait_s, 1)
        )
        return False

    def _opened(self, remote: Remote) -> Transport:
        """Return the way there; the token goes along only to the server that it is for."""
        url = remote.events.url if urlsplit(remote.events.url).query else f"{remote.events.url}?{STREAM}"
        theirs, ours = urlsplit(url), urlsplit(remote.url)
        auth = remote.auth if (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc) else Auth()
        settings = self._process.config.settings
        connect_s, answer_s = min(MOST_S, remote.connect_timeout_s), min(MOST_S, remote.timeout_s)
        way = replace(remote, url=url, auth=auth, connect_timeout_s=connect_s, timeout_s=answer_s)
        config = replace(self._process.config, settings=replace(settings, remote=way))
        return open_transport(config, self._process.log, self._stopping, self._meter)


def body(device_id: str, events: Sequence[Event]) -> bytes:
    """Return events as JSON lines, in the fields that VictoriaLogs looks for."""
    return b"".join(json.dumps(_fields(device_id, event), ensure_ascii=False).encode() + b"\n" for event in events)


def _fields(device_id: str, event: Event) -> dict[str, Any]:
    when = datetime.fromtimestamp(event.timestamp_ms / 1000, tz=timezone.utc).isoformat(timespec="milliseconds")
    session = {"session_id": event.session_id} if event.session_id else {}
    return {
        "_time": when, "_msg": event.text, "device_id": device_id, "kind": event.kind, "severity": event.severity,
        "source": event.source, **session,
    }  # fmt: skip
