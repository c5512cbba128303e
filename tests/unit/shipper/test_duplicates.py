"""Two devices with one id: found by samples of another instance that are newer than this boot and go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from buffer.storage.audit_windows import WINDOW_MS
from common import clock
from common.events import Event
from common.service import Service
from shipper.duplicates import EVERY_S, METRIC, DuplicateWatch, instance_id
from shipper.questions import Questions
from shipper.report import Report

DATABASE = Path("/x/metrics.db")
MINUTE_MS = 60_000


class Server:
    """Has a newest sample of another instance, 0 for none."""

    def __init__(self) -> None:
        self.newest_ms = 0
        self.asked: list[tuple[str, ...]] = []

    def newest_of_others(self, *asked: str) -> int:
        """Answer."""
        self.asked.append(asked)
        return self.newest_ms


Watched = tuple[Callable[[int], str | None], Server]


@pytest.fixture
def booted_ms(monkeypatch: pytest.MonkeyPatch) -> int:
    """When this machine was booted, by clocks that stand still."""
    now_ms, up_ms = clock.wall_ms(), clock.boottime_ms()
    monkeypatch.setattr(clock, "wall_ms", lambda: now_ms)
    monkeypatch.setattr(clock, "boottime_ms", lambda: up_ms)
    return now_ms - up_ms


@pytest.fixture
def report(start_process: Callable[..., Service]) -> Report:
    """What the shipper reports."""
    return Report(start_process())


@pytest.fixture
def watched(report: Report, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Give a step that asks with a newest sample of others at the server, and returns what `/health` says then."""
    now_s = [1000.0]
    monkeypatch.setattr("shipper.duplicates.time.monotonic", lambda: now_s[0])
    server = Server()
    watch = DuplicateWatch("box", DATABASE, cast("Questions", server), report)

    def look(newest_ms: int) -> str | None:
        server.newest_ms = newest_ms
        watch.look()
        asked = len(server.asked)
        now_s[0] += EVERY_S - 1
        watch.look()
        assert asked == len(server.asked)
        now_s[0] += 1
        return report.status.duplicate_id

    return look, server


def test_another_device_is_reported_while_it_sends(
    watched: Watched, report: Report, booted_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its second sample on, until it stops."""
    events: list[Event] = []
    monkeypatch.setattr(report, "event", events.append)
    look, server = watched
    assert look(booted_ms + 10 * MINUTE_MS) is None
    for later in (11, 12):
        assert "another device sends under the id box" in str(look(booted_ms + later * MINUTE_MS))
    assert look(booted_ms + 12 * MINUTE_MS) is None
    assert ("box", METRIC, instance_id(DATABASE)) == server.asked[0]
    assert ["device_duplicated", "device_alone"] == [event.kind for event in events]


def test_each_device_says_which_one_it_is(watched: Watched, report: Report) -> None:
    """With its other metrics."""
    assert watched
    found = [reading for reading in report.instruments.readings() if METRIC in reading]
    assert [["gauge", METRIC, {"instance_id": instance_id(DATABASE)}, 1]] == [list(reading) for reading in found]
    assert 8 == len(instance_id(DATABASE))


@pytest.mark.parametrize(
    ("last_ms", "is_another"), [(0, False), (-MINUTE_MS, False), (2 * MINUTE_MS, False), (2 * MINUTE_MS + 1, True)]
)
def test_the_boot_before_is_no_other_device(watched: Watched, booted_ms: int, last_ms: int, is_another: bool) -> None:
    """It has nothing that is two minutes newer than this boot, whatever of it still arrives."""
    look, _ = watched
    assert look(booted_ms + last_ms - 1_000) is None
    assert is_another is (look(booted_ms + last_ms) is not None)


def test_each_audit_window_is_compared_with_the_answer_known() -> None:
    """An audit that does not know of the other device would take its samples for ours."""
    assert EVERY_S * 1000 < WINDOW_MS


def test_an_instance_is_of_a_machine_a_boot_and_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copied card differs by its boot, two containers of one machine by their database's place or host name."""
    here = instance_id(DATABASE)
    assert here == instance_id(DATABASE) != instance_id(Path("/y/metrics.db"))
    monkeypatch.setattr(clock, "boot_id", lambda: "another")
    assert here != instance_id(DATABASE)
