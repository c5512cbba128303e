"""Two devices with one id: found by samples of another instance that are newer than this boot and go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from common import clock
from common.service import Service
from shipper import duplicates
from shipper.duplicates import METRIC, DuplicateWatch, instance_id
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
def booted_ms() -> int:
    """When this machine was booted."""
    return clock.wall_ms() - clock.boottime_ms()


@pytest.fixture
def watched(start_process: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Give a step that asks with a newest sample of others at the server, and returns what `/health` says then."""
    monkeypatch.setattr(duplicates, "EVERY_S", 0)
    server, report = Server(), Report(start_process())
    watch = DuplicateWatch("box", DATABASE, cast("Questions", server), report)

    def look(newest_ms: int) -> str | None:
        server.newest_ms = newest_ms
        watch.look()
        return report.status.duplicate_id

    return look, server


def test_another_device_is_reported_while_it_sends(watched: Watched, booted_ms: int) -> None:
    """From its second sample on, until it stops."""
    look, server = watched
    assert look(booted_ms + 10 * MINUTE_MS) is None
    assert "another device sends under the id box" in str(look(booted_ms + 11 * MINUTE_MS))
    assert look(booted_ms + 11 * MINUTE_MS) is None
    assert ("box", METRIC, instance_id(DATABASE)) == server.asked[0]


@pytest.mark.parametrize("last_ms", [0, -MINUTE_MS, 10_000])
def test_the_boot_before_is_no_other_device(watched: Watched, booted_ms: int, last_ms: int) -> None:
    """It has nothing newer than this boot, whatever of it still arrives."""
    look, _ = watched
    assert [None, None] == [look(booted_ms + last_ms + later_ms) for later_ms in (0, 1_000)]


def test_an_instance_is_of_a_machine_a_boot_and_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copied card differs by its boot, two containers of one machine by their database's place or host name."""
    here = instance_id(DATABASE)
    assert here == instance_id(DATABASE) != instance_id(Path("/y/metrics.db"))
    monkeypatch.setattr(clock, "boot_id", lambda: "another")
    assert here != instance_id(DATABASE)
