"""What the connections carried."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from itertools import pairwise

import pytest

from shipper.http.dial import dial
from shipper.http.meter import HEADER_BYTES, Meter, carried
from shipper.http.transport import Transport, TransportError
from tests.fake_vm import FakeVm
from tests.unit.shipper.stub import tcp_server

Open = Callable[..., Transport]


def test_bytes_both_ways_and_their_headers_count() -> None:
    """1,000 out, 50 in, and 52 for each segment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = dial("127.0.0.1", listener.getsockname()[1], 5)
        far, _ = listener.accept()
        with near, far:
            before = carried(near)
            near.sendall(b"x" * 1000)
            far.recv(2000)
            far.sendall(b"y" * 50)
            near.recv(100)
            more = carried(near) - before
    assert 1050 + 2 * HEADER_BYTES <= more <= 1050 + 5 * HEADER_BYTES


def test_what_is_not_tcp_carries_nothing() -> None:
    """As far as this knows."""
    with socket.socket(socket.AF_UNIX) as other:
        assert 0 == carried(other)


def test_exchanges_add_up_over_connections(vm: FakeVm, open_transport: Open) -> None:
    """What was carried by a connection that is gone stays counted, and nothing stays open."""
    transport = open_transport()
    totals = [0]
    for _ in range(5):
        transport.post(os.urandom(10_000))
        totals.append(transport.meter.read())
        transport.close()
        assert totals[-1] <= transport.meter.read()
        assert [] == transport.meter._live
    assert all(10_000 < more - less < 13_000 for less, more in pairwise(totals))


def test_an_answer_that_closes_the_connection_is_counted_whole(open_transport: Open) -> None:
    """The library lets go of the socket before the body is read."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)

    with tcp_server(serve) as url:
        transport = open_transport(url=url)
        assert 200 == transport.get(url, 5.0).status
        assert transport.meter.read() > 50_000
        assert [] == transport.meter._live


def test_an_attempt_in_vain_is_counted() -> None:
    """A SYN and its answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    meter = Meter()
    with pytest.raises(OSError, match="refused"):
        dial("127.0.0.1", port, 5, meter)
    assert meter.read() >= HEADER_BYTES


def test_a_transport_without_a_meter_has_one(open_transport: Open) -> None:
    """And counts what fails."""
    transport = open_transport(url="http://127.0.0.1:9/api/v1/import")
    with pytest.raises(TransportError):
        transport.post(b"")
    assert transport.meter.read() > 0
