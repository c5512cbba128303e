"""What a handshake said, kept over a restart of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.srt.connection import SrtConnection
from collectors.srt.handshake import Negotiated
from collectors.srt.handshake_file import FILE, HandshakeFile


def connection(encoder: int | None, negotiated: Negotiated | None = None) -> SrtConnection:
    """Return a connection with the number of its encoder's socket."""
    made = SrtConnection()
    made.encoder, made.negotiated = encoder, negotiated or Negotiated()
    return made


def test_the_next_process_has_it(tmp_path: Path) -> None:
    """For the same connection, which its number tells; for another one it is unknown."""
    said = Negotiated(2000, 8192)
    HandshakeFile(tmp_path).follow(connection(7, said))
    same, another, unknown = connection(7), connection(8), connection(None)
    for seen in (same, another, unknown):
        HandshakeFile(tmp_path).follow(seen)
    assert [said, Negotiated(), Negotiated()] == [same.negotiated, another.negotiated, unknown.negotiated]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"encoder":7,"latency_ms":"x"}', b'{"encoder":7,"latency_ms":-1}']
)
def test_a_file_that_says_nothing(tmp_path: Path, content: bytes) -> None:
    """Nothing is taken from it."""
    (tmp_path / FILE).write_bytes(content)
    seen = connection(7)
    HandshakeFile(tmp_path).follow(seen)
    assert seen.negotiated.latency_ms is None


def test_nowhere_to_keep_it(tmp_path: Path) -> None:
    """It is not kept, and nothing fails."""
    for folder in (None, tmp_path / "gone"):
        HandshakeFile(folder).follow(connection(7, Negotiated(2000, 8192)))
