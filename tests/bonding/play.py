"""A whole stream on loopback as the SRT source sees it: programs in a tree, links, both ends, and the source itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path as File

from collectors.host import Host
from collectors.srt import srt
from collectors.srt.running_stream import State
from common.changes import Glimpse
from common.events import Event
from common.sample import Sample
from tests.bonding.network import Network
from tests.bonding.srt import Controller, Decoder, Encoder
from tests.bonding.srtla import Path, Receiver, Sender
from tests.free_port import free_port

WATCH_S, COLLECT_S = 0.5, 5.0
LEAST_BPS, MOST_BPS = 500_000, 6_000_000
SESSION = "|session|device|bitrate|\n|54|RKVENC|{}|\n"
TRIE = "  |-- {}\n     /32 host LOCAL\n"


class Play:
    """One stream.

    Args:
        root: an empty folder for the programs.
        network: that everything is on; its clock is the stream's.
        paths: the links.
        latency_ms: that encoder and receiver ask for.

    Attributes:
        events: what the source has reported so far, with the time at which it did.
        watch_s: time between two looks of the source: a busy machine has it wait longer.
    """

    def __init__(
        self, root: File, network: Network, paths: list[Path], latency_ms: tuple[int, int] = (1000, 2000)
    ) -> None:
        self.paths, self._latency_ms = paths, latency_ms
        self.network, self.watch_s = network, WATCH_S
        self._root = root
        self.srt_port, self.srtla_port, self._listen_port = free_port(), free_port(), free_port()
        self.decoder = Decoder(self.network, self._listen_port, latency_ms[1])
        self.receiver = Receiver(self.network, self.srtla_port, ("127.0.0.1", self._listen_port), paths)
        self.sender: Sender | None = None
        self.encoder: Encoder | None = None
        self.controller = Controller(LEAST_BPS, MOST_BPS, max(latency_ms))
        self._pid, self._number = 100, 7
        self.events: list[tuple[float, Event]] = []
        self.tell()
        self._write("tmp/belacoder_br", f"{LEAST_BPS}\n{MOST_BPS}\n")
        self.have([path.address for path in paths])
        self.enable([path.address for path in paths])
        self.begin_source()
        self.network.start()

    def begin_source(self) -> None:
        """Have a new process of the source, which knows nothing."""
        self.host, self._config, self.state = Host(self._root), srt.Config(), State()
        self.state.run_dir = self._root
        self._collect_s = 0.0
        self.samples: dict[tuple[str, str], float] = {}
        self.labels: dict[tuple[str, str], dict[str, str]] = {}

    def enable(self, addresses: Iterable[str]) -> None:
        """Put addresses on the sender's list, as belaUI does."""
        self._write("tmp/srtla_ips", "".join(f"{address}\n" for address in addresses))
        if self.sender is not None:
            sender, listed = self.sender, list(addresses)
            self.network.do(lambda: sender.follow(listed))

    def have(self, addresses: Iterable[str]) -> None:
        """Have the machine have addresses."""
        self._write("proc/net/fib_trie", "".join(TRIE.format(address) for address in addresses))

    def plug(self, names: dict[str, str]) -> None:
        """Have the machine have addresses, each on an interface with a name."""
        rows = (f"{name}\t{_hex(address)}\t00000000\t0001\t0\t0\t0\tFFFFFFFF\n" for address, name in names.items())
        self._write("proc/net/route", f"Iface\n{''.join(rows)}")
        self.have(names)

    def limit(self, most_bps: int) -> None:
        """Set the highest bitrate, as belaUI does."""
        self._write("tmp/belacoder_br", f"{LEAST_BPS}\n{most_bps}\n")
        self.controller.most = most_bps
        self.controller.bitrate = min(self.controller.bitrate, most_bps)

    def start_sender(self) -> None:
        """Start srtla_send."""
        self._start("srtla_send", f"{self.srt_port}\0localhost\0{self.srtla_port}\0/tmp/srtla_ips")
        listed = (self._root / "tmp/srtla_ips").read_text().split()
        self.network.do(lambda: self._begin_sender(listed))

    def start_encoder(self) -> None:
        """Start belacoder."""
        self._start("belacoder", f"pipeline\x00127.0.0.1\0{self.srt_port}\0-l\0{self._latency_ms[0]}")
        self._number += 1
        self.network.do(self._begin_encoder)

    def stop(self) -> None:
        """End both, as belaUI does."""
        for one in (self.encoder, self.sender):
            if one is not None:
                self.network.do(one.close)
        self.encoder = self.sender = None
        for folder in (self._root / "proc").glob("[1-9]*"):
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()

    def tell(self) -> None:
        """Have the tree say what the kernel says at this moment."""
        self._write("proc/uptime", f"{time.monotonic():.2f} 0.0\n")
        self._write("proc/mpp_service/sessions-summary", SESSION.format(self.controller.bitrate // 100_000 * 100_000))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Watch and collect as the service does, for a while or until something is so; return whether it was."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            now_s = time.monotonic()
            self.tell()
            self.host.begin()
            if now_s >= self._collect_s:
                self._collect_s = now_s + COLLECT_S
                self._take(srt.collect(self.host, self._config, self.state))
            else:
                self._take(srt.watch(self.host, self._config, self.state))
            if until():
                return True
            rest_s = min(self.state.rest_s or self.watch_s, self.watch_s, end_s - time.monotonic())
            self.network.wait(rest_s, self.state.descriptors)
        return until()

    def collect(self) -> None:
        """Collect at the next turn."""
        self._collect_s = 0.0
        self.run(0.1)

    def value(self, name: str, address: str = "") -> float | None:
        """Return the newest value of a metric, of a link where one is named."""
        return self.samples.get((name, address))

    def kinds(self) -> list[str]:
        """Return the kinds of the events so far."""
        return [event.kind for _, event in self.events]

    def close(self) -> None:
        """End everything."""
        self.stop()
        if self.state.tap is not None:
            self.state.tap.close()
        if self.state.starts is not None:
            self.state.starts.close()
        self.network.close()

    def _begin_sender(self, addresses: Iterable[str]) -> None:
        self.sender = Sender(self.network, self.srt_port, ("127.0.0.1", self.srtla_port), addresses)

    def _begin_encoder(self) -> None:
        self.encoder = Encoder(self.network, self.srt_port, self.controller, self._number)

    def _take(self, found: Iterable[Sample | Event | Glimpse]) -> None:
        for one in found:
            if isinstance(one, Glimpse):
                continue
            if isinstance(one, Event):
                self.events.append((time.time(), one))
            else:
                key = one.name, one.tags.get("ip", "")
                self.samples[key] = one.value  # type: ignore[assignment]
                self.labels[key] = dict(one.tags)

    def _start(self, name: str, arguments: str) -> None:
        self._pid += 1
        started = int(100 * time.monotonic())
        folder = f"proc/{self._pid}"
        self._write(f"{folder}/cmdline", f"/usr/bin/{name}\0{arguments}\0")
        self._write(f"{folder}/stat", f"{self._pid} ({name}) S 1 {' '.join(['0'] * 17)} {started} 0 0\n")
        self._write(f"{folder}/comm", f"{name}\n")

    def _write(self, path: str, content: str) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text(content)
        fresh.replace(file)  # another process may read it


def _hex(address: str) -> str:
    """Return an address as the kernel prints it."""
    return socket.inet_aton(address)[::-1].hex().upper()
