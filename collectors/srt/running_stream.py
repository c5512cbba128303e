"""What belongs to the stream that runs: its programs, the tap on their ports, and the links of its sender's list.

Reads: the process table, the sender's list of addresses, what a stream begins with (`tap.Starts`). A stream's first
packets are sent before anybody has found its programs: they are kept, and taken in when the tap is opened.
"""

from __future__ import annotations

import time
from pathlib import Path

from collectors import belabox
from collectors.host import Host
from collectors.process_table import ProcessTable, RunningProcess
from collectors.srt import sender
from collectors.srt.bond import Bond
from collectors.srt.connection_samples import Totals
from collectors.srt.cuts import Cuts
from collectors.srt.handshake_file import HandshakeFile
from collectors.srt.ring import Packet
from collectors.srt.sender import SrtlaSender
from collectors.srt.tap import Starts, Tap
from collectors.srt.telemetry import LinkNumbers

RECONNECT_S = 15.0  # belaUI starts belacoder again after 2 s; later it is another stream
REST_S = 5.0
SOON_S, LATER_S = 0.5, 0.01  # a look; what clocks and timers may be off by
PACKETS_S = 1.0  # between two looks at the packets, where nothing happens: each costs more than what it finds
KNOWN_S = 30.0  # the programs of a stream that runs are looked for so rarely
CLOCK_SET_S = 0.1  # between two looks it goes wrong by far less, unless somebody sets it
KEPT_STARTS, KEPT_S = 64, 10.0  # packets from before the stream's programs were found


class State:
    """The tap, the stream's programs, and what was reported last.

    Attributes:
        encoder, sender: the programs, None while they do not run.
        starts: what streams begin with, None without the right to it.
        tap: the packets of this stream.
        bond: its links.
        numbers: the links' numbers in the sender's statistics.
        reconnects: encoders that followed another one soon.
        was_connected: as it was reported last.
        is_silent: by source of statistics, whether it had fallen silent.
        totals: of the tap at the last collect.
        counted: of the statistics file, likewise.
        cuts: of the bitrate.
        run_dir: where the handshake is kept over a restart.
    """

    def __init__(self) -> None:
        self.encoder: RunningProcess | None = None
        self.sender: SrtlaSender | None = None
        self.starts: Starts | None = None
        self.tap: Tap | None = None
        self.bond = Bond()
        self.numbers = LinkNumbers()
        self.reconnects = 0
        self.was_connected: bool | None = None
        self.is_silent: dict[str, bool] = {}
        self.totals = Totals()
        self.counted: dict[str, float | int] | None = None
        self.cuts = Cuts()
        self.run_dir: Path | None = None
        self._table = ProcessTable(belabox.ENCODERS | belabox.SENDERS)
        self._begins: list[Packet] = []
        self._seen_s: float | None = None
        self._looked_s = self._drained_s = self._drained_wall_s = 0.0
        self._handshake: HandshakeFile | None = None
        self._ahead_s: float | None = None

    @property
    def descriptors(self) -> tuple[object, ...]:
        """What wakes the collector when a stream begins; while one runs, the tap is read anyway."""
        return (self.starts.socket,) if self.starts is not None and self.tap is None else ()

    @property
    def rest_s(self) -> float | None:
        """How long it needs no look: while no stream runs, or until a silence that has begun is too long; else None."""
        if self.tap is not None:
            left_s = self.tap.overdue_at_s(self._drained_wall_s) - time.time()
            return max(0.0, left_s) + LATER_S if left_s < SOON_S else None
        return REST_S if self.descriptors and self.encoder is None and not self._begins else None

    def follow_clock(self) -> float:
        """Return by how much the wall clock was set since the last look, seconds, 0 where it was not.

        Packets are stamped by it: those from before cannot be compared with those that come. So the tap is closed.
        """
        ahead_s = time.time() - time.monotonic()
        before_s, self._ahead_s = self._ahead_s, ahead_s
        if before_s is None or abs(ahead_s - before_s) < CLOCK_SET_S:
            return 0.0
        self._begins.clear()
        self.bond.forget_times()
        self._close_tap()
        return ahead_s - before_s

    def has_changed(self, host: Host, wall_s: float) -> bool:
        """Return whether a stream begins, its programs are still to be found, or one of them is gone."""
        fresh = self.starts.packets() if self.starts is not None else []
        self._begins = [packet for packet in [*self._begins, *fresh] if wall_s - packet.at_s < KEPT_S][-KEPT_STARTS:]
        if fresh or (self.tap is None and self._begins):
            return True
        if self.encoder is not None:
            if not _runs(host, self.encoder):
                return True
            self._seen_s = host.now_s
        return self.sender is not None and not _runs(host, self.sender.program)

    def has_packets_due(self, host: Host, wall_s: float) -> bool:
        """Return whether to read the tap at this turn: something is lost, or silent for too long, or has not begun."""
        tap = self.tap
        if (
            tap is None
            or tap.is_troubled
            or not self.was_connected
            or host.now_s - self._drained_s > PACKETS_S - SOON_S / 2
        ):
            return True
        return tap.overdue_at_s(self._drained_wall_s) <= wall_s

    def is_due(self, host: Host, wall_s: float) -> bool:
        """Return whether to look for the stream's programs at a collect: rarely where packets would tell of others."""
        is_known = self.starts is not None and self.encoder is not None and self.sender is not None
        return self.has_changed(host, wall_s) or not is_known or host.now_s - self._looked_s >= KNOWN_S

    def look(self, host: Host, *, may_tap: bool) -> None:
        """Find the stream's programs, and have the tap open on their ports while they run."""
        self._looked_s = host.now_s
        programs = self._table.look(host)
        senders = [program for program in programs if program.name in belabox.SENDERS]
        self._follow_encoder(host, belabox.encoder(programs))
        found = senders[-1] if senders else None
        if (self.sender.program if self.sender is not None else None) != found:
            self.sender = sender.read(host, found) if found is not None else None
            self.bond, self.numbers, self.was_connected = Bond(), LinkNumbers(), None
        self._follow_tap(host, self.sender if may_tap else None, may_tap=may_tap)

    def follow_list(self, host: Host) -> None:
        """Take in the sender's list of addresses as it is now."""
        if self.sender is None:
            return
        addresses = sender.addresses(host, self.sender)
        self.numbers.follow(addresses)
        if self.tap is not None:
            try:
                self.tap.follow(addresses)
            except OSError as error:
                host.fault("packet tap", error.strerror or "no memory")
        self.bond.follow(host, addresses, self.tap)

    def drain(self, host: Host, wall_s: float) -> None:
        """Read the tap; keep what the handshake said for the next process, or take it over from the last one."""
        if self.tap is None:
            return
        self._begins.clear()
        self._drained_s, self._drained_wall_s = host.now_s, wall_s
        self.tap.drain(wall_s)
        if self._handshake is None:
            self._handshake = HandshakeFile(self.run_dir)
        self._handshake.follow(self.tap.connection)

    def _follow_encoder(self, host: Host, encoder: RunningProcess | None) -> None:
        """Begin with a new encoder, which is a new connection; soon after another it is a reconnect."""
        before, self.encoder = self.encoder, encoder
        if encoder is None:
            return
        if before is None or encoder.pid != before.pid:
            if self._seen_s is not None and host.now_s - self._seen_s <= RECONNECT_S:
                self.reconnects += 1
            self.was_connected = None
            uptime_s = belabox.uptime_s(host)
            if self.tap is not None and uptime_s is not None:
                self.tap.connection.leave(time.time() - (uptime_s - encoder.started_s))
        self._seen_s = host.now_s

    def _follow_tap(self, host: Host, found: SrtlaSender | None, *, may_tap: bool) -> None:
        """Open the tap on the ports of the sender that runs, close it with the sender, and wait for the next one."""
        ports = (found.port, found.receiver_port) if found is not None else None
        if self.tap is not None and self.tap.ports != ports:
            self._close_tap()
        try:
            if may_tap and self.starts is None:
                self.starts = Starts()
            if self.tap is None and found is not None:
                self.tap = Tap(found.port, found.receiver_port, sender.addresses(host, found))
                self.totals, self.cuts = Totals(), Cuts()
                # The answer to the handshake that woke this process may have come while it looked for the programs.
                self.tap.replay([*self._begins, *(self.starts.packets() if self.starts is not None else ())])
        except OSError as error:
            host.absent.add(f"packet tap (CAP_NET_RAW): {error.strerror}")

    def _close_tap(self) -> None:
        if self.tap is not None:
            self.tap.close()
            self.tap = None


def _runs(host: Host, program: RunningProcess) -> bool:
    return host.exists(f"proc/{program.pid}/stat")
