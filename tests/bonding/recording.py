"""Exchanges of real programs, as text: what encoder, SRTLA sender and receiver said to each other, packet by packet.

`python -m tests.bonding.record` writes them. A line is a packet: milliseconds since the line before, way, length of the
payload, and its beginning in hexadecimal, `=N` for the same as N packets before. Ways: `es` from the encoder to the
sender, `se` back; `1>` from the sender over link 1, `1<` back over it. A line with `!` says what is done at that
moment. Of a data packet its two first words are kept, of all others what there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path as File
from typing import NamedTuple

FROM_ENCODER, TO_ENCODER, OUT, IN = "es", "se", ">", "<"
DATA_BYTES = 8
LOOKED_BACK = 64  # packets


class Row(NamedTuple):
    """A packet, or something that was done.

    Attributes:
        at_s: when, since the first one.
        way: of a packet; "" for something that was done.
        length: of its payload, bytes.
        payload: its beginning.
        words: what was done; "" for a packet.
    """

    at_s: float
    way: str
    length: int = 0
    payload: bytes = b""
    words: str = ""

    @property
    def link(self) -> int | None:
        """Index of its link, the first one is 0; None for what is not on a link."""
        return int(self.way[0]) - 1 if self.way[:1].isdecimal() else None


class Recording(NamedTuple):
    """An exchange.

    Attributes:
        head: what says of it: programs, links.
        rows: its packets and what was done, in the order of time.
    """

    head: dict[str, str]
    rows: list[Row]


def write(file: File, recording: Recording) -> None:
    """Write an exchange."""
    head = [f"# {name}: {text}\n" for name, text in recording.head.items()]
    file.write_text("".join([*head, *_lines(recording.rows)]), encoding="ascii")


def read(file: File) -> Recording:
    """Return an exchange."""
    lines = file.read_text(encoding="ascii").splitlines()
    head = dict(line.removeprefix("# ").split(": ", 1) for line in lines if line.startswith("#"))
    return Recording(head, list(_rows(line for line in lines if not line.startswith("#"))))


def _lines(rows: Iterable[Row]) -> Iterator[str]:
    before_ms, last = 0.0, deque[bytes](maxlen=LOOKED_BACK)
    for row in rows:
        now_ms = round(1000 * row.at_s, 1)
        since_ms, before_ms = f"{now_ms - before_ms:.1f}".removesuffix(".0"), now_ms
        if row.words:
            yield f"{since_ms} ! {row.words}\n"
            continue
        text = f"={last.index(row.payload) + 1}" if row.payload in last else row.payload.hex()
        yield f"{since_ms} {row.way} {row.length} {text}\n"
        last.appendleft(row.payload)


def _rows(lines: Iterable[str]) -> Iterator[Row]:
    at_ms, last = 0.0, deque[bytes](maxlen=LOOKED_BACK)
    for line in lines:
        since_ms, way, rest = line.split(" ", 2)
        at_ms += float(since_ms)
        if way == "!":
            yield Row(at_ms / 1000, "", words=rest)
            continue
        length, text = rest.split(" ")
        last.appendleft(last[int(text[1:]) - 1] if text.startswith("=") else bytes.fromhex(text))
        yield Row(at_ms / 1000, way, int(length), last[0])
