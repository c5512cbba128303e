"""What the server accepted just before it was started: asked for once, compared where it is little."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from buffer.delivery import server_starts
from buffer.delivery.recheck import Recheck
from buffer.delivery.server_starts import ServerStarts
from buffer.storage.store import Store
from common import clock
from common.instruments import Instruments
from common.log import Log
from common.sample import NORMAL
from common.service import Service
from common.status import BufferStatus
from common.wire import LATEST_MS
from tests.unit.buffer.databases import NOW_MS, batch


@pytest.fixture
def instruments() -> Instruments:
    """What is counted."""
    return Instruments()


@pytest.fixture
def starts(store: Store, instruments: Instruments) -> ServerStarts:
    """The starts of a server that has three samples."""
    store.write([batch(("m", n), seq=n, at_ms=NOW_MS + n) for n in range(3)])
    store.pending.mark_uploaded(NORMAL, store.pending.rows(NORMAL, LATEST_MS, 9), "b", 0)
    process = SimpleNamespace(instruments=instruments, log=Log("buffer"), event=lambda _: None)
    service = cast("Service", process)
    return ServerStarts(service, store, Recheck(service, store, BufferStatus()))


def start(started_s: int = 0, **more: Any) -> dict[str, Any]:
    """Return a start so many seconds after now, that may have cost a minute."""
    now_ms = clock.wall_ms()
    return {"started_s": now_ms // 1000 + started_s, "started_ms": now_ms + 1000 * started_s, "grace_s": 60.0, **more}


@pytest.mark.parametrize(("most", "is_compared"), [(3, True), (2, False)])
def test_few_samples_are_compared_and_many_sent_again(
    starts: ServerStarts, monkeypatch: pytest.MonkeyPatch, most: int, is_compared: bool
) -> None:
    """So many at most are held in both processes."""
    monkeypatch.setattr(server_starts, "MOST_SAMPLES", most)
    reply = starts.accepted(start())
    assert reply["is_known"] is False
    assert is_compared == (reply["groups"] is not None)
    if is_compared:
        assert [[NOW_MS, NOW_MS + 1, NOW_MS + 2]] == [group[4] for group in reply["groups"]]


def test_what_a_start_cost_is_counted(starts: ServerStarts, store: Store, instruments: Instruments) -> None:
    """Once."""
    number = store.series.find("m", store.device_id, {}, is_text=False).id
    one = start(missing=[[number, [NOW_MS + 1]]])
    assert [{"requeued": 1}, {"requeued": 0}] == [starts.restarted(one) for _ in range(2)]
    assert 1 == instruments.counter("storage.requeued_samples_total")
    assert {"is_known": True, "groups": []} == starts.accepted(one)


def test_the_last_eight_starts_are_known(starts: ServerStarts) -> None:
    """Several servers behind one address are seen in turns, and each is as it was."""
    known = [start(seconds, missing=[]) for seconds in range(9)]
    for one in known:
        starts.restarted(one)
    assert [False, *[True] * 8] == [starts.accepted(one)["is_known"] for one in known]


def test_only_another_start_is_called_a_restart(starts: ServerStarts, caplog: pytest.LogCaptureFixture) -> None:
    """The first one that is seen has lost nothing that anybody knows of."""
    with caplog.at_level("INFO"):
        starts.restarted(start(missing=[]))
        assert not caplog.records
        starts.restarted(start(60, missing=[]))
    assert ["the server was restarted; what it lost just before is sent again"] == [one.msg for one in caplog.records]
