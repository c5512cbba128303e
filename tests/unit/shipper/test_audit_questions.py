"""What the audit asks the server, when it asks again, and what it makes of each answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.instruments import Instruments
from common.log import Log
from common.remote import Audit, Remote
from common.service import Service
from common.settings import Settings
from shipper.audit import Auditor
from shipper.buffer_client import BufferClient
from shipper.comparison import labels_of
from shipper.http.client import HttpClient, NotTheServerError
from shipper.questions import Labels, Questions, ServerIdentity, UnreachableError
from shipper.report import Report

START_MS, WIDTH_MS = 1_795_000_000_000, 300_000
END_MS = START_MS + WIDTH_MS
INTERVAL_S, GRACE_S = 60.0, 90.0

Row = Sequence[Any]  # number, name, device, tags, required, samples


class Server:
    """Answers questions as a test says, and remembers them.

    Attributes:
        newest_ms: by device.
        there: samples in a window, by name.
        times_ms: of the samples that an export gives, by name; None where it gives none.
    """

    def __init__(self) -> None:
        self.identity = ServerIdentity(retention_s=40 * 86_400.0)
        self.are_possible = True
        self.newest_ms = {"d": END_MS}
        self.there: dict[str, int] = {}
        self.times_ms: dict[str, set[int]] | None = {}
        self.asked: list[tuple[Any, ...]] = []

    def start(self) -> ServerIdentity:
        """Return what the server says of itself."""
        self.asked.append(("start",))
        return self.identity

    def newest(self, device_id: str) -> int:
        """Return the newest sample's time."""
        return self.newest_ms.get(device_id, 0)

    def counts(self, device_id: str, end_ms: int, width_ms: int) -> Counter[Labels]:
        """Return how many samples of each series there are."""
        self.asked.append(("counts", device_id, end_ms, width_ms))
        return Counter({labels_of(name, device_id, {}): count for name, count in self.there.items()})

    def count(self, device_id: str, end_ms: int, width_ms: int) -> int:
        """Return how many samples there are."""
        self.asked.append(("count", device_id, end_ms, width_ms))
        return sum(self.there.values())

    def times(self, device_id: str, start_ms: int, end_ms: int, names: set[str] | None) -> dict[Labels, set[int]]:
        """Return the times of samples."""
        self.asked.append(("times", device_id, start_ms, end_ms, names and len(names)))
        if self.times_ms is None:
            raise UnreachableError("no export")
        return {labels_of(name, device_id, {}): times for name, times in self.times_ms.items()}


class Audited:
    """An audit of one window, between a buffer and a server that a test tells what to answer.

    Attributes:
        said: what the buffer heard, each operation with its fields.
        looks: how often other devices were looked for.
    """

    def __init__(self, remote: Remote) -> None:
        self.server, self.instruments, self.looks = Server(), Instruments(), 0
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.series: list[Row] = [[1, "cpu", "d", {}, 30, 30]]
        self.recheck: dict[str, Any] = {"start_ms": None}
        self.groups: list[Any] | None = []
        process = SimpleNamespace(instruments=self.instruments, log=Log("shipper"), event=lambda _: None)
        self.report = Report(cast("Service", process))
        self.auditor = Auditor(Settings(remote=remote), BufferClient(self._ask), cast("HttpClient", None), self.report)
        self.auditor._server = cast("Questions", self.server)
        self.auditor._duplicates._next_s = math.inf

    def _ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        self.said.append((operation, fields))
        return {
            "recheck": self.recheck,
            "stored": {"times_ms": [[row[0], [START_MS, START_MS + 1]] for row in self.series]},
            "accepted": {"is_known": False, "groups": self.groups},
            "audit": {
                "start_ms": START_MS, "width_ms": WIDTH_MS, "uploaded_ms": 1, "series": self.series,
                "verified_until_ms": START_MS, "unverified_samples": 30,
            },
        }.get(operation, {})  # fmt: skip

    def heard(self, operation: str) -> list[dict[str, Any]]:
        """Return the fields of each request of an operation."""
        return [fields for name, fields in self.said if name == operation]

    def steps(self, most: int = 20) -> int:
        """Step until there is a verdict; return how many steps that took, so many at most."""
        before = len(self.heard("verdict"))
        return next(n for n in range(1, most + 1) if self.auditor.step() and len(self.heard("verdict")) > before)


@pytest.fixture
def audited() -> Callable[..., Audited]:
    """Build an audit with keys of section remote."""
    return lambda **keys: Audited(Remote(**{"audit": Audit(interval_s=INTERVAL_S, grace_s=GRACE_S), **keys}))


Build = Callable[..., Audited]


def test_an_audit_that_is_off_says_so(audited: Build) -> None:
    """And asks nobody; nothing is too old for a server that is not asked."""
    one = audited(audit=Audit(enabled=False, interval_s=INTERVAL_S))
    assert (INTERVAL_S, "disabled", math.inf) == (
        one.auditor.step(), one.report.status.audit, one.auditor.retention_s
    )  # fmt: skip
    assert ([], []) == (one.said, one.server.asked)


def test_a_server_that_cannot_be_asked_is_asked_again_in_ten_minutes(
    audited: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it acknowledges counts meanwhile, and the page says so."""
    one = audited()

    def refuse(*_: object) -> Counter[Labels]:
        raise UnreachableError("HTTP 401")

    monkeypatch.setattr(one.server, "counts", refuse)
    assert 600.0 == one.auditor.step()
    assert "not possible" in str(one.report.status.audit)


@pytest.mark.parametrize(("known_s", "expected_s"), [(86_400.0, math.inf), (40 * 86_400.0, 40 * 86_400.0)])
def test_a_stranger_tells_no_retention(
    audited: Build, monkeypatch: pytest.MonkeyPatch, known_s: float, expected_s: float
) -> None:
    """The shortest there is would hold back samples for as long as it answers; what the server said stands."""
    one = audited()
    one.auditor.retention_s = known_s

    def stranger() -> ServerIdentity:
        raise NotTheServerError("captive_portal", "a login page")

    monkeypatch.setattr(one.server, "start", stranger)
    assert (INTERVAL_S, expected_s) == (one.auditor.step(), one.auditor.retention_s)


def test_a_window_is_counted_where_it_is(audited: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own span, of each of its devices; others of this id are looked for before."""
    one, looks = audited(), list[int]()
    monkeypatch.setattr(one.auditor._duplicates, "look", lambda: looks.append(1))
    one.series = [[1, "cpu", "d", {}, 30, 30], [2, "cpu", "e", {}, 30, 30]]
    one.server.there = {"cpu": 30}
    assert 1.0 == one.auditor.step()
    asked = {("counts", device, END_MS, WIDTH_MS) for device in "de"}
    assert ([("start",)], asked, [1]) == (one.server.asked[:1], set(one.server.asked[1:]), looks)
    assert "ok" == one.report.status.audit
    one.auditor.step()
    assert 1 == one.server.asked.count(("start",))


@pytest.mark.parametrize(("required", "whole"), [(30, []), (10, [1])])
def test_only_a_series_of_which_less_was_required_is_whole_again(
    audited: Build, required: int, whole: list[int]
) -> None:
    """Of the others all was expected."""
    one = audited()
    one.series, one.server.there = [[1, "cpu", "d", {}, required, 30]], {"cpu": 30}
    one.auditor.step()
    assert [whole] == [fields["whole"] for fields in one.heard("verdict")]


def test_progress_is_measured(audited: Build) -> None:
    """An operator sees until when all is proven, in seconds."""
    one = audited()
    one.auditor.step()
    found = {reading[1]: reading[3] for reading in one.instruments.readings()}
    assert (START_MS // 1000, 30) == (found["uploader.verified_until"], found["uploader.unverified_samples"])
    assert START_MS == one.report.status.verified_until_ms


@pytest.mark.parametrize(("newest_ms", "steps"), [(END_MS, 1), (END_MS - 1, 6), (0, 6)])
def test_what_is_missing_may_be_on_its_way(audited: Build, newest_ms: int, steps: int) -> None:
    """Five comparisons long, unless the server has newer samples; each window anew."""
    one = audited()
    one.server.newest_ms = {"d": newest_ms}
    assert [steps, steps] == [one.steps(), one.steps()]
    assert [newest_ms > 0] * 2 == [fields["has_device"] for fields in one.heard("verdict")]


def test_the_newest_sample_of_any_device_counts(audited: Build) -> None:
    """One that sends no more keeps no window open."""
    one = audited()
    one.series += [[2, "cpu", "e", {}, 30, 30]]
    one.server.newest_ms = {"d": END_MS - 1, "e": END_MS}
    assert 1 == one.steps()


@pytest.mark.parametrize(
    ("proof", "behind_s", "wait_s"),
    [("queue", 10, 60.0), ("queue", 100, 100.0), ("queue", 7_200, 600.0), ("auto", 100, 60.0)],
)
def test_a_window_behind_a_queue_is_asked_for_when_it_may_have_passed(
    audited: Build, proof: str, behind_s: int, wait_s: float
) -> None:
    """Ten intervals at most; each question costs data that the stream lacks."""
    one = audited(proof=proof)
    one.server.newest_ms = {"d": END_MS - 1000 * behind_s}
    assert wait_s == one.auditor.step()
    assert f"older than this window, by {behind_s} s" in str(one.report.status.audit)


def test_a_server_without_the_device_is_named(audited: Build) -> None:
    """A token that writes under another id is the usual reason."""
    one = audited()
    one.server.newest_ms = {}
    one.auditor.step()
    assert "no sample of this device_id" in str(one.report.status.audit)


@pytest.mark.parametrize(("there", "short"), [(20, 10), (30, 0), (40, 0)])
@pytest.mark.parametrize(("by_series", "question"), [(True, "counts"), (False, "count")])
def test_a_verified_span_is_counted_again(
    audited: Build, there: int, short: int, by_series: bool, question: str
) -> None:
    """Over all of it; what is too much is no shortage."""
    one = audited()
    one.recheck = {"start_ms": START_MS, "width_ms": 10 * WIDTH_MS, "series": one.series, "by_series": by_series}
    one.server.there = {"cpu": there}
    assert 1.0 == one.auditor.step()
    assert (question, "d", START_MS + 10 * WIDTH_MS, 10 * WIDTH_MS) == one.server.asked[-1]
    heard = {"start_ms": START_MS, "width_ms": 10 * WIDTH_MS, "there": there, "short": short}
    assert [heard] == one.heard("rechecked")


@pytest.mark.parametrize(("series", "names"), [(40, 40), (41, None)])
def test_times_are_asked_for_by_name_while_the_names_are_few(audited: Build, series: int, names: int | None) -> None:
    """Of the window and nothing after it; a question that is too long is refused."""
    one = audited()
    one.series = [[n, f"m{n}", "d", {}, 9, 9] for n in range(series)]
    one.server.there = {f"m{n}": 8 for n in range(series)}
    one.server.times_ms = {f"m{n}": {START_MS} for n in range(series)}
    one.auditor.step()
    assert ("times", "d", START_MS, END_MS - 1, names) == one.server.asked[-1]
    (verdict,) = one.heard("verdict")
    assert [[n, 8, [START_MS + 1]] for n in range(series)] == verdict["missing"]


def test_without_an_export_all_of_a_short_series_is_sent_again(audited: Build) -> None:
    """It costs more, and loses nothing."""
    one = audited()
    one.series, one.server.there, one.server.times_ms = [[1, "cpu", "d", {}, 300, 300]], {"cpu": 299}, None
    one.auditor.step()
    assert [[[1, 299, None]]] == [fields["missing"] for fields in one.heard("verdict")]


def test_beside_another_device_of_this_id_samples_are_told_by_their_times(audited: Build) -> None:
    """Of the window and nothing after it."""
    one = audited()
    one.auditor._duplicates.found = True
    one.series, one.server.times_ms = [[1, "cpu", "d", {}, 2, 2]], {"cpu": {START_MS, START_MS + 1}}
    one.auditor.step()
    assert ("times", "d", START_MS, END_MS - 1, None) == one.server.asked[-1]
    assert [[]] == [fields["missing"] for fields in one.heard("verdict")]


def test_a_server_that_failed_and_says_nothing_was_started_when_it_failed(audited: Build) -> None:
    """Once for each trouble."""
    one = audited()
    one.auditor.step()
    assert [] == one.heard("restarted")
    one.auditor.suspect(START_MS + 1_999)
    one.auditor.step()
    one.auditor.step()
    (heard,) = one.heard("restarted")
    assert (START_MS // 1000 + 1, START_MS + 1_999, GRACE_S) == (
        heard["started_s"], heard["started_ms"], heard["grace_s"]
    )  # fmt: skip


GROUP = [1, "cpu", "d", {}, [START_MS, START_MS + 900_000]]
LATE = [1, "cpu", "d", {}, [START_MS, START_MS + 900_001]]


@pytest.mark.parametrize(
    ("groups", "possible", "queues", "missing", "is_asked"),
    [
        ([GROUP], True, False, [(1, [START_MS + 900_000])], True),
        ([LATE], True, False, None, False),
        ([GROUP], False, False, None, False),
        ([GROUP], True, True, None, False),
        (None, True, False, None, False),
        ([], True, False, [], False),
        ([], False, True, [], False),
    ],
)
def test_what_a_restart_forgot_is_asked_for_where_it_can_be(
    audited: Build, groups: list[Any] | None, possible: bool, queues: bool, missing: object, is_asked: bool
) -> None:
    """Else all of it is sent again: None says so, and an empty list that there is nothing."""
    one = audited()
    one.server.identity = ServerIdentity(START_MS // 1000, queues, 86_400.0)
    one.groups, one.server.are_possible, one.server.times_ms = groups, possible, {"cpu": {START_MS}}
    one.auditor.step()
    assert [missing] == [fields["missing"] for fields in one.heard("restarted")]
    assert is_asked == (("times", "d", START_MS, START_MS + 900_000, None) in one.server.asked)


def test_a_restart_is_told_by_the_local_clock(audited: Build) -> None:
    """As the samples are."""
    one = audited()
    one.server.identity = ServerIdentity(START_MS // 1000)
    one.report.status.skew_ms = 700
    one.auditor.step()
    assert [START_MS + 700] == [fields["started_ms"] for fields in one.heard("accepted")]
