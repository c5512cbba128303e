"""One lease through its chunks: each sample is accounted for, once, for the right reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from shipper.buffer_client import BufferClient
from shipper.buffer_connection import BufferBusyError, LeaseLostError
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted, BodyRefused, NotTheServer, NotWelcome, TryLater
from shipper.upload import Upload
from tests.fake_vm import FakeVm
from tests.unit.shipper.stub import NOW_MS, Row, StubBuffer, rows, tcp_server
from tests.unit.shipper.test_transport import be_patient, request_of

Round = Callable[..., "Under"]
KEPT_BYTES = 256 * 1024


@dataclass
class Under:
    """An upload, its buffer, and what every request came to."""

    upload: Upload
    stub: StubBuffer
    exchanges: list[Exchange]

    def step(self, most: int = 50) -> Exchange | None:
        """Send one chunk and tell the buffer."""
        exchange = self.upload.advance(most)
        if exchange is not None:
            self.exchanges.append(exchange)
        self.upload.settle()
        return exchange

    def go(self, most: int = 50) -> None:
        """Go on until all is accounted for or the server is in trouble."""
        for _ in range(10_000):
            if self.upload.finished:
                return
            exchange = self.step(most)
            if exchange is not None and isinstance(exchange.outcome, (TryLater, NotWelcome, NotTheServer)):
                return
        pytest.fail("no end of it")


@pytest.fixture
def begin(open_client: Callable[..., HttpClient]) -> Round:
    """Lease samples and begin to upload them."""

    def start(samples: list[Row], *, chunk_bytes: int = KEPT_BYTES, **keys: object) -> Under:
        stub = StubBuffer(samples)
        buffer = BufferClient(stub.ask)
        lease = buffer.lease(2, 100_000)
        assert lease is not None
        return Under(Upload(lease, buffer, open_client(**keys), chunk_bytes), stub, [])

    return start


def values(vm: FakeVm) -> list[float]:
    """Return what the server has, in order; nothing twice."""
    assert {sample.received_count for sample in vm.samples()} <= {1}
    return sorted(sample.value for sample in vm.samples())


def test_chunks_go_in_order_and_each_is_a_checkpoint(vm: FakeVm, begin: Round) -> None:
    """One batch id, chunks numbered from 0."""
    under = begin(rows(120))
    under.go(50)
    assert list(range(120)) == values(vm)
    assert [(list(range(50)), 0), (list(range(50, 100)), 1), (list(range(100, 120)), 2)] == [
        (marked, index) for marked, _, index in under.stub.done
    ]
    assert {under.upload.batch_id} == {batch_id for _, batch_id, _ in under.stub.done}
    assert (120, 0, 3) == (under.upload.accepted, under.upload.rejected, under.upload.chunk_index)


def test_every_lease_is_a_batch_of_its_own(begin: Round) -> None:
    """Its id is random."""
    ids = {begin(rows(1)).upload.batch_id for _ in range(3)}
    assert [32, 32, 32] == [len(batch_id) for batch_id in ids]


def test_a_poisoned_sample_is_found_and_alone_put_aside(vm: FakeVm, begin: Round) -> None:
    """One of a thousand; all others are the server's."""
    vm.set_state(poison="poison")
    poison = rows(1, "poison", first=617)
    under = begin([*rows(617), *poison, *rows(382, first=618)])
    under.go(1000)
    assert [([617], "http_400")] == under.stub.rejected
    assert [n for n in range(1000) if n != 617] == values(vm) == under.stub.uploaded
    assert len(vm.requests()) < 30


@pytest.mark.parametrize("poisoned", [[0], [49], [0, 1, 2], [3, 25, 26, 47], list(range(0, 50, 9))])
def test_every_poisoned_sample_is_found(vm: FakeVm, begin: Round, poisoned: list[int]) -> None:
    """The first, the last, neighbours, many."""
    vm.set_state(poison="poison")
    samples = [rows(1, "poison" if n in poisoned else "good", first=n)[0] for n in range(50)]
    under = begin(samples)
    under.go(32)
    assert poisoned == [value for put_aside, _ in under.stub.rejected for value in put_aside]
    assert [n for n in range(50) if n not in poisoned] == values(vm) == under.stub.uploaded


@pytest.mark.parametrize("count", [1, 2, 16])
def test_nothing_but_poison_is_put_aside_where_the_server_takes_an_empty_body(
    vm: FakeVm, begin: Round, count: int
) -> None:
    """The path is right, so the samples are at fault."""
    vm.set_state(poison="poison")
    under = begin(rows(count, "poison"))
    under.go(10)
    assert list(range(count)) == [value for put_aside, _ in under.stub.rejected for value in put_aside]


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_a_wrong_path_puts_nothing_aside(vm: FakeVm, begin: Round, count: int) -> None:
    """It answers 400 to everything, an empty body included."""
    under = begin(rows(count), url=f"{vm.url}/api/v1/wrong")
    under.go(1000)
    assert ([], []) == (under.stub.rejected, under.stub.done)
    assert under.exchanges[-1].outcome == NotWelcome("refuses_everything")
    assert under.exchanges[-1].status == 400


def test_a_proxy_that_refuses_everything_puts_nothing_aside(vm: FakeVm, begin: Round) -> None:
    """Whatever its reason is."""
    vm.script([{"status": 422, "repeat": -1}])
    under = begin(rows(50))
    under.go()
    assert [] == under.stub.rejected
    assert isinstance(under.exchanges[-1].outcome, NotWelcome)


def test_a_server_that_wants_no_empty_body_is_asked_with_another_sample(begin: Round) -> None:
    """A simple receiver that calls an empty body a bad request, and does not like the first of two samples."""

    def serve(connection: object) -> None:
        while request := request_of(connection):  # type: ignore[arg-type]
            body = request.partition(b"\r\n\r\n")[2]
            good = body and b"poison" not in body
            status = b"204 No Content" if good else b"400 Bad Request"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nX-Server-Hostname: a\r\nContent-Length: 0\r\n\r\n")  # type: ignore[attr-defined]

    with tcp_server(serve) as url:
        under = begin([*rows(1, "poison"), *rows(1, first=1)], url=url, compression=False)
        under.go()
        under.upload._client.transport.close()
    assert [([0], "http_400")] == under.stub.rejected
    assert [1] == under.stub.uploaded


def test_a_server_that_fails_while_it_is_probed_decides_nothing(vm: FakeVm, begin: Round) -> None:
    """The sample is tried again later."""
    vm.script([{"status": 400}, {"status": 503}])
    under = begin(rows(1))
    under.go()
    assert under.exchanges[-1].outcome == TryLater("http_503")
    assert ([], []) == (under.stub.rejected, under.stub.done)
    under.go()
    assert [0] == under.stub.uploaded


def test_what_the_server_took_before_an_outage_proves_nothing_after_it(vm: FakeVm, begin: Round) -> None:
    """A proxy that came up wrong refuses everything; nothing is put aside."""
    vm.script([{"status": 400}, {}, {"status": 503}, {"status": 400, "repeat": -1}])
    under = begin(rows(4))
    under.go()
    under.go()
    assert [0, 1] == under.stub.uploaded
    assert [] == under.stub.rejected
    assert isinstance(under.exchanges[-1].outcome, NotWelcome)


def test_a_body_that_is_too_large_is_halved(vm: FakeVm, begin: Round) -> None:
    """413, until the halves fit; nothing is put aside."""
    vm.script([{"status": 413}, {"status": 413}])
    under = begin(rows(100))
    under.go(100)
    assert list(range(100)) == under.stub.uploaded
    assert [100, 50, 25, 25, 50] == [exchange.samples for exchange in under.exchanges]
    assert under.exchanges[0].outcome == BodyRefused("http_413", too_large=True)


def test_no_body_exceeds_the_cap(vm: FakeVm, begin: Round) -> None:
    """Measured after compression; nobody has to refuse it."""
    samples = [Row("m", NOW_MS + n, math.sin(n), {}) for n in range(2000)]
    under = begin(samples, chunk_bytes=4096)
    under.go(2000)
    assert len(vm.samples()) == 2000
    assert all(request.body_bytes <= 4096 for request in vm.requests())
    assert len(vm.requests()) <= 16


def test_a_single_sample_may_exceed_the_cap(vm: FakeVm, begin: Round) -> None:
    """It cannot be halved; the server may take it."""
    under = begin(rows(2), chunk_bytes=10)
    under.go()
    assert [1, 1] == [exchange.samples for exchange in under.exchanges]
    assert [0, 1] == values(vm)


def test_a_part_that_was_accepted_is_done_and_the_rest_is_sent_again(vm: FakeVm, begin: Round) -> None:
    """Exactly the first 25 of 50."""
    vm.script([{"json": {"received": 25}, "accept": 25}])
    under = begin(rows(50))
    under.step()
    assert list(range(25)) == under.stub.uploaded
    under.go()
    assert [50, 25] == [exchange.samples for exchange in under.exchanges]
    assert list(range(50)) == under.stub.uploaded == values(vm)


def test_a_part_of_a_body_with_long_lines_is_counted_in_samples(vm: FakeVm, begin: Round) -> None:
    """Through the lines, in the order of the body."""
    samples = [Row(name, NOW_MS + n, n, {}) for name in ("a", "b") for n in range(10)]
    vm.script([{"json": {"accepted": 13}, "accept": 13}])
    under = begin(samples)
    under.go()
    assert [13, 7] == [len(marked) for marked, _, _ in under.stub.done]
    assert {1} == {sample.received_count for sample in vm.samples()}


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        ({"status": 429, "headers": {"Retry-After": "7"}}, TryLater("http_429", 7.0)),
        ({"status": 503}, TryLater("http_503")),
        ({"status": 408}, TryLater("http_408")),
        ({"html": True}, NotTheServer("captive_portal")),
        ({"json": {"success": False}, "accept": 0}, NotTheServer("unsuccessful")),
        ({"json": {"received": -3}, "accept": 0}, NotTheServer("bad_answer")),
        ({"json": {"received": 0}, "accept": 0}, NotTheServer("nothing_accepted")),
        ({"redirect": "http://127.0.0.1:9/"}, NotTheServer("redirect")),
        ({"status": 401}, NotWelcome("http_401")),
        ({"status": 403}, NotWelcome("http_403")),
        ({"status": 404}, NotWelcome("http_404")),
        ({"hang_s": 5.0}, TryLater("timeout", answered=False)),
        ({"reset": "before"}, TryLater("connection", answered=False)),
        ({"reset": "mid_body"}, TryLater("connection", answered=False)),
        ({"drop": "after_store"}, TryLater("connection", answered=False)),
    ],
    ids=str,
)
def test_trouble_leaves_every_sample_where_it_is(
    vm: FakeVm, begin: Round, step: dict[str, object], outcome: TryLater | NotWelcome | NotTheServer
) -> None:
    """Nothing is done, nothing put aside; the next attempt ships all of it."""
    vm.script([step])
    under = begin(rows(50), timeout_s=0.1 if "hang_s" in step else 10.0, connect_timeout_s=1.0)
    under.go()
    found = under.exchanges[0].outcome
    assert outcome == (replace(found, text="") if isinstance(found, NotTheServer) else found)
    assert ([], [], 2) == (under.stub.done, under.stub.rejected, under.upload.attempt)
    be_patient(under.upload._client.transport)
    under.go()
    assert list(range(50)) == under.stub.uploaded
    assert list(range(50)) == sorted(sample.value for sample in vm.samples())
    assert under.upload.attempt == 1


@pytest.mark.parametrize(
    ("doubtful", "step"),
    [
        ((0, 50), {"hang_s": 5.0}),
        ((0, 50), {"drop": "after_store"}),
        ((0, 50), {"status": 502}),
        ((0, 0), {"status": 503}),
        ((0, 0), {"status": 401}),
    ],
    ids=str,
)
def test_what_the_server_may_have_is_known(
    vm: FakeVm, begin: Round, doubtful: tuple[int, int], step: dict[str, object]
) -> None:
    """It keeps the time by which it was sent."""
    vm.script([step])
    under = begin(rows(50), timeout_s=0.1 if "hang_s" in step else 10.0, connect_timeout_s=1.0)
    under.go()
    assert doubtful == under.upload.doubtful


def test_what_never_left_is_not_doubtful(begin: Round) -> None:
    """Nobody listens there."""
    under = begin(rows(50), url="http://127.0.0.1:9/api/v1/import")
    under.go()
    assert (0, 0) == under.upload.doubtful


def test_what_the_server_would_drop_is_put_aside_here(vm: FakeVm, begin: Round) -> None:
    """It would answer 204; everything around it is sent."""
    long = [Row("m", NOW_MS + n, n, {"tag": "x" * 5000}) for n in (10, 11)]
    under = begin([*rows(2), *long, *rows(2, first=20), Row("nan", NOW_MS, math.nan, {})])
    under.go()
    assert [0, 1, 20, 21] == values(vm) == under.stub.uploaded
    assert ([10, 11], "too_long_label_value") == under.stub.rejected[0]
    assert "not_a_finite_number" == under.stub.rejected[1][1]
    assert (4, 3) == (under.upload.accepted, under.upload.rejected)


def test_a_sample_that_is_put_aside_here_is_no_probe(vm: FakeVm, begin: Round) -> None:
    """What cannot be sent cannot tell whether the server is well."""
    vm.script([{"status": 400, "repeat": 3}])
    under = begin([*rows(1), Row("nan", NOW_MS, math.nan, {}), *rows(1, first=2)])
    under.go(1)
    assert under.exchanges[-1].outcome == NotWelcome("refuses_everything")
    assert len(vm.requests()) == 3


def test_a_mark_that_cannot_be_written_is_tried_again_and_the_samples_are_not(vm: FakeVm, begin: Round) -> None:
    """A full disk costs no data volume."""
    under = begin(rows(10))
    under.stub.refuse = {"done": "storage"}
    for _ in range(3):
        with pytest.raises(BufferBusyError):
            under.step()
    under.stub.refuse = {}
    under.upload.settle()
    assert under.upload.finished
    assert list(range(10)) == under.stub.uploaded
    assert len(vm.requests()) == 1


def test_a_lease_that_is_void_is_told(vm: FakeVm, begin: Round) -> None:
    """The buffer was started anew; the samples are pending there."""
    under = begin(rows(10))
    under.stub.forget_leases()
    with pytest.raises(LeaseLostError):
        under.step()


def test_what_the_server_took_is_known_when_the_buffer_is_not_there(vm: FakeVm, begin: Round) -> None:
    """Of the chunk that was not marked, and nothing once it is."""
    under = begin(rows(10))
    under.step(4)
    assert [] == under.upload.unreported()
    under.stub.refuse = {"done": "storage"}
    with pytest.raises(BufferBusyError):
        under.step(3)
    (chunk,) = under.upload.unreported()
    assert (2, under.upload.batch_id, 1) == chunk[:3]
    sent = [sample.timestamp_ms for sample in vm.samples()]
    told = [timestamp_ms for *_, timestamps in chunk.groups for timestamp_ms in timestamps]
    assert (3, True) == (len(told), set(told) < set(sent))


def test_an_accepted_chunk_says_how_many(vm: FakeVm, begin: Round) -> None:
    """And what it took."""
    exchange = begin(rows(10)).step()
    assert exchange is not None
    assert Accepted(10) == exchange.outcome
    assert (10, 204, vm.requests()[0].body_bytes) == (exchange.samples, exchange.status, exchange.bytes_sent)
