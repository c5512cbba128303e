"""What was uploaded, compared: what is sent again, how often, and when the server is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from buffer.delivery.audit import MAX_RESENDS, MAX_TRIES, RESTS, AuditOperations
from buffer.delivery.recheck import Recheck
from buffer.delivery.server_starts import ServerStarts
from buffer.storage import audit_windows, errors
from buffer.storage.store import Store
from common import clock
from common.events import Event
from common.instruments import Instruments
from common.log import Log
from common.sample import Batch, Sample
from common.service import Service
from common.status import BufferStatus
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
        self.monkeypatch = monkeypatch
        monkeypatch.setattr("buffer.delivery.audit.time.monotonic", lambda: self.now_s)
        service, self.status = cast("Service", self._process), BufferStatus()
        self.recheck = Recheck(service, self.store, self.status)
        self.audit = AuditOperations(service, self.store, self.recheck, self.status)
        self.starts = ServerStarts(service, self.store, self.recheck)
        self.start_ms = (clock.wall_ms() - 3_600_000) // audit_windows.WINDOW_MS * audit_windows.WINDOW_MS
        samples = [Sample("m", 1, {"slot": f"{slot}"}) for slot in range(SERIES)]
        self.store.write([Batch("p", "e", 1, self.start_ms, 0, "", urgent=False, samples=samples)])
        self.upload()

    def write(self, name: str, offset_ms: int, tags: dict[str, str] | None = None) -> None:
        """Store a sample so long after the span's start."""
        samples = [Sample(name, 1, tags or {})]
        self.store.write([Batch("p", "e", 2, self.start_ms + offset_ms, 0, "", urgent=False, samples=samples)])

    def upload(self, uploaded_ms: int | None = None) -> None:
        """Have the server accept whatever is pending, an hour ago or at another time."""
        pending = self.store.pending.rows(2, clock.wall_ms(), 1000)
        if pending:
            self.store.pending.mark_uploaded(2, pending, "b", 0)
        self.store._connection.execute("UPDATE windows SET uploaded_ms = ?", (uploaded_ms or self.start_ms,))

    def next_window(self, after_ms: int = 0) -> dict[str, Any]:
        """Return the next span to be compared."""
        return self.audit.next_window({"after_ms": after_ms, "grace_s": GRACE_S})

    def windows(self) -> Iterator[dict[str, Any]]:
        """Yield all spans to be compared."""
        found = self.next_window()
        while found["start_ms"] is not None:
            yield found
            found = self.next_window(found["start_ms"])

    def verdict(self, found: dict[str, Any], missing: int, there: int = 0, **more: Any) -> dict[str, Any]:
        """Say of a span that of so many of its series only some samples are there."""
        short = [[row[0], there] for row in found["series"] if there < row[4]][:missing]
        whole = [row[0] for row in found["series"][missing:] if row[4] < row[5]]
        request = {"start_ms": found["start_ms"], "uploaded_ms": found["uploaded_ms"], "missing": short}
        return self.audit.verdict({**request, "whole": whole, "has_device": True, **more})

    def compare(self, missing: int, there: int = 0, **more: Any) -> dict[str, Any] | None:
        """Compare the oldest span, of which so many series are missing; None where none is given."""
        found = self.next_window()
        return None if found["start_ms"] is None else self.verdict(found, missing, there, **more)

    def progress(self) -> tuple[Any, Any]:
        """Return up to when everything is verified, and how many uploaded samples are not."""
        found = self.next_window()
        return found["verified_until_ms"], found["unverified_samples"]

    def counter(self, name: str) -> float:
        """Return what was counted."""
        counted: float = self._process.instruments.counter(f"storage.{name}")
        return counted

    def row(self, columns: str, start_ms: int | None = None, table: str = "windows") -> tuple[Any, ...]:
        """Return columns of a span, the only one where no start is given."""
        where = "1" if start_ms is None else f"start_ms = {start_ms}"
        return query(self.path, f"SELECT {columns} FROM {table} WHERE {where}")[0]

    @property
    def state(self) -> int:
        """The span's state."""
        return int(self.row("state")[0])

    def state_of(self, start_ms: int) -> int:
        """Return the state of one of several spans."""
        return int(self.row("state", start_ms)[0])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk whose database is closed in the end."""
    made = Desk(tmp_path / "metrics.db", monkeypatch)
    yield made
    made.store.close()


def test_what_is_there_is_verified(desk: Desk) -> None:
    """And asked for no more."""
    assert {"requeued": 0} == desk.compare(0)
    assert (audit_windows.VERIFIED, None) == (desk.state, desk.compare(0))


def test_single_series_are_sent_twice_and_then_given_up(desk: Desk) -> None:
    """A server that drops a metric on purpose shall not hold up the audit of all the others."""
    for _ in range(MAX_RESENDS):
        assert {"requeued": 2} == desk.compare(2)
        desk.upload()
    assert {"requeued": 0} == desk.compare(2)
    assert audit_windows.DIFFERS == desk.state
    assert "accepts 2 of 10 series and does not keep them (m)" in desk.events[-1].text


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
    assert audit_windows.VERIFIED == desk.state
    assert 1 == len([event for event in desk.events if "keeps nothing" in event.text])


def test_it_is_not_tried_for_ever(desk: Desk) -> None:
    """Three hours, and what it costs is bounded."""
    sent, began_s = 0, desk.now_s
    while desk.state != audit_windows.DIFFERS:
        answer = desk.compare(SERIES)
        sent += answer["requeued"] if answer else 0
        desk.upload()
        desk.now_s += GRACE_S
        assert desk.now_s < began_s + 86_400
    assert MAX_TRIES * SERIES == sent
    assert 2 * 3600 < desk.now_s - began_s < 5 * 3600


def test_late_samples_of_a_verified_span_are_audited(desk: Desk) -> None:
    """What was verified says nothing of what is uploaded there afterwards."""
    desk.compare(0)
    desk.write("late", 30_000)
    desk.upload()
    assert audit_windows.TO_AUDIT == desk.state
    assert {"requeued": SERIES + 1} == desk.compare(SERIES + 1)


def test_late_samples_do_not_forget_what_was_resent(desk: Desk) -> None:
    """A span that differs for good stays so, and one that was sent again is compared as such."""
    desk.compare(2)
    desk.write("late", 30_000)
    desk.upload()
    assert (audit_windows.SENT_AGAIN, 1) == desk.row("state, resends")
    for _ in range(MAX_RESENDS):
        desk.compare(2)
        desk.upload()
    desk.write("later", 60_000)
    desk.upload()
    assert (audit_windows.DIFFERS, None) == (desk.state, desk.compare(0))


@pytest.mark.parametrize("missing", [0, SERIES])
def test_a_verdict_on_a_span_that_changed_meanwhile_is_void(desk: Desk, missing: int) -> None:
    """The server was asked before the last upload: neither verified nor sent again, but compared once more."""
    found = desk.next_window()
    desk.write("late", 30_000)
    desk.upload(uploaded_ms=desk.start_ms + 1)
    assert {"requeued": 0} == desk.verdict(found, missing)
    assert (audit_windows.TO_AUDIT, 0) == desk.row("state, resends")
    again = desk.next_window()
    assert SERIES + 1 == len(again["series"])
    assert {"requeued": 0} == desk.verdict(again, 0)
    assert audit_windows.VERIFIED == desk.state


def test_a_verdict_on_a_span_that_is_not_there_changes_nothing(desk: Desk) -> None:
    """It was given up for room while the server was asked."""
    found = desk.next_window()
    desk.store._connection.execute("DELETE FROM windows")
    assert {"requeued": 0} == desk.verdict(found, SERIES)
    assert [0, 0, 0, 0] == desk.store.pending.counts


def test_only_what_is_missing_is_sent_again(desk: Desk) -> None:
    """Of two series and of this span: neither others nor what lies before or after it."""
    for offset_ms in (-1, audit_windows.WINDOW_MS):
        desk.write("m", offset_ms, {"slot": "0"})
    desk.upload()
    found = next(found for found in desk.windows() if found["start_ms"] == desk.start_ms)
    assert {"requeued": 2} == desk.verdict(found, 2)
    rows = desk.store.pending.rows(2, clock.wall_ms(), 100)
    assert [(desk.start_ms, row[0]) for row in found["series"][:2]] == [
        (row.timestamp_ms, row.series_id) for row in rows
    ]
    assert SERIES - 2 == desk.row("samples", desk.start_ms)[0]
    assert (2, 2) == (desk.store.pending.counts[2], desk.counter("requeued_samples_total"))


@pytest.mark.parametrize(("ended_s", "uploaded_s", "is_closed"), [(61, 61, True), (59, 61, False), (61, 59, False)])
def test_a_span_is_asked_about_when_it_is_closed(
    desk: Desk, ended_s: float, uploaded_s: float, is_closed: bool
) -> None:
    """It ended, and its last upload was, longer ago than the grace: before that the server may not show it."""
    now_ms = desk.start_ms + audit_windows.WINDOW_MS + int(1000 * ended_s)
    desk.upload(uploaded_ms=now_ms - int(1000 * uploaded_s))
    desk.monkeypatch.setattr(clock, "wall_ms", lambda: now_ms)
    assert is_closed == (desk.next_window()["start_ms"] == desk.start_ms)


def test_spans_come_oldest_first_and_after_the_one_asked_for(desk: Desk) -> None:
    """With how many samples of each series are uploaded there: pending and refused ones do not count."""
    for number in (2, 1):
        desk.write("m", number * audit_windows.WINDOW_MS, {"slot": "0"})
    desk.upload()
    desk.write("pending", 10)
    desk.write("refused", 20)
    (refused,) = desk.store.pending.rows(2, desk.start_ms + 21, 10, since_ms=desk.start_ms + 11)
    desk.store.pending.mark_quarantined(2, [refused])
    starts = [found["start_ms"] for found in desk.windows()]
    assert [desk.start_ms + number * audit_windows.WINDOW_MS for number in range(3)] == starts
    assert [["m", DEVICE, {"slot": "0"}, 1, 1]] == [row[1:] for row in desk.next_window(starts[1])["series"]]
    assert SERIES == len(desk.next_window()["series"])


def test_how_far_everything_is_verified(desk: Desk) -> None:
    """Up to the oldest span that is not, and how many uploaded samples lie in such spans."""
    desk.write("m", audit_windows.WINDOW_MS, {"slot": "0"})
    desk.upload()
    assert (desk.start_ms, SERIES + 1) == desk.progress()
    desk.compare(0)
    assert (desk.start_ms + audit_windows.WINDOW_MS, 1) == desk.progress()
    desk.compare(0)
    assert (desk.start_ms + 2 * audit_windows.WINDOW_MS, 0) == desk.progress()


def test_what_was_accepted_just_before_the_server_died_is_sent_again_once(desk: Desk) -> None:
    """Of the grace before its start, counted from the last upload then; the same start is answered once."""
    started_ms = clock.wall_ms() - 600_000
    for name, age_s in (("old", 130), ("last", 60), ("within", 119), ("after", -3)):
        desk.write(name, 1000)
        desk.upload()
        update = "UPDATE upload_checkpoints SET upload_time = ? WHERE id = (SELECT max(id) FROM upload_checkpoints)"
        desk.store._connection.execute(update, (started_ms - 1000 * age_s,))
    request = {"started_s": started_ms // 1000, "started_ms": started_ms, "grace_s": 60, "missing": None}
    assert [2, 0] == [desk.starts.restarted(request)["requeued"] for _ in range(2)]
    names = {desk.store.series.by_id(row.series_id).name for row in desk.store.pending.rows(2, clock.wall_ms(), 100)}
    assert {"last", "within"} == names
    assert SERIES + 2 == desk.row("samples")[0]
    desk.upload()
    later = {**request, "started_s": started_ms // 1000 + 5}
    assert 0 == desk.starts.restarted(later)["requeued"]


def test_what_the_server_took_after_its_start_stays(desk: Desk) -> None:
    """Two seconds of doubt about the clocks, no more."""
    started_ms = desk.row("upload_time", table="upload_checkpoints")[0] - 2_001
    request = {"started_s": started_ms // 1000, "started_ms": started_ms, "grace_s": 60, "missing": None}
    assert 0 == desk.starts.restarted(request)["requeued"]
    request = {"started_s": started_ms // 1000 + 1, "started_ms": started_ms + 1, "grace_s": 60, "missing": None}
    assert SERIES == desk.starts.restarted(request)["requeued"]


def disorder(desk: Desk, byte: int) -> None:
    """Have 200 samples uploaded in the window, and damage one time in the upper page of their index."""
    for offset_ms in range(200):
        desk.write("m", 1_000 + offset_ms)
    desk.upload()
    desk.store.close()
    path = desk.store.path
    ((root,),) = query(path, "SELECT rootpage FROM sqlite_master WHERE name = 'ux_metrics_dedup'")
    ((page,),) = query(path, "PRAGMA page_size")
    content = bytearray(path.read_bytes())
    first_cell = page * (root - 1) + int.from_bytes(content[page * (root - 1) + 12 :][:2], "big")
    content[first_cell + 4 + 4 + 1 + byte] ^= 32  # behind page number and header: a time of six bytes
    path.write_bytes(content)
    desk.store.open()


def test_what_was_counted_is_sent_again_where_the_index_is_out_of_order(desk: Desk) -> None:
    """A flipped bit leads who looks for one sample astray; who reads on from a time, as the audit does, finds it."""
    disorder(desk, byte=5)
    found = desk.next_window()
    ((series, times_ms),) = desk.audit.stored({**found, "series": [found["series"][-1][0]]})["times_ms"]
    request = {"start_ms": found["start_ms"], "uploaded_ms": found["uploaded_ms"], "missing": [[series, 0, times_ms]]}
    assert {"requeued": len(times_ms)} == desk.audit.verdict({**request, "whole": [], "has_device": True})


def test_samples_that_a_damaged_index_hides_are_no_whole_window(desk: Desk) -> None:
    """The server would be asked for those that are seen alone, and the rest be taken for verified."""
    disorder(desk, byte=0)
    with pytest.raises(errors.CorruptError, match="hides"):
        desk.next_window()


def test_a_window_that_is_said_to_have_more_than_the_table_is_set_right(desk: Desk) -> None:
    """A salvage counts a sample that it finds in two files twice; no damage is taken from that."""
    desk.store._connection.execute("UPDATE windows SET samples = samples + 5")
    assert SERIES == len(desk.next_window()["series"])
    assert (SERIES,) == desk.row("samples")


def one_more(desk: Desk, samples: int = 10, name: str = "m") -> None:
    """Have so many samples of each series of a metric uploaded in the window after the last one."""
    desk.start_ms += audit_windows.WINDOW_MS
    for number in range(samples):
        rows = [Sample(name, 1, {"slot": f"{slot}"}) for slot in range(SERIES)]
        desk.store.write([Batch("p", "e", 3, desk.start_ms + number, 0, "", urgent=False, samples=rows)])
    desk.upload()


def learned(desk: Desk, there: int = 5, samples: int = 10) -> None:
    """Have a server that keeps so many samples of each series known as such."""
    desk.compare(0)
    one_more(desk, samples)
    for _ in range(MAX_RESENDS):
        desk.compare(SERIES, there)
        desk.upload()
    desk.compare(SERIES, there)


def test_what_a_server_thins_out_is_sent_again_once_and_reported_once(desk: Desk) -> None:
    """With the setting that does so; the windows after it cost nothing."""
    learned(desk)
    assert "-dedup.minScrapeInterval is larger than 1ms" in desk.events[-1].text
    for _ in range(3):
        one_more(desk)
        assert {"requeued": 0} == desk.compare(SERIES, there=5)
        assert audit_windows.DIFFERS == desk.row("state", desk.start_ms)[0]
    assert 1 == [event.kind for event in desk.events].count("samples_withheld")
    assert "dedup" in str(desk.status.withheld)


def test_what_it_loses_besides_is_sent_again(desk: Desk) -> None:
    """A crash takes more than the rule does."""
    learned(desk)
    one_more(desk)
    assert {"requeued": 10 * SERIES} == desk.compare(SERIES, there=1)


def test_a_mended_server_is_held_to_all_again(desk: Desk) -> None:
    """Once it has all of a window of at least as many samples; a single sample is kept by the rule too."""
    learned(desk)
    one_more(desk, samples=1)
    desk.compare(0)
    assert desk.status.withheld
    one_more(desk)
    desk.compare(0)
    desk.next_window()
    assert desk.status.withheld is None
    one_more(desk)
    assert {"requeued": 10 * SERIES} == desk.compare(SERIES, there=5)


def test_a_token_for_another_device_is_found_after_one_resend(desk: Desk) -> None:
    """The server has no sample of this device at all, whatever it accepts."""
    assert {"requeued": SERIES} == desk.compare(SERIES, has_device=False)
    desk.upload()
    assert {"requeued": 0} == desk.compare(SERIES, has_device=False)
    assert "extra_label in vmauth" in str(desk.status.withheld)
    assert desk.status.keeps_nothing
    one_more(desk)
    assert {"requeued": 0} == desk.compare(SERIES, has_device=False)


def test_other_windows_wait_until_it_is_known_whether_a_resend_helps(desk: Desk) -> None:
    """Eight windows would be sent again before the first is known to be in vain."""
    first_ms = desk.start_ms
    one_more(desk, samples=1)
    assert {"requeued": 2} == desk.compare(2)
    assert {"requeued": 0} == desk.compare(2)
    assert audit_windows.TO_AUDIT == desk.row("state", desk.start_ms)[0]
    desk.upload()
    assert desk.compare(0) is None  # and then from the oldest one on
    assert first_ms == desk.next_window()["start_ms"]
    desk.compare(0)
    assert {"requeued": 2} == desk.compare(2)


def test_single_samples_are_sent_again_where_they_are_known(desk: Desk) -> None:
    """Of a series that is there for the most part."""
    desk.compare(0)
    one_more(desk)
    found = desk.next_window()
    first = found["series"][0][0]
    request = {"start_ms": found["start_ms"], "uploaded_ms": found["uploaded_ms"], "whole": [], "has_device": True}
    times_ms = dict(desk.audit.stored({"start_ms": found["start_ms"], "series": [first]})["times_ms"])[first]
    assert [desk.start_ms + number for number in range(10)] == times_ms
    assert {"requeued": 2} == desk.audit.verdict({**request, "missing": [[first, 8, times_ms[-2:]]]})
    assert times_ms[-2:] == [row.timestamp_ms for row in desk.store.pending.rows(2, clock.wall_ms(), 100)]


def test_what_was_accepted_before_a_start_can_be_compared(desk: Desk) -> None:
    """Only what the server forgot is sent again, once for each start."""
    started_ms = clock.wall_ms()
    request = {"started_s": started_ms // 1000, "started_ms": started_ms, "grace_s": 60.0}
    accepted = desk.starts.accepted(request)
    assert (False, SERIES) == (accepted["is_known"], len(accepted["groups"]))
    first = accepted["groups"][0]
    assert {"requeued": 1} == desk.starts.restarted({**request, "missing": [[first[0], first[4]]]})
    assert {"is_known": True, "groups": []} == desk.starts.accepted(request)


def test_a_restarted_server_is_held_to_all_again(desk: Desk) -> None:
    """It may have been restarted for another setting."""
    learned(desk)
    desk.starts.restarted({"started_s": 1, "started_ms": 1000, "grace_s": 60, "missing": None})
    one_more(desk)
    assert {"requeued": 10 * SERIES} == desk.compare(SERIES, there=5)


def test_what_is_counted_and_withheld_is_told_from_the_start(desk: Desk) -> None:
    """A counter that is not there before its first count has no rate; what a server keeps is known after a restart."""
    counted = {str(row[1]) for row in desk._process.instruments.readings()}
    assert {"storage.requeued_samples_total", "storage.audit_failures_total"} <= counted
    learned(desk)
    assert 1 == desk.counter("audit_failures_total")
    status = BufferStatus()
    AuditOperations(cast("Service", desk._process), desk.store, desk.recheck, status)
    assert desk.status.withheld == status.withheld is not None


def test_the_rests_and_tries_are_as_long_as_they_are_said_to_be(desk: Desk) -> None:
    """In graces: 1, 5, 15, then 60 each; a series is sent twice, a whole window seven times."""
    assert (2, (1, 5, 15, 60), 7) == (MAX_RESENDS, RESTS, MAX_TRIES)
    desk.compare(SERIES)
    desk.upload()
    desk.compare(SERIES)
    desk.now_s += GRACE_S  # to the second
    assert desk.next_window()["start_ms"] == desk.start_ms


def test_half_of_the_series_is_most_of_a_window(desk: Desk) -> None:
    """From there on it is the server that is broken, not a series that it drops."""
    for missing, rests in ((SERIES // 2, True), (SERIES // 2 - 1, False)):
        desk.compare(missing)
        desk.upload()
        answer = desk.compare(missing)
        assert ({"requeued": 0} if rests else {"requeued": missing}) == answer
        desk.now_s += GRACE_S
        desk.upload()
        while desk.state not in {audit_windows.VERIFIED, audit_windows.DIFFERS}:
            desk.compare(0)
            desk.now_s += GRACE_S
        one_more(desk, samples=1)
        desk.store._connection.execute("DELETE FROM windows WHERE start_ms < ?", (desk.start_ms,))


def test_what_is_missing_is_an_event_that_says_of_when(desk: Desk) -> None:
    """And how many samples of how many series."""
    desk.compare(2)
    (event,) = desk.events
    at = datetime.fromtimestamp(desk.start_ms / 1000, timezone.utc)
    assert f"five minutes from {at:%Y-%m-%d %H:%M:%S UTC}: 2 uploaded samples of 2 series are missing" in event.text


def test_one_resend_that_helped_speaks_for_the_next_windows(desk: Desk) -> None:
    """They are not held up for a trial; one that needed none says nothing of it."""
    desk.compare(0)
    one_more(desk, samples=1)
    one_more(desk, samples=1)
    assert {"requeued": 2} == desk.compare(2)
    assert {"requeued": 0} == desk.compare(2)  # nothing was sent again with success before
    desk.upload()
    desk.next_window()
    assert {"requeued": 0} == desk.compare(0)
    one_more(desk, samples=1)
    assert {"requeued": 2} == desk.compare(2)
    assert {"requeued": 2} == desk.compare(2)


def test_a_series_that_is_whole_again_leaves_the_others_withheld(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """What a server keeps is forgotten for that series alone, and a line says so."""
    caplog.set_level("INFO")
    learned(desk)
    one_more(desk)
    assert {"requeued": 0} == desk.compare(SERIES - 1, there=5)
    assert "stores all accepted samples again" in caplog.text
    desk.next_window()
    assert "dedup" in str(desk.status.withheld)
    caplog.clear()
    one_more(desk, samples=1)
    desk.compare(0)
    assert "stores all accepted samples again" not in caplog.text


def kept_nothing(desk: Desk) -> list[str]:
    """Return the kinds of the events that say so of the server."""
    return [event.kind for event in desk.events if "keeps nothing" in event.text]


def test_a_rest_is_reported_once_in_a_row(desk: Desk) -> None:
    """The first: it says that the server keeps nothing; the next one is the same trouble."""
    desk.compare(SERIES)
    desk.upload()
    for _ in range(3):
        desk.compare(SERIES)
        assert ["samples_missing"] == kept_nothing(desk)
        desk.now_s += RESTS[-1] * GRACE_S
        desk.compare(SERIES)
        desk.upload()


def test_the_next_trouble_begins_with_a_short_rest_that_is_reported(desk: Desk) -> None:
    """After one that is over, and after one in which the window was given up."""
    for tries in (2, MAX_TRIES):
        for _ in range(tries):
            desk.now_s += RESTS[-1] * GRACE_S
            desk.compare(SERIES)
            desk.upload()
            desk.compare(SERIES)  # a rest, but for the last try of a window that is given up
        assert len(kept_nothing(desk)) == (1 if tries == 2 else 2)
        desk.now_s += RESTS[-1] * GRACE_S
        desk.compare(0 if tries == 2 else SERIES)
        assert desk.state_of(desk.start_ms) == (audit_windows.VERIFIED if tries == 2 else audit_windows.DIFFERS)
        one_more(desk, samples=1, name=f"after.{tries}")  # other series, of which nothing is known
    desk.compare(SERIES)
    desk.upload()
    desk.compare(SERIES)
    assert 3 == len(kept_nothing(desk))
    desk.now_s += RESTS[0] * GRACE_S
    assert desk.next_window()["start_ms"] == desk.start_ms


def test_a_window_that_is_given_up_speaks_for_no_resend(desk: Desk) -> None:
    """Though one helped before: of two that are short of the same, the second waits for what comes of the first."""
    assert {"requeued": 2} == desk.compare(2)
    desk.upload()
    desk.compare(0)
    one_more(desk, samples=1)
    for _ in range(MAX_RESENDS + 1):
        desk.compare(2)
        desk.upload()
    assert audit_windows.DIFFERS == desk.state_of(desk.start_ms)
    for _ in range(2):
        one_more(desk, samples=1, name="other")  # of which nothing is known
    assert {"requeued": 2} == desk.compare(2)
    assert {"requeued": 0} == desk.compare(2)
