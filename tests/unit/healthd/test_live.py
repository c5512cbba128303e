"""The stream of pictures: one for each tick, made once for all, ended by close."""

from __future__ import annotations

import threading
from itertools import count

from healthd.page.live import MAX_WATCHERS, Live


def test_every_watcher_gets_the_same_picture() -> None:
    """Made once for a tick, however many look."""
    numbers = count(1)
    live = Live(lambda: b"%d" % next(numbers))
    watchers = [live.watch() for _ in range(3)]
    for number in (1, 2):
        assert [b"data: %d\n\n" % number] * 3 == [next(watcher) for watcher in watchers if watcher]
        live.tick()
    assert 3 == next(numbers)


def test_a_watcher_waits_for_the_next_tick() -> None:
    """And is told at once."""
    live = Live(lambda: b"x")
    watcher = live.watch()
    assert watcher is not None
    next(watcher)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(next(watcher)))
    thread.start()
    live.tick()
    thread.join(5)
    assert [b"data: x\n\n"] == got


def test_there_are_not_too_many() -> None:
    """Places are free again when somebody leaves."""
    live = Live(lambda: b"x")
    watchers = [live.watch() for _ in range(MAX_WATCHERS)]
    for watcher in watchers:
        assert watcher is not None
        next(watcher)
    assert live.watch() is None
    assert watchers[0] is not None
    watchers[0].close()  # type: ignore[attr-defined]
    assert live.watch() is not None


def test_close_ends_every_stream() -> None:
    """Also one that waits."""
    live = Live(lambda: b"x")
    watcher = live.watch()
    assert watcher is not None
    next(watcher)
    rest: list[bytes] = []
    thread = threading.Thread(target=lambda: rest.extend(watcher))
    thread.start()
    live.close()
    thread.join(5)
    assert not thread.is_alive()
