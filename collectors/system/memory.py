"""RAM and swap.

Reads: proc/meminfo, proc/vmstat.
Source: Documentation/filesystems/proc.rst. kB there means 1024 bytes.
Emits: memory.{total,available,used,swap_total,swap_used}_bytes, memory.used_percent,
    memory.swap_used_percent (0-100), memory.oom_kills_total (since boot).
Errors: more available than there is, or more swap free than there is (lxcfs in a container, lxc/lxcfs#84), is not
    known: the machine's numbers are mixed with the container's. Before Linux 3.14 there is no MemAvailable; it is
    estimated then. Rows that are missing or not understood leave out what depends on them; without swap there is no
    share of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from collectors.host import Host, unsigned
from common.keys import boolean, duration, key
from common.sample import Sample

KIB = 1024
MEMINFO = "proc/meminfo"


@dataclass(frozen=True)
class Config:
    """Section collectors.memory."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "30s", "time between two collects", name="interval")


class State:
    """Nothing to remember: every value stands for itself."""


def collect(host: Host, _config: Config, _state: State) -> Iterator[Sample]:
    """Yield the state of RAM and swap."""
    meminfo = host.parse(MEMINFO, parse_meminfo) or {}
    yield from _ram(host, meminfo)
    yield from _swap(host, meminfo)
    vmstat = host.parse("proc/vmstat", parse_vmstat) or {}
    if "oom_kill" in vmstat:
        yield Sample("memory.oom_kills_total", vmstat["oom_kill"])


def parse_meminfo(lines: Iterable[str]) -> dict[str, int] | None:
    """Return bytes by row name; rows that are not ``Name: N kB`` are left out."""
    rows = {}
    for line in lines:
        name, _, rest = line.partition(":")
        number, _, unit = rest.strip().partition(" ")
        kibibytes = unsigned(number)
        if kibibytes is not None and unit == "kB":
            rows[name] = kibibytes * KIB
    return rows or None


def parse_vmstat(lines: Iterable[str]) -> dict[str, int] | None:
    """Return the rows ``name N``; oom_kill is among them since Linux 4.13."""
    rows = {}
    for line in lines:
        name, _, number = line.partition(" ")
        count = unsigned(number)
        if count is not None:
            rows[name] = count
    return rows or None


def _ram(host: Host, meminfo: Mapping[str, int]) -> Iterator[Sample]:
    total = meminfo.get("MemTotal")
    available = _available(meminfo)
    if total is not None:
        yield Sample("memory.total_bytes", total)
    if total is not None and available is not None and available > total:
        host.fault(f"{MEMINFO} MemAvailable", f"{available // KIB} kB of {total // KIB} kB cannot be")
    elif available is not None:
        yield Sample("memory.available_bytes", available)
        if total:
            yield Sample("memory.used_bytes", total - available)
            yield Sample("memory.used_percent", round(100 * (total - available) / total, 2))


def _available(meminfo: Mapping[str, int]) -> int | None:
    if "MemAvailable" in meminfo:
        return meminfo["MemAvailable"]
    # What the kernel's own estimate starts from; shared memory is in Cached and cannot be reclaimed.
    parts = [meminfo.get(name) for name in ("MemFree", "Buffers", "Cached", "SReclaimable", "Shmem")]
    known = [part for part in parts if part is not None]
    return sum(known[:-1]) - known[-1] if len(known) == len(parts) else None


def _swap(host: Host, meminfo: Mapping[str, int]) -> Iterator[Sample]:
    total, free = meminfo.get("SwapTotal"), meminfo.get("SwapFree")
    if total is not None:
        yield Sample("memory.swap_total_bytes", total)
    if total is None or free is None:
        return
    if free > total:
        host.fault(f"{MEMINFO} SwapFree", f"{free // KIB} kB of {total // KIB} kB cannot be")
        return
    yield Sample("memory.swap_used_bytes", total - free)
    if total:
        yield Sample("memory.swap_used_percent", round(100 * (total - free) / total, 2))
