"""A socket whose file was deleted is reached again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from common.bound import bind_again
from tests.scratch import scratch

WAIT_MS = 10_000


@pytest.fixture
def file() -> Iterator[Path]:
    """Give a path that is short enough for a socket."""
    with scratch() as folder:
        yield folder / "s.ipc"


def test_old_and_new_clients_reach_a_socket_whose_file_was_deleted(file: Path) -> None:
    """Who is connected stays so, and who comes later finds the file again."""
    with zmq.Context() as context, context.socket(zmq.PULL) as bound, context.socket(zmq.PUSH) as old:
        bound.rcvtimeo = WAIT_MS
        bound.bind(f"ipc://{file}")
        old.connect(f"ipc://{file}")
        old.send(b"first")
        assert b"first" == bound.recv()
        assert not bind_again(bound, file)
        file.unlink()
        assert bind_again(bound, file)
        with context.socket(zmq.PUSH) as new:
            new.connect(f"ipc://{file}")
            old.send(b"old")
            new.send(b"new")
            assert {b"old", b"new"} == {bound.recv(), bound.recv()}


def test_without_its_folder_nothing_is_bound(file: Path) -> None:
    """It is tried again at the next look."""
    with zmq.Context() as context, context.socket(zmq.PULL) as bound:
        assert not bind_again(bound, file.parent / "gone" / "s.ipc")
