"""Whose answer is it: a table of what servers, proxies and portals say, for every kind of request.

The answers of VictoriaMetrics 1.79.5 and 1.150, its cluster, vmagent, vmauth and VictoriaLogs are as recorded.
"""

from __future__ import annotations

import pytest

from common.remote import Remote
from shipper.http.answer import Answer
from shipper.http.proof import (
    BARE,
    COUNT,
    EVENTS,
    HEADER,
    HEALTH,
    IMPORT,
    METRICS,
    OWN,
    QUERY,
    STATUS,
    STRANGER,
    KnownServer,
    initially_known,
    is_own_refusal,
    learn,
    recognise,
    tells_apart,
)

VM = {"X-Server-Hostname": "vm", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}
VM_150 = {**VM, "Vary": "Accept-Encoding"}
TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
NGINX = {"Server": "nginx/1.22.1", "Content-Type": "text/html"}
CLOUDFLARE = {"Server": "cloudflare", "CF-RAY": "8a1b2c3d4e5f-FRA", "Content-Type": "text/html; charset=UTF-8"}
PAGE = b"<html><head><title>Log in</title></head></html>"
CAPTIVE = b'{"captive":true,"user-portal-url":"https://portal.example/"}'
VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
PARTIAL = b'{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}'
FAILED = b'{"status":"error","errorType":"503","error":"error occured during search"}'

SEEN = KnownServer(header=True, taken=True)  # a VictoriaMetrics that has answered before
FRESH = KnownServer()
TLS = KnownServer(is_secure=True)
COUNTS = KnownServer(counts=True, taken=True)

Row = tuple[str, str, KnownServer, int, dict[str, str], bytes]

# What it is; what was asked; what was known; the answer.
SERVERS: list[Row] = [
    # VictoriaMetrics and its family
    (OWN, IMPORT, FRESH, 204, VM, b""),
    (OWN, IMPORT, SEEN, 204, VM, b""),
    (OWN, IMPORT, SEEN, 204, VM_150, b""),
    (OWN, IMPORT, SEEN, 204, {**VM_150, "X-Server-Hostname": "vm, vm"}, b""),  # vmauth passes its backend's on
    (OWN, IMPORT, SEEN, 400, {**VM_150, **TEXT}, b"cannot decode vmimport data: gzip: invalid header"),
    (OWN, IMPORT, SEEN, 400, {**VM_150, **TEXT}, b'unsupported path requested: "/api/v1"'),
    (OWN, IMPORT, SEEN, 401, {**VM_150, **TEXT, "Www-Authenticate": "Basic"}, b"missing 'Authorization' header"),
    (OWN, IMPORT, SEEN, 502, {**VM_150, **TEXT}, b"all the 1 backends for the user are unavailable"),
    (OWN, EVENTS, FRESH, 200, {**VM_150, **JSON}, b""),  # VictoriaLogs
    (OWN, EVENTS, SEEN, 200, {**VM_150, **JSON}, b""),
    (OWN, HEALTH, SEEN, 200, {**VM, **TEXT}, b"OK"),
    (OWN, HEALTH, FRESH, 200, TEXT, b"OK"),
    (OWN, HEALTH, SEEN, 401, {**VM, **TEXT}, b"missing"),
    (OWN, METRICS, SEEN, 200, {**VM, **TEXT}, b"vm_app_start_timestamp 1795313745\n"),
    (OWN, QUERY, SEEN, 200, {**VM, **JSON}, VECTOR),
    (OWN, QUERY, FRESH, 200, JSON, VECTOR),
    (OWN, QUERY, SEEN, 503, {**VM_150, **JSON}, FAILED),
    (OWN, QUERY, SEEN, 400, {**VM_150, **TEXT}, b'unsupported path requested: "/api/v1/query"'),  # vminsert, vmagent
    (STRANGER, QUERY, SEEN, 200, {**VM_150, **JSON}, PARTIAL),
    # receivers that count
    (OWN, IMPORT, FRESH, 200, JSON, b'{"success": true, "received": 50}'),
    (OWN, IMPORT, FRESH, 200, HTML, b'{"received": 50}'),
    (OWN, IMPORT, COUNTS, 200, HTML, b'\xef\xbb\xbf{"received": 25}'),
    (OWN, IMPORT, KnownServer(COUNT), 200, {}, b'{"received": 50, "checkpoint": 1234567890123}'),
    (STRANGER, IMPORT, KnownServer(COUNT), 204, VM, b""),
    (STRANGER, IMPORT, COUNTS, 204, {}, b""),
    (STRANGER, IMPORT, FRESH, 200, JSON, b'{"received": 51}'),
    (STRANGER, IMPORT, FRESH, 200, JSON, b'{"success": false, "received": 50}'),
    # receivers that say nothing: another proof is needed, or TLS is it
    (BARE, IMPORT, FRESH, 204, HTML, b""),
    (BARE, IMPORT, FRESH, 204, {}, b""),
    (BARE, IMPORT, FRESH, 200, {"Content-Length": "0"}, b""),
    (BARE, EVENTS, FRESH, 200, {"Server": "BaseHTTP/0.6"}, b""),
    (OWN, IMPORT, TLS, 204, HTML, b""),
    (OWN, IMPORT, KnownServer(STATUS), 202, TEXT, b"queued"),
    (STRANGER, IMPORT, KnownServer(HEADER), 204, {}, b""),
]
PORTALS: list[Row] = [
    (STRANGER, asked, known, status, headers, body)
    for asked in (IMPORT, EVENTS)
    for known in (FRESH, SEEN, COUNTS, TLS)
    for status, headers, body in [
        (200, JSON, CAPTIVE),
        (200, {"Content-Type": "application/captive+json"}, CAPTIVE),
        (200, {"Content-Type": "text/plain"}, b"Please log in at http://10.0.0.1/login"),
        (200, {"Refresh": "0;url=http://portal.example/"}, b""),
        (200, HTML, PAGE),
        (200, {}, b"\xef\xbb\xbf\n <!DOCTYPE html><title>Log in</title>"),
        (200, {"Content-Type": "application/xhtml+xml"}, PAGE),
        (200, {"Content-Type": "application/javascript"}, b"location='http://portal.example/'"),
        (205, {}, b""),
        (206, {}, b""),
        (300, {}, b""),
        (302, {"Location": "http://portal.example/login"}, b""),
        (307, {"Location": "http://portal.example/login"}, b""),
        (301, {"Location": "https://metrics.example.com/api/v1/import"}, b""),
        (511, {}, PAGE),
        (200, NGINX, b"<html><h1>Welcome to nginx!</h1></html>"),
        (400, NGINX, b"<html><center><h1>400 Bad Request</h1></center></html>"),
        (404, NGINX, b"<html><center><h1>404 Not Found</h1></center></html>"),
        (413, NGINX, b"<html><center><h1>413 Request Entity Too Large</h1></center></html>"),
        (403, CLOUDFLARE, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"),
        (200, CLOUDFLARE, b"<!DOCTYPE html><title>Just a moment...</title>"),
    ]
]
# Where the server was seen before, an empty success of somebody else is recognised too.
IMITATIONS: list[Row] = [
    (STRANGER, asked, SEEN, status, headers, b"")
    for asked in (IMPORT, EVENTS)
    for status, headers in [(204, {}), (200, {}), (204, {"Server": "nginx"}), (204, HTML), (202, {})]
]
QUESTIONS: list[Row] = [
    (STRANGER, asked, known, status, headers, body)
    for asked in (HEALTH, METRICS, QUERY)
    for known in (FRESH, SEEN)
    for status, headers, body in [
        (200, JSON, CAPTIVE),
        (200, HTML, PAGE),
        (200, {"Refresh": "0;url=http://portal.example/"}, b""),
        (302, {"Location": "http://portal.example/login"}, b""),
        (511, {}, b""),
        (403, CLOUDFLARE, PAGE),
    ]
] + [
    (STRANGER, HEALTH, SEEN, 200, TEXT, b"Please log in at http://10.0.0.1/login"),
    (STRANGER, HEALTH, SEEN, 204, {}, b""),
    (STRANGER, METRICS, SEEN, 200, TEXT, b"vm_app_start_timestamp 1\n"),
    (STRANGER, QUERY, FRESH, 200, TEXT, b"Please log in at http://10.0.0.1/login"),
    (STRANGER, QUERY, FRESH, 204, {}, b""),
    (STRANGER, QUERY, SEEN, 200, {**VM, **JSON}, b'{"status":"success","data":[]}'),
    (STRANGER, QUERY, SEEN, 200, {**VM, **JSON}, b'{"status":"error","data":{}}'),
]


@pytest.mark.parametrize(
    ("verdict", "asked", "known", "status", "headers", "body"),
    [*SERVERS, *PORTALS, *IMITATIONS, *QUESTIONS],
    ids=lambda value: str(value)[:60],
)
def test_an_answer_is_the_servers_or_it_is_not(
    verdict: str, asked: str, known: KnownServer, status: int, headers: dict[str, str], body: bytes
) -> None:
    """By its shape; who is not the server is named by a word and in a sentence."""
    found = recognise(Answer(status, headers, body), asked, known, 50)
    assert verdict == found.verdict
    assert (verdict == OWN) == (found.reason == "") == (found.text == "")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            "a page from nginx/1.22.1 instead of the server's answer (proxy or portal), HTTP 404",
            Answer(404, NGINX, PAGE),
        ),
        ("an answer without the server's own mark instead of", Answer(200, TEXT, b"hello")),
        ("a login page answered instead of the server (captive portal)", Answer(511)),
    ],
)
def test_who_is_not_the_server_is_named(text: str, answer: Answer) -> None:
    """As far as it says who it is."""
    assert text in recognise(answer, IMPORT, SEEN, 50).text


def test_what_is_configured_is_known_from_the_start() -> None:
    """The shape that is stated, the one of a receiver of JSON, and whether TLS proves the peer."""
    assert KnownServer(HEADER, is_secure=True) == initially_known(Remote(url="https://a/api/v1/import", proof=HEADER))
    assert KnownServer(COUNT, is_secure=False) == initially_known(Remote(type="json", url="http://a/api/v1"))


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("https://metrics.example.com/api/v1/import", "https://metrics.example.com/api/v1/import?token=s3cret"),
        ("https://metrics.example.com/", "https://user:s3cret@metrics.example.com/"),
        ("nowhere", ""),
    ],
)
def test_a_redirect_names_its_target_and_what_to_set(target: str, location: str) -> None:
    """Without what can be secret in it."""
    text = recognise(Answer(308, {"Location": location}), IMPORT, FRESH, 50).text
    assert f"redirected to {target} (HTTP 308)" in text
    assert "set remote.url" in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (True, Answer(200, TEXT, b"OK")),
        (True, Answer(404, HTML, PAGE)),
        (True, Answer(501, HTML, PAGE)),
        (True, Answer(405)),
        (True, Answer(400)),
        (False, Answer(300)),
        (False, Answer(204)),
        (False, Answer(200)),
        (False, Answer(302, {"Location": "http://portal.example/login"})),
        (False, Answer(511)),
        (False, Answer(200, HTML, PAGE)),
        (False, Answer(200, JSON, CAPTIVE)),
        (False, Answer(200, {"Refresh": "0;url=http://portal.example/"}, b"")),
        (False, Answer(200, TEXT, b"Please log in at http://10.0.0.1/login")),
        (True, Answer(200, {}, b"x" * 1000)),
        (False, Answer(200, {}, b"x" * 1001)),
    ],
)
def test_a_server_tells_a_question_from_an_upload(expected: bool, answer: Answer) -> None:
    """A portal gives both the same answer, or a page."""
    assert expected is tells_apart(answer)


@pytest.mark.parametrize(
    ("expected", "known", "answer"),
    [
        (True, FRESH, Answer(400, VM, b"cannot decode")),
        (True, SEEN, Answer(400, VM, b"cannot decode")),
        (False, SEEN, Answer(400, {}, b"cannot decode")),
        (False, SEEN, Answer(400, {**VM, **HTML}, PAGE)),
        (False, FRESH, Answer(400)),
        (True, KnownServer(taken=True), Answer(400)),
        (False, KnownServer(taken=True), Answer(400, HTML, PAGE)),
        (True, COUNTS, Answer(400, JSON, b'{"error": "metrics[3]: not a number"}')),
        (False, COUNTS, Answer(400, TEXT, b"bad request")),
    ],
)
def test_a_refusal_is_believed_in_the_shape_of_a_server_that_took_others(
    expected: bool, known: KnownServer, answer: Answer
) -> None:
    """Nothing is quarantined on somebody else's word."""
    assert expected is is_own_refusal(answer, known)


def test_what_an_answer_looks_like_is_learned_and_kept() -> None:
    """From what was accepted."""
    assert KnownServer(header=True, taken=True) == learn(FRESH, Answer(204, VM))
    assert KnownServer(counts=True, taken=True) == learn(FRESH, Answer(200, JSON, b'{"received": 50}'))
    assert KnownServer(taken=True) == learn(FRESH, Answer(204))
    assert KnownServer(header=True, taken=True) == learn(SEEN, Answer(204))
