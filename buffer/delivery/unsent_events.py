"""Hand out the events that the log server does not have yet, oldest first, and store how far it has them.

Answers requests of `common/PROTOCOL.md`, section drain. How far it has them is kept in the database, so that a kill
sends at most one request's events a second time. What it acknowledged is no proof, as with samples: what it was sent
shortly before it was started anew is sent again, and where it can be asked, so is what it has fewer of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from buffer.storage.store import Store
from common import clock
from common.events import Event
from common.service import Service

SENT = "events_sent_id"  # the newest that the server has acknowledged
VERIFIED = "events_verified_id"  # the newest that was found there
ACKS = "events_acks"  # when which were acknowledged, the newest last
STARTS = "events_server_starts"
RESENDS = "events_resends"  # of those that follow VERIFIED
MOST = 500  # in one reply, about 100 KB
MOST_ACKS = 100
KNOWN_STARTS = 8
MAX_RESENDS = 2


class UnsentEvents:
    """The events of a database, as they are sent.

    Args:
        service: takes counters, events and the log.
        store: whose events they are.
    """

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store = service, store

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what the drain answers for this, by operation."""
        return {
            "events": self.unsent,
            "events_sent": self.sent,
            "events_audit": self.unverified,
            "events_verdict": self.counted,
            "events_restarted": self.restarted,
        }

    def unsent(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Return the oldest events that the server does not have."""
        rows = self._store.events.unsent(self._get(SENT), MOST, self._store.clocks.unsynchronised)
        return {"device_id": self._store.device_id, "events": [list(row) for row in rows]}

    def sent(self, request: dict[str, Any]) -> dict[str, Any]:
        """Note that the server has acknowledged all up to an event."""
        upto = int(request["upto"])
        with self._store.transaction():
            if self._store.progress.get(VERIFIED) is None:  # what was sent before anybody counted is left alone
                self._store.progress.set(VERIFIED, self._get(SENT))
            self._store.progress.set(SENT, upto)
            self._store.progress.set(ACKS, json.dumps([*self._acks(), (upto, clock.wall_ms())][-MOST_ACKS:]))
            self._store.events.sent(upto)
        return {}

    def unverified(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the times between which acknowledged events lie that were not counted yet, and how many do."""
        settled_ms = clock.wall_ms() - int(1000 * float(request["grace_s"]))
        upto = max((upto for upto, sent_ms in self._acks() if sent_ms <= settled_ms), default=0)
        found = self._store.events.span(self._get(VERIFIED), min(upto, self._get(SENT)))
        if found is None:
            return {"upto": 0}
        return {"device_id": self._store.device_id, "upto": upto, **found._asdict()}

    def counted(self, request: dict[str, Any]) -> dict[str, Any]:
        """Mark the counted events as verified, or send again all after the last verified one."""
        upto, missing, resends = int(request["upto"]), int(request["missing"]), self._get(RESENDS)
        with self._store.transaction():
            if not missing or resends >= MAX_RESENDS:
                self._store.progress.set(VERIFIED, upto)
                self._store.progress.set(RESENDS, None)
            else:
                self._store.progress.set(RESENDS, resends + 1)
                self._rewind(self._get(VERIFIED))
        if missing:
            self._report(missing, again=resends < MAX_RESENDS)
        return {}

    def restarted(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send again what was acknowledged in the last seconds before the server was started, once for each start."""
        start, known = str(int(request["started_s"])), str(self._store.progress.get_text(STARTS) or "").split()
        if start in known:
            return {}
        acks = [ack for ack in self._acks() if ack[1] <= int(request["started_ms"])]
        newest_ms = acks[-1][1] if acks else 0
        kept = [upto for upto, sent_ms in acks if sent_ms < newest_ms - int(1000 * float(request["grace_s"]))]
        with self._store.transaction():
            self._store.progress.set(STARTS, " ".join([start, *known][:KNOWN_STARTS]))
            if acks:
                self._rewind(max(kept, default=self._get(VERIFIED)))
        return {}

    def _rewind(self, sent_id: int) -> None:
        """Send again what follows an event."""
        self._store.progress.set(SENT, min(sent_id, self._get(SENT)))
        self._store.progress.set(ACKS, json.dumps([ack for ack in self._acks() if ack[0] <= sent_id]))

    def _report(self, missing: int, *, again: bool) -> None:
        text = f"the log server had acknowledged {missing} events that it does not have: they are " + (
            "sent again" if again else "missing again, and are not sent another time"
        )
        self._service.log.warning("events missing at the log server", count=missing, sent_again=again)
        self._service.event(Event("events_missing", text))

    def _acks(self) -> list[tuple[int, int]]:
        text = self._store.progress.get_text(ACKS)
        return [(upto, sent_ms) for upto, sent_ms in json.loads(text)] if text else []

    def _get(self, entry: str) -> int:
        return self._store.progress.get(entry) or 0
