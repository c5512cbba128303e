"""Recognise whether the server itself answered, or a captive portal, proxy or cache. Pure; used for every request.

Captive portals, proxies and caches may answer in place of the server, with any status. The form of the answer decides:
VictoriaMetrics (single node, cluster, vmagent, vmauth, VictoriaLogs) sends the header `X-Server-Hostname`; once it was
seen, an answer without it is not the server's. A JSON receiver returns the number of samples it accepted, which nobody
else can know. An empty success (BARE) is accepted over verified TLS, or after a second, different request to the same
server: a portal gives the same answer to everything. The Content-Type alone decides nothing.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from common.remote import JSON, Remote
from shipper.http.answer import Answer, document

OWN_HEADER = "X-Server-Hostname"
COUNT_KEYS = ("accepted", "received")  # how receivers that count say how many samples they took; the first holds

# What was asked for.
IMPORT, EVENTS, HEALTH, METRICS, QUERY, EXPORT = "import", "events", "health", "metrics", "query", "export"

# What an answer is.
OWN, BARE, STRANGER = "own", "bare", "stranger"

# remote.proof
AUTO, HEADER, COUNT, STATUS, QUEUE = "auto", "header", "count", "status", "queue"

_BARE_STATUS = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)


class KnownServer(NamedTuple):
    """What is known of how the server answers.

    Attributes:
        proof: as configured, `remote.proof`.
        is_secure: its certificate was verified: nobody else can answer.
        header: its answers carry `X-Server-Hostname`.
        counts: it says how many samples it took.
        taken: it has taken samples.
    """

    proof: str = AUTO
    is_secure: bool = False
    header: bool = False
    counts: bool = False
    taken: bool = False


def initially_known(remote: Remote) -> KnownServer:
    """Return the server's known shape before its first answer."""
    shape = COUNT if remote.type == JSON else remote.proof
    return KnownServer(shape, is_secure=urlsplit(remote.url).scheme == "https")


class Finding(NamedTuple):
    """What an answer is.

    Attributes:
        verdict: OWN; BARE, which needs another proof; or STRANGER.
        reason: a word for the counter's label; "" for OWN.
        text: for people, what answered and what to do.
    """

    verdict: str
    reason: str = ""
    text: str = ""


IS_OWN = Finding(OWN)
PARTIAL = Finding(STRANGER, "partial_answer", "a part of the server is away: its answer is not whole")


def recognise(answer: Answer, asked: str, known: KnownServer, sent: int = 0) -> Finding:
    """Return whether an answer is the server's own.

    Args:
        answer: what came back.
        asked: IMPORT, EVENTS, HEALTH, METRICS, QUERY or EXPORT.
        known: of this server.
        sent: samples in the request.
    """
    if 300 <= answer.status < 400:
        return _redirect(answer)
    has_header = OWN_HEADER in answer.headers
    if answer.status == HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED or (answer.is_success and _is_portal(answer)):
        return _portal(answer)
    if not has_header and (known.header or known.proof == HEADER):
        return _other(answer)
    if answer.is_success and asked in (IMPORT, EVENTS):
        return _counted(document(answer.body), sent) or _uncounted(answer, asked, known, has_header=has_header)
    if answer.is_success and asked == QUERY:
        return _query_result(answer)
    return _other(answer) if answer.is_page else IS_OWN


def learn(known: KnownServer, answer: Answer) -> KnownServer:
    """Return the server's known shape after an answer that was accepted."""
    header = known.header or OWN_HEADER in answer.headers
    return known._replace(header=header, counts=known.counts or count_of(document(answer.body)) is not None, taken=True)


def is_own_refusal(answer: Answer, known: KnownServer) -> bool:
    """Return whether a refusal of a body is in the shape of a server that has taken others."""
    if OWN_HEADER in answer.headers:
        return not answer.is_page
    return known.taken and not known.header and not answer.is_page and (not known.counts or bool(document(answer.body)))


def tells_apart(answer: Answer) -> bool:
    """Return whether the answer to a harmless GET differs from what a portal answers to everything."""
    if 300 <= answer.status < 400 or answer.status == HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED:
        return False
    return not answer.is_success or (bool(answer.text) and not _is_portal(answer) and _is_short(answer))


def count_of(found: dict[str, Any]) -> object:
    """Return the count of an acknowledgement, None where it has none."""
    return next((found[key] for key in COUNT_KEYS if key in found), None)


def _counted(found: dict[str, Any], sent: int) -> Finding | None:
    """Judge an acknowledgement by its count, None where it has none; the right count is nobody else's guess."""
    if found.get("success") is False:
        return Finding(STRANGER, "unsuccessful", "the server says that it did not succeed")
    count = count_of(found)
    if count is None:
        return None
    if type(count) is not int or not 0 <= count <= sent:
        return Finding(STRANGER, "bad_answer", f"the answer counts {str(count)[:20]} of {sent} samples")
    return IS_OWN if count or not sent else Finding(STRANGER, "nothing_accepted", "the server took no sample")


def _uncounted(answer: Answer, asked: str, known: KnownServer, *, has_header: bool) -> Finding:
    """Judge an acknowledgement without a count."""
    if known.proof == COUNT:
        return Finding(STRANGER, "no_count", "the answer does not say how many samples were taken")
    if known.proof == STATUS or (has_header and (asked == EVENTS or answer.status == HTTPStatus.NO_CONTENT)):
        return IS_OWN
    if answer.text or answer.status not in _BARE_STATUS or known.counts or has_header:
        return _other(answer)
    return IS_OWN if known.is_secure else Finding(BARE, "unproven", "whatever is asked gets the same empty answer")


def _query_result(answer: Answer) -> Finding:
    found = document(answer.body)
    if found.get("status") != "success" or not isinstance(found.get("data"), dict):
        return _other(answer)
    return PARTIAL if found.get("isPartial") else IS_OWN


def _is_portal(answer: Answer) -> bool:
    """Return whether a success is meant for a browser, or for a phone that looks for a portal (RFC 8908)."""
    return answer.is_page or "Refresh" in answer.headers or "captive" in document(answer.body)


def _is_short(answer: Answer) -> bool:
    """Return whether a text is short as a health page: a portal's is a sentence with an address."""
    return b"://" not in answer.text and len(answer.text) <= 1000


def _portal(answer: Answer) -> Finding:
    text = "a login page answered instead of the server (captive portal): log in to this network with a browser"
    return Finding(STRANGER, "captive_portal", f"{text}; HTTP {answer.status}")


def _other(answer: Answer) -> Finding:
    who = answer.headers.get("Server", "")[:40]
    by = f" from {who}" if who else ""
    what = "a page" if answer.is_page else "an answer without the server's own mark"
    reason = "proxy_page" if answer.is_page else "not_the_server"
    return Finding(
        STRANGER, reason, f"{what}{by} instead of the server's answer (proxy or portal), HTTP {answer.status}"
    )


def _redirect(answer: Answer) -> Finding:
    """Describe a redirect with its target, without query and credentials."""
    parts = urlsplit(answer.headers.get("Location", ""))
    target = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:200]
    text = f"redirected to {target or 'nowhere'} (HTTP {answer.status}), which is not followed: "
    return Finding(
        STRANGER, "redirect", f"{text}if that is the server, set remote.url to it; else log in to this network"
    )
