"""A whole stream on loopback: a board whose links and both ends are played by programs of the tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path as File

from tests.bonding.board import Board
from tests.bonding.network import Network
from tests.bonding.srt import Controller, Decoder, Encoder
from tests.bonding.srtla import Path, Receiver, Sender
from tests.free_port import free_port

LEAST_BPS, MOST_BPS = 500_000, 6_000_000
SESSION = "|session|device|bitrate|\n|54|RKVENC|{}|\n"


class Play(Board):
    """One stream.

    Args:
        root: an empty folder for the programs.
        network: that everything is on; its clock is the stream's.
        paths: the links.
        latency_ms: that encoder and receiver ask for.
    """

    def __init__(
        self, root: File, network: Network, paths: list[Path], latency_ms: tuple[int, int] = (1000, 2000)
    ) -> None:
        super().__init__(root, network)
        self.paths, self._latency_ms = paths, latency_ms
        self.network = network
        self.srt_port, self.srtla_port, self._listen_port = free_port(), free_port(), free_port()
        self.decoder = Decoder(self.network, self._listen_port, latency_ms[1])
        self.receiver = Receiver(self.network, self.srtla_port, ("127.0.0.1", self._listen_port), paths)
        self.sender: Sender | None = None
        self.encoder: Encoder | None = None
        self.controller = Controller(LEAST_BPS, MOST_BPS, max(latency_ms))
        self._number = 7
        self.tell()
        self.write("tmp/belacoder_br", f"{LEAST_BPS}\n{MOST_BPS}\n")
        self.have([path.address for path in paths])
        self.enable([path.address for path in paths])
        self.network.start()

    def enable(self, addresses: Iterable[str]) -> None:
        """Put addresses on the sender's list, as belaUI does."""
        listed = [*addresses]
        self.write_list(listed)
        if self.sender is not None:
            sender = self.sender
            self.network.do(lambda: sender.follow(listed))

    def limit(self, most_bps: int) -> None:
        """Set the highest bitrate, as belaUI does."""
        self.write("tmp/belacoder_br", f"{LEAST_BPS}\n{most_bps}\n")
        self.controller.most = most_bps
        self.controller.bitrate = min(self.controller.bitrate, most_bps)

    def start_sender(self) -> None:
        """Start srtla_send."""
        self.start("srtla_send", str(self.srt_port), "localhost", str(self.srtla_port), "/tmp/srtla_ips")
        listed = (self._root / "tmp/srtla_ips").read_text().split()
        self.network.do(lambda: self._begin_sender(listed))

    def start_encoder(self) -> None:
        """Start belacoder."""
        self.start("belacoder", "pipeline", "127.0.0.1", str(self.srt_port), "-l", str(self._latency_ms[0]))
        self._number += 1
        self.network.do(self._begin_encoder)

    def stop(self) -> None:
        """End both, as belaUI does."""
        for one in (self.encoder, self.sender):
            if one is not None:
                self.network.do(one.close)
        self.encoder = self.sender = None
        self.end()

    def tell(self) -> None:
        """Have the tree say what the kernel says at this moment."""
        super().tell()
        self.write("proc/mpp_service/sessions-summary", SESSION.format(self.controller.bitrate // 100_000 * 100_000))

    def close(self) -> None:
        """End everything."""
        self.stop()
        super().close()
        self.network.close()

    def _begin_sender(self, addresses: Iterable[str]) -> None:
        self.sender = Sender(self.network, self.srt_port, ("127.0.0.1", self.srtla_port), addresses)

    def _begin_encoder(self) -> None:
        self.encoder = Encoder(self.network, self.srt_port, self.controller, self._number)
