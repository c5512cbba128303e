"""Every answer has one of four meanings."""

from __future__ import annotations

import json

import pytest

from shipper.http.outcome import (
    Accepted,
    Answer,
    BodyRefused,
    NotWelcome,
    Outcome,
    TryLater,
    http_date_s,
    judge,
    retry_after_s,
)

NOW_S = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
HTML = {"Content-Type": "text/html; charset=utf-8"}


def judged(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Outcome:
    """Return what an answer to 50 samples means."""
    return judge(Answer(status, headers or {}, body), 50, NOW_S)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_2xx_without_detail_accepts_all(status: int) -> None:
    """204 is what the server says to a good body."""
    assert Accepted(50) == judged(status)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_the_content_puts_the_body_in_doubt(status: int) -> None:
    """The samples may be at fault; 413 says that it is their number."""
    assert BodyRefused(f"http_{status}", too_large=status == 413) == judged(status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 401, 402, 403, 404, 405, 406, 410, 415, 431, 451])
def test_a_refusal_of_the_request_leaves_the_samples_alone(status: int) -> None:
    """No sample is at fault where the address, the token or a redirect is."""
    assert NotWelcome(f"http_{status}") == judged(status, b"<html>moved</html>", HTML)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599, 102])
def test_a_server_in_trouble_is_asked_again(status: int) -> None:
    """These pass by themselves."""
    assert TryLater(f"http_{status}", 7.0) == judged(status, headers={"Retry-After": "7"})


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, HTML, b"welcome"),
        Answer(200, {"Content-Type": "application/xhtml+xml"}, b""),
        Answer(200, {}, b"\n <!DOCTYPE html><title>Log in</title>"),
        Answer(511, {}, b""),
    ],
)
def test_a_page_is_a_captive_portal(answer: Answer) -> None:
    """A hotel's log-in page is no server that has the samples."""
    assert TryLater("captive_portal") == judge(answer, 50, NOW_S)


@pytest.mark.parametrize("key", ["received", "accepted"])
def test_a_count_accepts_that_many(key: str) -> None:
    """The server has the first 25 in the order of the body."""
    assert Accepted(25) == judged(200, json.dumps({key: 25}).encode())


def test_accepted_counts_more_than_received() -> None:
    """A server that says both has received more than it took."""
    assert Accepted(25) == judged(200, b'{"received": 50, "accepted": 25}')


def test_more_than_was_sent_is_all() -> None:
    """Such a server counts something else; it has everything."""
    assert Accepted(50) == judged(200, b'{"received": 51}')


@pytest.mark.parametrize("count", ["-1", "25.5", "NaN", "true", "null", '"25"', "[]", "1e999"])
def test_a_count_that_is_none_proves_nothing(count: str) -> None:
    """Neither all nor some of it may be taken as accepted."""
    assert TryLater("bad_answer") == judged(200, f'{{"received": {count}}}'.encode())


def test_a_count_of_nothing_is_no_success() -> None:
    """Asking again at once would go on for ever."""
    assert TryLater("nothing_accepted", 3.0) == judged(200, b'{"accepted": 0}', {"Retry-After": "3"})


def test_an_empty_body_is_accepted_with_a_count_of_nothing() -> None:
    """Nothing was sent, nothing was taken, and that is all of it."""
    assert Accepted(0) == judge(Answer(200, {}, b'{"received": 0}'), 0, NOW_S)


def test_success_false_is_no_success() -> None:
    """Whatever it counts: all of it is sent again, which harms nobody."""
    assert TryLater("unsuccessful") == judged(200, b'{"success": false, "received": 50}')


@pytest.mark.parametrize(
    "body", [b"OK", b"{", b"[25]", b"25", b"\xff\xfe\xff", b'{"success": true}', b'{"a":' + b"[" * 60_000]
)
def test_a_2xx_that_counts_nothing_accepts_all(body: bytes) -> None:
    """No detail: the chunk is uploaded."""
    assert Accepted(50) == judged(200, body)


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
