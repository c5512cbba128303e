"""A recorded exchange of real programs, played again before the SRT source: the same packets at the same distances."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path as File

from tests.bonding.board import Board
from tests.bonding.recording import FROM_ENCODER, OUT, TO_ENCODER, Recording, Row
from tests.demo.wire import PlayedRing, in_its_place

BEGAN_S, WALL_S = 1_000.0, 1_795_000_000.0
HERE, ENCODER_PORT, LINK_PORT = "127.0.0.1", 40_000, 50_000

_HEADERS = struct.Struct(">BBHHHBBH4s4sHHHH")


class Replay(Board):
    """A board on which an exchange is played again; nothing has happened yet.

    Args:
        root: an empty folder for its tree.
        recording: the exchange.
        patch: replaces an attribute of a module, as pytest's monkeypatch does.

    Attributes:
        links: address of each link, the first one first.
        trips_ms: what a packet takes over each of them, and its answer back.
        done: what was done so far, and when, by the wall clock.
    """

    def __init__(self, root: File, recording: Recording, patch: Callable[[str, object], None]) -> None:
        self._now_s = BEGAN_S
        self._wire = in_its_place(patch, lambda: self._now_s, lambda: WALL_S + self._now_s)
        self._rows = deque(recording.rows)
        self._srt_port, self._srtla_port = (int(port) for port in recording.head["ports"].split())
        links = [link.split() for link in recording.head["links"].split(", ")]
        self.links, self.trips_ms = [link[0] for link in links], [float(link[1]) for link in links]
        self.done: dict[str, float] = {}
        super().__init__(root, self)
        self.have(self.links)
        self.write_list(self.links)
        self.write("tmp/belacoder_br", "500000\n500000\n")  # the encoder is none whose bitrate changes
        self.run(0.6)
        self._begins_s = self._now_s

    @property
    def played_s(self) -> float:
        """How much of the exchange has been played."""
        return self._now_s - self._begins_s

    def until(self, words: str) -> None:
        """Play until something is done."""
        assert self.run(100, lambda: words in self.done), words

    def wait(self, seconds: float, sockets: Sequence[PlayedRing]) -> None:
        """Let time pass, or until one of some packet sockets is readable."""
        until_s = self._now_s + seconds
        begins_s = getattr(self, "_begins_s", float("inf"))
        while self._rows and begins_s + self._rows[0].at_s <= until_s:
            row = self._rows.popleft()
            self._now_s = max(self._now_s, begins_s + row.at_s)
            self._play(row)
            if any(one.is_readable for one in sockets):
                return
        self._now_s = until_s

    def _play(self, row: Row) -> None:
        if row.words:
            self.done[row.words] = WALL_S + self._now_s
            self._do(row.words)
        else:
            self._wire.send(self._packet(row))

    def _do(self, words: str) -> None:
        """Have the board show what was done."""
        match words:
            case "start":
                self.start("srtla_send", str(self._srt_port), "localhost", str(self._srtla_port), "/tmp/srtla_ips")
                self._start_encoder()
            case "link 3 is taken off the list":
                self.write_list(self.links[:2])
            case "link 3 is put back":
                self.write_list(self.links)
            case "the encoder is stopped":
                self.end("belacoder")
            case "the encoder is started":
                self._start_encoder()

    def _start_encoder(self) -> None:
        self.start("belacoder", "pipeline", HERE, str(self._srt_port), "-l", "800")

    def _packet(self, row: Row) -> bytes:
        """Return a whole IPv4 packet; nobody looks at its checksums, nor at what was not recorded."""
        encoder, sender = (HERE, ENCODER_PORT), (HERE, self._srt_port)
        if row.link is None:
            ends = {FROM_ENCODER: (encoder, sender), TO_ENCODER: (sender, encoder)}[row.way]
        else:
            link, receiver = (self.links[row.link], LINK_PORT), (HERE, self._srtla_port)
            ends = (link, receiver) if row.way.endswith(OUT) else (receiver, link)
        (source, source_port), (target, target_port) = ends
        addresses, length = (socket.inet_aton(source), socket.inet_aton(target)), 28 + row.length
        head = _HEADERS.pack(0x45, 0, length, 0, 0, 64, 17, 0, *addresses, source_port, target_port, length - 20, 0)
        return head + row.payload.ljust(row.length, b"\0")
