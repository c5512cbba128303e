"""One bounded GET: what comes back, and everything that can go wrong with it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from collectors.web import MAX_BYTES, WebError, WebPage, get
from tests.unit.collectors.web_server import Asked, serving

SECRET = "stream-key-9c1"


@pytest.fixture
def deaf() -> Iterator[str]:
    """Give the address of somebody who accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_an_answer_with_its_query_and_headers() -> None:
    """What is asked for arrives, what is answered comes back; another status is an answer too."""
    asked: list[Asked] = []

    def answer(request: Asked) -> tuple[int, str]:
        asked.append(request)
        return (200, "there") if "?x=1" in request.path else (403, "no")

    with serving(answer) as address:
        assert WebPage(200, "there") == get(f"http://{address}/a?x=1", 1, headers={"Authorization": "k"})
        assert WebPage(403, "no") == get(f"http://{address}", 1, interface="lo")
    assert [("/a?x=1", "k"), ("/", None)] == [(one.path, one.headers.get("Authorization")) for one in asked]


def test_what_is_no_answer(deaf: str) -> None:
    """Nobody there, nobody who speaks, no HTTP, too long: each says so, and none repeats the URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    with serving(lambda _: (200, "x" * (MAX_BYTES + 1))) as endless:
        for address, why in ((nobody, "refused"), (deaf, "no answer in time"), (endless, "more than")):
            with pytest.raises(WebError, match=why) as found:
                get(f"http://{address}/{SECRET}", 0.2)
            assert SECRET not in str(found.value)
    with pytest.raises(WebError, match="No such device"):
        get(f"http://{nobody}/", 0.2, interface="none0")


def test_somebody_who_speaks_no_http(deaf: str) -> None:
    """A TLS question to a plain server, and a name that cannot be one."""
    with pytest.raises(WebError):
        get(f"https://{deaf}/", 0.2)
    with pytest.raises(WebError):
        get("http://127.0.0.1/ a", 0.2)
