"""The shipper's end of the drain, over a real socket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from common import wire
from shipper.buffer_client import BufferClient
from shipper.buffer_connection import BufferAwayError, BufferBusyError, BufferConnection, LeaseLostError, wake_ups
from tests.patience import Patience
from tests.unit.shipper.stub import BoundBuffer, StubBuffer, rows


@pytest.fixture
def link(run_dir: Path) -> Iterator[BufferConnection]:
    """A link that waits for replies but a moment."""
    link = BufferConnection(run_dir, lambda: False, reply_timeout_s=0.3)
    yield link
    link.close()


def test_samples_are_leased_and_accounted_for(run_dir: Path, link: BufferConnection) -> None:
    """hello, lease, done, reject, release, stats."""
    stub = StubBuffer(rows(5))
    drain = BufferClient(link.ask)
    with BoundBuffer(run_dir, stub):
        drain.hello()
        lease = drain.lease(2, 4)
        assert lease is not None
        assert (4, 2, True) == (len(lease), lease.priority, lease.full)
        drain.done(lease.number, 2, "batch", 0)
        drain.reject(lease.number, 3, "http_400")
        drain.release(lease.number)
        assert drain.lease(0, 4) is None
        stats = drain.stats([0, 10, 60, 600])
    assert ([([0, 1], "batch", 0)], [([2], "http_400")], 1) == (stub.done, stub.rejected, len(stub.released))
    assert [0, 0, 2, 0] == stats.pending


def test_a_buffer_that_is_not_there_is_away(link: BufferConnection) -> None:
    """Found out quickly: nobody waits for a reply to what was not sent."""
    patience = Patience(1)
    with pytest.raises(BufferAwayError, match="not there"):
        link.ask("hello")
    assert not patience.is_over()


def test_a_buffer_that_goes_just_before_it_is_asked_is_away(
    link: BufferConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipe was there a moment ago."""
    monkeypatch.setattr(link, "_wait", lambda *_: None)
    with pytest.raises(BufferAwayError, match="not there"):
        link.ask("hello")


class SlowSocket:
    """A socket whose buffer may be asked, or not, and never answers; a clock that passes while it is waited for."""

    def __init__(self, *, is_there: bool) -> None:
        self.now_s, self.waits_ms, self._is_there = 1000.0, list[int](), is_there

    def poll(self, timeout_ms: int, event: int) -> int:
        """Wait in vain, unless somebody is there who may be asked."""
        if self._is_there and event == zmq.POLLOUT:
            return event
        self.waits_ms.append(timeout_ms)
        self.now_s += timeout_ms / 1000
        return 0

    def send(self, *_: object) -> None:
        """Take a request."""

    def close(self, linger: int) -> None:
        """Be gone."""


@pytest.mark.parametrize(("is_there", "least_s", "most_s"), [(False, 0.25, 0.35), (True, 2.0, 2.1)])
def test_a_wait_has_an_end_and_looks_up_often(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool, least_s: float, most_s: float
) -> None:
    """Who is not there is known at once, who writes 64 MB has two seconds; SIGTERM is seen in a twentieth of one."""
    link, slow = BufferConnection(run_dir, lambda: False), SlowSocket(is_there=is_there)
    link._socket.close(linger=0)
    monkeypatch.setattr(link, "_socket", slow)
    monkeypatch.setattr("shipper.buffer_connection.time.monotonic", lambda: slow.now_s)
    with pytest.raises(BufferAwayError):
        link.ask("hello")
    assert least_s <= slow.now_s - 1000.0 <= most_s
    assert max(slow.waits_ms) <= 60
    link.close()


def test_p0_wakes_the_shipper(run_dir: Path) -> None:
    """Whatever else is on the feed."""
    with BoundBuffer(run_dir, StubBuffer()) as bound:
        socket = wake_ups(run_dir)
        deadline_s = time.monotonic() + 5
        while not socket.poll(20) and time.monotonic() < deadline_s:
            bound.push(rows(1, priority=0)[0])  # a subscription takes a moment to arrive
        assert [wire.DUE_TOPIC, b""] == socket.recv_multipart(zmq.NOBLOCK)
        socket.close(linger=0)


def test_a_buffer_that_comes_back_is_found_within_a_second(run_dir: Path, link: BufferConnection) -> None:
    """And asked for ever more seldom meanwhile, not ten times a second all night."""
    socket = wake_ups(run_dir)
    for one in (link._socket, socket):
        assert (100, 1000) == (one.getsockopt(zmq.RECONNECT_IVL), one.getsockopt(zmq.RECONNECT_IVL_MAX))
    socket.close(linger=0)


def test_a_buffer_that_comes_later_is_found(run_dir: Path, link: BufferConnection) -> None:
    """And so is one that was started anew."""
    with pytest.raises(BufferAwayError):
        link.ask("hello")
    for _ in range(2):
        stub = StubBuffer()
        with BoundBuffer(run_dir, stub):
            deadline_s = time.monotonic() + 5
            while not stub.hellos and time.monotonic() < deadline_s:
                try:
                    BufferClient(link.ask).hello()
                except BufferAwayError:
                    pass  # not yet
        assert stub.hellos == 1


def test_a_buffer_that_is_silent_is_away(run_dir: Path, link: BufferConnection) -> None:
    """And what it was asked is not answered to the next question."""
    stub = StubBuffer(rows(3))
    stub.mute = {"lease"}
    with BoundBuffer(run_dir, stub):
        with pytest.raises(BufferAwayError, match="does not reply"):
            BufferClient(link.ask).lease(2, 3)
        BufferClient(link.ask).hello()


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("unknown_lease", LeaseLostError),
        ("storage", BufferBusyError),
        ("bad_request", BufferAwayError),
        ("?", BufferAwayError),
    ],
)
def test_an_error_is_one_of_three(word: str, kind: type[Exception]) -> None:
    """The lease is void, ask again, or begin from hello."""
    stub = StubBuffer()
    stub.refuse = {"stats": word}
    with pytest.raises(kind, match=word.replace("?", r"\?")):
        BufferClient(stub.ask).stats([0, 0, 0, 0])


@pytest.mark.parametrize("frames", [[b""], [b"\xc1"], [b"a", b"b"], [wire.pack([1])], [wire.pack({"v": 2, "id": 1})]])
def test_what_is_no_reply_is_passed_over(run_dir: Path, link: BufferConnection, frames: list[bytes]) -> None:
    """Garbage, another version and late replies are counted and change nothing."""
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(f"ipc://{run_dir / 'drain.ipc'}")

    class Answering:
        """Answers between two looks at the clock."""

        def __init__(self) -> None:
            self.ended = False

        def __call__(self) -> bool:
            if router.poll(0):
                peer, frame = router.recv_multipart()
                number = wire.unpack(frame)["id"]
                router.send_multipart([peer, *frames])
                router.send_multipart([peer, wire.pack({"v": 1, "id": number - 1})])
                router.send_multipart([peer, wire.pack({"v": 1, "id": number, "pending": [1, 2, 3, 4]})])
            return self.ended

    link._stopping = Answering()
    assert [1, 2, 3, 4] == link.ask("hello")["pending"]
    router.close(linger=0)


@pytest.mark.parametrize("reply", [{}, {"pending": 5}, {"pending": [], "due": [], "oldest_ms": []}])
def test_a_reply_of_another_shape_is_a_buffer_that_is_away(reply: dict[str, Any]) -> None:
    """A buffer of another version ends nothing here."""
    with pytest.raises(BufferAwayError):
        BufferClient(lambda _operation, **_fields: reply).stats([0, 0, 0, 0])
    with pytest.raises(BufferAwayError):
        BufferClient(lambda _operation, **_fields: reply).lease(0, 1)


def test_a_wait_ends_with_the_process(run_dir: Path) -> None:
    """SIGTERM does not wait for a buffer that hangs."""
    stub = StubBuffer()
    stub.mute = {"hello"}
    patience, stop_s = Patience(2), time.monotonic() + 0.1
    asked = BufferConnection(run_dir, lambda: bool(stub.asked) or time.monotonic() > stop_s, reply_timeout_s=30)
    with BoundBuffer(run_dir, stub), pytest.raises(BufferAwayError):
        asked.ask("hello")
    asked.close()
    assert not patience.is_over()


def test_leases_are_given_back_at_the_end(run_dir: Path) -> None:
    """Without waiting: a buffer that is gone holds none."""
    stub = StubBuffer(rows(3))
    link = BufferConnection(run_dir, lambda: False)
    with BoundBuffer(run_dir, stub):
        lease = BufferClient(link.ask).lease(2, 3)
        assert lease is not None
        link.close([lease.number])
        deadline_s = time.monotonic() + 5
        while not stub.released and time.monotonic() < deadline_s:
            time.sleep(0.005)
    assert [lease.number] == stub.released
