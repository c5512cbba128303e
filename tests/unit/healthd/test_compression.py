"""What a viewer over LTE pays: answers as gzip where the client takes it, files that it has already not at all."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from typing import Any

from healthd.http import compression
from healthd.http.connection import Reply, Request
from healthd.page import files
from tests.unit.healthd.test_picture import STREAM, latest, picture_of

GZIP = Request("/x", headers={"accept-encoding": "gzip, deflate, br"})
BUDGET_BYTES = 2_000_000  # an hour of one viewer


def test_a_body_is_compressed_for_who_takes_it() -> None:
    """And left alone for others, and where it is short."""
    answer = Reply(200, "application/json", b"x" * 2000)
    made = compression.applied(answer, GZIP)
    assert b"x" * 2000 == gzip.decompress(made.body)
    assert ("Content-Encoding", "gzip") in made.headers
    assert answer == compression.applied(answer, Request("/x"))
    short = Reply(200, "application/json", b"{}")
    assert short == compression.applied(short, GZIP)


def pictures(seconds: int) -> list[bytes]:
    """Return what a watcher of a stream whose numbers all move is sent."""
    chance, found = random.Random(1), []
    for _ in range(seconds):
        moved = {name: value * chance.uniform(0.9, 1.1) if value > 2 else value for name, value in STREAM.items()}
        made: dict[str, Any] = picture_of(latest(moved))
        found.append(b"data: " + json.dumps(made, separators=(",", ":")).encode() + b"\n\n")
    return found


def test_an_hour_of_pictures_is_within_the_budget() -> None:
    """Each piece can be read as soon as it is there."""
    sent = pictures(60)
    reader, received, size = zlib.decompressobj(31), b"", 0
    for at, piece in enumerate(compression.stream(iter(sent))):
        received += reader.decompress(piece)
        size += len(piece)
        assert received == b"".join(sent[: at + 1])
    print(f"{60 * size / 1e6:.2f} MB an hour, {60 * len(received) / 1e6:.1f} uncompressed")
    assert 60 * size <= BUDGET_BYTES


def test_a_file_that_is_known_is_not_sent_again() -> None:
    """The browser asks with the mark that it was given."""
    page = files.load()["/shell"]
    tag = dict(page.headers)["ETag"]
    assert page == files.unless_known(page, Request("/"))
    again = files.unless_known(page, Request("/", headers={"if-none-match": tag}))
    assert (304, b"") == (again.status, again.body)
    assert page == files.unless_known(page, Request("/", headers={"if-none-match": '"other"'}))
