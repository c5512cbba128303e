"""How the sample at fault is found, tried a second time and decided: each request, by the numbers that are in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shipper.buffer_client import BufferClient
from shipper.buffer_connection import BufferBusyError
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted, BodyRefused, NotWelcome, Outcome, TryLater
from shipper.lease import Lease
from shipper.upload import SECOND_TRIAL_S, Upload
from tests.unit.shipper.stub import NOW_MS, Row, StubBuffer, rows

REFUSED = BodyRefused("http_400")
BY_A_PROXY = BodyRefused("http_400", own=False)
ANSWER_BYTES = 7
EMPTY = ""


class Trial:
    """An upload of numbered samples; its server refuses some of them.

    Attributes:
        sent: the numbers in each request, as text.
        bad: numbers that the server refuses.
        refuses_empty: it wants no empty body either.
        refusal: how it says so.
        instead: an answer to every request.
    """

    def __init__(self, samples: list[Row], chunk_bytes: int, clock: Callable[[], float]) -> None:
        self.sent: list[str] = []
        self.bad: Collection[int] = ()
        self.refuses_empty = False
        self.refusal, self.instead = REFUSED, cast("Outcome | None", None)
        self.clock = clock
        self.stub = StubBuffer(samples)
        buffer = BufferClient(self.stub.ask)
        lease = buffer.lease(2, 1_000)
        assert lease is not None
        client: Any = SimpleNamespace(upload=self._answer, transport=SimpleNamespace(pack=lambda body: body))
        self.upload = Upload(lease, buffer, cast("HttpClient", client), chunk_bytes, numbers)

    def _answer(self, packed: bytes, samples: int) -> Exchange:
        self.sent.append(packed.decode())
        found = [int(number) for number in packed.split(b",") if number]
        assert samples == len(found)
        is_refused = set(found) & set(self.bad) or (self.refuses_empty and not found)
        outcome = self.instead or (self.refusal if is_refused else Accepted(samples))
        return Exchange(outcome, samples, len(packed), 400 if is_refused else 204, ANSWER_BYTES)

    def steps(self, most: int = 50) -> list[str]:
        """Go on until nothing but second trials is left; return what was sent meanwhile."""
        before = len(self.sent)
        for _ in range(50):
            done = not self.upload.remaining and not self.upload._is_owed
            if done or (self.step(most) is not None and self.instead):
                return self.sent[before:]
        return pytest.fail(f"no end of it: {self.sent}")

    def step(self, most: int = 50) -> Exchange | None:
        """Do one step, and tell the buffer."""
        exchange = self.upload.advance(most)
        self.upload.settle()
        return exchange

    def again(self) -> tuple[list[str], Exchange]:
        """Try the first of the refused samples once more; return what was sent, and what came of it."""
        before = len(self.sent)
        exchange = self.step()
        assert exchange is not None
        return self.sent[before:], exchange


def numbers(lease: Lease, start: int, stop: int) -> bytes:
    """Return a body that says which samples it has."""
    return b",".join(b"%d" % number for number in range(start, stop))


class Clock:
    """A monotonic clock that a test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The upload's clock."""
    made = Clock()
    monkeypatch.setattr("shipper.upload.time", SimpleNamespace(monotonic=made))
    return made


@pytest.fixture
def begin(clock: Clock) -> Callable[..., Trial]:
    """Begin an upload of so many samples, or of given ones."""

    def start(samples: int | list[Row], bad: Collection[int] = (), chunk_bytes: int = 1_000) -> Trial:
        made = Trial(rows(samples) if isinstance(samples, int) else samples, chunk_bytes, clock)
        made.bad = bad
        return made

    return start


Begin = Callable[..., Trial]


def test_a_range_is_halved_to_the_sample_at_fault(begin: Begin, clock: Clock) -> None:
    """No half is sent that is known to be good; something of it was taken, so the server is not asked for more."""
    trial = begin(8, {5})
    assert ["0,1,2,3,4,5,6,7", "0,1,2,3", "4,5,6,7", "4,5", "4", "5", "6,7"] == trial.steps()
    assert [[0, 1, 2, 3], [4]] == [values for values, _, _ in trial.stub.done]
    assert (1060.0, SECOND_TRIAL_S) == (trial.upload.parked_until_s, 60.0)
    clock.now_s += 61
    assert (["5", EMPTY], REFUSED) == (trial.again()[0], trial.refusal)
    trial.upload.settle()
    assert ([([5], "http_400")], True) == (trial.stub.rejected, trial.upload.finished)
    assert [0, 1, 2] == [index for _, _, index in trial.stub.done]
    assert (7, 1) == (trial.upload.accepted, trial.upload.rejected)


def test_a_sample_that_is_refused_alone_is_probed_once(begin: Begin) -> None:
    """With an empty body, where nothing else of its range was taken."""
    trial = begin(2, {0, 1})
    assert ["0,1", "0", EMPTY, "1"] == trial.steps()
    assert trial.upload.parked_until_s is not None


def test_a_proxy_that_refuses_is_probed_each_time(begin: Begin) -> None:
    """Its word is no proof, though something of the range was taken."""
    trial = begin(4, {1, 3})
    trial.refusal = BY_A_PROXY
    assert ["0,1,2,3", "0,1", "0", "1", EMPTY, "2,3", "2", "3", EMPTY] == trial.steps()


def test_what_was_taken_of_another_range_is_no_proof(begin: Begin) -> None:
    """Each range that is refused is looked into by itself, from its first sample on."""
    trial = begin(6, {0, 2, 3})
    assert ["0,1", "0", EMPTY, "1", "2,3", "2", EMPTY, "3", "4,5"] == trial.steps(most=2)


def test_what_was_taken_before_an_outage_is_no_proof(begin: Begin) -> None:
    """After it the server may be another one."""
    trial = begin(2, {1})
    assert ["0,1", "0"] == [trial.sent[-1] for _ in range(2) if trial.step()]
    trial.instead = TryLater("http_503")
    assert ["1"] == trial.steps()
    trial.instead = None
    assert ["1", EMPTY] == trial.steps()


def test_requests_in_vain_are_counted_in_a_row(begin: Begin) -> None:
    """Until something is taken; bytes and status are those of all requests, probes too."""
    trial = begin(2, {1})
    trial.instead = TryLater("http_503")
    for attempt in (2, 3):
        trial.step()
        assert attempt == trial.upload.attempt
    trial.instead = None
    trial.step()
    assert (3, 400) == (trial.upload.attempt, trial.upload.http_status)  # a refusal is an answer
    trial.steps()
    assert (1, 400) == (trial.upload.attempt, trial.upload.http_status)
    assert sum(map(len, trial.sent)) == trial.upload.bytes_sent
    assert len(trial.sent) * ANSWER_BYTES == trial.upload.bytes_rcvd


def test_where_no_empty_body_is_wanted_a_neighbour_is_sent(begin: Begin) -> None:
    """The next sample, of which nothing is known yet; not one that no server takes."""
    nan = Row("nan", NOW_MS + 1, math.nan, {})
    trial = begin([*rows(1), nan, *rows(2, first=2)], {0})
    trial.refuses_empty = True
    assert ["0", EMPTY, "2", "2,3"] == trial.steps()


def test_a_neighbour_is_no_sample_that_waits_itself(begin: Begin, clock: Clock) -> None:
    """At a second trial, of several: the next one that was taken."""
    trial = begin(5, {0, 1})
    trial.steps()
    clock.now_s += 61
    trial.refuses_empty = True
    assert ["0", EMPTY, "2"] == trial.again()[0]


def test_a_server_that_refuses_everything_is_not_welcome(begin: Begin) -> None:
    """No sample is at fault, nothing is parked, and the next attempt begins where this one did."""
    trial = begin(1, {0})
    trial.refuses_empty = True
    exchange = trial.step()
    assert exchange is not None
    assert (NotWelcome("refuses_everything"), 2) == (exchange.outcome, trial.upload.attempt)
    assert "http_400, and so is everything else" == exchange.detail
    assert (1, None, 400) == (trial.upload.remaining, trial.upload.parked_until_s, exchange.status)


def refused(begin: Begin, clock: Clock) -> Trial:
    """Return an upload of which the second of two samples was refused once, a minute ago."""
    trial = begin(2, {1})
    trial.steps()
    clock.now_s += 61
    return trial


def test_a_sample_that_is_taken_at_the_second_trial_is_uploaded(begin: Begin, clock: Clock) -> None:
    """And ends the row of failures."""
    trial = refused(begin, clock)
    trial.instead = TryLater("http_503")
    assert (["1"], 2) == (trial.again()[0], trial.upload.attempt)
    assert trial.upload.parked_until_s == 1060.0  # it is due still
    trial.instead, trial.bad = None, ()
    assert (["1"], 1) == (trial.again()[0], trial.upload.attempt)
    assert ([0, 1], [], True) == (trial.stub.uploaded, trial.stub.rejected, trial.upload.finished)


def test_a_second_refusal_of_a_proxy_decides_nothing(begin: Begin, clock: Clock) -> None:
    """The sample is tried again a minute later."""
    trial = refused(begin, clock)
    trial.refusal = BY_A_PROXY
    sent, exchange = trial.again()
    assert (["1", EMPTY], BY_A_PROXY, 1) == (sent, exchange.outcome, trial.upload.attempt)
    assert (1121.0, []) == (trial.upload.parked_until_s, trial.stub.rejected)


def test_a_second_refusal_by_a_server_that_takes_nothing_decides_nothing(begin: Begin, clock: Clock) -> None:
    """The empty body is refused too, and no other sample is left."""
    trial = refused(begin, clock)
    trial.refuses_empty = True
    sent, exchange = trial.again()
    assert (["1", EMPTY], NotWelcome("refuses_everything")) == (sent, exchange.outcome)
    assert (1121.0, [], 2) == (trial.upload.parked_until_s, trial.stub.rejected, trial.upload.attempt)


def test_nothing_is_parked_while_there_is_something_to_do(begin: Begin, clock: Clock) -> None:
    """Other samples go first; what is known is reported first, and no request is made meanwhile."""
    trial = begin(4, {0})
    trial.stub.refuse = {"done": "storage"}
    for _ in range(3):
        trial.upload.advance(2)
    assert (2, None) == (trial.upload.remaining, trial.upload.parked_until_s)
    trial.upload.advance(2)
    assert 1060.0 == trial.upload.parked_until_s
    clock.now_s += 61
    trial.upload.advance(2)
    with pytest.raises(BufferBusyError):
        trial.upload.settle()
    assert trial.upload.parked_until_s is None
    requests = len(trial.sent)
    with pytest.raises(BufferBusyError):
        trial.upload.advance(2)
    trial.stub.refuse = {}
    assert trial.upload.advance(2) is None
    assert (requests, True) == (len(trial.sent), trial.upload.finished)


def test_what_the_buffer_does_not_know_of_has_its_number(begin: Begin) -> None:
    """Chunks that the server took behind a sample that is undecided; neither that one nor a rejected one."""
    nan = Row("nan", NOW_MS + 3, math.nan, {})
    trial = begin([*rows(3), nan, *rows(2, first=4)], {1})
    trial.steps(most=2)
    assert [[0]] == [values for values, _, _ in trial.stub.done]
    found = [(chunk[2], [time for *_, times in chunk.groups for time in times]) for chunk in trial.upload.unreported()]
    assert [(2, [NOW_MS + 2]), (4, [NOW_MS + 4, NOW_MS + 5])] == found


@pytest.mark.parametrize(
    ("chunk_bytes", "expected"), [(7, ["0,1,2,3"]), (6, ["0,1", "2,3"]), (1, ["0", "1", "2", "3"])]
)
def test_a_body_may_be_as_large_as_its_cap(begin: Begin, chunk_bytes: int, expected: list[str]) -> None:
    """A single sample may be larger."""
    assert expected == begin(4, chunk_bytes=chunk_bytes).steps()
    assert ["0"] == begin(1, chunk_bytes=0).steps()


def test_it_begins_with_nothing_known(begin: Begin, clock: Clock) -> None:
    """The first failure is its own."""
    upload = begin(3).upload
    assert (1, 0, 0, 0, 0, 0) == (
        upload.attempt, upload.chunk_index, upload.http_status, upload.bytes_sent, upload.bytes_rcvd, upload.rejected
    )  # fmt: skip
    assert (clock.now_s, 3, (0, 0)) == (upload.began_s, upload.remaining, upload.doubtful)
