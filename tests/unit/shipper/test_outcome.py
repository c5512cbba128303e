"""What an answer means for samples, and how its headers are read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shipper.http import client, proof
from shipper.http.answer import Answer, age_s, document, http_date_s, retry_after_s
from shipper.http.outcome import Accepted, BodyRefused, NotTheServer, NotWelcome, Outcome, TryLater, judge
from shipper.http.proof import KnownServer

NOW_S = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
OWN = {"X-Server-Hostname": "vm"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<html><head><title>400 Bad Request</title></head></html>"


def judged(answer: Answer, known: KnownServer = KnownServer(), body_bytes: int = 1000) -> Outcome:  # noqa: B008 - a value
    """Return what an answer to 50 samples means, without the text for people."""
    found = judge(answer, proof.IMPORT, known, 50, body_bytes)
    return replace(found, text="") if isinstance(found, NotTheServer) else found


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    ("own", "headers", "known"),
    [(True, OWN, KnownServer()), (True, {}, KnownServer(taken=True)), (False, {}, KnownServer())],
    ids=["with the header", "of a server that has taken others", "of who knows whom"],
)
def test_a_refusal_of_the_content_puts_the_body_in_doubt(
    status: int, own: bool, headers: dict[str, str], known: KnownServer
) -> None:
    """The samples may be at fault where the server itself says so; 413 says that it is their number."""
    expected = BodyRefused(f"http_{status}", too_large=status == 413, own=own)
    assert expected == judged(Answer(status, headers), known)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
@pytest.mark.parametrize(
    "known", [KnownServer(), KnownServer(header=True, taken=True), KnownServer(counts=True, taken=True)], ids=str
)
def test_a_page_of_a_proxy_says_nothing_of_the_samples(status: int, known: KnownServer) -> None:
    """Whatever its status."""
    assert NotTheServer("proxy_page") == judged(Answer(status, HTML, PAGE), known)


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_refusal_without_the_servers_header_is_somebody_elses(status: int) -> None:
    """Once the server was seen to send it."""
    assert NotTheServer("not_the_server") == judged(Answer(status, {}, b"no"), KnownServer(header=True, taken=True))


def test_a_proxys_limit_halves_the_body_and_is_never_held_against_a_sample() -> None:
    """A proxy such as nginx says 413 with a page of its own; below 16 KiB no limit is meant."""
    page, known = Answer(413, HTML, PAGE), KnownServer(header=True, taken=True)
    assert BodyRefused("http_413", too_large=True, own=False) == judged(page, known, 16_385)
    assert NotTheServer("proxy_page") == judged(page, known, 16_384)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 406, 410, 415, 431, 451])
def test_a_refusal_of_the_request_leaves_the_samples_alone(status: int) -> None:
    """No sample is at fault where the address or the token is."""
    assert NotWelcome(f"http_{status}") == judged(Answer(status, OWN, b"no"))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599, 102])
def test_a_server_in_trouble_is_asked_again(status: int) -> None:
    """These pass by themselves, whoever says so."""
    assert TryLater(f"http_{status}", 7.0) == judged(Answer(status, {**HTML, "Retry-After": "7"}, PAGE))


def test_an_empty_success_may_be_the_server() -> None:
    """Another proof is needed; what is plainly somebody else's needs none."""
    assert NotTheServer("unproven", is_bare=True) == judged(Answer(204))
    assert NotTheServer("captive_portal", is_bare=False) == judged(Answer(200, HTML, PAGE))
    assert "the same empty answer" in str(judge(Answer(204), proof.IMPORT, KnownServer(), 50))


def test_an_outcome_says_by_default_what_most_are() -> None:
    """Answered, at once, of a size that is not at fault, by the server."""
    assert TryLater("a", 0.0, answered=True) == TryLater("a")
    assert NotTheServer("a", 0.0, "", is_bare=False, answered=True) == NotTheServer("a")
    assert BodyRefused("a", too_large=False, own=True) == BodyRefused("a")


def test_a_body_of_which_no_size_is_known_is_not_too_large_for_a_proxy() -> None:
    """Events have no size that could be halved."""
    assert isinstance(judge(Answer(413, HTML, PAGE), proof.EVENTS, KnownServer(), 50), NotTheServer)


@pytest.mark.parametrize("key", ["received", "accepted"])
def test_a_count_accepts_that_many(key: str) -> None:
    """The server has the first 25 in the order of the body."""
    assert Accepted(25) == judged(Answer(200, {}, f'{{"{key}": 25}}'.encode()))


def test_accepted_counts_more_than_received() -> None:
    """A server that says both has received more than it took."""
    assert Accepted(25) == judged(Answer(200, {}, b'{"received": 50, "accepted": 25}'))


@pytest.mark.parametrize("count", ["-1", "25.5", "NaN", "true", "null", '"25"', "[]", "1e999", "51"])
def test_a_count_that_does_not_fit_proves_nothing(count: str) -> None:
    """Neither all nor some of it may be taken as accepted."""
    assert isinstance(judged(Answer(200, {}, f'{{"received": {count}}}'.encode())), NotTheServer)


def test_a_count_of_nothing_is_no_success() -> None:
    """Asking again at once would go on for ever."""
    answer = Answer(200, {"Retry-After": "3"}, b'{"accepted": 0}')
    assert NotTheServer("nothing_accepted", retry_after_s=3.0) == judged(answer)


def test_an_empty_body_is_accepted_with_a_count_of_nothing() -> None:
    """Nothing was sent, nothing was taken, and that is all of it."""
    assert Accepted(0) == judge(Answer(200, {}, b'{"received": 0}'), proof.IMPORT, KnownServer(), 0)


def test_success_false_is_no_success() -> None:
    """Whatever it counts: all of it is sent again, which harms nobody."""
    assert NotTheServer("unsuccessful") == judged(Answer(200, {}, b'{"success": false, "received": 50}'))


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"25", b"\xff\xfe", b'{"a":' + b"[" * 60_000], ids=lambda body: str(body[:9])
)
def test_what_is_no_object_is_empty(body: bytes) -> None:
    """However deep, and in no time."""
    assert {} == document(body)


@pytest.mark.parametrize(("expected", "text"), [(3600.0, "3600"), (0.0, ""), (0.0, "-1"), (0.0, "9" * 400), (0.0, "x")])
def test_an_age_is_a_number_of_seconds(expected: float, text: str) -> None:
    """Of a cache before the server."""
    assert expected == age_s({"Age": text})


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("120", 120.0),
        (" 5 ", 5.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("²", 0.0),
        ("Mon, 99 Foo 99999 99:99:99 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str, expected_s: float) -> None:
    """Seconds, or any of the three date formats; nonsense and the past are no wait."""
    assert expected_s == retry_after_s({"Retry-After": text}, NOW_S)


def test_retry_after_as_a_date_is_measured_by_the_servers_clock() -> None:
    """A board whose clock is years off waits for a minute all the same."""
    headers = {"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    assert retry_after_s(headers, NOW_S + 10**8) == pytest.approx(60.0)


def test_a_long_number_is_a_long_wait() -> None:
    """It is cut where waits are."""
    assert retry_after_s({"Retry-After": "9" * 5000}, NOW_S) == float("inf")


@pytest.mark.parametrize("text", ["", "yesterday", "12", "Sun, 06 Nov 1994"])
def test_what_is_no_date_is_none(text: str) -> None:
    """Whatever a header holds, reading it does not raise."""
    assert http_date_s(text) is None or text == "Sun, 06 Nov 1994"


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Accepted(1), ""),
        (TryLater("http_503"), "http_503: Service Unavailable"),
        (TryLater("http_599"), "http_599"),
        (NotWelcome("http_401"), "http_401: Unauthorized"),
        (NotTheServer("redirect", text="redirected"), "redirect: redirected"),
    ],
)
def test_a_failure_is_named_in_words(outcome: Outcome, words: str) -> None:
    """For /health and the log."""
    assert words == client._detail(outcome)
