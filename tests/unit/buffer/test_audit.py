"""What was uploaded, compared: what is sent again, how often, and when the server is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from buffer import windows
from buffer.audit import MAX_RESENDS, MAX_TRIES, RESTS, Audit
from buffer.store import Store
from common import clock
from common.events import Event
from common.instruments import Instruments
from common.log import Log
from common.sample import Batch, Sample
from common.service import Service
from tests.unit.buffer.databases import DEVICE, query, storage

GRACE_S = 60.0
SERIES = 10


class Desk:
    """An audit, a clock that a test turns, and a span of ten series that was uploaded."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.now_s = path, 1000.0
        self.events: list[Event] = []
        self.store = Store(storage(path), DEVICE)
        self._process = SimpleNamespace(instruments=Instruments(), log=Log("audit"), event=self.events.append)
        monkeypatch.setattr("buffer.audit.time.monotonic", lambda: self.now_s)
        self.audit = Audit(cast("Service", self._process), self.store)
        self.start_ms = (clock.wall_ms() - 3_600_000) // windows.WINDOW_MS * windows.WINDOW_MS
        samples = [Sample("m", 1, {"slot": f"{slot}"}) for slot in range(SERIES)]
        self.store.write([Batch("p", "e", 1, self.start_ms, 0, "", urgent=False, samples=samples)])
        self.upload()

    def upload(self) -> None:
        """Have the server accept whatever is pending, an hour ago."""
        pending = self.store.pending.rows(2, clock.wall_ms(), 1000)
        if pending:
            self.store.pending.mark_uploaded(2, pending, "b", 0)
        self.store.connection.execute("UPDATE windows SET uploaded_ms = ?", (self.start_ms,))

    def compare(self, missing: int) -> dict[str, Any] | None:
        """Compare the oldest span, of which so many series are missing; None where none is given."""
        found = self.audit.next_window({"after_ms": 0, "grace_s": GRACE_S})
        if found["start_ms"] is None:
            return None
        ids = [row[0] for row in found["series"]][:missing]
        request = {"start_ms": found["start_ms"], "uploaded_ms": found["uploaded_ms"], "missing": ids}
        return self.audit.verdict(request)

    @property
    def state(self) -> int:
        """The span's state."""
        return int(query(self.path, "SELECT state FROM windows")[0][0])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk whose database is closed in the end."""
    made = Desk(tmp_path / "metrics.db", monkeypatch)
    yield made
    made.store.close()


def test_what_is_there_is_verified(desk: Desk) -> None:
    """And asked for no more."""
    assert {"requeued": 0} == desk.compare(0)
    assert (windows.VERIFIED, None) == (desk.state, desk.compare(0))


def test_single_series_are_sent_twice_and_then_given_up(desk: Desk) -> None:
    """A server that drops a metric on purpose shall not hold up the audit of all the others."""
    for _ in range(MAX_RESENDS):
        assert {"requeued": 2} == desk.compare(2)
        desk.upload()
    assert {"requeued": 0} == desk.compare(2)
    assert windows.DIFFERS == desk.state
    assert "not sent any more" in desk.events[-1].text


def test_a_server_that_keeps_nothing_is_left_alone(desk: Desk) -> None:
    """Longer each time; then the same span is tried, and once it is there the audit goes on at once."""
    assert {"requeued": SERIES} == desk.compare(SERIES)
    desk.upload()
    for graces in RESTS:
        assert {"requeued": 0} == desk.compare(SERIES)
        desk.now_s += graces * GRACE_S - 1
        assert desk.compare(SERIES) is None
        desk.now_s += 2
        assert {"requeued": SERIES} == desk.compare(SERIES)
        desk.upload()
    assert {"requeued": 0} == desk.compare(0)
    assert windows.VERIFIED == desk.state
    assert 1 == len([event for event in desk.events if "keeps nothing" in event.text])


def test_it_is_not_tried_for_ever(desk: Desk) -> None:
    """Three hours, and what it costs is bounded."""
    sent, began_s = 0, desk.now_s
    while desk.state != windows.DIFFERS:
        answer = desk.compare(SERIES)
        sent += answer["requeued"] if answer else 0
        desk.upload()
        desk.now_s += GRACE_S
        assert desk.now_s < began_s + 86_400
    assert MAX_TRIES * SERIES == sent
    assert 2 * 3600 < desk.now_s - began_s < 5 * 3600
