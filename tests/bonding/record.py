"""`python -m tests.bonding.record`: record what a real SRTLA sender and receiver say to each other over three links.

Reads: built programs, given as command lines; `srt-live-transmit` is the encoder and the server behind the receiver.
Emits: an exchange as `recording` has it: start, loss on a link, a link cut and mended, taken off the sender's list and
put back, another public address, the encoder stopped and started, the receiver killed. All on loopback, through relays
that delay, lose and note each packet: no right to packet sockets is needed. Of SRT's acknowledgements every fourth is
noted, as the tap has it, with its copies over the links; answers to them and light ones are not.
Fails: exit 1 where a program ends before its time.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path as File

from collectors.srt.filters import ACK, ACK_SAMPLE, FULL_ACK_BYTES
from tests.bonding import recording
from tests.bonding.kernel_network import KernelNetwork
from tests.bonding.network import Address, Socket
from tests.bonding.recording import DATA_BYTES, FROM_ENCODER, IN, OUT, TO_ENCODER, Recording, Row
from tests.bonding.srt import ACKACK
from tests.bonding.srtla import Path
from tests.free_port import free_port
from tests.harness import require

HERE = "127.0.0.1"
LINKS = (Path("127.0.0.2", 0.02), Path("127.0.0.3", 0.03), Path("127.0.0.4", 0.05))
OUTSIDE = "127.0.1.{}"  # their public addresses
LATENCY_MS = (800, 2000)  # asked for by the encoder, and by the server: the larger one holds
FEED_BYTES, FEED_S = 1316, 0.06
STEPS = (  # what is done, and what is recorded of it
    ("start", 3.5),
    ("link 2 loses a fifth", 3.0),
    ("link 2 loses nothing", 1.0),
    ("link 3 is cut", 3.5),
    ("link 3 is mended", 3.5),
    ("link 3 is taken off the list", 1.5),
    ("link 3 is put back", 2.5),
    ("link 2 has another public address", 7.5),
    ("the encoder is stopped", 1.0),
    ("the encoder is started", 2.0),
    ("the receiver is killed", 5.0),
)


class Recorder:
    """The relays between the programs.

    Args:
        network: that they are on.

    Attributes:
        encoder_port: where the encoder sends to.
        srt_port: where the sender has to listen.
        srtla_port: where the sender sends to.
        receiver_port: where the receiver has to listen.
        rows: what was noted so far, not in the order of time.
    """

    def __init__(self, network: KernelNetwork) -> None:
        self._network = network
        self.encoder_port, self.srt_port, self.srtla_port, self.receiver_port = (free_port() for _ in range(4))
        self.rows: list[Row] = []
        self._encoder: Address | None = None
        self._senders: dict[int, Address] = {}
        self._near = network.bind(HERE, self.encoder_port, self._from_encoder)
        self._far = network.bind(HERE, 0, lambda packet, _: self._to_encoder(packet))
        self._links = network.bind(HERE, self.srtla_port, self._from_sender)
        self._outside = [self._open(index) for index in range(len(LINKS))]

    def translate(self, index: int) -> None:
        """Give a link another public address."""
        self._network.unbind(self._outside[index])
        self._outside[index] = self._open(index)

    def _open(self, index: int) -> socket.socket:
        return self._network.bind(OUTSIDE.format(index + 2), 0, lambda packet, _: self._to_sender(index, packet))

    def _from_encoder(self, packet: bytes, encoder: Address) -> None:
        self._encoder = encoder
        self._note(FROM_ENCODER, packet)
        _send(self._far, packet, (HERE, self.srt_port))

    def _to_encoder(self, packet: bytes) -> None:
        self._note(TO_ENCODER, packet)
        if self._encoder is not None:
            _send(self._near, packet, self._encoder)

    def _from_sender(self, packet: bytes, sender: Address) -> None:
        index = next(index for index, link in enumerate(LINKS) if link.address == sender[0])
        link, outside = LINKS[index], self._outside[index]
        self._senders[index] = sender
        self._note(f"{index + 1}{OUT}", packet)
        is_lost = not packet[0] & 0x80 and self._network.chance.random() < link.loss
        if not link.is_cut and not is_lost:
            self._network.later(link.delay_s, lambda: _send(outside, packet, (HERE, self.receiver_port)))

    def _to_sender(self, index: int, packet: bytes) -> None:
        if not LINKS[index].is_cut:
            self._network.later(LINKS[index].delay_s, lambda: self._arrive(index, packet))

    def _arrive(self, index: int, packet: bytes) -> None:
        self._note(f"{index + 1}{IN}", packet, time.time())
        _send(self._links, packet, self._senders[index])

    def _note(self, way: str, packet: bytes, at_s: float | None = None) -> None:
        if _is_wanted(packet):
            kept = packet if packet[0] & 0x80 else packet[:DATA_BYTES]
            self.rows.append(Row(at_s or self._network.arrived_s, way, len(packet), kept))


def _is_wanted(packet: bytes) -> bool:
    kind = int.from_bytes(packet[:2], "big")
    if kind == ACK:
        return len(packet) >= FULL_ACK_BYTES - 8 and not packet[7] & ACK_SAMPLE
    return kind != ACKACK


def _send(out: Socket, packet: bytes, target: Address) -> None:
    with suppress(OSError):  # closed meanwhile, or nobody there
        out.sendto(packet, target)


class Programs:
    """The real programs.

    Args:
        commands: of sender and receiver, with the places of ports and list as `--help` has them.
        folder: for the sender's list.
        relays: between them.
    """

    def __init__(self, commands: dict[str, str], folder: File, relays: Recorder) -> None:
        self._commands, self._list, self._relays = commands, folder / "srtla_ips", relays
        self._server_port, self._feed_port = free_port(), free_port()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        transmit = require("srt-live-transmit")
        self._commands["server"] = (
            f"{transmit} -q srt://:{self._server_port}?latency={LATENCY_MS[1]} udp://{HERE}:{free_port()}"
        )
        self._commands["encoder"] = (
            f"{transmit} -q udp://{HERE}:{self._feed_port} srt://{HERE}:{relays.encoder_port}?latency={LATENCY_MS[0]}"
        )

    @property
    def feed(self) -> Address:
        """Where the encoder takes what it sends."""
        return HERE, self._feed_port

    def write_list(self, count: int) -> None:
        """Put the first links on the sender's list, and say so to it."""
        self._list.write_text("".join(f"{link.address}\n" for link in LINKS[:count]))
        if "sender" in self._running:
            self._running["sender"].send_signal(signal.SIGHUP)

    def start(self, name: str) -> None:
        """Start one of them."""
        relays = self._relays
        line = self._commands[name].format(
            srt_port=relays.srt_port, srtla_port=relays.srtla_port, receiver_port=relays.receiver_port,
            server_port=self._server_port, list=self._list,
        )  # fmt: skip
        self._running[name] = subprocess.Popen(shlex.split(line), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start_all(self) -> None:
        """Start receiver, sender and encoder at once, as belaUI does the last two."""
        for name in ("receiver", "sender", "encoder"):
            self.start(name)

    def stop(self, name: str, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """End one of them.

        Raises:
            RuntimeError: it has ended before.
        """
        process = self._running.pop(name)
        if process.poll() is not None:
            raise RuntimeError(f"{name} has ended by itself, exit code {process.returncode}")
        process.send_signal(with_signal)
        process.wait(10)

    def close(self) -> None:
        """End those that still run."""
        for process in self._running.values():
            process.kill()
            process.wait()


def play(programs: Programs, relays: Recorder, network: KernelNetwork) -> None:
    """Do what `STEPS` has, and note it."""
    steps: dict[str, Callable[[], None]] = {
        "start": programs.start_all,
        "link 2 loses a fifth": lambda: setattr(LINKS[1], "loss", 0.2),
        "link 2 loses nothing": lambda: setattr(LINKS[1], "loss", 0.0),
        "link 3 is cut": lambda: setattr(LINKS[2], "is_cut", True),
        "link 3 is mended": lambda: setattr(LINKS[2], "is_cut", False),
        "link 3 is taken off the list": lambda: programs.write_list(2),
        "link 3 is put back": lambda: programs.write_list(3),
        "link 2 has another public address": lambda: network.do(lambda: relays.translate(1)),
        "the encoder is stopped": lambda: programs.stop("encoder"),
        "the encoder is started": lambda: programs.start("encoder"),
        "the receiver is killed": lambda: programs.stop("receiver", signal.SIGKILL),
    }
    for words, lasts_s in STEPS:
        relays.rows.append(Row(time.time(), "", words=words))
        steps[words]()
        time.sleep(lasts_s)
    relays.rows.append(Row(time.time(), "", words="end"))


@contextmanager
def feeding(network: KernelNetwork, target: Address) -> Iterator[None]:
    """Give the encoder packets to send."""
    feed = network.bind(HERE, 0, lambda _packet, _sender: None)

    def send() -> None:
        _send(feed, bytes(FEED_BYTES), target)
        network.later(FEED_S, send)

    network.do(send)
    yield


def record(commands: dict[str, str], head: dict[str, str]) -> Recording:
    """Return the exchange of two programs."""
    network = KernelNetwork(7)
    network.start()
    with tempfile.TemporaryDirectory(prefix="bm-") as folder:
        relays = Recorder(network)
        programs = Programs(commands, File(folder), relays)
        programs.write_list(len(LINKS))
        programs.start("server")
        time.sleep(0.5)  # until it listens: receivers look for it when they start
        try:
            with feeding(network, programs.feed):
                play(programs, relays, network)
            programs.stop("sender")
        finally:
            programs.close()
            network.close()
    links = (f"{link.address} {2000 * link.delay_s:g} ms" for link in LINKS)
    ports = {"ports": f"{relays.srt_port} {relays.srtla_port}", "links": ", ".join(links)}
    rows = sorted(relays.rows, key=lambda row: row.at_s)
    return Recording(head | ports, [row._replace(at_s=row.at_s - rows[0].at_s) for row in rows])


def main() -> int:
    """Record one pair of programs."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bonding.record", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=File, help="where to write it")
    parser.add_argument(
        "--sender", required=True, help="command line, e.g. 'srtla_send {srt_port} 127.0.0.1 {srtla_port} {list}'"
    )
    parser.add_argument(
        "--receiver", required=True, help="command line, e.g. 'srtla_rec {receiver_port} 127.0.0.1 {server_port}'"
    )
    parser.add_argument("--source", required=True, help="which programs of which commit, for the file's head")
    given = parser.parse_args()
    try:
        found = record({"sender": given.sender, "receiver": given.receiver}, {"programs": given.source})
    except (OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    recording.write(given.file, found)
    print(f"{given.file}: {len(found.rows)} lines, {given.file.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
