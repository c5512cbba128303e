"""Turn log lines of the kernel and the streaming programs into events.

Reads: dev/kmsg, else the kernel's lines in the systemd journal; the journal of the streaming units and of Rockchip's
    encoder library. See kernel_log.py, journal.py; what a line means: log_lines.py.
Source: Documentation/ABI/testing/dev-kmsg, sd-journal(3), BELABOX belacoder.c, srtla_send.c, belaUI.js.
Emits: events.lines_total{log} (read; kernel, journal), events.lines_missed_total (of the kernel's, overwritten before
    they were read), events.bitrate_changes_total (that the encoder library logged; from the first on). Events usb_*,
    hdmi_*, storage_failed, out_of_memory, overheated, kernel_fault, srt_*, pipeline_stalled, capture_failed,
    bitrate_fixed, encoder_complained, bond_*, unit_failed.
Errors: a line is a unit's, systemd's or the kernel's by journald's own fields, which nobody else can set, and the
    encoder library's if a trusted user (see `Host.trusted_users`) wrote it. A log that is missing or not readable is
    reported once. Reading begins at the end of a log: older lines never become events. No line is passed on, an event
    has a text of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collectors.events import log_lines
from collectors.events.journal import Journal, JournalEntry, JournalError, Matches
from collectors.events.kernel_log import KernelLog
from collectors.host import Host
from common.events import Event
from common.keys import boolean, duration, key, listing, text
from common.sample import Sample

MPP = "mpp"  # the encoder library's name in the journal
ERROR = 3  # of syslog's levels
REST_S = 10.0  # between two looks at the kernel's log alone, which is readable when there is news


@dataclass(frozen=True)
class Config:
    """Section collectors.events."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "60s", "time between two counts of lines", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it reads what is new", name="watch_interval")
    units: tuple[str, ...] = key(
        listing(text(pattern=r"[\w@.-]{1,64}")), "[belaUI.service]", "systemd units whose lines are read"
    )


class State:
    """The logs, and what was read of them."""

    def __init__(self) -> None:
        self.kernel = KernelLog()
        self.journal: Journal | None = None
        self.has_journal = False  # there are files that this user may read
        self.followed: tuple[str, ...] = ()  # the units for which the journal was opened
        self.lines = {"kernel": 0, "journal": 0}
        self.bitrate_changes = 0

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What is readable when there is a new line."""
        return () if self.kernel.waitable is None else (self.kernel.waitable,)

    @property
    def rest_s(self) -> float | None:
        """How long it needs no look where there is no journal, which has to be asked."""
        return REST_S if self.descriptors and not self.has_journal else None


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield the events of new log lines, and the line counters."""
    yield from watch(host, config, state)
    has_journal = state.has_journal
    for log, is_followed in (("kernel", state.kernel.is_open or has_journal), ("journal", has_journal)):
        if is_followed:
            yield Sample("events.lines_total", state.lines[log], {"log": log})
    if state.kernel.is_open:
        yield Sample("events.lines_missed_total", state.kernel.missed)
    if state.bitrate_changes:
        yield Sample("events.bitrate_changes_total", state.bitrate_changes)


def watch(host: Host, config: Config, state: State) -> Iterator[Event]:
    """Yield the events of new log lines."""
    for line in state.kernel.lines(host):
        yield from _of_kernel(line, state)
    for entry in _entries(host, config, state):
        if not entry.is_kernel:
            yield from _of_program(entry, state, is_trusted=entry.user in host.trusted_users())
        elif not state.kernel.is_open:
            yield from _of_kernel(entry.message, state)


def _of_kernel(line: str, state: State) -> Iterator[Event]:
    state.lines["kernel"] += 1
    event = log_lines.event(log_lines.KERNEL, line)
    if event is not None:
        yield event


def _of_program(entry: JournalEntry, state: State, *, is_trusted: bool) -> Iterator[Event]:
    state.lines["journal"] += 1
    if entry.identifier == MPP:
        if not is_trusted:
            return
        state.bitrate_changes += log_lines.is_bitrate(entry.message)
        if entry.level <= ERROR:
            yield Event("encoder_complained", "the encoder library logged an error: `journalctl -t mpp` shows it")
        return
    event = log_lines.event(log_lines.PROGRAMS, entry.message)
    if event is not None:
        yield event


def _entries(host: Host, config: Config, state: State) -> Iterator[JournalEntry]:
    """Yield the journal's new entries; open the journal first if it is not open."""
    if state.journal is not None and state.followed != config.units:
        state.journal.close()
        state.journal = None
    try:
        if state.journal is None:
            state.journal, state.followed = Journal(host.root, _matches(config.units)), config.units
        yield from state.journal.entries()
        state.has_journal = state.journal.is_readable()
        if not state.has_journal:
            host.absent.add("journal")
    except JournalError as error:
        state.has_journal = False
        host.absent.add(f"journal ({error})")
        if state.journal is not None:
            state.journal.close()
            state.journal = None


def _matches(units: tuple[str, ...]) -> Matches:
    """Return the journal matches: lines of the units, of systemd about them, of the encoder library, of the kernel."""
    own = tuple((f"_SYSTEMD_UNIT={unit}",) for unit in units)
    of_systemd = tuple(("_PID=1", f"UNIT={unit}") for unit in units)  # anybody can set UNIT, nobody else is 1
    return (*own, *of_systemd, (f"SYSLOG_IDENTIFIER={MPP}",), ("_TRANSPORT=kernel",))
