"""A board as the SRT source sees it: programs, links and what is set in a tree, and the source itself, on some network.

Reads: what the source yields, as the service has it: a look every half second, a collect every five.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path as File
from typing import Any, Protocol

from collectors.derived.alerts import AlertStates
from collectors.host import Host
from collectors.srt import srt
from collectors.srt.running_stream import State
from common.changes import Changes
from common.events import Event
from common.sample import Sample
from common.thresholds import Alerts

WATCH_S, COLLECT_S = 0.5, 5.0
TRIE = "  |-- {}\n     /32 host LOCAL\n"


class Clock(Protocol):
    """What passes the time."""

    def wait(self, seconds: float, sockets: Sequence[Any]) -> None:
        """Let time pass, or until one of some packet sockets is readable."""


class Board:
    """One board, on which nothing runs yet.

    Args:
        root: an empty folder for its tree.
        clock: passes the time.

    Attributes:
        events: what the source has reported so far, with the time at which it did.
        alerts: what was made of its numbers, likewise.
        watch_s: time between two looks of the source: a busy machine has it wait longer.
        samples, labels: the newest of each metric and address.
    """

    def __init__(self, root: File, clock: Clock) -> None:
        self._root, self._clock = root, clock
        self._pid = 100
        self.watch_s = WATCH_S
        self.events: list[tuple[float, Event]] = []
        self.alerts: list[tuple[float, Event]] = []
        self._alert_states, self._changes = AlertStates(), Changes(Alerts())
        self.begin_source()

    def begin_source(self) -> None:
        """Have a new process of the source, which knows nothing."""
        self.host, self._config, self.state = Host(self._root), srt.Config(), State()
        self.state.run_dir = self._root
        self._collect_s = 0.0
        self.samples: dict[tuple[str, str], float] = {}
        self.labels: dict[tuple[str, str], dict[str, str]] = {}

    def write_list(self, addresses: Iterable[str]) -> None:
        """Write the sender's list."""
        self.write("tmp/srtla_ips", "".join(f"{address}\n" for address in addresses))

    def have(self, addresses: Iterable[str]) -> None:
        """Have the machine have addresses."""
        self.write("proc/net/fib_trie", "".join(TRIE.format(address) for address in addresses))

    def plug(self, names: dict[str, str]) -> None:
        """Have the machine have addresses, each on an interface with a name."""
        rows = (f"{name}\t{_hex(address)}\t00000000\t0001\t0\t0\t0\tFFFFFFFF\n" for address, name in names.items())
        self.write("proc/net/route", f"Iface\n{''.join(rows)}")
        self.have(names)

    def start(self, name: str, *arguments: str) -> None:
        """Have a program run."""
        self._pid += 1
        started = int(100 * time.monotonic())
        folder = f"proc/{self._pid}"
        self.write(f"{folder}/cmdline", "\0".join([f"/usr/bin/{name}", *arguments, ""]))
        self.write(f"{folder}/stat", f"{self._pid} ({name}) S 1 {' '.join(['0'] * 17)} {started} 0 0\n")
        self.write(f"{folder}/comm", f"{name}\n")

    def end(self, name: str = "") -> None:
        """Have a program run no more, or none."""
        for file in (self._root / "proc").glob("[1-9]*/comm"):
            if name in file.read_text():
                for each in file.parent.iterdir():
                    each.unlink()
                file.parent.rmdir()

    def tell(self) -> None:
        """Have the tree say what the kernel says at this moment."""
        self.write("proc/uptime", f"{time.monotonic():.2f} 0.0\n")

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
            self._clock.wait(rest_s, self.state.descriptors)
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
        """End the source."""
        if self.state.tap is not None:
            self.state.tap.close()
        if self.state.starts is not None:
            self.state.starts.close()

    def write(self, path: str, content: str) -> None:
        """Write a file of the tree."""
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text(content)
        fresh.replace(file)  # another process may read it

    def _take(self, found: Iterable[Sample | Event]) -> None:
        now_s, said = time.time(), list(found)
        self.events += ((now_s, one) for one in said if isinstance(one, Event))
        samples, _ = self._changes.sift(one for one in said if isinstance(one, Sample))
        for one in samples:
            key = one.name, one.tags.get("ip", "")
            self.samples[key] = one.value  # type: ignore[assignment]
            self.labels[key] = dict(one.tags)
        self.alerts += ((now_s, event) for event in self._alert_states.take(samples, now_s, Alerts()))


def _hex(address: str) -> str:
    """Return an address as the kernel prints it."""
    return socket.inet_aton(address)[::-1].hex().upper()
